//! Measures what runs hold on the disk, and what is left of it: round after round, one folder at a time, on a thread
//! that may block. Judges nothing.

use std::path::PathBuf;
use std::time::Duration;

use berth_model::Bytes;
use berth_node::{Event, RunningTask};
use berth_runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::Config;
use crate::fingerprint::{Space, space};
use crate::link::chain;

/// The disk's reserve unless the operator says: a part of it, and not more than this.
const RESERVE: (u64, Bytes) = (20, Bytes::gib(1));

/// See the module.
pub struct Meter {
    looks: Looks,
    timer: Interval,
    round: Option<JoinHandle<()>>,
}

impl Meter {
    /// The first round is due at once, others as often as the operator has set; later where a round takes longer. What
    /// comes of them goes to `events`.
    pub fn new(config: &Config, runtime: Runtime, events: mpsc::Sender<Event>) -> Meter {
        let mut timer = interval(Duration::from_millis(config.measure.0));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looks = Looks { folder: config.data_dir.clone(), reserve: config.disk_reserve, runtime, events };
        Meter { looks, timer, round: None }
    }

    /// Waits until a round is due and the one before is over. May be dropped and called again.
    pub async fn due(&mut self) {
        if let Some(round) = &mut self.round {
            if let Err(error) = round.await {
                tracing::error!(%error, "measuring the disk panicked");
            }
            self.round = None;
        }
        self.timer.tick().await;
    }

    /// Begins a round over these.
    pub fn begin(&mut self, runs: Vec<RunningTask>) {
        self.round = Some(tokio::spawn(self.looks.clone().round(runs)));
    }
}

/// What a round needs.
#[derive(Clone)]
struct Looks {
    folder: PathBuf,
    reserve: Option<Bytes>,
    runtime: Runtime,
    events: mpsc::Sender<Event>,
}

impl Looks {
    /// Without a receiver of what it finds, the agent is ending.
    async fn round(self, runs: Vec<RunningTask>) {
        if let Some(event) = self.free().await
            && self.events.send(event).await.is_err()
        {
            return;
        }
        for run in runs {
            match self.runtime.disk_used(run.alloc, &run.task).await {
                Ok(used) => {
                    if self.events.send(Event::DiskUsed { run, used }).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let RunningTask { alloc, task, .. } = run;
                    tracing::warn!(%alloc, %task, reason = chain(&error), "cannot measure what a task has on the disk");
                }
            }
        }
    }

    async fn free(&self) -> Option<Event> {
        let folder = self.folder.clone();
        let found = tokio::task::spawn_blocking(move || space(&folder)).await.map_err(std::io::Error::other);
        match found.flatten() {
            Ok(Space { free, total }) => {
                let (part, most) = RESERVE;
                let reserve = self.reserve.unwrap_or(Bytes(total.0 / part).min(most));
                Some(Event::DiskFree { free, reserve })
            }
            Err(error) => {
                tracing::warn!(reason = chain(&error), "cannot find out what is left of the disk");
                None
            }
        }
    }
}
