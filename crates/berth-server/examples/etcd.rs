//! What a cluster's state takes in an etcd of three members on this machine, and how long a new leader takes with it:
//! `cargo run --release --example etcd -p berth-server -- ALLOCATIONS`. Nodes that take whatever they are told run on this
//! machine too.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_api::client::{AgentStream, AllocFilter, Client, Target, new_key};
use berth_api::jobfile;
use berth_model::testkit::machine;
use berth_model::{Bytes, Millis};
use berth_server::{Clock, Config, ConnectionLimits, Ready, ServerError, Settings, StoreKind, run};
use berth_store::testkit::TestEtcd;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Allocations of a job.
const OF_JOB: u32 = 100;
/// Allocations of a node.
const OF_NODE: u64 = 50;
/// Jobs that are asked for at once.
const ASKING: usize = 16;
/// What opens all servers.
const TOKEN: &str = "a-token-for-all-servers";

struct Server {
    client: Client,
    url: String,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ServerError>>,
    _dir: tempfile::TempDir,
}

impl Server {
    /// A server, and how long it took to be ready.
    async fn start(etcd: &TestEtcd) -> (Server, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        std::fs::create_dir(&data_dir).unwrap();
        std::fs::write(data_dir.join("token"), TOKEN).unwrap();
        let config = Config {
            data_dir,
            bind: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            tls: None,
            // The nodes say nothing.
            settings: Settings { heartbeat_grace: Millis::from_secs(3_600), ..Settings::default() },
            store: StoreKind::Etcd(etcd.options()),
            clock: Clock::system(),
            journal_max: Bytes::mib(256),
            connections: ConnectionLimits { per_address: usize::MAX, ..ConnectionLimits::default() },
        };
        let (stop, (told, ready)) = (CancellationToken::new(), oneshot::channel());
        let begun = Instant::now();
        let task = tokio::spawn(run(config, told, stop.clone()));
        let Ready { addr, .. } = ready.await.unwrap();
        let took = begun.elapsed();
        let url = format!("http://{addr}");
        let client = Client::new(Target::new(&url, TOKEN).unwrap()).unwrap();
        (Server { client, url, stop, task, _dir: dir }, took)
    }

    async fn leads(&self) {
        while !self.client.leader().await.unwrap().here {}
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn main() {
    let allocs: u64 = std::env::args().nth(1).map_or(100_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(allocs));
}

async fn measure(allocs: u64) {
    let etcd = TestEtcd::start(3, &[]);
    let (first, _) = Server::start(&etcd).await;
    first.leads().await;
    let agents = connect(allocs.div_ceil(OF_NODE), &first).await;
    let begun = Instant::now();
    fill(&first, allocs).await;
    let took = begun.elapsed();
    println!(
        "{allocs} allocations placed in {:.1} s: {:.0} a second",
        took.as_secs_f64(),
        allocs as f64 / took.as_secs_f64()
    );

    let (second, loaded) = Server::start(&etcd).await;
    println!("a further server has loaded everything after {:.2} s", loaded.as_secs_f64());
    let begun = Instant::now();
    let listed = second.client.allocs(&AllocFilter::default()).await.unwrap().len();
    println!("a list of {listed} allocations from it: {:.2} s", begun.elapsed().as_secs_f64());

    drop(agents);
    let begun = Instant::now();
    first.stop().await;
    second.leads().await;
    println!("the other one leads {:.2} s after the first was told to stop", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    second.client.run_job(&job(u64::MAX), &new_key()).await.unwrap();
    println!("its first command took {:.2} s", begun.elapsed().as_secs_f64());
    second.stop().await;

    let (total, used) = etcd.bytes();
    println!(
        "etcd: file of {:.0} MB, {:.0} MB of it in use: {} bytes an allocation",
        mb(total),
        mb(used),
        used / allocs
    );
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn job(number: u64) -> berth_model::JobSpec {
    let text = format!(
        "job: job-{number}\ngroups:\n- name: main\n  count: {OF_JOB}\n  tasks:\n  - name: main\n    command: [/bin/sleep, inf]\n    \
         resources: {{cpu: 100m, memory: 64MiB}}\n"
    );
    jobfile::parse("job.yaml", &text).unwrap()
}

async fn connect(nodes: u64, server: &Server) -> JoinSet<()> {
    let target = Target::new(&server.url, TOKEN).unwrap();
    let mut agents = JoinSet::new();
    for at in 0..nodes {
        let machine = machine(&format!("n{at}")).cpu(64_000).memory(256 << 10);
        let mut stream = AgentStream::connect(&target, machine.hello()).await.unwrap();
        stream.orders.next().await.unwrap();
        agents.spawn(async move { while let Ok(Some(_)) = stream.orders.next().await {} });
    }
    agents
}

async fn fill(server: &Server, allocs: u64) {
    let permits = Arc::new(tokio::sync::Semaphore::new(ASKING));
    let mut asking = JoinSet::new();
    for number in 0..allocs / u64::from(OF_JOB) {
        let permit = permits.clone().acquire_owned().await.unwrap();
        let client = server.client.clone();
        asking.spawn(async move {
            client.run_job(&job(number), &new_key()).await.unwrap();
            drop(permit);
        });
    }
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
}
