//! Measures what runs hold on the disk, and what is left of it: round after round, one folder at a time, on a thread
//! that may block. Judges nothing.

use std::time::Duration;

use berth_model::Bytes;
use berth_node::{Event, RunningTask};
use berth_runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::link::chain;

/// See the module.
pub struct Meter {
    runtime: Runtime,
    events: mpsc::Sender<Event>,
    timer: Interval,
    round: Option<JoinHandle<()>>,
}

impl Meter {
    /// The first round is due at once, others as often as this; later where a round takes longer. What comes of them
    /// goes to `events`.
    pub fn new(runtime: Runtime, every: Duration, events: mpsc::Sender<Event>) -> Meter {
        let mut timer = interval(every);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Meter { runtime, events, timer, round: None }
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
        self.round = Some(tokio::spawn(measure(self.runtime.clone(), runs, self.events.clone())));
    }
}

async fn measure(runtime: Runtime, runs: Vec<RunningTask>, events: mpsc::Sender<Event>) {
    for run in runs {
        let used: Bytes = match runtime.disk_used(run.alloc, &run.task).await {
            Ok(used) => used,
            Err(error) => {
                let (alloc, task) = (run.alloc, &run.task);
                tracing::warn!(%alloc, %task, reason = chain(&error), "cannot measure what a task has on the disk");
                continue;
            }
        };
        if events.send(Event::DiskUsed { run, used }).await.is_err() {
            return;
        }
    }
}
