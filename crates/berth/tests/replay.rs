//! The journal of real work, with servers that die in it, replays to the same bytes.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{Cluster, root};

fn job(name: &str, count: u32, release: u32) -> String {
    format!(
        "job: {name}\ngroups:\n  - name: main\n    count: {count}\n    update: {{min_ready: 0s, max_parallel: 2}}\n    tasks:\n      \
         - {{name: sleeper, driver: exec, command: [/bin/sleep, '100000'], env: {{RELEASE: '{release}'}}, \
         resources: {{cpu: 10m, memory: 16MiB, ports: {{http: dynamic}}}}}}\n"
    )
}

fn run(cluster: &Cluster, name: &str, count: u32, release: u32) {
    let file = cluster.file(&format!("{name}.yaml"), &job(name, count, release));
    cluster.ok(&["run", file.to_str().unwrap()]);
}

#[test]
fn the_journal_of_work_with_a_restart_in_it_replays_to_the_same_bytes() {
    if !root() {
        return;
    }
    let mut cluster = Cluster::start();
    run(&cluster, "web", 3, 1);
    run(&cluster, "web", 4, 2);
    let pid = i32::try_from(cluster.ready("web", 4)[0]["tasks"]["sleeper"]["state"]["pid"].as_u64().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    cluster.kill_server();
    cluster.start_server();
    cluster.wait_for_agent();
    run(&cluster, "api", 2, 1);
    cluster.ok(&["stop", "web"]);
    let folder = cluster.path("server/journal");
    let replayed = cluster.json(&["replay", folder.to_str().unwrap()]);
    assert_eq!(replayed["segments"].as_array().unwrap().len(), 2, "one for each start: {replayed:#}");
    for segment in replayed["segments"].as_array().unwrap() {
        assert!(segment.get("difference").is_none(), "{segment:#}");
        let number = |key: &str| segment[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(number("steps") > 20 && number("effects") > 20, "{segment:#}");
    }
    assert!(cluster.ok(&["replay", folder.to_str().unwrap()]).contains("the same"));
}
