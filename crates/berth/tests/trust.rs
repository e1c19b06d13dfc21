//! A node's way into the cluster and out of it, with the real programs: joining, renewing, being shut out, coming back.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::time::Duration;

use support::{BERTH, Cluster, process, root, text, until};

const SOON: Duration = Duration::from_secs(60);

const WORK: &str = "job: work
groups:
  - name: work
    update: {min_ready: 0s}
    tasks:
      - name: sleeper
        driver: exec
        command: [/bin/sh, -c, 'echo here; exec sleep 1000003']
        kill: {timeout: 100ms}
        resources: {cpu: 100m, memory: 16MiB}
";

fn node_is(cluster: &Cluster, state: &str) {
    until(&format!("a node that is {state}"), SOON, || {
        let nodes = cluster.try_json(&["node", "list"])?;
        nodes["nodes"].as_array()?.iter().all(|node| node["state"]["kind"] == state).then_some(())
    });
}

/// An agent that ends at once, and what it said.
fn refused(cluster: &Cluster, flags: &[&str]) -> String {
    let data = cluster.path("refused");
    let args = ["agent", "--data-dir", data.to_str().unwrap(), "--server", &cluster.addr, "--name", "n1"];
    let output = std::process::Command::new(BERTH).args(args).args(flags).output().unwrap();
    assert!(!output.status.success());
    text(&output.stderr)
}

#[test]
fn a_node_joins_works_is_shut_out_and_comes_back() {
    if !root() {
        return;
    }
    let mut cluster = Cluster::secured();
    let told = refused(&cluster, &[]);
    assert!(told.contains("berth token create --role agent --node n1"), "{told}");

    let token = cluster.ok(&["token", "create", "--role", "agent"]);
    let file = cluster.file("join-token", &token);
    cluster.start_agent();
    cluster.wait_for_node();
    let job = cluster.file("work.yaml", WORK);
    cluster.ok(&["run", job.to_str().unwrap()]);
    let alloc = cluster.ready("work", 1).remove(0);
    until("the task's words", SOON, || (cluster.ok(&["logs", "work"]) == "here\n").then_some(()));
    assert_eq!(cluster.ok(&["exec", "work", "--", "echo", "inside"]), "inside\n");

    // The token is used up; and the agent that has used it needs it no more.
    let told = refused(&cluster, &["--join-token-file", file.to_str().unwrap()]);
    assert!(told.contains("was used by another machine"), "{told}");
    fs::remove_file(&file).unwrap();
    cluster.kill_agent();
    cluster.start_agent();
    cluster.wait_for_agent();
    // Under another authority, after a restart of both.
    cluster.ok(&["ca", "rotate"]);
    cluster.kill_server();
    cluster.kill_agent();
    cluster.start_server();
    cluster.start_agent();
    cluster.wait_for_agent();
    assert_eq!(process(&cluster.ready("work", 1)[0], "sleeper"), process(&alloc, "sleeper"));

    cluster.ok(&["node", "revoke", "n1"]);
    node_is(&cluster, "lost");
    assert_eq!(cluster.allocs_in("work", "waiting").len(), 1);
    until("a reason in the agent's log", SOON, || {
        fs::read_to_string(cluster.path("agent.log")).unwrap().contains("was shut out at").then_some(())
    });
    let (status, told) = cluster.fails(&["node", "revoke", "n1"]);
    assert_eq!(status, 3, "{told}");

    let again = cluster.ok(&["token", "create", "--role", "agent"]);
    cluster.file("join-token", &again);
    cluster.kill_agent();
    cluster.start_agent();
    node_is(&cluster, "ready");
    cluster.ready("work", 1);
    cluster.ok(&["stop", "work"]);

    // No secret is anywhere but where it belongs.
    let logs = ["server.log", "agent.log"].map(|log| fs::read_to_string(cluster.path(log)).unwrap()).concat();
    let secrets = [token.as_str(), &again, &fs::read_to_string(cluster.path("server/sealing.key")).unwrap()];
    for secret in secrets {
        let secret = secret.trim().split('.').nth(1).unwrap_or(secret.trim());
        assert!(secret.len() > 40 && !logs.contains(secret));
    }
}
