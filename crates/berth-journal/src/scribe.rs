//! The thread that writes the journal, so that the loop never waits for a disk.
//!
//! The loop hands over what happened and what came of it; encoding, compressing and writing are done here. What cannot
//! be kept up with, or written, ends the segment with a line in the server's log, and never the loop: the journal is
//! for questions, the store is what is true.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use berth_control::{Beginning, Effect, Event};
use berth_model::{Bytes, Mutation, Order, Timestamp};

use crate::folder::{name, remove_oldest};
use crate::writer::SegmentWriter;

/// Steps that may wait for the thread.
const MOST_STEPS: usize = 8_192;
/// What these may hold in all: see [`weight`].
const MOST_WEIGHT: u64 = 100_000;
/// While there is nothing to write, the thread looks this seldom whether there is.
const IDLE: Duration = Duration::from_secs(3600);

/// Parts of what the journal may take in all.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// What the state that a segment begins with may take: with more, segments would be full soon after they begin.
    opening: Bytes,
    /// Of this size a segment is full: the next should begin.
    full: Bytes,
    /// What a segment may take at the very most, and what older ones may take beside it.
    half: Bytes,
}

impl Share {
    fn of(most: Bytes) -> Share {
        Share { opening: Bytes(most.0 / 8), full: Bytes(most.0 / 4), half: Bytes(most.0 / 2) }
    }
}

#[derive(Debug)]
struct Step {
    now: Timestamp,
    event: Event,
    effects: Vec<Effect>,
    weight: u64,
}

/// What the loop and the thread both look at.
#[derive(Debug, Default)]
struct Shared {
    /// The weight of the steps that wait.
    waiting: AtomicU64,
    /// Whether the segment has become so large that the next one should begin.
    full: AtomicBool,
}

/// Whoever writes a reign's segment, as the loop sees it. Dropped, it writes what was handed over.
#[derive(Debug)]
pub struct Scribe {
    /// `None`: this segment has ended.
    sender: Option<SyncSender<Step>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Scribe {
    /// Begins the segment of a reign in `folder`, which may take no more than `most`.
    pub fn begin(folder: &Path, most: Bytes, beginning: Beginning, effects: Vec<Effect>) -> Scribe {
        let (sender, steps) = sync_channel(MOST_STEPS);
        let shared = Arc::new(Shared::default());
        let work = Work { folder: folder.to_owned(), share: Share::of(most), shared: shared.clone() };
        let run = move || work.run(&beginning, &effects, &steps);
        match std::thread::Builder::new().name("journal".to_owned()).spawn(run) {
            Ok(thread) => Scribe { sender: Some(sender), thread: Some(thread), shared },
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no thread for the journal; nothing is journalled"
                );
                Scribe { sender: None, thread: None, shared }
            }
        }
    }

    /// Takes what happened and what came of it.
    pub fn step(&mut self, now: Timestamp, event: Event, effects: &[Effect]) {
        let Some(sender) = &self.sender else { return };
        let weight = weight(&event, effects);
        let waiting = self.shared.waiting.fetch_add(weight, Ordering::Relaxed) + weight;
        let step = Step { now, event, effects: effects.to_vec(), weight };
        let sent = if waiting > MOST_WEIGHT { Err(TrySendError::Full(step)) } else { sender.try_send(step) };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::error!(
                    "the journal does not keep up; its segment ends here, the next begins with the next reign"
                );
                self.sender = None;
            }
            // It has said why.
            Err(TrySendError::Disconnected(_)) => self.sender = None,
        }
    }

    /// Whether steps are still taken.
    pub fn is_open(&self) -> bool {
        self.sender.is_some()
    }

    /// Whether the segment has become so large that the next one should begin.
    pub fn is_full(&self) -> bool {
        self.is_open() && self.shared.full.load(Ordering::Relaxed)
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread ended by a panic");
        }
    }
}

/// What the thread does.
struct Work {
    folder: PathBuf,
    share: Share,
    shared: Arc<Shared>,
}

impl Work {
    fn run(self, beginning: &Beginning, effects: &[Effect], steps: &Receiver<Step>) {
        if let Err(error) = self.write(beginning, effects, steps) {
            let folder = self.folder.display();
            tracing::error!(%folder, error = &error as &dyn std::error::Error, "journal not written; its segment ends here");
        }
    }

    fn write(&self, beginning: &Beginning, effects: &[Effect], steps: &Receiver<Step>) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        remove_oldest(&self.folder, self.share.half)?;
        let mut segment = SegmentWriter::begin(&self.folder, beginning, effects)?;
        segment.flush()?;
        if segment.size() > self.share.opening {
            std::fs::remove_file(self.folder.join(name(beginning.epoch)))?;
            return Err(std::io::Error::other(format!(
                "what the cluster holds takes {} of it, more than an eighth: raise the setting `journal_max`",
                segment.size()
            )));
        }
        loop {
            match steps.recv_timeout(segment.time_left().unwrap_or(IDLE)) {
                Ok(step) => {
                    self.shared.waiting.fetch_sub(step.weight, Ordering::Relaxed);
                    segment.step(step.now, &step.event, &step.effects)?;
                }
                Err(RecvTimeoutError::Timeout) => segment.flush_if_due()?,
                Err(RecvTimeoutError::Disconnected) => return segment.flush(),
            }
            self.shared.full.store(segment.size() > self.share.full, Ordering::Relaxed);
            if segment.size() > self.share.half {
                return Err(std::io::Error::other("it has its full size and the server has not begun the next"));
            }
        }
    }
}

/// How much a step that waits holds, roughly, in objects of a kilobyte or so.
fn weight(event: &Event, effects: &[Effect]) -> u64 {
    /// A specification may be long.
    const JOB: u64 = 50;
    let event = match event {
        Event::Command { .. } => JOB,
        Event::AgentReport { report, .. } => report.allocs.len() as u64,
        Event::AgentConnected { .. }
        | Event::AgentDisconnected { .. }
        | Event::Committed { .. }
        | Event::CommitFailed { .. }
        | Event::Woke => 0,
    };
    let mutation = |mutation: &Mutation| match mutation {
        Mutation::PutJob(_) | Mutation::PutJobVersion(..) => JOB,
        _ => 1,
    };
    let effect = |effect: &Effect| match effect {
        Effect::Commit { mutations, .. } => mutations.iter().map(mutation).sum(),
        Effect::Send { order: Order::Desired(desired), .. } => desired.allocs.len() as u64,
        Effect::Send { .. } | Effect::Reply { .. } | Effect::Close { .. } | Effect::WakeAt(_) | Effect::StepDown(_) => {
            1
        }
    };
    1 + event + effects.iter().map(effect).sum::<u64>()
}
