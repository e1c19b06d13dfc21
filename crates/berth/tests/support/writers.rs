//! Writers that never stop, whatever becomes of their servers, and know what was acknowledged to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_api::client::Client;
use berth_api::jobfile;
use berth_api::wire::v1::CommandOutcome;
use berth_model::{IdempotencyKey, JobId, JobSpec};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many jobs each writer has.
const JOBS: u64 = 3;
/// Within which a command must be acknowledged, over however many kills.
const SOON: Duration = Duration::from_secs(60);

/// Some writers at work.
pub struct Writers {
    client: Client,
    stop: Arc<AtomicBool>,
    acknowledged: mpsc::UnboundedReceiver<()>,
    writers: Vec<JoinHandle<u64>>,
}

impl Writers {
    /// So many writers.
    pub fn start(client: &Client, count: u64) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let (send, acknowledged) = mpsc::unbounded_channel();
        let start = |writer| tokio::spawn(write(client.clone(), writer, stop.clone(), send.clone()));
        Writers { writers: (0..count).map(start).collect(), client: client.clone(), stop, acknowledged }
    }

    /// Waits until one more command is acknowledged.
    pub async fn acknowledged(&mut self) {
        tokio::time::timeout(SOON, self.acknowledged.recv()).await.unwrap().expect("a writer failed");
    }

    /// Forgets what was acknowledged up to now.
    pub fn forget(&mut self) {
        while self.acknowledged.try_recv().is_ok() {}
    }

    /// Has them end, and checks that everything acknowledged is there, and nothing twice.
    pub async fn check(self) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.writers.len() as u64;
        for (writer, handle) in (0..).zip(self.writers) {
            let version = handle.await.unwrap();
            for number in 0..JOBS {
                let wanted = spec(writer, number, version);
                let job = self.client.job(&wanted.id).await.unwrap();
                assert_eq!(job.summary.version.0, version, "{}", wanted.id);
                assert_eq!(job.spec, jobfile::to_json(&wanted), "{}", wanted.id);
            }
        }
        let jobs = self.client.jobs(None).await.unwrap();
        let ids: Vec<JobId> = jobs.into_iter().map(|job| job.id.0).filter(|id| id.name.as_str() != "work").collect();
        assert_eq!(ids.len() as u64, count * JOBS, "{ids:?}");
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
