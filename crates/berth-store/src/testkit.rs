//! Real etcds for tests: one member or several, on ports of the loopback device, gone with their test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::EtcdOptions;

/// Ports for members.
const PORTS: std::ops::Range<u16> = 5_000..10_000;
/// How long the members may take to be there.
const UP: Duration = Duration::from_secs(30);

/// The members of an etcd.
#[derive(Debug)]
pub struct TestEtcd {
    members: Vec<Member>,
    /// Removed when dropped.
    _folder: tempfile::TempDir,
}

/// Files with certificates (PEM), for an etcd that only speaks to those who show theirs.
#[derive(Clone, Debug)]
pub struct TestTls {
    /// The certificate authority of both sides.
    pub ca: PathBuf,
    /// The members' certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

#[derive(Debug)]
struct Member {
    args: Vec<String>,
    endpoint: String,
    port: u16,
    log: PathBuf,
    process: Option<Child>,
}

impl TestEtcd {
    /// So many members, which have elected a leader. `extra` are further arguments.
    ///
    /// # Panics
    ///
    /// When there is no `etcd` to run, or it does not come up.
    pub fn start(count: usize, extra: &[&str]) -> TestEtcd {
        TestEtcd::start_with(count, extra, None)
    }

    /// The same with certificates.
    ///
    /// # Panics
    ///
    /// When there is no `etcd` to run, or it does not come up.
    pub fn start_with(count: usize, extra: &[&str], tls: Option<&TestTls>) -> TestEtcd {
        let folder = tempfile::tempdir().expect("a folder for etcd");
        let ports = free_ports(2 * count);
        let peer = |member: usize| format!("http://127.0.0.1:{}", ports[2 * member + 1]);
        let peers: Vec<String> = (0..count).map(|member| format!("m{member}={}", peer(member))).collect();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let member = |number: usize| {
            let port = ports[2 * number];
            let endpoint = format!("{scheme}://127.0.0.1:{port}");
            let data = folder.path().join(format!("m{number}"));
            let mut args: Vec<String> = [
                ("--name", format!("m{number}")),
                ("--data-dir", data.display().to_string()),
                ("--listen-client-urls", endpoint.clone()),
                ("--advertise-client-urls", endpoint.clone()),
                ("--listen-peer-urls", peer(number)),
                ("--initial-advertise-peer-urls", peer(number)),
                ("--initial-cluster", peers.join(",")),
                ("--heartbeat-interval", "50".to_owned()),
                ("--election-timeout", "500".to_owned()),
                ("--log-level", "error".to_owned()),
            ]
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
            if let Some(TestTls { ca, certificate, key }) = tls {
                args.push(format!("--cert-file={}", certificate.display()));
                args.push(format!("--key-file={}", key.display()));
                args.push(format!("--trusted-ca-file={}", ca.display()));
                args.push("--client-cert-auth".to_owned());
            }
            args.extend(extra.iter().map(|&arg| arg.to_owned()));
            Member { args, endpoint, port, log: folder.path().join(format!("m{number}.log")), process: None }
        };
        let members = (0..count).map(member).collect();
        let mut etcd = TestEtcd { members, _folder: folder };
        for member in &mut etcd.members {
            member.run();
        }
        if tls.is_none() {
            (0..count).for_each(|member| etcd.wait_for(member));
        }
        etcd
    }

    /// How to come in: everything of this etcd, which has no certificates.
    pub fn options(&self) -> EtcdOptions {
        EtcdOptions { endpoints: self.endpoints(), prefix: "test/".to_owned(), ..EtcdOptions::default() }
    }

    /// The members' addresses for clients.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.endpoint.clone()).collect()
    }

    /// Ends a member at once, as a lost machine would.
    ///
    /// # Panics
    ///
    /// When its process cannot be ended.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut process) = self.members[member].process.take() {
            process.kill().expect("etcd can be killed");
            process.wait().expect("etcd ends");
        }
    }

    /// Starts a member again, and waits until it is there.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn restart(&mut self, member: usize) {
        self.members[member].run();
        self.wait_for(member);
    }

    /// The member that leads.
    ///
    /// # Panics
    ///
    /// When none does.
    pub fn leader(&self) -> usize {
        let leads = |member: &Member| {
            let metrics = http_get(member.port, "/metrics").unwrap_or_default();
            metrics.lines().any(|line| line == "etcd_server_is_leader 1")
        };
        self.members.iter().position(leads).expect("etcd has a leader")
    }

    /// What the first member's file takes, and what of it is in use.
    ///
    /// # Panics
    ///
    /// When it does not tell.
    pub fn bytes(&self) -> (u64, u64) {
        let metrics = http_get(self.members[0].port, "/metrics").expect("etcd tells its metrics");
        let value = |name: &str| {
            let mut lines = metrics.lines();
            let text = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("a metric of etcd's");
            text.parse::<f64>().expect("a number") as u64
        };
        (value("etcd_mvcc_db_total_size_in_bytes"), value("etcd_mvcc_db_total_size_in_use_in_bytes"))
    }

    /// Holds a member where it is, or lets it go on, as a machine that is too busy would.
    ///
    /// # Panics
    ///
    /// When it cannot be sent a signal.
    pub fn freeze(&self, member: usize, frozen: bool) {
        let process = self.members[member].process.as_ref().expect("the member runs");
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        let pid = Pid::from_child(process);
        kill_process(pid, signal).expect("a signal for etcd");
        if frozen {
            // Until all its threads have stopped, it answers.
            waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).expect("etcd is a child of this process");
        }
    }

    fn wait_for(&self, member: usize) {
        let deadline = Instant::now() + UP;
        let is_healthy =
            || http_get(self.members[member].port, "/health").is_some_and(|text| text.contains("\"true\""));
        while !is_healthy() {
            let log = || std::fs::read_to_string(&self.members[member].log).unwrap_or_default();
            assert!(Instant::now() < deadline, "etcd did not come up within {UP:?}: {}", log());
            // Only the pace of asking; nothing is assumed to have happened after it.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Member {
    fn run(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log for etcd");
        let started =
            Command::new("etcd").args(&self.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.process = Some(started.expect("etcd runs: `make install-deps` installs it"));
    }
}

impl Drop for TestEtcd {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|member| self.kill(member));
    }
}

/// Ports that nobody uses now, below those that the kernel gives to connections: a client that tries to reach a dead member
/// could be given the member's own port. Programs that run side by side begin to look in different places.
fn free_ports(count: usize) -> Vec<u16> {
    static LOOKED: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(61);
    let width = u32::from(PORTS.end - PORTS.start);
    let candidates = std::iter::repeat_with(|| begin.wrapping_add(LOOKED.fetch_add(1, Ordering::Relaxed)) % width);
    let ports = candidates.take(PORTS.len()).filter_map(|n| Some(PORTS.start + u16::try_from(n).ok()?));
    ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}

/// The answer to a plain request, headers and all.
fn http_get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
