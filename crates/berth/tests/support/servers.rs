//! Several servers of their own processes on an etcd.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use berth_api::client::{Client, Target};
use berth_store::testkit::TestEtcd;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{BERTH, cgroups, free_port, kill, processes_with, remove_cgroup};

/// Within which servers have to be up.
const UP: Duration = Duration::from_secs(60);
/// What opens all of them.
pub const TOKEN: &str = "a-token-for-all-servers";

/// Servers on an etcd.
pub struct Servers {
    /// Everything that they keep.
    pub dir: TempDir,
    /// Their addresses.
    pub addrs: Vec<String>,
    /// What each of them is started as.
    pub programs: Vec<PathBuf>,
    etcd: String,
    processes: Vec<Option<Child>>,
    agent: Option<Child>,
}

impl Servers {
    /// So many servers.
    pub fn start(etcd: &TestEtcd, count: usize) -> Servers {
        let dir = tempfile::Builder::new().prefix("berth-servers.").tempdir().unwrap();
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        let addrs = (0..count).map(|_| format!("http://127.0.0.1:{}", free_port())).collect();
        let processes = (0..count).map(|_| None).collect();
        let programs = (0..count).map(|_| BERTH.into()).collect();
        let mut servers = Servers { dir, addrs, programs, etcd: etcd.endpoints().join(","), processes, agent: None };
        (0..count).for_each(|at| servers.run(at));
        servers
    }

    /// Starts a server.
    pub fn run(&mut self, at: usize) {
        let data = self.dir.path().join(format!("s{at}"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("token"), TOKEN).unwrap();
        let log = File::options().create(true).append(true).open(self.log(at)).unwrap();
        let bind = self.addrs[at].trim_start_matches("http://");
        let mut command = Command::new(&self.programs[at]);
        command
            .args(["server", "--bind", bind, "--etcd", &self.etcd, "--heartbeat-grace", "30s", "--data-dir"])
            .arg(data);
        let started = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.processes[at] = Some(started.unwrap());
    }

    /// Starts an agent that knows all of them.
    pub fn start_agent(&mut self) {
        let log = File::create(self.dir.path().join("agent.log")).unwrap();
        let mut command = Command::new(BERTH);
        command.args(["agent", "--name", "n1", "--server", &self.addrs.join(","), "--cgroup-parent", &self.cgroup()]);
        command.arg("--data-dir").arg(self.dir.path().join("agent"));
        command.arg("--token-file").arg(self.dir.path().join("token"));
        let started = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.agent = Some(started.unwrap());
    }

    /// A cgroup of the agent's own.
    fn cgroup(&self) -> String {
        self.dir.path().file_name().unwrap().to_str().unwrap().replace('.', "-")
    }

    /// Stops a job, and waits until nothing of it is left.
    pub fn stop(&self, job: &str) {
        let mut command = Command::new(BERTH);
        command.args(["stop", job]).env("BERTH_ADDR", self.addrs.join(",")).env("BERTH_TOKEN", TOKEN);
        let stopped = command.output().unwrap();
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    }

    /// Where a server writes its log.
    pub fn log(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("s{at}.log"))
    }

    /// Starts a server, and waits until it has given up; what it said.
    pub fn gives_up(&mut self, at: usize) -> String {
        self.run(at);
        super::gives_up(&mut self.processes[at].take().unwrap());
        std::fs::read_to_string(self.log(at)).unwrap()
    }

    /// `kill -9` of a server.
    pub fn kill(&mut self, at: usize) {
        kill(self.processes[at].take().unwrap());
    }

    /// Holds a server where it is, or lets it go on.
    pub fn freeze(&self, at: usize, frozen: bool) {
        let pid = i32::try_from(self.processes[at].as_ref().unwrap().id()).unwrap();
        let signal = if frozen { nix::sys::signal::Signal::SIGSTOP } else { nix::sys::signal::Signal::SIGCONT };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    /// A client of all of them.
    pub fn client(&self) -> Client {
        Client::new(Target::new(&self.addrs.join(","), TOKEN).unwrap()).unwrap()
    }

    /// Waits until a server answers.
    pub async fn answers(&self, at: usize) {
        let end = Instant::now() + UP;
        let client = Client::new(Target::new(&self.addrs[at], TOKEN).unwrap()).unwrap();
        while client.leader().await.is_err() {
            assert!(Instant::now() < end, "server {at} does not answer within {UP:?}");
        }
    }

    /// The server that leads, once one does.
    pub async fn leader(&self) -> usize {
        let end = Instant::now() + UP;
        loop {
            for (at, addr) in self.addrs.iter().enumerate() {
                let client = Client::new(Target::new(addr, TOKEN).unwrap()).unwrap();
                if client.leader().await.is_ok_and(|leader| leader.here) {
                    return at;
                }
            }
            assert!(Instant::now() < end, "no leader within {UP:?}");
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.processes.iter_mut().chain([&mut self.agent]).filter_map(Option::take).for_each(kill);
        for shim in processes_with(&["shim", self.dir.path().to_str().unwrap_or_default()]) {
            eprintln!("a shim was left: {shim}");
        }
        for group in cgroups(&self.cgroup()) {
            remove_cgroup(&group);
        }
    }
}
