//! A lab with several servers: the leader is cut off from everything, and loses its power; tasks notice nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use support::lab::Lab;
use support::picture::{json, wait_for_nodes};
use support::{processes_with, root, until};

/// What nobody else on this machine sleeps for.
const WORK: &str = "100623";
/// Within which things have to come about at all.
const SOON: Duration = Duration::from_secs(120);

/// The node of the server that leads.
fn leader(lab: &Lab) -> String {
    let leader = until("a leader", SOON, || {
        let output = lab.command(&["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(status["status"]["leader"].as_str()?.to_owned())
    });
    let shown = json(lab, &["lab", "status", "--name", &lab.name]);
    let nodes = shown["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|node| leader == format!("https://{}:4600", node["address"].as_str().unwrap()));
    node.unwrap()["name"].as_str().unwrap().to_owned()
}

fn run(lab: &Lab, count: u32) {
    let text = format!(
        "job: work\nkind: service\ngroups:\n  - name: main\n    count: {count}\n    update: {{min_ready: 100ms}}\n    tasks:\n      - \
         {{name: sleeper, driver: exec, command: [/bin/sleep, '{WORK}'], kill: {{timeout: 100ms}}, resources: {{cpu: 100m, \
         memory: 16MiB}}}}\n"
    );
    let file = lab.dir.path().join("work.yaml");
    std::fs::write(&file, text).unwrap();
    lab.ok(&["run", file.to_str().unwrap()]);
}

fn ended(lab: &Lab) -> Vec<serde_json::Value> {
    lab.allocs("work").into_iter().filter(|alloc| alloc["state"]["kind"] == "ended").collect()
}

#[test]
fn a_leader_that_is_cut_off_or_dead_is_followed_by_another_and_tasks_go_on() {
    if !root() {
        return;
    }
    let lab = Lab::up_with("2", &["--servers", "3"]);
    wait_for_nodes(&lab, 2);
    run(&lab, 2);
    let before = processes_with(&["sleep", WORK]);
    let cut_off = leader(&lab);
    lab.ok(&["lab", "partition", "--name", &lab.name, &cut_off]);
    run(&lab, 3);
    assert_ne!(leader(&lab), cut_off);
    lab.ok(&["lab", "heal", "--name", &lab.name, &cut_off]);
    let dead = leader(&lab);
    lab.ok(&["lab", "kill", "--name", &lab.name, &dead]);
    run(&lab, 4);
    assert_ne!(leader(&lab), dead);
    assert_eq!(ended(&lab), Vec::<serde_json::Value>::new(), "nothing was lost or started again");
    let after = processes_with(&["sleep", WORK]);
    assert!(before.iter().all(|pid| after.contains(pid)), "{before:?} {after:?}");
    lab.ok(&["stop", "work"]);
}
