//! The command line as people and scripts meet it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{BERTH, Cluster, id, image, process, root, signal, started, text, until};

/// Within which things have to come about.
const SOON: Duration = Duration::from_secs(60);

/// A command that goes on; killed with the test.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command whose output is read as it comes.
fn follow(cluster: &Cluster, args: &[&str]) -> (Follower, Lines<BufReader<ChildStdout>>) {
    let mut child = cluster.command(args).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (Follower(child), lines)
}

/// Runs `berth` without any cluster; it must succeed.
fn berth(args: &[&str]) -> String {
    let output = Command::new(BERTH).args(args).env("BERTH_ADDR", "http://127.0.0.1:1").output().unwrap();
    assert!(output.status.success(), "berth {args:?} failed: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_shows_an_example_in_its_help() {
    let mut looked = 0;
    let mut left: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(command) = left.pop() {
        let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
        args.push("--help");
        let help = berth(&args);
        assert!(help.contains("Example: ") && help.contains("berth"), "berth {args:?} has no example:\n{help}");
        left.extend(subcommands(&help).into_iter().map(|name| [command.clone(), vec![name]].concat()));
        looked += 1;
    }
    assert!(looked > 20, "only {looked} commands were found");
}

#[test]
fn the_schema_is_the_documented_one() {
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/job-schema.json");
    let documented = std::fs::read_to_string(documented).unwrap();
    assert_eq!(berth(&["schema"]), documented, "`berth schema` and docs/job-schema.json differ");
}

#[test]
fn what_needs_no_cluster_works_without_one() {
    let version: Value = serde_json::from_str(&berth(&["version", "--json"])).unwrap();
    assert_eq!(version, serde_json::json!({"version": env!("CARGO_PKG_VERSION")}));

    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("berth.bash");
    std::fs::write(&script, berth(&["completions", "bash"])).unwrap();
    let check = Command::new("bash").args(["-c", "source \"$1\"; complete -p berth", "bash"]).arg(&script).output();
    let check = check.unwrap();
    assert!(text(&check.stdout).contains("berth"), "bash does not complete berth: {}", text(&check.stderr));
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_reader_that_went_away_is_none() {
    for args in [&["version"][..], &["version", "--json"], &["schema"], &["completions", "bash"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(BERTH).args(args).stdout(full).output().unwrap();
        let wanted = "berth: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), wanted.to_owned()), "{args:?}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(BERTH).args(args).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{args:?}");
    }
}

#[test]
fn a_role_that_runs_tasks_refuses_to_start_without_root() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let data = dir.path().join("data");
    for (role, more) in [("dev", &[][..]), ("agent", &["--token-file", token.to_str().unwrap()][..])] {
        // In a user namespace without a mapping nobody is root.
        let args = ["--user", BERTH, role, "--data-dir", data.to_str().unwrap()];
        let output = Command::new("unshare").args(args).args(more).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{told}");
        assert!(told.contains(&format!("`berth {role}` needs root")) && told.contains("run it with sudo"), "{told}");
        assert!(!data.exists() && output.stdout.is_empty(), "it refuses before it does anything");
    }
}

#[test]
fn the_program_needs_no_library_that_a_machine_may_lack() {
    let output = Command::new("ldd").arg(BERTH).output().unwrap();
    let needed = text(&output.stdout);
    assert!(needed.contains("libc.so"), "{needed}");
    let known = ["linux-vdso", "ld-linux", "libc.so", "libm.so", "libgcc_s.so"];
    let strange: Vec<&str> = needed.lines().filter(|line| !known.iter().any(|name| line.contains(name))).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn a_server_tells_its_settings_and_where_they_were_taken_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    std::fs::write(&file, "policy = \"pack\"\nheartbeat = \"2s\"\nbind = \"127.0.0.1:1\"\n").unwrap();
    let args = ["server", "--print-config", "--config", file.to_str().unwrap(), "--bind", "127.0.0.1:2"];
    let output = Command::new(BERTH).args(args).env("BERTH_HEARTBEAT", "3s").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let wanted = "data_dir = \"/var/lib/berth/server\"  # default
bind = \"127.0.0.1:2\"  # flag
policy = \"pack\"  # file FILE
preempt_max = \"10\"  # default
heartbeat = \"3s\"  # variable BERTH_HEARTBEAT
heartbeat_grace = \"5s\"  # default
clock_drift = \"200\"  # default
keep_ended = \"24h\"  # default
keep_ended_max = \"10000\"  # default
keep_ledger = \"20000\"  # default
keep_commands = \"24h\"  # default
journal_max = \"1GiB\"  # default
tls = \"auto\"  # default
# sealing_key_file is not set
# sealing_key_command is not set
certificate_grace = \"30d\"  # default
# join is not set
# join_token_file is not set
# advertise is not set
# etcd is not set
etcd_prefix = \"berth/\"  # default
# etcd_ca is not set
# etcd_cert is not set
# etcd_key is not set
# etcd_user is not set
# etcd_password_file is not set
";
    assert_eq!(text(&output.stdout).replace(file.to_str().unwrap(), "FILE"), wanted);
}

#[test]
fn a_user_can_follow_enter_and_stop_a_task() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let file = cluster.file(
        "talk.yaml",
        &format!(
            "job: talk
groups:
  - name: talk
    update: {{min_ready: 0s}}
    tasks:
      - name: talk
        image: '{}'
        command: [sh, -c, \"trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.1; done\"]
",
            image()
        ),
    );
    cluster.ok(&["run", file.to_str().unwrap()]);
    let alloc = &cluster.ready("talk", 1)[0];
    let (pid, start) = process(alloc, "talk");

    let (mut follower, mut lines) = follow(&cluster, &["logs", "-f", "talk"]);
    assert_eq!(lines.next().unwrap().unwrap(), "begun");

    let exec = |command: &[&str]| cluster.berth(&[&["exec", id(alloc), "--"], command].concat());
    let output = exec(&["sh", "-c", "echo out; echo err >&2; exit 42"]);
    let said = (output.status.code(), text(&output.stdout), text(&output.stderr));
    assert_eq!(said, (Some(42), "out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(exec(&["sh", "-c", "kill -9 $$"]).status.code(), Some(128 + 9));
    let output = cluster.berth(&["exec", "--json", id(alloc), "--", "sh", "-c", "echo out; echo err >&2; exit 42"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let wanted = serde_json::json!({"status": 42, "stdout": "out\n", "stderr": "err\n"});
    assert_eq!((output.status.code(), told, text(&output.stderr)), (Some(42), wanted, String::new()));

    let mut counting = cluster.command(&["exec", id(alloc), "--", "wc", "-c"]);
    let mut counting = counting.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Far more than any buffer on the way holds.
    let piped = vec![b'x'; 3 << 20];
    counting.stdin.take().unwrap().write_all(&piped).unwrap();
    let output = counting.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout).trim(), piped.len().to_string());

    // The end of a command is the end, also where somebody could type more.
    let mut ended = cluster.command(&["exec", id(alloc), "--", "true"]).stdin(Stdio::piped()).spawn().unwrap();
    assert!(until("the end of `exec`", SOON, || ended.try_wait().unwrap()).success());

    // What is typed reaches a command that never stops writing.
    let mut flood = cluster.command(&["exec", id(alloc), "--", "sh", "-c", "yes & read word; kill $!"]);
    let mut flood = flood.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut written = flood.stdout.take().unwrap();
    written.read_exact(&mut vec![0; 4 << 20]).unwrap();
    flood.stdin.take().unwrap().write_all(b"stop\n").unwrap();
    let rest = std::thread::spawn(move || std::io::copy(&mut written, &mut std::io::sink()));
    let status = until("the end of what floods", SOON, || flood.try_wait().unwrap());
    assert!(status.success());
    rest.join().unwrap().unwrap();

    assert_eq!(cluster.ok(&["stop", "talk"]), "talk has stopped\n");
    assert_ne!(started(pid), Some(start), "the task was not stopped");
    assert_eq!(lines.next().unwrap().unwrap(), "ended");
    assert!(lines.next().is_none(), "the log went on after its task");
    let status = until("the end of `logs -f`", SOON, || follower.0.try_wait().unwrap());
    assert!(status.success());
    assert_eq!(cluster.ok(&["logs", id(alloc)]), "begun\nended\n");
}

#[test]
fn stop_ends_when_its_time_is_over() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let deaf = "trap '' TERM; trap 'exit 0' USR1; echo deaf; while :; do sleep 0.1; done";
    let file = cluster.file(
        "deaf.yaml",
        &format!(
            "job: deaf\ngroups:\n  - name: deaf\n    update: {{min_ready: 0s}}\n    tasks:\n      \
             - {{name: deaf, command: [/bin/sh, -c, \"{deaf}\"], kill: {{timeout: 5m}}}}\n"
        ),
    );
    cluster.ok(&["run", file.to_str().unwrap()]);
    let (pid, _) = process(&cluster.ready("deaf", 1)[0], "deaf");
    until("the task's traps", SOON, || cluster.ok(&["logs", "deaf"]).contains("deaf").then_some(()));

    let (status, told) = cluster.fails(&["stop", "--timeout", "0", "deaf"]);
    let wanted = "berth: deaf has not ended after 0 seconds: 1 allocations are left; it goes on without being followed: \
                  `berth status deaf`";
    assert_eq!((status, told.trim_end()), (4, wanted));
    signal(pid, rustix::process::Signal::USR1);
    assert_eq!(cluster.ok(&["stop", "deaf"]), "deaf has stopped\n");
}

#[test]
fn a_terminal_that_does_not_tell_its_width_gets_whole_words() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let cluster = Cluster::server_only();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let other = std::fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    assert!(cluster.command(&["status"]).stdout(other.try_clone().unwrap()).status().unwrap().success());
    drop(other);
    let mut shown = Vec::new();
    // Linux ends the output of a terminal that nobody has open with an error.
    assert_eq!(std::fs::File::from(terminal).read_to_end(&mut shown).unwrap_err().raw_os_error(), Some(5));
    let shown = text(&shown);
    assert!(shown.starts_with("nodes: 0 ready"), "{shown}");
    let table = BufReader::new(shown.as_bytes()).lines().nth(2).unwrap().unwrap();
    assert!(table.starts_with("JOB  KIND  VERSION  STATE"), "{shown}");
}

#[test]
fn events_are_lines_of_json_in_order() {
    let cluster = Cluster::server_only();
    let file = cluster.file("a.yaml", "job: a\ngroups: [{name: g, tasks: [{name: t, command: [/bin/true]}]}]\n");
    let (_follower, mut followed) = follow(&cluster, &["events", "-f", "--json"]);
    cluster.ok(&["run", "--detach", file.to_str().unwrap()]);
    cluster.ok(&["stop", "a"]);

    let events = cluster.ok(&["events", "--json"]);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() >= 3, "{events:?}");
    for event in &events {
        assert!(event["id"].is_string() && event["at"].is_string() && event["cause"]["kind"].is_string(), "{event}");
        let same: Value = serde_json::from_str(&followed.next().unwrap().unwrap()).unwrap();
        assert_eq!(&same, event, "the follower heard something else");
    }
    let times: Vec<&str> = events.iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn run_follows_a_change_of_count_which_restarts_nothing() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let job = |count: u32| {
        let text = format!(
            "job: many\ngroups:\n  - name: many\n    count: {count}\n    update: {{min_ready: 100ms}}\n    tasks:\n      \
             - name: sleep\n        command: [/bin/sleep, '1000']\n        kill: {{timeout: 100ms}}\n"
        );
        cluster.file("many.yaml", &text)
    };
    let mut kept = Vec::new();
    for count in [2, 4, 1] {
        let file = job(count);
        let ran = cluster.json(&["run", "--timeout", "60", file.to_str().unwrap()]);
        let allocs: Vec<String> = ran["allocs"].as_array().unwrap().iter().map(|alloc| id(alloc).to_owned()).collect();
        assert_eq!(allocs.len(), count as usize, "{ran}");
        let common = allocs.iter().filter(|alloc| kept.contains(*alloc)).count();
        assert_eq!(common, kept.len().min(allocs.len()), "{kept:?} became {allocs:?}");
        kept = allocs;
    }
}

#[test]
fn an_update_that_fails_is_told_at_once() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let job = |task: &str| {
        let text = format!(
            "job: up\ngroups:\n  - name: up\n    update: {{min_ready: 0s}}\n    tasks:\n      \
             - {{name: up, {task}, kill: {{timeout: 100ms}}}}\n"
        );
        cluster.file("up.yaml", &text)
    };
    cluster.ok(&["run", job("command: [/bin/sleep, '1000']").to_str().unwrap()]);
    let (status, told) = cluster.fails(&["run", "--timeout", "60", job("image: 'oci:/nowhere:1'").to_str().unwrap()]);
    assert_eq!(status, 4, "{told}");
    assert!(told.starts_with("berth: up: a1-") && told.contains(" failed: not made ready: "), "{told}");
    assert_eq!(cluster.ready("up", 1)[0]["version"], "1", "the old one goes on");
}

#[test]
fn a_state_is_moved_only_where_an_etcd_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for way in ["to-etcd", "to-file"] {
        let output = Command::new(BERTH).args(["store", way, "--data-dir"]).arg(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("say where it is with --etcd"), "{}", text(&output.stderr));
    }
}
