//! Whatever was acknowledged is there, once, however often the server is killed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_api::client::{Client, Target};
use berth_api::jobfile;
use berth_api::wire::v1::CommandOutcome;
use berth_model::{IdempotencyKey, JobId, JobSpec};
use support::Cluster;
use tokio::sync::mpsc;

/// Servers that are killed side by side, and how often each is.
const SERVERS: u64 = 4;
const KILLS_PER_SERVER: u64 = 50;
/// Who writes to one server at once, and how many jobs each has.
const WRITERS: u64 = 3;
const JOBS: u64 = 3;
/// At most so many acknowledged commands lie between two kills.
const COMMANDS: u64 = 8;
/// Within which a command must be acknowledged, over however many kills.
const SOON: Duration = Duration::from_secs(60);

/// SplitMix64: the kills' moments are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// The job in its version with this number.
fn spec(writer: u64, job: u64, version: u64) -> JobSpec {
    let text = format!(
        "job: job-{writer}-{job}
groups:
  - name: only
    tasks:
      - {{name: only, command: [/bin/true], env: {{VERSION: '{version}'}}}}
"
    );
    jobfile::parse("job.yaml", &text).unwrap()
}

/// Writes the versions of its jobs in turn until told to stop; gives the last acknowledged version.
async fn write(client: Client, writer: u64, stop: Arc<AtomicBool>, acknowledged: mpsc::UnboundedSender<()>) -> u64 {
    let mut version = 0;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        for job in 0..JOBS {
            let (spec, key) = (spec(writer, job, version), IdempotencyKey(format!("{writer}-{job}-{version}")));
            let outcome = until_acknowledged(&client, &spec, &key).await;
            let CommandOutcome::JobVersion { version: given, changed, .. } = outcome else { panic!("{outcome:?}") };
            assert_eq!((given.0, changed), (version, true), "{} was lost, or done twice", spec.id);
            // Nobody counts any more once the last kill is over.
            let _ = acknowledged.send(());
        }
    }
    version
}

async fn until_acknowledged(client: &Client, spec: &JobSpec, key: &IdempotencyKey) -> CommandOutcome {
    let deadline = Instant::now() + SOON;
    loop {
        match client.run_job(spec, key).await {
            Ok(outcome) => return outcome,
            Err(error) => assert!(error.is_transient() && Instant::now() < deadline, "{}: {error:?}", spec.id),
        }
    }
}

async fn kill_and_check(seed: u64) {
    let mut random = Random(seed);
    let mut cluster = Cluster::server_only();
    let token = std::fs::read_to_string(cluster.path("server/token")).unwrap();
    let client = Client::new(Target::new(&cluster.addr, token.trim()).unwrap()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (send, mut acknowledged) = mpsc::unbounded_channel();
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(client.clone(), writer, stop.clone(), send.clone()))).collect();
    drop(send);
    for _ in 0..KILLS_PER_SERVER {
        for _ in 0..=random.below(COMMANDS) {
            tokio::time::timeout(SOON, acknowledged.recv()).await.unwrap().expect("a writer failed");
        }
        cluster.kill_server();
        cluster.start_server();
    }
    stop.store(true, Ordering::Relaxed);
    for (writer, handle) in (0..).zip(writers) {
        let version = handle.await.unwrap();
        for number in 0..JOBS {
            let wanted = spec(writer, number, version);
            let job = client.job(&wanted.id).await.unwrap();
            assert_eq!(job.summary.version.0, version, "{}", wanted.id);
            assert_eq!(job.spec, jobfile::to_json(&wanted), "{}", wanted.id);
        }
    }
    let jobs = client.jobs(None).await.unwrap();
    let ids: Vec<JobId> = jobs.into_iter().map(|job| job.id.0).collect();
    assert_eq!(ids.len() as u64, WRITERS * JOBS, "{ids:?}");
}

#[test]
fn two_hundred_kills_lose_nothing_and_do_nothing_twice() {
    let began = Instant::now();
    let servers: Vec<_> = (0..SERVERS)
        .map(|seed| std::thread::spawn(move || tokio::runtime::Runtime::new().unwrap().block_on(kill_and_check(seed))))
        .collect();
    let failed: Vec<_> = servers.into_iter().filter_map(|server| server.join().err()).collect();
    assert!(failed.is_empty(), "{} of {SERVERS} servers failed; see above", failed.len());
    eprintln!("{} kills in {:?}", SERVERS * KILLS_PER_SERVER, began.elapsed());
}
