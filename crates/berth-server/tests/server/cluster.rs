//! A server in this process, and an agent that reports whatever a test wants.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_api::client::{AgentStream, Client, FromServer, OrderReceiver, ReportSender, Target};
use berth_api::jobfile;
use berth_model::{
    Desired, Digest, JobSpec, Millis, NodeReport, ObservedAlloc, Order, Phase, TaskName, TaskState, TaskStatus,
    Timestamp, testkit,
};
use berth_server::{Clock, Config, ConnectionLimits, Ready, ServerError, Settings, StoreKind, run};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
pub const SOON: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub ready: Ready,
    pub clock: Clock,
    pub client: Client,
    pub dir: tempfile::TempDir,
    stop: CancellationToken,
    server: JoinHandle<Result<(), ServerError>>,
}

impl Cluster {
    pub async fn start(store: StoreKind) -> Cluster {
        Cluster::start_in(tempfile::tempdir().unwrap(), store).await
    }

    pub async fn start_in(dir: tempfile::TempDir, store: StoreKind) -> Cluster {
        Cluster::start_with(dir, store, ConnectionLimits::default()).await
    }

    pub async fn start_with(dir: tempfile::TempDir, store: StoreKind, connections: ConnectionLimits) -> Cluster {
        let config = Config { connections, ..Cluster::config(&dir, store) };
        let clock = config.clock.clone();
        let (told, ready) = oneshot::channel();
        let stop = CancellationToken::new();
        let server = tokio::spawn(run(config, told, stop.clone()));
        let ready = tokio::time::timeout(SOON, ready).await.unwrap().unwrap();
        let target = Target::new(&format!("http://{}", ready.addr), &ready.token).unwrap();
        Cluster { client: Client::new(target).unwrap(), ready, clock, dir, stop, server }
    }

    /// What a server is told that keeps what it keeps in this folder.
    pub fn config(dir: &tempfile::TempDir, store: StoreKind) -> Config {
        Config {
            journal_max: berth_model::Bytes::mib(64),
            data_dir: dir.path().join("data"),
            bind: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            tls: None,
            // The agents of tests report when there is something to tell, and no machine is too slow for that.
            settings: Settings { heartbeat_grace: Millis::from_secs(600), ..Settings::default() },
            store,
            clock: Clock::system(),
            connections: ConnectionLimits::default(),
        }
    }

    /// Stops the server, and gives what it kept.
    pub async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.server).await.unwrap().unwrap().unwrap();
        self.dir
    }

    /// Waits until the server has given up by itself, and tells why.
    pub async fn gives_up(self) -> ServerError {
        tokio::time::timeout(SOON, self.server).await.unwrap().unwrap().unwrap_err()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ready.addr)
    }

    pub async fn agent(&self, name: &str) -> Agent {
        self.agent_on(testkit::machine(name)).await
    }

    pub async fn agent_on(&self, machine: testkit::Machine) -> Agent {
        let hello = machine.hello();
        let stream = AgentStream::connect(self.client.target(), hello).await.unwrap();
        let mut agent = Agent { reports: stream.reports, orders: stream.orders, serial: 0, digest: Digest::default() };
        match agent.next().await {
            FromServer::Order(Order::Welcome { .. }) => agent,
            other => panic!("a welcome was expected, not {other:?}"),
        }
    }
}

pub fn job(text: &str) -> JobSpec {
    jobfile::parse("test", text).unwrap()
}

/// One service with one task.
pub fn web(count: u32) -> JobSpec {
    job(&format!(
        "job: web\nkind: service\ngroups:\n- name: front\n  count: {count}\n  tasks:\n  - name: main\n    command: [/bin/sleep, inf]\n"
    ))
}

pub struct Agent {
    reports: ReportSender,
    pub orders: OrderReceiver,
    serial: u64,
    digest: Digest,
}

impl Agent {
    pub async fn next(&mut self) -> FromServer {
        tokio::time::timeout(SOON, self.orders.next()).await.unwrap().unwrap().unwrap()
    }

    /// Reports until the server has sent a desired state that suits.
    pub async fn desired(&mut self, suits: impl Fn(&Desired) -> bool) -> Desired {
        loop {
            if let FromServer::Order(Order::Desired(desired)) = self.next().await {
                self.digest = desired.digest;
                if suits(&desired) {
                    return desired;
                }
            }
        }
    }

    pub async fn report(&mut self, allocs: Vec<ObservedAlloc>) {
        self.serial += 1;
        let conditions = std::collections::BTreeSet::new();
        self.reports.send(NodeReport { serial: self.serial, digest: self.digest, conditions, allocs }).await.unwrap();
    }

    /// Says that everything that is desired runs.
    pub async fn all_run(&mut self, desired: &Desired) {
        let running = desired.allocs.iter().map(|alloc| {
            let tasks = alloc.group.tasks.iter().map(|task| (task.name.clone(), running()));
            ObservedAlloc { id: alloc.id, phase: Phase::Running, tasks: tasks.collect::<BTreeMap<TaskName, _>>() }
        });
        self.report(running.collect()).await;
    }
}

pub fn running() -> TaskStatus {
    TaskStatus {
        state: TaskState::Running { pid: 4711, started: Timestamp(1) },
        restarts: 0,
        last_exit: None,
        checks: BTreeMap::new(),
    }
}

/// Asks until the answer suits.
pub async fn until<T: std::fmt::Debug, F: Future<Output = T>>(ask: impl Fn() -> F, suits: impl Fn(&T) -> bool) -> T {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let answer = ask().await;
        if suits(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not come to be; last was {answer:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
