//! The disk of a node: what a task may hold of it, and what is done when there is none left.

mod support;

use support::{Cluster, id, image, root};

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
