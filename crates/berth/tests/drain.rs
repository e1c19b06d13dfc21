//! `berth drain` with real nodes and processes: as planned, without a moment in which nothing is ready, and to the last
//! process; and `berth enable`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::process::Stdio;

use support::lab::Lab;
use support::picture::{SOON, expected, json, name, picture, wait_for_nodes, wait_for_rest};
use support::{processes_with, root, text, until};

/// What nobody else on this machine sleeps for.
const WEB: &str = "100417";
const LOGGER: &str = "100418";
const SUM: &str = "100419";

fn job(name: &str, kind: &str, seconds: &str) -> String {
    format!(
        "job: {name}\nkind: {kind}\ngroups:\n  - name: main\n    update: {{min_ready: 1s}}\n    tasks:\n      - {{name: sleeper, \
         driver: exec, command: [/bin/sleep, '{seconds}'], kill: {{timeout: 100ms}}, resources: {{cpu: 100m, memory: 16MiB}}}}\n"
    )
}

fn run(lab: &Lab, name: &str, kind: &str, seconds: &str) {
    let file = lab.dir.path().join(format!("{name}.yaml"));
    std::fs::write(&file, job(name, kind, seconds)).unwrap();
    lab.ok(&["run", file.to_str().unwrap()]);
}

#[test]
fn nodes_are_drained_as_planned_and_enabled() {
    if !root() {
        return;
    }
    let lab = Lab::up("2");
    wait_for_nodes(&lab, 2);
    a_node_is_emptied_as_planned_to_the_last_process(&lab);
    batch_work_holds_a_drain_up_until_it_is_forced(&lab);
    let missing = lab.command(&["drain", "nobody"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(3), "{}", text(&missing.stderr));
    assert!(text(&missing.stderr).contains("`berth node list` lists the nodes"), "{}", text(&missing.stderr));
}

fn a_node_is_emptied_as_planned_to_the_last_process(lab: &Lab) {
    let jobs = BTreeSet::from(["web", "logger"]);
    run(lab, "web", "service", WEB);
    run(lab, "logger", "system", LOGGER);
    wait_for_rest(lab, &jobs);
    let node = name(&lab.allocs("web")[0]["state"]["placement"]["node"]);
    let plan = json(lab, &["plan", "drain", &node]);
    let wanted = expected(picture(lab, &jobs), &plan);

    // While it is drained, one is ready at every moment.
    let mut drain = lab.command(&["drain", &node, "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    while drain.try_wait().unwrap().is_none() {
        let ready = lab.allocs("web").iter().filter(|alloc| alloc["state"]["ready"].is_string()).count();
        assert!(ready >= 1, "{:#?}", lab.allocs("web"));
    }
    let output = drain.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(shown["nodes"][0]["drain"]["done"].is_string(), "{shown:#}");
    assert_eq!((processes_with(&["sleep", WEB]).len(), processes_with(&["sleep", LOGGER]).len()), (1, 1));
    assert_eq!(picture(lab, &jobs), wanted);
    assert!(lab.ok(&["node", "list"]).contains("drained"));

    lab.ok(&["enable", &node]);
    wait_for_rest(lab, &jobs);
    assert!(!lab.ok(&["node", "list"]).contains("drained"));
}

fn batch_work_holds_a_drain_up_until_it_is_forced(lab: &Lab) {
    run(lab, "sum", "batch", SUM);
    let node = name(&lab.allocs("sum")[0]["state"]["placement"]["node"]);
    let held_up = lab.command(&["drain", &node, "--timeout", "2"]).output().unwrap();
    let told = text(&held_up.stderr);
    assert_eq!(held_up.status.code(), Some(4), "{told}");
    assert!(told.contains("1 node is not empty yet: ") && told.contains("1 of default/sum"), "{told}");
    assert!(lab.ok(&["node", "list"]).contains("draining"));
    who_follows_is_told_that_somebody_has_enabled_the_node(lab, &node);
    lab.ok(&["drain", &node, "--force"]);
    wait_for_rest(lab, &BTreeSet::from(["sum"]));
    let running: Vec<_> = lab.allocs("sum").into_iter().filter(|alloc| alloc["state"]["kind"] == "running").collect();
    assert_eq!(running.len(), 1, "{running:#?}");
    assert_ne!(name(&running[0]["state"]["placement"]["node"]), node);
}

fn who_follows_is_told_that_somebody_has_enabled_the_node(lab: &Lab, node: &str) {
    let mut follower = lab.command(&["drain", node, "--deadline", "1h"]);
    let follower = follower.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("a deadline", SOON, || json(lab, &["node", "show", node])["node"]["drain"]["deadline"].as_str().map(drop));
    lab.ok(&["enable", node]);
    let ended = follower.wait_with_output().unwrap();
    let told = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(4), "{told}");
    assert!(told.contains(&format!("not drained: somebody has enabled {node} meanwhile")), "{told}");
}
