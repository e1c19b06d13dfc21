//! The loop over a store that others write to as well, and with agents that do not read.

use std::sync::Arc;
use std::time::Duration;

use berth_api::wire::v1::ServerMessage;
use berth_model::testkit::{machine, service, system};
use berth_model::{
    Bytes, Command, CommandRequest, CommandResult, Epoch, IdempotencyKey, JobId, Millis, Namespace, Principal, Refusal,
};
use berth_record::{EPOCH_KEY, decode_epoch, encode_epoch, key};
use berth_store::{Applied, Memory, Operation, Store as _, Transaction};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{AnyStore, Driver, Input, Inputs, QUEUED_INPUTS, Shared, Standing, StorePlace};
use crate::agents::QUEUED_MESSAGES;
use crate::{Clock, Config, ConnectionLimits, ServerError, Settings, StoreKind};

const SOON: Duration = Duration::from_secs(60);

/// A loop over a store that the test can write to behind its back.
struct Rig {
    store: Arc<Memory>,
    shared: Arc<Shared>,
    inputs: Inputs,
    stop: CancellationToken,
    driver: JoinHandle<Result<(), ServerError>>,
    /// Holds the journal.
    folder: tempfile::TempDir,
}

/// An agent as the loop sees it.
struct Agent {
    orders: mpsc::Receiver<ServerMessage>,
    /// Cancelled when the loop has ended the stream.
    over: CancellationToken,
}

impl Rig {
    async fn start() -> Rig {
        Rig::over(Arc::new(Memory::new())).await
    }

    /// A loop that is about to begin.
    async fn over(store: Arc<Memory>) -> Rig {
        Rig::with_journal(store, Bytes::mib(64)).await
    }

    async fn with_journal(store: Arc<Memory>, journal_max: Bytes) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: folder.path().to_owned(),
            journal_max,
            bind: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            tls: None,
            // The agents of these tests never report.
            settings: Settings { heartbeat_grace: Millis::from_secs(600), ..Settings::default() },
            store: StoreKind::Memory,
            clock: Clock::system(),
            connections: ConnectionLimits::default(),
        };
        let any = AnyStore::Memory(store.clone());
        let shared = Arc::new(Shared::new(&config));
        let standing = Standing::take(&shared, &any, "http://here").await.unwrap();
        let (sender, inputs) = mpsc::channel(QUEUED_INPUTS);
        let stop = CancellationToken::new();
        let driver = Driver::new(shared.clone(), inputs, StorePlace::Memory, "http://127.0.0.1:1".to_owned());
        let driver = driver.run(any, standing, stop.clone());
        Rig { store, shared, inputs: Inputs(sender), stop, driver: tokio::spawn(driver), folder }
    }

    /// Ends the loop; what it has left behind is there as long as the folder.
    async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.driver).await.unwrap().unwrap().unwrap();
        self.folder
    }

    /// What the journal takes by now.
    fn journalled(&self) -> u64 {
        // Until the writer's thread has begun the first segment there is none.
        let segments = berth_journal::segments_at(&self.folder.path().join("journal")).unwrap_or_default();
        segments.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum()
    }

    async fn run(&self, spec: berth_model::testkit::Spec) -> CommandResult {
        let key = spec.0.id.name.to_string();
        self.command(key, Command::Run(Box::new(spec.0))).await
    }

    async fn command(&self, key: String, command: Command) -> CommandResult {
        let request = CommandRequest {
            principal: Principal("operator".to_owned()),
            namespace: Namespace::default(),
            key: IdempotencyKey(key),
            plan: None,
            command,
        };
        self.inputs.command(request).await
    }

    async fn agent(&self, name: &str) -> Agent {
        let (outbox, orders) = mpsc::channel(QUEUED_MESSAGES);
        let over = CancellationToken::new();
        let hello = machine(name).cpu(1_000_000).memory(1_000_000).hello();
        let (session, guard) = (self.shared.next_session(), over.clone().drop_guard());
        self.inputs.stream(Input::Connected { session, hello, outbox, guard }).await.unwrap();
        let mut agent = Agent { orders, over };
        assert!(matches!(agent.next().await, Some(ServerMessage::Welcome { .. })));
        agent
    }

    /// Does what another server does that takes the lead.
    async fn usurp(&self) -> Epoch {
        let (row, _) = self.store.get(EPOCH_KEY).await.unwrap();
        let last = decode_epoch(&row.unwrap().value).unwrap();
        let next = Epoch { counter: last.counter + 1, ..last };
        let operations = vec![Operation::Put(EPOCH_KEY.to_vec(), encode_epoch(next))];
        let written = self.store.commit(Transaction { guards: Vec::new(), operations }).await.unwrap();
        assert!(matches!(written, Applied::At(_)));
        next
    }

    /// Whether the store has anything of a job.
    async fn is_stored(&self, job: &JobId) -> bool {
        let (row, _) = self.store.get(&key::job(job)).await.unwrap();
        row.is_some()
    }
}

impl Agent {
    async fn next(&mut self) -> Option<ServerMessage> {
        tokio::time::timeout(SOON, self.orders.recv()).await.unwrap()
    }
}

fn job_id(name: &str) -> JobId {
    service(name).0.id
}

#[tokio::test]
async fn what_was_loaded_is_shown_before_the_loop_has_begun() {
    let before = Rig::start().await;
    before.run(service("web")).await.unwrap();
    let (shared, store) = (before.shared.clone(), before.store.clone());
    before.stop().await;
    let jobs = |shared: &Shared| shared.view().jobs.len();
    assert_eq!(jobs(&shared), 1);

    let after = Rig::over(store).await;
    assert_eq!(jobs(&after.shared), 1);
    after.stop().await;
}

#[tokio::test]
async fn a_server_whose_lead_was_taken_stops_writing_says_so_and_takes_it_again() {
    let rig = Rig::start().await;
    let mut agent = rig.agent("n").await;
    rig.run(service("before")).await.unwrap();
    let usurper = rig.usurp().await;

    assert_eq!(rig.run(service("during")).await, Err(Refusal::NotLeader));
    assert!(!rig.is_stored(&job_id("during")).await, "nothing is written in a reign that is over");
    let close = async {
        loop {
            match agent.orders.recv().await {
                Some(ServerMessage::Close { reason }) => return reason,
                Some(_) => {}
                None => panic!("the stream ended without a word"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, close).await.unwrap(), "the lead is lost");
    tokio::time::timeout(SOON, agent.over.cancelled()).await.unwrap();

    let again = async {
        while let Err(refusal) = rig.run(service("after")).await {
            assert_eq!(refusal, Refusal::NotLeader);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, again).await.expect("the lead is taken again");
    {
        let view = rig.shared.view();
        assert!(view.epoch > usurper, "{} is not newer than {usurper}", view.epoch);
        let jobs: Vec<&JobId> = view.jobs.keys().collect();
        assert_eq!(jobs, [&job_id("after"), &job_id("before")], "what was acknowledged is there, and nothing else");
    }
    assert!(rig.is_stored(&job_id("after")).await);
    rig.stop().await;
}

#[tokio::test]
async fn an_agent_that_reads_no_orders_is_dropped_and_the_others_are_served() {
    let rig = Rig::start().await;
    let (slow, mut quick) = (rig.agent("slow").await, rig.agent("quick").await);
    let (tell, mut desired) = tokio::sync::watch::channel(Vec::new());
    let reading = tokio::spawn(async move {
        while let Some(message) = quick.orders.recv().await {
            if let ServerMessage::Desired(desired) = message {
                tell.send_replace(desired.allocs.into_iter().map(|alloc| alloc.job.0.name.to_string()).collect());
            }
        }
    });
    for n in 0..2 * QUEUED_MESSAGES {
        rig.run(system(&format!("job{n}"))).await.unwrap();
    }
    tokio::time::timeout(SOON, slow.over.cancelled()).await.expect("the stream of the slow one is ended");
    assert_eq!(slow.orders.len(), QUEUED_MESSAGES, "so much waits for it and no more");
    assert_eq!(rig.shared.agents.count(), 1);
    rig.run(system("last")).await.unwrap();
    let told = desired.wait_for(|jobs: &Vec<String>| jobs.iter().any(|job| job == "last"));
    tokio::time::timeout(SOON, told).await.unwrap().unwrap();
    rig.stop().await;
    reading.await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_lead_for_its_store_says_that_it_is_the_store() {
    let rig = Rig::start().await;
    let operations = vec![Operation::Put(EPOCH_KEY.to_vec(), b"no epoch".to_vec())];
    rig.store.commit(Transaction { guards: Vec::new(), operations }).await.unwrap();
    let told = async {
        loop {
            match rig.run(service("web")).await.unwrap_err() {
                // Before it has tried to take the lead again, it knows no more than this.
                Refusal::NotLeader => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, told).await.unwrap(), Refusal::StoreUnavailable);
    rig.stop().await;
}

#[tokio::test]
async fn a_full_segment_is_followed_by_the_next_and_both_replay() {
    // A quarter of it is full: more than a block takes, as with what may be set.
    let rig = Rig::with_journal(Arc::new(Memory::new()), Bytes(2 << 20)).await;
    rig.run(service("web")).await.unwrap();
    let first = rig.shared.view().epoch;
    let fill = async {
        // Refused for its namespace, so that the cluster stays as small as it is; long, so that few are enough; and no two
        // alike, so that they do not compress away.
        for n in 1_u64.. {
            let digits = |at: u64| format!("{:016x}", (n * 4_096 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut job = service("elsewhere").0;
            job.id.namespace = "other".parse().unwrap();
            job.groups[0].tasks[0].env.insert("FILL".to_owned(), (0..2_048).map(digits).collect());
            let refused = rig.command(format!("key-{n}"), Command::Run(Box::new(job))).await.unwrap_err();
            if refused == Refusal::NotLeader {
                return;
            }
            // The writer's thread may be behind: what is handed over faster than it is written ends the segment.
            let written = rig.journalled();
            while n % 8 == 0 && rig.journalled() <= written {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(SOON, fill).await.expect("the segment is full some time");
    let again = async {
        while rig.run(service("after")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, again).await.expect("the lead is taken again");
    assert!(rig.shared.view().epoch > first);
    let data = rig.stop().await;
    let replayed: Vec<_> = berth_journal::segments_at(&data.path().join("journal"))
        .unwrap()
        .iter()
        .map(|path| berth_journal::replay(path))
        .collect();
    assert_eq!(replayed.len(), 2);
    for segment in replayed {
        assert!(matches!(segment.finding, berth_journal::Finding::Same(berth_journal::End::Whole)), "{segment:?}");
        assert!(segment.steps > 0, "{segment:?}");
    }
}
