//! What runs does not notice the death of what looks after it: kills of agent, server and shims, with real containers.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::{Cluster, id, image, process, processes_with, root, signal, started, until};

/// How many containers run through the kills.
const CONTAINERS: usize = 20;
/// Within which things have to come about.
const SOON: Duration = Duration::from_secs(60);

/// The container of every allocation, by the allocation.
fn processes(allocs: &[Value]) -> BTreeMap<String, (u64, u64)> {
    allocs.iter().map(|alloc| (id(alloc).to_owned(), process(alloc, "writer"))).collect()
}

/// The numbers of the lines that an allocation wrote.
fn numbers(cluster: &Cluster, alloc: &str) -> Vec<u64> {
    let lines = cluster.ok(&["logs", alloc]);
    lines.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect()
}

/// All 20 are the processes they were, the server says so, and they have gone on writing.
fn assert_untouched(cluster: &Cluster, before: &BTreeMap<String, (u64, u64)>, after_what: &str) {
    cluster.wait_for_agent();
    let allocs = cluster.allocs("many");
    assert_eq!(allocs.len(), CONTAINERS, "after {after_what}");
    for alloc in &allocs {
        assert!(alloc["state"]["ready"].is_string(), "after {after_what}: {alloc}");
        assert_eq!(alloc["tasks"]["writer"]["restarts"], 0, "after {after_what}: {alloc}");
    }
    assert_eq!(&processes(&allocs), before, "after {after_what}");
    for alloc in before.keys() {
        let seen = numbers(cluster, alloc).len();
        until("further lines", SOON, || (numbers(cluster, alloc).len() > seen).then_some(()));
    }
}

#[test]
fn twenty_containers_outlive_their_keepers() {
    if !root() {
        return;
    }
    let mut cluster = Cluster::start();
    let job = cluster.file(
        "many.yaml",
        &format!(
            "job: many
groups:
  - name: many
    count: {CONTAINERS}
    update: {{min_ready: 0s, max_parallel: {CONTAINERS}}}
    tasks:
      - name: writer
        image: {}
        command: [sh, -c, 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done']
        resources: {{cpu: 20m, memory: 16MiB, disk: 8MiB}}
        kill: {{timeout: 500ms}}
",
            image()
        ),
    );
    cluster.ok(&["run", job.to_str().unwrap()]);
    let before = processes(&cluster.ready("many", CONTAINERS));

    cluster.kill_agent();
    cluster.start_agent();
    assert_untouched(&cluster, &before, "the agent's death");

    cluster.kill_server();
    cluster.start_server();
    assert_untouched(&cluster, &before, "the server's death");

    cluster.kill_server();
    cluster.kill_agent();
    cluster.start_server();
    cluster.start_agent();
    assert_untouched(&cluster, &before, "the death of both");

    for alloc in before.keys() {
        let numbers = numbers(&cluster, alloc);
        let wanted: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, wanted, "{alloc} has lost lines, or has some twice");
    }
    cluster.ok(&["stop", "many"]);
    for (pid, start) in before.into_values() {
        assert_ne!(started(pid), Some(start), "a container outlived its job");
    }
}

#[test]
fn an_exit_while_the_agent_is_dead_is_reported_afterwards() {
    if !root() {
        return;
    }
    let mut cluster = Cluster::start();
    let wait = "trap 'exit 0' USR1; trap 'exit 7' USR2; echo ready; while :; do sleep 0.1; done";
    for (name, kind) in [("done", "batch"), ("again", "service")] {
        let text = format!(
            "job: {name}
kind: {kind}
groups:
  - name: only
    update: {{min_ready: 0s}}
    restart: {{delay: 100ms}}
    tasks:
      - {{name: only, image: '{}', command: [sh, -c, \"{wait}\"], kill: {{timeout: 500ms}}}}
",
            image()
        );
        let job = cluster.file(&format!("{name}.yaml"), &text);
        cluster.ok(&["run", job.to_str().unwrap()]);
    }
    let says_ready =
        |name: &str| until("the task's trap", SOON, || cluster.ok(&["logs", name]).contains("ready").then_some(()));
    says_ready("done");
    says_ready("again");
    let done = process(&cluster.ready("done", 1)[0], "only");
    let again = process(&cluster.ready("again", 1)[0], "only");

    cluster.kill_agent();
    signal(done.0, Signal::USR1);
    signal(again.0, Signal::USR2);
    for (pid, start) in [done, again] {
        until("the end of the task", SOON, || (started(pid) != Some(start)).then_some(()));
    }
    cluster.start_agent();

    let alloc = cluster.first_ended("done");
    assert_eq!(alloc["state"]["outcome"]["kind"], "complete", "{alloc}");
    assert_eq!(alloc["tasks"]["only"]["last_exit"]["how"], serde_json::json!({"kind": "status", "status": 0}));
    let alloc = until("a restart", SOON, || {
        cluster.allocs("again").into_iter().find(|alloc| alloc["tasks"]["only"]["restarts"] == 1)
    });
    assert_eq!(alloc["tasks"]["only"]["last_exit"]["how"], serde_json::json!({"kind": "status", "status": 7}));
}

#[test]
fn a_killed_shim_is_named_and_its_task_started_again() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let job = cluster.file(
        "kept.yaml",
        &format!(
            "job: kept
groups:
  - name: kept
    update: {{min_ready: 0s}}
    restart: {{delay: 100ms}}
    tasks:
      - {{name: sleeper, image: '{}', command: [sleep, '100000'], kill: {{timeout: 500ms}}}}
",
            image()
        ),
    );
    cluster.ok(&["run", job.to_str().unwrap()]);
    let alloc = &cluster.ready("kept", 1)[0];
    let (pid, start) = process(alloc, "sleeper");
    let shims = processes_with(&["shim", cluster.dir.path().to_str().unwrap(), &format!("/{}", id(alloc))]);
    let [shim] = shims.as_slice() else { panic!("not one shim of {alloc}: {shims:?}") };
    signal(*shim, Signal::KILL);

    let named = until("the loss of the shim", SOON, || {
        cluster
            .allocs("kept")
            .into_iter()
            .find(|alloc| alloc["tasks"]["sleeper"]["last_exit"]["how"]["failure"]["kind"] == "shim_lost")
    });
    until("the end of what the shim kept", SOON, || (started(pid) != Some(start)).then_some(()));
    until("a new process", SOON, || {
        let alloc = cluster.allocs("kept").into_iter().find(|alloc| alloc["state"]["kind"] == "running")?;
        let new = alloc["tasks"]["sleeper"]["state"]["pid"].as_u64()?;
        (new != pid).then_some(())
    });
    let why = cluster.ok(&["why", id(&named)]);
    assert!(why.contains("shim"), "{why}");
}
