//! `berth policy` against a real server: set, shown, refused, kept, and told by those who were placed by it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{Cluster, root};

/// The file that `docs/policy.md` sends people to.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/policies/quiet-nights.yaml");

#[test]
fn a_policy_is_set_shown_and_kept() {
    let mut cluster = Cluster::server_only();
    let shown = cluster.ok(&["policy", "show"]);
    assert!(shown.starts_with("policy balanced (the server's setting)\n"), "{shown}");

    let told = cluster.ok(&["policy", "set", EXAMPLE, "--check-version", "0"]);
    assert_eq!(told, "policy quiet-nights holds from now on, as version 1\n");
    assert_eq!(
        cluster.ok(&["policy", "set", EXAMPLE]),
        "policy quiet-nights holds already, as version 1; nothing changed\n"
    );
    let (status, told) = cluster.fails(&["policy", "set", "pack", "--check-version", "0"]);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("the policy is of version 1: somebody changed it"), "{told}");

    cluster.kill_server();
    cluster.start_server();
    let shown = cluster.ok(&["policy", "show"]);
    assert!(shown.starts_with("policy quiet-nights (version 1, since "), "{shown}");
    assert!(shown.contains("same_group     800\n") && shown.contains("\nin pool batch\n"), "{shown}");
    let json = cluster.json(&["policy", "show"]);
    assert_eq!((&json["name"], &json["version"]), (&"quiet-nights".into(), &"1".into()), "{json:#}");
    assert_eq!(json["spec"]["weights"]["failed_here"], 1500, "{json:#}");
    assert_eq!(json["cause"]["kind"], "command", "{json:#}");

    // What is shown is a file that means the same.
    let again = cluster.file("again.json", &json["spec"].to_string());
    assert_eq!(cluster.json(&["policy", "set", again.to_str().unwrap()])["changed"], false);
    assert!(cluster.ok(&["events"]).contains("policy quiet-nights holds, as version 1"));
    wrong_files(&cluster);
}

fn wrong_files(cluster: &Cluster) {
    let wrong = cluster.file("wrong.yaml", "policy: mine\nweights:\n  same_grup: 1\n");
    let (status, told) = cluster.fails(&["policy", "set", wrong.to_str().unwrap()]);
    assert_eq!(status, 2, "{told}");
    let wanted = format!("{}:3:3: weights: unknown key `same_grup`", wrong.display());
    assert!(told.contains(&wanted) && told.contains("did you mean `same_group`?"), "{told}");
    let (status, told) = cluster.fails(&["policy", "set", "balancd"]);
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("cannot read the policy file balancd"), "{told}");
    assert_eq!(cluster.json(&["policy", "show"])["version"], "1");
}

#[test]
fn what_is_placed_tells_the_policy_that_chose_its_node_and_the_journal_replays() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let run = |name: &str| {
        let text = format!(
            "job: {name}\ngroups:\n  - name: main\n    update: {{min_ready: 0s}}\n    tasks:\n      - {{name: sleeper, driver: exec, \
             command: [/bin/sleep, '100000'], resources: {{cpu: 10m, memory: 16MiB}}}}\n"
        );
        let file = cluster.file(&format!("{name}.yaml"), &text);
        cluster.ok(&["run", file.to_str().unwrap()]);
        let alloc = cluster.ready(name, 1)[0]["id"].as_str().unwrap().to_owned();
        cluster.ok(&["why", &alloc])
    };
    let before = run("before");
    assert!(before.contains("(policy balanced, 1 nodes considered)") && before.contains("utilisation"), "{before}");
    cluster.ok(&["policy", "set", "pack"]);
    let after = run("after");
    assert!(after.contains("(policy pack version 1, 1 nodes considered)") && after.contains("emptiness"), "{after}");
    let journal = cluster.path("server/journal");
    let replayed = cluster.json(&["replay", journal.to_str().unwrap(), "--policy", EXAMPLE]);
    let segment = &replayed["segments"][0];
    assert_eq!(segment["outcome"], "same", "{segment:#}");
    assert_eq!((&segment["policy"], &segment["policy_version"]), (&"balanced".into(), &"0".into()), "{segment:#}");
    assert_eq!(segment["what_if"]["policy"], "quiet-nights", "{segment:#}");
}
