//! Labs with real namespaces, links and cgroups. Needs root.
//!
//! This program plays the berth program: `lab-init` leads to [`berth_lab::init_main`], `serve` is a role, `ask` a user.
//! It does not test anything of Berth's own roles.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use berth_lab::{Down, Lab, LabError, LabName, LabsDir, NodeFile, NodeName, NodeSpec, RoleStatus, down, init_main, up};

const PORT: u16 = 4600;
const WAIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let word = arguments.next().map(|word| word.to_string_lossy().into_owned());
    match word.as_deref() {
        Some("lab-init") => init_main(arguments),
        Some("serve") => serve(),
        Some("ask") => ask(&arguments.next().unwrap().to_string_lossy()),
        Some("orphan") => orphan(),
        Some("fail") => ExitCode::from(7),
        // An `up` that is killed in the middle: the node is there, and then nobody is.
        Some("half") => half(Path::new(&arguments.next().unwrap()), &arguments.next().unwrap().to_string_lossy()),
        // Asked for a list, or for the long tests only: there are none.
        Some("--list" | "--ignored") => ExitCode::SUCCESS,
        filter => run_all(filter.filter(|word| !word.starts_with('-'))),
    }
}

/// A role: answers every connection with the name of its host and what a file says.
fn serve() -> ExitCode {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    println!("serving");
    for stream in listener.incoming() {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let greeting = fs::read_to_string("/var/lib/berth/greeting").unwrap_or_default();
        let _asker_left = stream.unwrap().write_all(format!("{} {greeting}", host.trim()).as_bytes());
    }
    ExitCode::SUCCESS
}

fn ask(address: &str) -> ExitCode {
    let address = SocketAddr::new(address.parse().unwrap(), PORT);
    let mut answer = String::new();
    match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Ok(mut stream) => {
            stream.set_read_timeout(Some(WAIT)).unwrap();
            stream.read_to_string(&mut answer).unwrap();
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(3)
        }
    }
}

/// Leaves a process behind whose parent is gone.
fn orphan() -> ExitCode {
    Command::new("/bin/sh").args(["-c", "sleep 600 >/dev/null 2>&1 & echo $!"]).status().unwrap();
    ExitCode::SUCCESS
}

fn half(dir: &Path, name: &str) -> ExitCode {
    let made = up::<LabError>(&LabsDir::new(dir), &name.parse().unwrap(), entry(), |lab| {
        lab.add_node(&node("a"), |_| serving())?;
        println!("made");
        loop {
            std::thread::park();
        }
    });
    made.unwrap();
    ExitCode::SUCCESS
}

fn entry() -> Vec<String> {
    vec![std::env::current_exe().unwrap().to_string_lossy().into_owned(), "lab-init".to_owned()]
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn serving() -> NodeSpec {
    let greeting = NodeFile { path: PathBuf::from("greeting"), content: b"hello".to_vec() };
    NodeSpec { command: command(&["berth", "serve"]), env: Vec::new(), files: vec![greeting] }
}

/// A folder and a name of its own for each test; takes the lab down and checks that nothing is left.
struct Scene {
    dir: tempfile::TempDir,
    name: LabName,
}

impl Scene {
    fn new(letter: char) -> Scene {
        // Not below /tmp, which nodes hide.
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let name = format!("{letter}{}", std::process::id() % 100_000).parse().unwrap();
        Scene { dir, name }
    }

    fn labs(&self) -> LabsDir {
        LabsDir::new(self.dir.path())
    }

    fn up(&self, nodes: &[&str]) -> Lab {
        let lab = up::<LabError>(&self.labs(), &self.name, entry(), |lab| {
            for name in nodes {
                lab.add_node(&node(name), |_| serving())?;
            }
            nodes.iter().try_for_each(|name| lab.wait_port(&node(name), PORT, WAIT))
        });
        lab.unwrap()
    }

    fn assert_nothing_left(&self) {
        let name = self.name.as_str();
        assert!(!self.dir.path().join(name).exists(), "a folder is left");
        let links: Vec<_> = fs::read_dir("/sys/class/net").unwrap().flatten().map(|entry| entry.file_name()).collect();
        let ours = links.iter().filter(|link| link.to_string_lossy().ends_with(&format!("-{name}")));
        assert_eq!(ours.count(), 0, "links are left: {links:?}");
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let dir = self.dir.path().to_str().unwrap();
        assert!(!mounts.contains(dir), "mounts are left:\n{mounts}");
        assert_eq!(cgroups(name), Vec::<PathBuf>::new(), "cgroups are left");
        assert_eq!(processes_naming(dir), Vec::<String>::new(), "processes are left");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Err(error) = down(&self.labs(), &self.name) {
            eprintln!("down failed: {error:?}");
        }
    }
}

fn cgroups(lab: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let points = mounts.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        words[2].starts_with("cgroup").then(|| Path::new(words[1]).join(format!("berth-lab-{lab}")))
    });
    points.filter(|path| path.exists()).collect()
}

fn processes_naming(text: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(text)).collect()
}

/// Runs a command in a node; its output and exit code.
fn exec(lab: &Lab, name: &str, words: &[&str]) -> (String, i32) {
    let output = lab.exec(&node(name), words).unwrap().output().unwrap();
    (String::from_utf8_lossy(&output.stdout).trim().to_owned(), output.status.code().unwrap())
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a node's role says to another node. Asked again: a busy machine may take longer than one question waits.
fn answer(lab: &Lab, asker: &str, address: &str) -> String {
    let mut said = String::new();
    wait_for("an answer", || {
        let (output, code) = exec(lab, asker, &["berth", "ask", address]);
        said = output;
        code == 0
    });
    said
}

fn two_labs_side_by_side() {
    let (one, two) = (Scene::new('a'), Scene::new('b'));
    let (first, second) = (one.up(&["a", "b"]), two.up(&["a", "b"]));
    let address = |lab: &Lab, name: &str| lab.address(&node(name)).unwrap().to_string();
    assert_ne!(address(&first, "a"), address(&second, "a"));
    assert_eq!(answer(&first, "a", &address(&first, "b")), "b hello");
    assert_eq!(answer(&second, "b", &address(&second, "a")), "a hello");
    let (_, across) = exec(&first, "a", &["berth", "ask", &address(&second, "a")]);
    assert_eq!(across, 3, "a node of one lab reached a node of another");
    assert_eq!(exec(&first, "a", &["hostname"]).0, "a");
    assert!(matches!(up::<LabError>(&one.labs(), &one.name, entry(), |_| Ok(())), Err(LabError::Exists(_))));
    assert_eq!(down(&one.labs(), &one.name).unwrap(), Down::Removed);
    assert_eq!(down(&one.labs(), &one.name).unwrap(), Down::NothingThere);
    one.assert_nothing_left();
    assert_eq!(answer(&second, "a", &address(&second, "b")), "b hello");
    down(&two.labs(), &two.name).unwrap();
    two.assert_nothing_left();
}

fn a_node_is_a_machine_of_its_own() {
    let scene = Scene::new('c');
    let lab = scene.up(&["a"]);
    let (output, code) = exec(&lab, "a", &["sh", "-c", "echo out; exit 42"]);
    assert_eq!((output.as_str(), code), ("out", 42));
    assert_eq!(exec(&lab, "a", &["no-such-program"]).1, 127);
    assert_ne!(exec(&lab, "a", &["touch", "/usr/x"]).1, 0, "the host's files can be written");
    assert_eq!(exec(&lab, "a", &["sh", "-c", "touch /etc/x /tmp/x /run/x /var/log/x && echo yes"]).0, "yes");
    assert!(!Path::new("/etc/x").exists(), "the host's /etc was changed");
    let read = "test -s /etc/passwd && cat /etc/passwd /etc/hosts > /dev/null && echo yes";
    assert_eq!(exec(&lab, "a", &["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", read]).0, "yes");
    let processes = exec(&lab, "a", &["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).0;
    assert!(processes.parse::<u32>().unwrap() < 10, "a node sees {processes} processes");
    let links = exec(&lab, "a", &["ls", "/sys/class/net"]).0;
    assert!(links.contains("eth0") && links.contains("lo"), "{links}");
    for kind in ["pid", "net", "mnt", "cgroup"] {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let nodes = exec(&lab, "a", &["readlink", &format!("/proc/self/ns/{kind}")]).0;
        assert!(nodes.starts_with(kind) && own != Path::new(&nodes), "the node has the host's {kind} namespace");
    }
    let made = "for d in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts); do mkdir $d/mine && test -e $d/mine/cgroup.procs || exit 1; done; echo yes";
    assert_eq!(exec(&lab, "a", &["sh", "-c", made]).0, "yes", "a node cannot make cgroups");
    assert!(!cgroups(scene.name.as_str()).is_empty());
    assert!(cgroups(scene.name.as_str()).iter().all(|path| path.join("a/mine").is_dir()), "cgroups are elsewhere");
    assert_eq!(exec(&lab, "a", &["getent", "hosts", "a"]).1, 0);
}

fn power_off_and_on_again() {
    let scene = Scene::new('d');
    let mut lab = scene.up(&["a", "b"]);
    let address = lab.address(&node("a")).unwrap().to_string();
    exec(
        &lab,
        "a",
        &["sh", "-c", "echo kept > /var/lib/berth/greeting; touch /run/gone; sleep 1000 >/dev/null 2>&1 &"],
    );
    lab.kill(&node("a")).unwrap();
    assert_eq!(lab.role_status(&node("a")).unwrap(), RoleStatus::Off);
    assert!(matches!(lab.exec(&node("a"), &["true"]), Err(LabError::NodeOff(_))));
    assert!(matches!(lab.kill(&node("a")), Err(LabError::NodeOff(_))));
    assert_eq!(exec(&lab, "b", &["berth", "ask", &address]).1, 3, "a node that is off answers");
    lab.start(&node("a")).unwrap();
    lab.wait_port(&node("a"), PORT, WAIT).unwrap();
    assert_eq!(answer(&lab, "b", &address), "a kept");
    assert_eq!(exec(&lab, "a", &["ls", "/run/gone"]).1, 2, "a boot kept what was in memory");
    assert!(matches!(lab.start(&node("a")), Err(LabError::NodeOn(_))));
    lab.shut_down(&node("a")).unwrap();
    assert_eq!(lab.role_status(&node("a")).unwrap(), RoleStatus::Off);
}

fn a_role_can_die_without_its_node() {
    let scene = Scene::new('e');
    let mut lab = scene.up(&["a"]);
    let (orphan, _) = exec(&lab, "a", &["berth", "orphan"]);
    let RoleStatus::Running(before) = lab.role_status(&node("a")).unwrap() else { panic!("the role does not run") };
    assert!(matches!(lab.restart_role(&node("a")), Err(LabError::RoleRunning(_))));
    kill(before.pid);
    wait_for("the role to be gone", || lab.role_status(&node("a")).unwrap() == RoleStatus::Killed(9));
    lab.restart_role(&node("a")).unwrap();
    lab.wait_port(&node("a"), PORT, WAIT).unwrap();
    let RoleStatus::Running(after) = lab.role_status(&node("a")).unwrap() else { panic!("the role does not run") };
    assert_ne!(before, after);
    assert_eq!(exec(&lab, "a", &["kill", "-0", &orphan]).1, 0, "another process of the node died with the role");
    exec(&lab, "a", &["kill", "-9", &orphan]);
    wait_for("the orphan to be buried", || exec(&lab, "a", &["test", "-e", &format!("/proc/{orphan}")]).1 == 1);
    let log = fs::read_to_string(lab.role_log(&node("a"))).unwrap();
    assert_eq!(log.matches("serving\n").count(), 2, "{log}");
}

fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

fn a_partition_cuts_both_ways_and_heals() {
    let scene = Scene::new('f');
    let lab = scene.up(&["a", "b"]);
    let (a, b) = (lab.address(&node("a")).unwrap().to_string(), lab.address(&node("b")).unwrap().to_string());
    lab.partition(&node("a")).unwrap();
    assert_eq!(exec(&lab, "b", &["berth", "ask", &a]).1, 3);
    assert_eq!(exec(&lab, "a", &["berth", "ask", &b]).1, 3);
    assert!(matches!(lab.role_status(&node("a")).unwrap(), RoleStatus::Running(_)));
    lab.heal(&node("a")).unwrap();
    assert_eq!(answer(&lab, "b", &a), "a hello");
}

fn down_works_after_everything_was_killed() {
    let scene = Scene::new('g');
    let lab = scene.up(&["a", "b"]);
    for status in lab.status().unwrap() {
        kill(status.init.unwrap().pid);
    }
    fs::write(scene.dir.path().join(scene.name.as_str()).join("lab.json"), "not json").unwrap();
    assert_eq!(down(&scene.labs(), &scene.name).unwrap(), Down::Removed);
    scene.assert_nothing_left();
}

/// As deep as no path reaches, and deeper than a process may have files open or a stack has frames.
fn down_removes_folders_of_any_depth() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let scene = Scene::new('k');
    let lab = scene.up(&["a"]);
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, lab.node_dir(&node("a")).join("data"), flags, Mode::empty()).unwrap();
    for _ in 0..20_000 {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", flags, Mode::empty()).unwrap();
    }
    assert_eq!(down(&scene.labs(), &scene.name).unwrap(), Down::Removed);
    scene.assert_nothing_left();
}

fn down_works_after_up_was_killed() {
    let scene = Scene::new('h');
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("half")
        .arg(scene.dir.path())
        .arg(scene.name.as_str())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut said).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!cgroups(scene.name.as_str()).is_empty(), "the lab was not there");
    assert_eq!(down(&scene.labs(), &scene.name).unwrap(), Down::Removed);
    scene.assert_nothing_left();
}

fn an_up_that_fails_cleans_up() {
    let scene = Scene::new('i');
    let result = up::<LabError>(&scene.labs(), &scene.name, entry(), |lab| {
        lab.add_node(&node("a"), |_| serving())?;
        lab.add_node(&node("b"), |_| NodeSpec { command: command(&["berth", "fail"]), ..NodeSpec::default() })?;
        lab.wait_port(&node("b"), PORT, WAIT)
    });
    match result {
        Err(LabError::RoleEnded { node, how, .. }) => {
            assert_eq!((node.as_str(), how.as_str()), ("b", "ended with status 7"));
        }
        other => panic!("{other:?}"),
    }
    scene.assert_nothing_left();
}

fn frozen_processes_do_not_hold_up_a_power_off() {
    let scene = Scene::new('j');
    let mut lab = scene.up(&["a"]);
    let freezer = cgroups(scene.name.as_str()).into_iter().map(|path| path.join("a"));
    let Some(freezer) = freezer.into_iter().find(|path| path.join("freezer.state").exists()) else {
        println!("   (no v1 freezer here)");
        return;
    };
    exec(&lab, "a", &["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"]);
    let group = freezer.join("cold");
    fs::create_dir(&group).unwrap();
    let sleeper = fs::read_to_string(freezer.join("cgroup.procs")).unwrap();
    let sleeper = sleeper.lines().next_back().unwrap().to_owned();
    fs::write(group.join("cgroup.procs"), sleeper).unwrap();
    fs::write(group.join("freezer.state"), "FROZEN").unwrap();
    lab.kill(&node("a")).unwrap();
    assert_eq!(lab.role_status(&node("a")).unwrap(), RoleStatus::Off);
}

fn names_of_all_links() -> BTreeSet<String> {
    let links = fs::read_dir("/sys/class/net").unwrap().flatten();
    links.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn down_of_a_lab_that_never_was_changes_nothing() {
    let scene = Scene::new('k');
    let before = names_of_all_links();
    assert_eq!(down(&scene.labs(), &scene.name).unwrap(), Down::NothingThere);
    assert_eq!(names_of_all_links(), before);
    assert!(matches!(Lab::open(&scene.labs(), &scene.name), Err(LabError::NoSuchLab(_))));
}

type Case = (&'static str, fn());

const CASES: [Case; 11] = [
    ("two_labs_side_by_side", two_labs_side_by_side),
    ("a_node_is_a_machine_of_its_own", a_node_is_a_machine_of_its_own),
    ("power_off_and_on_again", power_off_and_on_again),
    ("a_role_can_die_without_its_node", a_role_can_die_without_its_node),
    ("a_partition_cuts_both_ways_and_heals", a_partition_cuts_both_ways_and_heals),
    ("down_works_after_everything_was_killed", down_works_after_everything_was_killed),
    ("down_removes_folders_of_any_depth", down_removes_folders_of_any_depth),
    ("down_works_after_up_was_killed", down_works_after_up_was_killed),
    ("an_up_that_fails_cleans_up", an_up_that_fails_cleans_up),
    ("frozen_processes_do_not_hold_up_a_power_off", frozen_processes_do_not_hold_up_a_power_off),
    ("down_of_a_lab_that_never_was_changes_nothing", down_of_a_lab_that_never_was_changes_nothing),
];

fn run_all(filter: Option<&str>) -> ExitCode {
    let chosen = CASES.iter().filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter)));
    let mut failed = Vec::new();
    for (name, case) in chosen {
        let started = Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(case)).is_ok();
        println!("test {name} ... {} ({} ms)", if ok { "ok" } else { "FAILED" }, started.elapsed().as_millis());
        if !ok {
            failed.push(name);
        }
    }
    println!("\ntest result: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
