//! The disk of a node: what a task may hold of it, and what is done when there is none left.

mod support;

use std::time::Duration;

use support::{Cluster, id, image, root, until};

#[test]
fn a_task_that_uses_more_disk_than_it_asked_for_fails_and_is_told_both_numbers() {
    if !root() {
        return;
    }
    let cluster = Cluster::start_with(&["--measure", "100ms"]);
    // One writes to the root of its container, one to its work folder; beside each a task that is content.
    let image = format!("image: '{}'", image());
    for (job, path, driver) in [("root", "/filled", image.as_str()), ("work", "/berth/filled", "driver: exec")] {
        let text = format!(
            "job: {job}
groups:
  - name: {job}
    update: {{min_ready: 0s}}
    restart: {{attempts: 0}}
    tasks:
      - name: greedy
        {driver}
        command: [sh, -c, 'head -c 3000000 /dev/zero > {path}; exec sleep 100000']
        resources: {{disk: 1MiB}}
        kill: {{timeout: 0s}}
      - name: content
        command: [sh, -c, 'head -c 300000 /dev/zero > /berth/filled; exec sleep 100000']
        resources: {{disk: 1MiB}}
        kill: {{timeout: 0s}}
",
        );
        let file = cluster.file(&format!("{job}.yaml"), &text);
        cluster.ok(&["run", file.to_str().unwrap(), "--detach"]);
        let ended = cluster.first_ended(job);
        let failure = &ended["state"]["outcome"]["failure"];
        assert_eq!(failure["kind"], "disk_exceeded", "{ended}");
        let message = failure["message"].as_str().unwrap();
        // How far the task came until it was looked at differs.
        let (used, wanted) = ("task `greedy` failed: used ", "MiB of disk, asked for 1MiB; ");
        assert!(message.starts_with(used) && message.contains(wanted), "{message}");
        let why = cluster.ok(&["why", id(&ended)]);
        assert!(why.contains(message) && why.contains("`resources.disk`"), "{why}");
        cluster.ok(&["stop", job]);
    }
}

#[test]
fn a_node_whose_disk_is_full_says_so_and_gets_nothing_new() {
    if !root() {
        return;
    }
    let cluster = Cluster::start_with(&["--disk-reserve", "1000000TiB"]);
    let conditions = until("a full disk", Duration::from_secs(60), || {
        let node = cluster.try_json(&["status", "n1"])?["node"].clone();
        node["conditions"].as_array().filter(|all| !all.is_empty()).cloned()
    });
    assert_eq!((conditions.len(), &conditions[0]["kind"]), (1, &"disk_full".into()));
    let since = conditions[0]["since"].as_str().unwrap_or_else(|| panic!("{conditions:?}"));
    let shown = cluster.ok(&["status", "n1"]);
    assert!(shown.contains(&format!("disk full since {since}: ")) && shown.contains("`disk_reserve`"), "{shown}");
    assert!(cluster.ok(&["node", "list"]).contains("ready, disk full"));

    let text = "job: next\ngroups: [{name: next, tasks: [{name: next, command: ['true']}]}]\n";
    let file = cluster.file("next.yaml", text);
    cluster.ok(&["run", file.to_str().unwrap(), "--detach"]);
    let alloc = until("its allocation", Duration::from_secs(60), || cluster.allocs_in("next", "waiting").pop());
    let why = cluster.ok(&["why", id(&alloc)]);
    assert!(why.contains("no node has room now") && why.contains("1 node: disk is full"), "{why}");
}
