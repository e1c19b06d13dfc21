//! What the end-to-end tests share: real processes of the real binary in folders of their own.
#![expect(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

pub mod lab;
pub mod picture;
pub mod servers;
pub mod writers;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub const BERTH: &str = env!("CARGO_BIN_EXE_berth");

/// Within which the roles have to be up, on a machine that may have much else to do.
const UP: Duration = Duration::from_secs(60);
/// Ports for servers: below those that the kernel gives to connections, or a client that tries to reach a dead server
/// could be given the server's own port; and below those that agents give to tasks.
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// A port that nobody has now. Programs that run side by side begin to look in different places.
pub fn free_port() -> u16 {
    static LOOKED: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(61);
    let candidates = std::iter::repeat_with(|| begin.wrapping_add(LOOKED.fetch_add(1, Ordering::Relaxed)));
    let ports = candidates.take(PORTS.len()).map(|n| PORTS.start + u16::try_from(n % PORTS.len() as u32).unwrap());
    ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Asks again until there is an answer, or panics when `what` has not come about in time.
pub fn until<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        // Only the pace of asking; nothing is assumed to have happened after it.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A server and an agent of their own processes, folders and port.
pub struct Cluster {
    /// Everything that they keep.
    pub dir: TempDir,
    /// Where the server listens.
    pub addr: String,
    server: Option<Child>,
    agent: Option<Child>,
    agent_flags: Vec<String>,
    agent_wanted: bool,
    agent_tmpfs: Option<&'static str>,
    /// What the roles run, those that are started from now on.
    pub server_program: PathBuf,
    /// The agent's, and its shims'.
    pub agent_program: PathBuf,
}

impl Cluster {
    /// A server and one agent, ready.
    pub fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// The same, with further flags for the agent.
    pub fn start_with(agent_flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::server_only();
        cluster.agent_flags = agent_flags.iter().map(|flag| (*flag).to_owned()).collect();
        cluster.start_agent();
        cluster.wait_for_node();
        cluster
    }

    /// The same, where the agent's folder is a tmpfs of this size, which only the agent's processes see.
    pub fn start_on_tmpfs(size: &'static str, agent_flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::server_only();
        cluster.agent_tmpfs = Some(size);
        cluster.agent_flags = agent_flags.iter().map(|flag| (*flag).to_owned()).collect();
        cluster.start_agent();
        cluster.wait_for_node();
        cluster
    }

    /// A server without any agent.
    pub fn server_only() -> Cluster {
        Cluster::server_at("http")
    }

    /// The same, with TLS. An agent joins with what is in the file `join-token`.
    pub fn secured() -> Cluster {
        Cluster::server_at("https")
    }

    fn server_at(scheme: &str) -> Cluster {
        let dir = tempfile::Builder::new().prefix("berth-test.").tempdir().unwrap();
        let port = free_port();
        let mut cluster = Cluster {
            dir,
            addr: format!("{scheme}://127.0.0.1:{port}"),
            server: None,
            agent: None,
            agent_flags: Vec::new(),
            agent_wanted: false,
            agent_tmpfs: None,
            server_program: BERTH.into(),
            agent_program: BERTH.into(),
        };
        cluster.start_server();
        cluster
    }

    /// Starts the server and waits for its token.
    pub fn start_server(&mut self) {
        let (_, bind) = self.addr.split_once("://").unwrap();
        let data = self.path("server");
        // An agent that starts slowly is not lost: what is tested here is something else.
        let tls = if self.is_secured() { "on" } else { "off" };
        let args = ["--data-dir", data.to_str().unwrap(), "--bind", bind, "--heartbeat-grace", "60s", "--tls", tls];
        self.server = Some(self.role("server", &args));
        let last = data.join(if self.is_secured() { "ca.pem" } else { "token" });
        until("the server's token", UP, || last.exists().then_some(()));
    }

    fn is_secured(&self) -> bool {
        self.addr.starts_with("https")
    }

    /// Starts the agent.
    pub fn start_agent(&mut self) {
        let data = self.path("agent");
        let (flag, token) = match self.is_secured() {
            true => ("--join-token-file", self.path("join-token")),
            false => ("--token-file", self.path("server/token")),
        };
        let cgroup = self.cgroup();
        let mut args = vec!["--data-dir", data.to_str().unwrap(), "--server", &self.addr];
        args.extend([flag, token.to_str().unwrap(), "--name", "n1", "--address", "127.0.0.1"]);
        args.extend(["--cgroup-parent", &cgroup]);
        args.extend(self.agent_flags.iter().map(String::as_str));
        let child = self.role("agent", &args);
        self.agent = Some(child);
        self.agent_wanted = true;
    }

    /// A cgroup of this cluster's own.
    pub fn cgroup(&self) -> String {
        let folder = self.dir.path().file_name().unwrap().to_str().unwrap();
        folder.replace('.', "-")
    }

    fn role(&self, role: &str, args: &[&str]) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{role}.log"))).unwrap();
        let program = if role == "agent" { &self.agent_program } else { &self.server_program };
        let mut command = match (role, self.agent_tmpfs) {
            ("agent", Some(size)) => {
                let mount = format!("mkdir -p \"$0\" && mount -t tmpfs -o size={size} none \"$0\" && exec \"$@\"");
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", &mount]).arg(self.path("agent")).arg(program);
                command
            }
            _ => Command::new(program),
        };
        command.arg(role).args(args).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// Starts the server, and waits until it has given up; what it said.
    pub fn server_gives_up(&mut self) -> String {
        self.start_server();
        let mut server = self.server.take().unwrap();
        gives_up(&mut server);
        fs::read_to_string(self.path("server.log")).unwrap()
    }

    /// `kill -9` of the server.
    pub fn kill_server(&mut self) {
        kill(self.server.take().unwrap());
    }

    /// `kill -9` of the agent.
    pub fn kill_agent(&mut self) {
        kill(self.agent.take().unwrap());
    }

    /// The server's process.
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    /// The agent's process.
    pub fn agent_pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    /// Waits until the server has its agent, after a restart as well.
    pub fn wait_for_agent(&self) {
        until("a connected agent", UP, || {
            (self.try_json(&["status"])?["status"]["agents_connected"] == 1).then_some(())
        });
    }

    /// Waits until the agent's node is ready.
    pub fn wait_for_node(&self) {
        until("a ready node", UP, || {
            let nodes = self.try_json(&["node", "list"])?;
            nodes["nodes"].as_array()?.iter().any(|node| node["state"]["kind"] == "ready").then_some(())
        });
    }

    /// A path in the cluster's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into the cluster's folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A `berth` command against this cluster.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BERTH);
        let token = fs::read_to_string(self.path("server/token")).unwrap_or_default();
        command.args(args).env("BERTH_ADDR", &self.addr).env("BERTH_TOKEN", token.trim()).stdin(Stdio::null());
        if self.is_secured() {
            command.env("BERTH_CA", self.path("server/ca.pem"));
        }
        command
    }

    /// Runs a command to its end.
    pub fn berth(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed, and gives its output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.berth(args);
        assert!(output.status.success(), "berth {args:?} failed: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that must fail, and gives its status and what it said.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.berth(args);
        assert!(!output.status.success(), "berth {args:?} should have failed: {}", text(&output.stdout));
        (output.status.code().unwrap(), text(&output.stderr))
    }

    /// Runs a command with `--json` that must succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("berth {args:?} --json: {error}: {output}"))
    }

    /// Runs a command with `--json` that may fail.
    pub fn try_json(&self, args: &[&str]) -> Option<Value> {
        let output = self.berth(&[args, &["--json"]].concat());
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The allocations of a job, all of them.
    pub fn allocs(&self, job: &str) -> Vec<Value> {
        self.try_json(&["status", job]).and_then(|status| status["allocs"].as_array().cloned()).unwrap_or_default()
    }

    /// The job's allocations in a state.
    pub fn allocs_in(&self, job: &str, state: &str) -> Vec<Value> {
        self.allocs(job).into_iter().filter(|alloc| alloc["state"]["kind"] == state).collect()
    }

    /// Waits until so many of the job's allocations are ready, and gives these.
    pub fn ready(&self, job: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} ready allocations of {job}"), Duration::from_secs(60), || {
            let ready: Vec<Value> =
                self.allocs(job).into_iter().filter(|alloc| alloc["state"]["ready"].is_string()).collect();
            (ready.len() == count).then_some(ready)
        })
    }

    /// The one allocation of a job that ended first.
    pub fn first_ended(&self, job: &str) -> Value {
        until(&format!("an end of {job}"), Duration::from_secs(60), || self.allocs_in(job, "ended").into_iter().next())
    }
}

/// Whether this is root; says so where it is not, since the test that asked then does nothing.
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: this test needs root");
    }
    root
}

/// An allocation's id.
pub fn id(alloc: &Value) -> &str {
    alloc["id"].as_str().unwrap()
}

/// The process of an allocation's task: its pid and when it was started, which no other process shares.
pub fn process(alloc: &Value, task: &str) -> (u64, u64) {
    let pid = alloc["tasks"][task]["state"]["pid"].as_u64().unwrap_or_else(|| panic!("{task} does not run: {alloc}"));
    (pid, started(pid).unwrap_or_else(|| panic!("process {pid} is gone: {alloc}")))
}

/// When a process was started, in ticks since the machine was; None when there is none, or when it has ended and only
/// waits to be reaped by whoever inherited it.
pub fn started(pid: u64) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; 20 fields follow it up to the start.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields[0], "Z" | "X") { None } else { fields[19].parse().ok() }
}

/// The processes whose command line holds all of these.
pub fn processes_with(parts: &[&str]) -> Vec<u64> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let holds = |pid: &u64| {
        let line = text(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
        parts.iter().all(|part| line.contains(part))
    };
    pids.filter(holds).collect()
}

/// The cgroups whose path ends with a name, in every hierarchy.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let points = mounts.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        words[2].starts_with("cgroup").then(|| Path::new(words[1]).join(name))
    });
    points.filter(|path| path.exists()).collect()
}

/// Sends a signal to a process of a task.
pub fn signal(pid: u64, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

impl Drop for Cluster {
    /// Stops every job, so that no container is left, then ends the roles.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for role in ["server", "agent"] {
                let log = fs::read_to_string(self.path(&format!("{role}.log"))).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(40).collect();
                eprintln!("--- {role}.log, newest first ---\n{}", tail.join("\n"));
            }
        }
        if self.server.is_none() {
            self.start_server();
        }
        if self.agent_wanted && self.agent.is_none() {
            self.start_agent();
        }
        if let Some(status) = self.try_json(&["status"]) {
            for job in status["jobs"].as_array().into_iter().flatten() {
                let _ = self.berth(&["stop", job["id"].as_str().unwrap_or_default()]);
            }
        }
        for child in [self.agent.take(), self.server.take()].into_iter().flatten() {
            kill(child);
        }
        for shim in processes_with(&["shim", self.dir.path().to_str().unwrap_or_default()]) {
            eprintln!("a shim was left: {shim}");
        }
        for group in cgroups(&self.cgroup()) {
            remove_cgroup(&group);
        }
    }
}

/// Removes an empty cgroup with those in it. The agent keeps its own for the next time; there is none here.
pub fn remove_cgroup(group: &Path) {
    for inner in fs::read_dir(group).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&inner.path());
        }
    }
    if let Err(error) = fs::remove_dir(group) {
        eprintln!("the cgroup {} is left: {error}", group.display());
    }
}

/// Waits until a process has ended by itself, without success.
pub fn gives_up(child: &mut Child) {
    let ended = until("the end of a process", UP, || child.try_wait().unwrap());
    assert!(!ended.success(), "{ended}");
}

/// `kill -9`.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An image of busybox, made once: `oci:FOLDER:latest`.
pub fn image() -> String {
    static MADE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let folder = tmp.join("busybox-image");
        let own = tempfile::tempdir_in(&tmp).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/make-image.sh");
        if !folder.join("index.json").exists() {
            assert!(Command::new(script).arg(own.path().join("image")).status().unwrap().success());
            // Another test program may have been faster; its image is the same.
            let _ = fs::rename(own.path().join("image"), &folder);
        }
        folder
    });
    format!("oci:{}:latest", folder.display())
}
