//! How many placements a second a server makes durable that is asked over HTTP: a real server with the embedded store, and
//! nodes that take their orders over the real protocol and run nothing, all in this process.
//!
//! `cargo run --release -p berth-server --example durable -- [NODES] [SECONDS] [FOLDER]`. A fifth of the jobs has a
//! constraint, a fifth is spread over racks, a fifth has at most one allocation on a node. Needs two open files a node.
#![expect(clippy::unwrap_used, reason = "measures, and has nobody to tell of errors")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use berth_api::client::{AgentStream, Client, Target, new_key};
use berth_model::testkit::{Spec, machine, service};
use berth_model::{Bytes, Domain, JobSpec, Millis, Operator, Spread, Weight};
use berth_server::{Clock, Config, ConnectionLimits, Ready, Settings, StoreKind, run};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Who asks at the same time.
const CLIENTS: u64 = 64;
/// Nodes of a rack.
const RACK: u64 = 40;
/// A request that fits nowhere comes so often.
const HOPELESS_EVERY: Duration = Duration::from_millis(200);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (nodes, seconds) = (number(5_000), number(10));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(nodes, Duration::from_secs(seconds), dir.path().join("data")));
}

async fn measure(nodes: u64, lasting: Duration, data_dir: PathBuf) {
    let stop = CancellationToken::new();
    let (told, ready) = oneshot::channel();
    let server = tokio::spawn(run(config(data_dir), told, stop.clone()));
    let Ready { addr, token, .. } = ready.await.unwrap();
    let target = Target::new(&format!("http://{addr}"), &token).unwrap();
    let client = Arc::new(Client::new(target.clone()).unwrap());
    let begun = Instant::now();
    let _agents = connect(nodes, &target).await;
    println!("{nodes} nodes joined in {:.1} s", begun.elapsed().as_secs_f64());
    let mut asker = Asker { client, lasting, jobs: 0 };
    for count in [1, 10, 100] {
        // What comes later finds a fuller cluster: what it would be without is measured before and after.
        let before = asker.ask(count).await;
        let beside = asker.ask_beside_hopeless(count).await;
        let after = asker.ask(count).await;
        let alone = (before.per_second + after.per_second) / 2.0;
        let lost = 100.0 * (1.0 - beside.per_second / alone);
        println!(
            "{count} a job: {alone:.0} placements a second, {:.1} ms a request; beside hopeless requests {:.0}: {lost:.1} % lost",
            (before.millis + after.millis) / 2.0,
            beside.per_second
        );
    }
    stop.cancel();
    server.await.unwrap().unwrap();
}

fn config(data_dir: PathBuf) -> Config {
    Config {
        data_dir,
        bind: "127.0.0.1:0".parse().unwrap(),
        // The nodes say nothing.
        settings: Settings { heartbeat_grace: Millis::from_secs(3_600), ..Settings::default() },
        advertise: None,
        tls: None,
        store: StoreKind::Embedded,
        clock: Clock::system(),
        journal_max: Bytes::mib(1_024),
        // All nodes have one address here.
        connections: ConnectionLimits { per_address: usize::MAX, ..ConnectionLimits::default() },
    }
}

/// Nodes that take whatever they are told.
async fn connect(nodes: u64, target: &Target) -> JoinSet<()> {
    let mut agents = JoinSet::new();
    for at in 0..nodes {
        let rack = format!("r{}", at / RACK);
        let pool = if at.is_multiple_of(2) { "a" } else { "b" };
        let machine = machine(&format!("n{at}")).cpu(64_000).memory(256 << 10);
        let machine = machine.attribute(Domain::RACK, &rack).attribute("label.pool", pool);
        let mut stream = AgentStream::connect(target, machine.hello()).await.unwrap();
        stream.orders.next().await.unwrap();
        agents.spawn(async move { while let Ok(Some(_)) = stream.orders.next().await {} });
    }
    agents
}

/// How a while of asking went.
struct Asked {
    /// Placements that are durable.
    per_second: f64,
    /// What an answer took in the mean.
    millis: f64,
}

/// Asks the server for jobs.
struct Asker {
    client: Arc<Client>,
    lasting: Duration,
    /// How many it has asked for.
    jobs: u64,
}

impl Asker {
    /// Many ask for jobs of so many allocations, each for the next when the last is answered.
    async fn ask(&mut self, count: u32) -> Asked {
        let next = Arc::new(AtomicU64::new(self.jobs));
        let placed = self.placed().await;
        let begun = Instant::now();
        let mut asking = JoinSet::new();
        for _ in 0..CLIENTS {
            let (client, next, until) = (self.client.clone(), next.clone(), begun + self.lasting);
            asking.spawn(async move {
                while Instant::now() < until {
                    let job = job(next.fetch_add(1, Ordering::Relaxed), count);
                    client.run_job(&job, &new_key()).await.unwrap();
                }
            });
        }
        while let Some(done) = asking.join_next().await {
            done.unwrap();
        }
        let took = begun.elapsed().as_secs_f64();
        let requests = next.load(Ordering::Relaxed) - self.jobs;
        self.jobs += requests;
        let per_second = (self.placed().await - placed) as f64 / took;
        Asked { per_second, millis: 1_000.0 * took * CLIENTS as f64 / requests.max(1) as f64 }
    }

    /// The same, while requests come that fit nowhere. These are withdrawn in the end.
    async fn ask_beside_hopeless(&mut self, count: u32) -> Asked {
        let (client, stop) = (self.client.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let hopeless = tokio::spawn(async move {
            let mut asked = Vec::new();
            while tokio::time::timeout(HOPELESS_EVERY, stopped.cancelled()).await.is_err() {
                let job = with_disk(service(&format!("hopeless-{count}-{}", asked.len())).cpu(100_000));
                client.run_job(&job, &new_key()).await.unwrap();
                asked.push(job.id);
            }
            for job in asked {
                client.stop_job(&job, &new_key()).await.unwrap();
            }
        });
        let asked = self.ask(count).await;
        stop.cancel();
        hopeless.await.unwrap();
        asked
    }

    /// Placements that are durable: those that the server shows.
    async fn placed(&self) -> u64 {
        let allocs = self.client.status().await.unwrap().allocs;
        u64::from(allocs.placed) + u64::from(allocs.running)
    }
}

fn job(nth: u64, count: u32) -> JobSpec {
    let job = service(&format!("job-{nth}")).count(count).cpu(100).memory(64);
    let mut job = with_disk(match nth % 5 {
        0 => job.constraint("label.pool", Operator::Is("a".to_owned())),
        1 => job.at_most(1, Domain::Node),
        _ => job,
    });
    if nth % 5 == 2 {
        let spread = Spread { over: Domain::rack(), weight: Weight(500), targets: BTreeMap::new() };
        job.groups[0].rules.spread.push(spread);
    }
    job
}

/// As job files have it: what asks for no disk is refused there.
fn with_disk(job: Spec) -> JobSpec {
    let mut job = job.0;
    job.groups[0].tasks[0].resources.disk = Bytes::mib(16);
    job
}
