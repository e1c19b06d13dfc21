//! A lab's life: a service on three nodes, one of which dies.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::lab::Lab;
use support::{cgroups, id, image, processes_with, root, text, until};

/// Within how many milliseconds the work of a dead node must run elsewhere, at default settings, on a machine that has
/// time for it.
const ELSEWHERE: i64 = 10_000;
/// Within which things have to come about at all.
const SOON: Duration = Duration::from_secs(60);

fn assert_commands_of_a_node_are_told(lab: &Lab) {
    let exec = |json: &[&str], command: &str| {
        let args = [&["lab", "exec", "--name", &lab.name], json, &["node-1", "--", "sh", "-c", command]].concat();
        let output = lab.command(&args).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(exec(&[], "echo out; echo err >&2; exit 7"), (7, "out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(exec(&[], "kill -9 $$").0, 128 + 9);
    let (status, told, _) = exec(&["--json"], "echo out; echo err >&2; kill -15 $$");
    let told: Value = serde_json::from_str(&told).unwrap();
    let wanted = serde_json::json!({"status": 128 + 15, "stdout": "out\n", "stderr": "err\n"});
    assert_eq!((status, told), (128 + 15, wanted));

    let env: Value = serde_json::from_str(&lab.ok(&["lab", "status", "--name", &lab.name, "--env", "--json"])).unwrap();
    assert_eq!(env, serde_json::json!({"BERTH_ADDR": lab.addr, "BERTH_CA": lab.ca, "BERTH_TOKEN": lab.token}));
}

fn assert_nothing_left(lab: &Lab) {
    let folder = lab.dir.path().join(&lab.name);
    assert!(!folder.exists(), "the folder is left");
    let links = std::fs::read_dir("/sys/class/net").unwrap().flatten();
    let links: Vec<String> = links.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!links.iter().any(|link| link.ends_with(&format!("-{}", lab.name))), "links are left: {links:?}");
    assert_eq!(cgroups(&format!("berth-lab-{}", lab.name)), Vec::<std::path::PathBuf>::new());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(lab.dir.path().to_str().unwrap()), "mounts are left:\n{mounts}");
}

fn node(alloc: &Value) -> &str {
    alloc["state"]["placement"]["node"]["name"].as_str().unwrap_or_default()
}

/// How many processes want each core; 1 on a machine that is not overloaded.
fn work_per_core() -> i64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let (load, _) = load.split_once('.').unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    (load.parse::<i64>().unwrap() / i64::try_from(cores).unwrap()).max(1)
}

fn is_ready(alloc: &Value) -> bool {
    alloc["state"]["ready"].is_string()
}

fn milliseconds(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// A copy of the image in this folder: a node has a /tmp of its own, and the project may lie in the host's.
fn image_for_nodes(folder: &Path) -> String {
    let copy = folder.join("image");
    let original = image();
    let original = original.trim_start_matches("oci:").trim_end_matches(":latest");
    assert!(Command::new("cp").arg("-a").arg(original).arg(&copy).status().unwrap().success());
    format!("oci:{}:latest", copy.display())
}

#[test]
fn the_work_of_a_lost_node_goes_on_elsewhere() {
    if !root() {
        return;
    }
    let lab = Lab::up("3");
    let file = lab.dir.path().join("web.yaml");
    let job = format!(
        "job: web
groups:
  - name: web
    count: 3
    update: {{min_ready: 0s}}
    tasks:
      - {{name: sleeper, image: '{}', command: [sleep, '100000']}}
",
        image_for_nodes(file.parent().unwrap())
    );
    std::fs::write(&file, job).unwrap();
    lab.ok(&["run", file.to_str().unwrap()]);
    let before: Vec<Value> = lab.allocs("web").into_iter().filter(is_ready).collect();
    let nodes: std::collections::BTreeSet<&str> = before.iter().map(node).collect();
    assert_eq!(nodes.len(), 3, "three allocations are spread over three nodes");

    assert_commands_of_a_node_are_told(&lab);

    let old = &before[0];
    let died = jiff::Timestamp::now().as_millisecond();
    lab.ok(&["lab", "kill", node(old), "--name", &lab.name]);
    let new = until("a replacement", SOON, || {
        lab.allocs("web").into_iter().find(|alloc| alloc["replaces"] == old["id"] && is_ready(alloc))
    });
    let after = milliseconds(&new["state"]["ready"]) - died;
    eprintln!("the work ran elsewhere after {after} ms");
    assert!(after <= ELSEWHERE * work_per_core(), "it took {after} ms");
    assert_ne!(node(&new), node(old));

    let lost = format!("node {}", node(old));
    let why_old = lab.ok(&["why", id(old)]);
    assert!(why_old.contains(&lost) || why_old.contains(node(old)), "{why_old}");
    assert!(why_old.contains("lost"), "{why_old}");
    let why_new = lab.ok(&["why", id(&new)]);
    assert!(why_new.contains(id(old)) && why_new.contains(node(old)) && why_new.contains("lost"), "{why_new}");
    for kept in &before[1..] {
        let now = lab.allocs("web").into_iter().find(|alloc| alloc["id"] == kept["id"]).unwrap();
        assert_eq!(now["tasks"], kept["tasks"], "another node's allocation was touched");
    }

    let shown: Value = serde_json::from_str(&lab.ok(&["lab", "status", "--name", &lab.name, "--json"])).unwrap();
    let inits = shown["nodes"].as_array().unwrap().iter().filter_map(|node| node["init_pid"].as_u64());
    let inits: Vec<(u64, u64)> = inits.map(|pid| (pid, support::started(pid).unwrap())).collect();
    assert_eq!(inits.len(), 3, "a server and two agents are on: {shown}");
    lab.ok(&["lab", "down", "--name", &lab.name]);
    assert_nothing_left(&lab);
    for (pid, start) in inits {
        assert_ne!(support::started(pid), Some(start), "a node's process is left");
    }
    assert_eq!(processes_with(&[lab.dir.path().to_str().unwrap()]), Vec::<u64>::new(), "processes are left");
    assert!(Path::new(&lab.dir.path()).exists());
}
