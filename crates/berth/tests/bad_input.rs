//! What goes wrong is told with its cause, in the same words each time.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{BERTH, Cluster, id, image, process, root, started, text, until};

/// A batch job of one task that is not tried again.
fn job(name: &str, image: &str, task: &str) -> String {
    format!(
        "job: {name}
kind: batch
groups:
  - name: only
    restart: {{attempts: 0}}
    tasks:
      - {{name: only, image: '{image}', {task}}}
"
    )
}

/// Runs a job that must fail, and gives its allocation's first failure as kind and sentence. Checks on the way that
/// `status` and `why` tell it.
fn failure(cluster: &Cluster, name: &str, text: &str) -> (String, String) {
    let file = cluster.file(&format!("{name}.yaml"), text);
    cluster.ok(&["run", "--detach", file.to_str().unwrap()]);
    let alloc: Value = cluster.first_ended(name);
    assert_eq!(alloc["state"]["outcome"]["kind"], "failed", "{alloc}");
    let failure = &alloc["state"]["outcome"]["failure"];
    let message = failure["message"].as_str().unwrap().to_owned();
    for command in ["status", "why"] {
        let told = cluster.ok(&[command, id(&alloc)]);
        assert!(told.contains(&message), "`berth {command}` does not tell {message:?}: {told}");
    }
    (failure["kind"].as_str().unwrap().to_owned(), message)
}

fn assert_failure(cluster: &Cluster, name: &str, text: &str, kind: &str, message: &str) {
    assert_eq!(failure(cluster, name, text), (kind.to_owned(), message.to_owned()));
}

/// A copy of the image whose layer has one wrong byte; its folder, the layer's digest, and what it has now.
fn damaged_image(cluster: &Cluster) -> (PathBuf, String, String) {
    let copy = cluster.path("damaged");
    let original = image();
    let original = original.trim_start_matches("oci:").trim_end_matches(":latest");
    assert!(Command::new("cp").arg("-a").arg(original).arg(&copy).status().unwrap().success());
    let blobs = fs::read_dir(copy.join("blobs/sha256")).unwrap().flatten();
    let layer = blobs.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path();
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let sum = text(&Command::new("sha256sum").arg(&layer).output().unwrap().stdout);
    (copy, layer.file_name().unwrap().to_str().unwrap().to_owned(), sum[..64].to_owned())
}

#[test]
fn an_image_that_is_not_there_is_named() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let text = job("unreadable", "oci:/nonexistent/image:latest", "");
    let message = "not made ready: image oci:/nonexistent/image:latest: \
                   cannot read /nonexistent/image/index.json: No such file or directory (os error 2)";
    assert_failure(&cluster, "unreadable", &text, "image", message);
}

#[test]
fn a_damaged_image_is_told_from_a_good_one() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let (damaged, expected, found) = damaged_image(&cluster);
    let damaged = format!("oci:{}:latest", damaged.display());
    let text = job("damaged", &damaged, "");
    let message = format!(
        "not made ready: image {damaged}: the layer is not what its digest says: \
         expected sha256:{expected}, got sha256:{found}"
    );
    assert_failure(&cluster, "damaged", &text, "image_digest", &message);
}

#[test]
fn a_task_that_cannot_run_says_why() {
    if !root() {
        return;
    }
    let cluster = Cluster::start();
    let image = image();

    let text = job("nobody-there", &image, "user: nosuch, command: ['true']");
    let message = "task `only` failed: no user `nosuch` in /etc/passwd of the image; name one that is there, \
                   or give its number; its restart policy allows no restart";
    assert_failure(&cluster, "nobody-there", &text, "no_such_user", message);

    let text = job("nothing-there", &image, "command: [no-such-program, x]");
    let message = "task `only` failed: cannot run `no-such-program`: No such file or directory; the first word of \
                   the task's command must name a program in its own files, by path or in one of the folders of \
                   PATH; its restart policy allows no restart";
    assert_failure(&cluster, "nothing-there", &text, "no_such_command", message);

    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = job("port", &image, &format!("command: ['true'], resources: {{ports: {{http: {port}}}}}"));
    let message = format!(
        "task `only` failed: port {port}, which task only asks for, is taken on this node by something else; \
         end that, or ask for another port or a dynamic one; its restart policy allows no restart"
    );
    assert_failure(&cluster, "port", &text, "port_taken", &message);

    let text = job("memory", &image, "command: [tail, /dev/zero], resources: {memory: 16MiB}");
    let message = "task `only` was killed by the kernel for its memory limit; its restart policy allows no restart";
    assert_failure(&cluster, "memory", &text, "out_of_memory", message);

    let text = job("status", &image, "command: [sh, -c, 'exit 7']");
    let message = "task `only` ended with status 7; its restart policy allows no restart";
    assert_failure(&cluster, "status", &text, "exit", message);
    // `run` follows until every further try has failed too, which takes a while: once is enough.
    let (status, told) = cluster.fails(&["run", cluster.path("status.yaml").to_str().unwrap()]);
    assert_eq!(status, 4, "{told}");
    assert!(told.contains(message), "`berth run` does not tell {message:?}: {told}");
}

#[test]
fn a_full_disk_is_named_as_such() {
    if !root() {
        return;
    }
    // The image's layer alone is larger.
    let cluster = Cluster::start_on_tmpfs("700k", &["--disk", "10GiB"]);
    let (kind, message) = failure(&cluster, "full", &job("full", &image(), "command: ['true']"));
    assert_eq!(kind, "disk_full");
    // Between them stand the name of a temporary folder and the file; behind them, sizes.
    let (begin, end) = message.split_once("/agent/images/tmp/").unwrap_or_else(|| panic!("{message}"));
    let folder = cluster.dir.path().display();
    let wanted = format!("not made ready in 4 tries: image {}: the disk is full: cannot write {folder}", image());
    assert_eq!(begin, wanted);
    assert!(end.contains(" wanted, ") && end.ends_with(" free"), "{message}");
}

#[test]
fn a_task_that_fills_the_disk_can_be_stopped() {
    if !root() {
        return;
    }
    let cluster = Cluster::start_on_tmpfs("24m", &["--disk", "10GiB"]);
    let text = "job: greedy
groups:
  - name: greedy
    update: {min_ready: 0s}
    tasks:
      - name: greedy
        command: [sh, -c, 'cat /dev/zero > /berth/all; exec sleep 100000']
        kill: {timeout: 500ms}
";
    let file = cluster.file("greedy.yaml", text);
    cluster.ok(&["run", file.to_str().unwrap()]);
    let (pid, start) = process(&cluster.ready("greedy", 1)[0], "greedy");
    let disk = format!("/proc/{}/root{}", cluster.agent_pid(), cluster.path("agent").display());
    until("a full disk", Duration::from_secs(60), || {
        (rustix::fs::statvfs(disk.as_str()).unwrap().f_bavail == 0).then_some(())
    });
    cluster.ok(&["stop", "greedy"]);
    assert_ne!(started(pid), Some(start), "it still runs");
    assert_eq!(cluster.first_ended("greedy")["state"]["outcome"]["kind"], "stopped");
    let text = text.replace("greedy", "next").replace("cat /dev/zero > /berth/all; ", "");
    let file = cluster.file("next.yaml", &text);
    cluster.ok(&["run", file.to_str().unwrap()]);
    cluster.ready("next", 1);
}

#[test]
fn a_broken_job_file_is_shown_by_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("job.yaml");
    fs::write(&file, "job: web\ngroups:\n  - name: web\n    cuont: 3\n    tasks: [{name: t, command: [/bin/true]}]\n")
        .unwrap();
    let (status, told) = run(&file, "http://127.0.0.1:1", "x");
    assert_eq!(status, 2, "{told}");
    let wanted = format!(
        "berth: {}:4:5: groups[0]: unknown key `cuont`: expected one of `name`, `count`, `constraints`, \
         `distinct_hosts`, `at_most`, `affinity`, `anti_affinity`, `prefer`, `spread`, `gang`, `network`, `restart`, \
         `update`, `on_partition`, `replace_after`, `lease`, `tasks`, `meta`; did you mean `count`?\n \
         4 |     cuont: 3\n   |     ^\n",
        file.display()
    );
    assert_eq!(told.trim_end(), wanted.trim_end());
}

#[test]
fn a_command_that_fails_has_its_own_exit_status() {
    let mut cluster = Cluster::server_only();
    let fails = |args: &[&str], status: i32, message: &str| {
        let (got, told) = cluster.fails(args);
        assert_eq!((got, told.trim_end()), (status, message), "berth {args:?}");
    };
    let forgotten = "old ones are forgotten after a while";
    let no_alloc = format!("no allocation a1-999; `berth status JOB` lists the allocations of a job; {forgotten}");
    fails(&["status", "a1-999"], 3, &format!("berth: cannot show allocation: {no_alloc}"));
    fails(&["why", "a1-999"], 3, &format!("berth: cannot ask why: {no_alloc}"));
    let no_job = format!("no job default/nosuch; `berth status` lists the jobs; {forgotten}");
    fails(&["status", "nosuch"], 3, &format!("berth: cannot show job: {no_job}"));
    fails(&["stop", "nosuch"], 3, &format!("berth: cannot stop job: {no_job}"));

    let output = cluster.command(&["status"]).env("BERTH_TOKEN", "wrong").output().unwrap();
    let wanted = "berth: cannot show status: header Authorization: the token is not this server's; send \
                  `Authorization: Bearer TOKEN`; the token is in the file `token` in the server's data folder";
    assert_eq!((output.status.code(), text(&output.stderr).trim_end()), (Some(6), wanted));

    cluster.kill_server();
    let (status, told) = cluster.fails(&["status"]);
    let wanted = format!(
        "berth: cannot reach the server at {}: is it running? set BERTH_ADDR if it listens elsewhere: error sending \
         request: client error (Connect): tcp connect error: Connection refused (os error 111)",
        cluster.addr
    );
    assert_eq!((status, told.trim_end()), (5, wanted.as_str()));
}

fn run(file: &Path, addr: &str, token: &str) -> (i32, String) {
    let mut command = Command::new(BERTH);
    let output = command.arg("run").arg(file).env("BERTH_ADDR", addr).env("BERTH_TOKEN", token).output().unwrap();
    (output.status.code().unwrap(), text(&output.stderr))
}
