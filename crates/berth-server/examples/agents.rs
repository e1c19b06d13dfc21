//! A crowd of agents against one server, with the real protocol over TLS and TCP, and a runtime that only says that it runs what
//! it is told: `cargo run --release --example agents -p berth-server -- AGENTS ALLOCATIONS`. The server is a process of its own
//! on the same machine.
//!
//! How long a heartbeat takes is measured by heartbeats that tell of a desired state which the server does not want any more: it
//! answers those with the one that it wants.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use berth_api::client::{AgentStream, Client, FromServer, Target, Tls as ClientTls, join, new_key};
use berth_api::jobfile;
use berth_api::wire::v1 as wire;
use berth_model::testkit::machine;
use berth_model::{
    Bytes, Desired, Digest, Millis, NodeReport, ObservedAlloc, Order, Phase, TaskState, TaskStatus, Timestamp,
};
use berth_secrets::{Credentials, Invitation, Trusted, client_config, from_pem};
use berth_server::{Clock, Config, ConnectionLimits, SealingKeyPlace, Settings, StoreKind, Tls, run};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Where the server listens.
const PORT: u16 = 14_600;
/// Allocations of a job.
const OF_JOB: u32 = 500;
/// The waits between attempts to reach the server, as an agent's: the first, and what doubling stops at.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// How often the measurements are told.
const PACE: Duration = Duration::from_millis(20);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("serve") => runtime.block_on(serve(PathBuf::from(words.next().unwrap()))),
        agents => {
            let agents = agents.map_or(2_000, |text| text.parse().unwrap());
            let allocs = words.next().map_or(10_000, |text| text.parse().unwrap());
            runtime.block_on(measure(agents, allocs));
        }
    }
}

async fn serve(data_dir: PathBuf) {
    let sealing_key = SealingKeyPlace::Own(data_dir.join("sealing.key"));
    let config = Config {
        data_dir,
        bind: ([127, 0, 0, 1], PORT).into(),
        advertise: None,
        tls: Some(Tls { sealing_key, certificate_grace: Millis(0), join: None }),
        settings: Settings::default(),
        store: StoreKind::Embedded,
        clock: Clock::system(),
        journal_max: Bytes::mib(256),
        connections: ConnectionLimits { per_address: usize::MAX, ..ConnectionLimits::default() },
    };
    let (told, _ready) = oneshot::channel();
    run(config, told, CancellationToken::new()).await.unwrap();
}

/// The server's process.
struct Server(Child);

impl Server {
    fn start(data_dir: &Path) -> Server {
        let mut command = Command::new(std::env::current_exe().unwrap());
        Server(command.arg("serve").arg(data_dir).stdin(Stdio::null()).spawn().unwrap())
    }

    /// The most memory that it has had, in MB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What all agents share.
#[derive(Default)]
struct Crowd {
    connected: AtomicUsize,
    running: AtomicU64,
    /// How long heartbeats have taken since somebody last looked.
    took: Mutex<Vec<Duration>>,
    /// Heartbeats that left more than half a second later than they were due.
    late: AtomicU64,
    over: AtomicBool,
}

impl Crowd {
    /// What holds of the heartbeats since the last look: how many, the median, the 99th of a hundred, the longest.
    fn told(&self) -> String {
        let mut took = std::mem::take(&mut *self.took.lock().unwrap());
        took.sort_unstable();
        let at = |share: usize| took.get((took.len() * share / 1_000).min(took.len().saturating_sub(1))).copied();
        let shown =
            |share| at(share).map_or_else(|| "-".to_owned(), |took| format!("{:.0} ms", took.as_secs_f64() * 1e3));
        format!("{} heartbeats: median {}, p99 {}, longest {}", took.len(), shown(500), shown(990), shown(1_000))
    }
}

async fn measure(agents: usize, allocs: u64) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let server = Server::start(&data_dir);
    let client = operator(&data_dir).await;
    let crowd = Arc::new(Crowd::default());

    let begun = Instant::now();
    let token = |at: usize| {
        let client = client.clone();
        async move { (at, invitation(&client).await) }
    };
    let mut joining = tokio::task::JoinSet::new();
    for at in 0..agents {
        let (at, invitation) = token(at).await;
        let crowd = crowd.clone();
        joining.spawn(async move {
            let target = joined(&invitation, &format!("n{at}")).await;
            tokio::spawn(agent(target, at, crowd));
        });
    }
    joining.join_all().await;
    until(|| crowd.connected.load(Ordering::Relaxed) == agents).await;
    println!("{agents} agents have joined and are connected after {:.1} s (60)", begun.elapsed().as_secs_f64());

    crowd.told();
    tokio::time::sleep(Duration::from_secs(20)).await;
    println!("at rest, 20 s: {}; {} left late", crowd.told(), crowd.late.swap(0, Ordering::Relaxed));

    let begun = Instant::now();
    for number in 0..allocs / u64::from(OF_JOB) {
        client.run_job(&job(number), &new_key()).await.unwrap();
    }
    until(|| crowd.running.load(Ordering::Relaxed) >= allocs).await;
    println!("{allocs} allocations were started after {:.1} s (20)", begun.elapsed().as_secs_f64());
    println!("meanwhile: {}", crowd.told());
    println!("server memory, at most: {} MB", server.memory());

    drop(server);
    let begun = Instant::now();
    let server = Server::start(&data_dir);
    until(|| crowd.connected.load(Ordering::Relaxed) < agents).await;
    until(|| crowd.connected.load(Ordering::Relaxed) == agents).await;
    println!("killed and started anew: all agents are back after {:.1} s", begun.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(30).saturating_sub(begun.elapsed())).await;
    println!("in the first 30 s: {}", crowd.told());
    tokio::time::sleep(Duration::from_secs(20)).await;
    println!("after 30 s: {} (p99 1000)", crowd.told());
    let status = client.status().await.unwrap();
    println!(
        "nodes ready: {}, lost: {}; server memory, at most: {} MB",
        status.nodes_ready,
        status.nodes_lost,
        server.memory()
    );
    crowd.over.store(true, Ordering::Relaxed);
}

async fn until(is: impl Fn() -> bool) {
    while !is() {
        tokio::time::sleep(PACE).await;
    }
}

fn url() -> String {
    format!("https://127.0.0.1:{PORT}")
}

async fn operator(data_dir: &Path) -> Client {
    until(|| data_dir.join("ca.pem").exists()).await;
    let authorities = from_pem(&std::fs::read_to_string(data_dir.join("ca.pem")).unwrap()).unwrap();
    let tls = client_config(Trusted::authorities(authorities).unwrap(), None, Arc::new(|| Clock::system().wall()));
    let token = std::fs::read_to_string(data_dir.join("token")).unwrap();
    let target = Target::new(&url(), token.trim()).unwrap().with_tls(ClientTls::new(tls.unwrap()));
    Client::new(target).unwrap()
}

async fn invitation(client: &Client) -> Invitation {
    let request = wire::TokenRequest { role: wire::Role::Agent, node: None, life_ms: None };
    client.make_token(&request, &new_key()).await.unwrap().token.parse().unwrap()
}

async fn joined(token: &Invitation, name: &str) -> Target {
    let own = Credentials::make().unwrap();
    let security = |trusted: Trusted, own: &Credentials| {
        ClientTls::new(client_config(trusted, Some(own), Arc::new(|| Clock::system().wall())).unwrap())
    };
    let target = Target::certified(&url(), security(Trusted::Pinned(token.authority), &own)).unwrap();
    let request =
        wire::JoinRequest { token: token.reveal().to_string(), role: wire::Role::Agent, name: name.parse().unwrap() };
    let answer = join(&target, &request).await.unwrap();
    let own = own.certified(from_pem(&answer.certificate).unwrap(), from_pem(&answer.authorities).unwrap());
    let trusted = Trusted::authorities(own.authorities().iter().cloned()).unwrap();
    Target::certified(&url(), security(trusted, &own)).unwrap()
}

/// Keeps up a node's stream, as an agent does.
async fn agent(target: Target, at: usize, crowd: Arc<Crowd>) {
    let mut node = Node { at, serial: 0, digest: Digest::default(), running: BTreeMap::new(), crowd: crowd.clone() };
    let mut wait = RETRY.0;
    while !crowd.over.load(Ordering::Relaxed) {
        let machine = machine(&format!("n{at}")).cpu(64_000).memory(64 << 10);
        if let Ok(stream) = AgentStream::connect(&target, machine.hello()).await {
            wait = RETRY.0;
            node.keep_up(stream).await;
        }
        // Between half as long and one and a half times as long.
        tokio::time::sleep(wait.mul_f64(0.5 + (at % 97) as f64 / 97.0)).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

struct Node {
    at: usize,
    serial: u64,
    digest: Digest,
    running: BTreeMap<berth_model::AllocId, ObservedAlloc>,
    crowd: Arc<Crowd>,
}

impl Node {
    async fn keep_up(&mut self, mut stream: AgentStream) {
        let Ok(Some(FromServer::Order(Order::Welcome { heartbeat, .. }))) = stream.orders.next().await else { return };
        self.crowd.connected.fetch_add(1, Ordering::Relaxed);
        let every = Duration::from_millis(heartbeat.0);
        let mut due =
            tokio::time::interval_at(tokio::time::Instant::now() + every.mul_f64((self.at % 89) as f64 / 89.0), every);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut asked = None;
        loop {
            tokio::select! {
                tick = due.tick() => {
                    if tick.elapsed() > Duration::from_millis(500) {
                        self.crowd.late.fetch_add(1, Ordering::Relaxed);
                    }
                    // Every second one is a question: the server does not repeat itself sooner.
                    let question = self.serial.is_multiple_of(2);
                    asked = question.then(Instant::now);
                    let digest = if question { Digest(1) } else { self.digest };
                    if stream.reports.send(self.report(digest)).await.is_err() {
                        break;
                    }
                }
                order = stream.orders.next() => match order {
                    Ok(Some(FromServer::Order(Order::Desired(desired)))) => {
                        if let Some(asked) = asked.take() {
                            self.crowd.took.lock().unwrap().push(asked.elapsed());
                        }
                        self.digest = desired.digest;
                        if self.obey(&desired) && stream.reports.send(self.report(desired.digest)).await.is_err() {
                            break;
                        }
                    }
                    Ok(Some(
                        FromServer::Order(Order::Welcome { .. } | Order::Lease { .. }) | FromServer::OpenTunnel { .. },
                    )) => {}
                    Ok(Some(FromServer::Close { .. }) | None) | Err(_) => break,
                }
            }
        }
        self.crowd.connected.fetch_sub(1, Ordering::Relaxed);
    }

    /// Runs what it is told. Whether that is news.
    fn obey(&mut self, desired: &Desired) -> bool {
        let before = self.running.len();
        for alloc in &desired.allocs {
            self.running.entry(alloc.id).or_insert_with(|| {
                let running = TaskState::Running { pid: 4711, started: Timestamp(1) };
                let task = TaskStatus { state: running, restarts: 0, last_exit: None, checks: BTreeMap::new() };
                let tasks = alloc.group.tasks.iter().map(|spec| (spec.name.clone(), task.clone()));
                ObservedAlloc { id: alloc.id, phase: Phase::Running, tasks: tasks.collect() }
            });
        }
        let news = (self.running.len() - before) as u64;
        self.crowd.running.fetch_add(news, Ordering::Relaxed);
        news > 0
    }

    fn report(&mut self, digest: Digest) -> NodeReport {
        self.serial += 1;
        let allocs = self.running.values().cloned().collect();
        NodeReport { serial: self.serial, digest, conditions: Default::default(), allocs }
    }
}

fn job(number: u64) -> berth_model::JobSpec {
    let text = format!(
        "job: job-{number}\ngroups:\n- name: main\n  count: {OF_JOB}\n  tasks:\n  - name: main\n    command: [/bin/sleep, inf]\n    \
         resources: {{cpu: 100m, memory: 64MiB}}\n"
    );
    jobfile::parse("job.yaml", &text).unwrap()
}
