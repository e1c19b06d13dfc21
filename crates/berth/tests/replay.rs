//! The journal of real work, with servers that die in it, replays to the same bytes.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use support::{Cluster, root, text};

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
    let segments = replayed["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2, "one for each start: {replayed:#}");
    for segment in segments {
        assert_eq!(segment["outcome"], "same", "{segment:#}");
        assert_eq!(segment["policy"], "balanced", "{segment:#}");
        let number = |key: &str| segment[key].as_str().unwrap().parse::<u64>().unwrap();
        // At least what the jobs of the segment took: how much comes together in one commit is a matter of timing.
        assert!(number("steps") > 10 && number("effects") > 5, "{segment:#}");
    }
    assert!(cluster.ok(&["replay", folder.to_str().unwrap()]).contains("the same"));
    other_policy(&cluster, &folder);
    no_secret_in(&cluster, &folder);
    damaged(&cluster, &folder);
}

/// On the one node that there is, no policy would have put anything elsewhere.
fn other_policy(cluster: &Cluster, folder: &Path) {
    let told = cluster.json(&["replay", folder.to_str().unwrap(), "--policy", "pack"]);
    for segment in told["segments"].as_array().unwrap() {
        let what_if = &segment["what_if"];
        assert_eq!(what_if["policy"], "pack", "{segment:#}");
        assert_eq!(what_if["placements"]["other"], "0", "{segment:#}");
        assert_eq!(what_if["then"]["placed"], what_if["instead"]["placed"], "{segment:#}");
        assert_eq!(what_if["then"]["waiting"], "0", "{segment:#}");
    }
    let text = cluster.ok(&["replay", folder.to_str().unwrap(), "--policy", "pack"]);
    assert!(text.contains("with policy pack") && text.contains("nodes in use"), "{text}");
}

/// The token opens the cluster, so nothing that may be handed on tells it; and nobody else may read what is there.
fn no_secret_in(cluster: &Cluster, folder: &Path) {
    let token = fs::read_to_string(cluster.path("server/token")).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let lines = unpacked(&fs::read(&path).unwrap());
        assert!(lines.contains("sleeper"), "this looks into the lines");
        assert!(!lines.contains(token.trim()), "the token is in {}", path.display());
    }
}

/// The lines of a segment, as `docs/replay.md` says how to read it.
fn unpacked(segment: &[u8]) -> String {
    let mut lines = Vec::new();
    let mut blocks = &segment[12..];
    while let Some(header) = blocks.get(..12) {
        let length = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        let Some(payload) = blocks.get(12..12 + length) else { break };
        lines.extend(zstd::decode_all(payload).unwrap());
        blocks = &blocks[12 + length..];
    }
    String::from_utf8(lines).unwrap()
}

/// A byte that is another one is told, with the other segments, and with its own status.
fn damaged(cluster: &Cluster, folder: &Path) {
    let mut segments: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let mut bytes = fs::read(&segments[0]).unwrap();
    bytes[2000] ^= 1;
    fs::write(&segments[0], bytes).unwrap();
    let output = cluster.berth(&["replay", folder.to_str().unwrap()]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot be read further") && told.contains("damaged at byte"), "{told}");
    assert!(told.contains("the same"), "{told}");
}
