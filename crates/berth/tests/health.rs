//! Checks of real tasks: what they do to being ready, to restarts and to updates, and that servers are not needed for them.
//! Each cluster has a range of ports of its own, since all of them are on this machine.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Cluster, id, image, root, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A web server in a container whose page is there from the start; readiness by HTTP, liveness by a program.
fn web(version: &str, page: &str) -> String {
    format!(
        "job: web
groups:
  - name: web
    restart: {{delay: 100ms}}
    tasks:
      - name: server
        image: '{}'
        command: [sh, -c, 'echo {version} > /berth/healthz; touch /tmp/alive; exec httpd -f -p $BERTH_PORT_HTTP -h /berth']
        resources: {{ports: {{http: dynamic}}}}
        kill: {{timeout: 1s}}
        checks:
          - name: page
            http: {{port: http, path: /{page}, headers: {{Accept: text/plain}}}}
            interval: 100ms
            failures: 2
          - kind: liveness
            exec: [test, -e, /tmp/alive]
            interval: 100ms
            timeout: 5s
            failures: 2
",
        image()
    )
}

fn start(cluster: &Cluster, text: &str) {
    let file = cluster.file("web.yaml", text);
    cluster.ok(&["run", file.to_str().unwrap(), "--detach"]);
}

fn ready(cluster: &Cluster, version: &str) -> Option<Value> {
    let running = cluster.allocs_in("web", "running");
    running.into_iter().find(|alloc| alloc["version"] == version && alloc["state"]["ready"].is_string())
}

fn check(alloc: &Value, name: &str) -> Value {
    alloc["tasks"]["server"]["checks"][name].clone()
}

#[test]
fn an_allocation_is_ready_while_its_page_is_there_and_restarted_when_it_is_dead() {
    if !root() {
        return;
    }
    let mut cluster = Cluster::start_with(&["--dynamic-ports", "33000-33099"]);
    start(&cluster, &web("one", "healthz"));
    let alloc = until("an allocation that is ready and alive", PATIENCE, || {
        ready(&cluster, "1").filter(|alloc| check(alloc, "liveness")["state"] == "passing")
    });
    let id = id(&alloc).to_owned();
    assert_eq!(check(&alloc, "page")["output"], "status 200 OK: one");

    cluster.ok(&["exec", &id, "--", "rm", "/berth/healthz"]);
    until("what is not ready", PATIENCE, || ready(&cluster, "1").is_none().then_some(()));
    let shown = cluster.ok(&["status", "web"]);
    assert!(shown.contains("task server: check page fails since ") && shown.contains("status 404"), "{shown}");
    let why = cluster.ok(&["why", &id]);
    assert!(why.contains("It is not ready: task server: check page fails since "), "{why}");
    let events = cluster.ok(&["events"]);
    assert!(events.contains("check page of task server of ") && events.contains("status 404"), "{events}");
    cluster.ok(&["exec", &id, "--", "sh", "-c", "echo two > /berth/healthz"]);
    let alloc = until("what is ready again", PATIENCE, || ready(&cluster, "1"));
    assert_eq!((support::id(&alloc), &alloc["tasks"]["server"]["restarts"]), (id.as_str(), &0.into()));

    // No server is needed for it.
    cluster.kill_server();
    let pid = &alloc["tasks"]["server"]["state"]["pid"];
    std::fs::remove_file(format!("/proc/{pid}/root/tmp/alive")).unwrap();
    let gone = || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(());
    until("the end of what is dead", PATIENCE, gone);
    cluster.start_server();
    let again = until("what was restarted", PATIENCE, || {
        ready(&cluster, "1").filter(|alloc| alloc["tasks"]["server"]["restarts"] == 1)
    });
    assert_eq!(support::id(&again), id);
    let exit = &again["tasks"]["server"]["last_exit"]["how"];
    assert_eq!(exit["failure"]["kind"], "unhealthy", "{exit}");
    let message = exit["failure"]["message"].as_str().unwrap();
    assert_eq!(message, "liveness check `liveness` failed 2 times in a row: status 1");
}

#[test]
fn an_update_goes_no_further_while_the_new_does_not_pass() {
    if !root() {
        return;
    }
    let cluster = Cluster::start_with(&["--dynamic-ports", "33100-33199"]);
    start(&cluster, &web("one", "healthz"));
    let old = until("a ready allocation", PATIENCE, || ready(&cluster, "1"));
    start(&cluster, &web("two", "nowhere"));
    until("a failing check", PATIENCE, || {
        let new = cluster.allocs_in("web", "running").into_iter().find(|alloc| alloc["version"] == "2")?;
        (check(&new, "page")["state"] == "failing").then_some(())
    });
    assert_eq!(ready(&cluster, "1").map(|alloc| id(&alloc).to_owned()), Some(id(&old).to_owned()));
    start(&cluster, &web("three", "healthz"));
    until("the last version alone", PATIENCE, || {
        let live = cluster.allocs_in("web", "running");
        (live.len() == 1 && ready(&cluster, "3").is_some()).then_some(())
    });
}

#[test]
fn what_has_started_by_its_file_is_reached_by_tcp_and_what_never_starts_fails_with_a_reason() {
    if !root() {
        return;
    }
    let cluster = Cluster::start_with(&["--dynamic-ports", "33200-33299"]);
    let job = |name: &str, starts: &str| {
        format!(
            "job: {name}
groups:
  - name: {name}
    restart: {{attempts: 0}}
    tasks:
      - name: server
        driver: exec
        command: [sh, -c, '{starts} exec busybox nc -ll -p $BERTH_PORT_LINE -e cat']
        resources: {{ports: {{line: dynamic}}}}
        kill: {{timeout: 0s}}
        checks:
          - {{kind: startup, file: /tmp/started, interval: 100ms, failures: 5}}
          - {{name: line, tcp: {{port: line}}, interval: 100ms}}
"
        )
    };
    start(&cluster, &job("web", "touch /tmp/started;"));
    let alloc = until("a ready allocation", PATIENCE, || ready(&cluster, "1"));
    assert_eq!(check(&alloc, "startup")["output"], "/tmp/started is there");
    assert!(check(&alloc, "line")["output"].as_str().unwrap().ends_with(" accepts connections"));

    start(&cluster, &job("never", ""));
    let ended = cluster.first_ended("never");
    let message = ended["state"]["outcome"]["failure"]["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "task `server` failed: startup check `startup` failed 5 times in a row: /tmp/started is not there"
        ),
        "{message}"
    );
}

#[test]
fn a_program_that_hangs_takes_what_it_began_with_it() {
    if !root() {
        return;
    }
    let cluster = Cluster::start_with(&["--dynamic-ports", "33300-33399"]);
    // A number that no other test sleeps for.
    let text = format!(
        "job: web
groups:
  - name: web
    tasks:
      - name: server
        image: '{}'
        command: [sleep, '100000']
        kill: {{timeout: 0s}}
        checks:
          - {{exec: [sh, -c, 'sleep 100533 | cat'], interval: 100ms, timeout: 200ms, failures: 2}}
",
        image()
    );
    start(&cluster, &text);
    let failures = |alloc: &Value| check(alloc, "readiness")["failures"].as_u64();
    let alloc = until("eight failures", PATIENCE, || {
        cluster.allocs_in("web", "running").into_iter().find(|alloc| failures(alloc) >= Some(8))
    });
    assert_eq!(check(&alloc, "readiness")["output"], "no answer within 200ms");
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line == b"sleep\x00100533\x00")
    });
    assert!(left.count() <= 2, "one that is being asked, and one that is being ended");
}
