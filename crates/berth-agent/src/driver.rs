//! The drive loop around the node core: waits for events, steps, performs effects. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use berth_model::{AllocId, BootTime, NodeCondition, NodeReport, Timestamp};
use berth_node::{Core, Effect, Event};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::ledger::{Entries, Ledger};
use crate::link::chain;
use crate::meter::Meter;
use crate::probe::{Prober, Turns};
use crate::work::Workers;

/// Events taken in one turn, at most: their writes to the ledger share one sync.
const BATCH: usize = 256;

/// Reports whose moments are remembered until they are answered.
const UNANSWERED: usize = 1024;

/// What the link to the server tells the loop.
#[derive(Debug)]
pub enum LinkEvent {
    /// A stream is up; reports go here, the newest only: each is whole.
    Connected(watch::Sender<Option<NodeReport>>),
    /// Something for the core.
    Core(Box<Event>),
    /// The server has answered a report of this stream: the leases of these allocations begin anew.
    Leased {
        /// The report's number.
        serial: u64,
        /// Which.
        allocs: Vec<AllocId>,
    },
    /// The stream ended.
    Disconnected,
}

/// The loop and what it owns.
pub struct Driver {
    /// Decides.
    pub core: Core,
    /// Remembers.
    pub ledger: Ledger,
    /// Does the work, an allocation each.
    pub workers: Workers,
    /// Asks what checks ask.
    pub prober: Prober,
    /// Whose turn it is to be asked.
    pub turns: Turns,
    /// Measures the disk.
    pub meter: Meter,
    /// From the link.
    pub link: mpsc::Receiver<LinkEvent>,
    /// From workers and shims.
    pub events: mpsc::Receiver<Event>,
    /// Where reports go while connected.
    pub reports: Option<watch::Sender<Option<NodeReport>>>,
    /// When the latest reports of this stream were handed on to be sent.
    pub sent: BTreeMap<u64, BootTime>,
    /// What was sent last on the streams before.
    pub last: Option<NodeReport>,
    /// When the core wants to be woken.
    pub wake: Option<Timestamp>,
}

impl Driver {
    /// Runs until `stop`. What runs on the node goes on: tasks outlive their keepers.
    pub async fn run(mut self, first: Vec<Effect>, stop: CancellationToken) {
        self.perform(first).await;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(event) = self.link.recv() => batch.extend(self.hear(event)),
                count = self.events.recv_many(&mut batch, BATCH), if !self.events.is_closed() => {
                    debug_assert!(count > 0, "the loop's own sender keeps the channel open");
                }
                () = self.meter.due() => self.meter.begin(self.core.limited_in_disk().collect()),
                () = sleep_until(self.wake) => {
                    self.wake = None;
                    batch.push(Event::Woke);
                }
            }
            let mut effects = Vec::new();
            for event in batch {
                tracing::trace!(?event, "step");
                self.core.step(clock::now(), event, &mut effects);
            }
            self.perform(effects).await;
        }
    }

    fn hear(&mut self, event: LinkEvent) -> Option<Event> {
        match event {
            LinkEvent::Connected(reports) => {
                self.reports = Some(reports);
                self.sent.clear();
                None
            }
            LinkEvent::Core(event) => Some(*event),
            LinkEvent::Leased { serial, allocs } => {
                self.sent = self.sent.split_off(&serial);
                let since = *self.sent.get(&serial)?;
                Some(Event::Leased { since, allocs })
            }
            LinkEvent::Disconnected => {
                self.last = self.reports.take().and_then(|reports| reports.send_replace(None)).or(self.last.take());
                Some(Event::Disconnected)
            }
        }
    }

    /// Performs the effects of one turn. All writes to the ledger come first, in one sync: a write that
    /// is early by a few effects is harmless, since the ledger only tells what was meant. Where they fail,
    /// the core says what can be done without them.
    async fn perform(&mut self, effects: Vec<Effect>) {
        let Err(error) = self.ledger.write(entries(&effects)).await else { return self.carry_out(effects) };
        tracing::error!(
            reason = chain(&error),
            "the ledger cannot be written: until it can, nothing is started here and the server hears nothing new; \
             stops are carried out"
        );
        let mut instead = Vec::new();
        self.core.step(clock::now(), Event::NotRemembered(effects), &mut instead);
        debug_assert!(entries(&instead).is_empty(), "the core waits before it asks the ledger again");
        self.carry_out(instead);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::RememberEpoch(_) | Effect::Remember(_) | Effect::Forget(_) => {}
                Effect::Report(report) => {
                    self.note_sent(report.serial);
                    if let Some(reports) = &self.reports {
                        reports.send_replace(Some(report));
                    }
                }
                Effect::ReportAgain { serial, conditions } => {
                    self.note_sent(serial);
                    self.report_again(serial, &conditions);
                }
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::Ask(question) => self.prober.ask(&mut self.turns, *question),
                Effect::Prepare(_)
                | Effect::Start { .. }
                | Effect::Lease { .. }
                | Effect::Signal { .. }
                | Effect::EndOrphans(_)
                | Effect::Remove(_) => self.workers.give(effect),
                Effect::Purge(alloc) => {
                    self.turns.forget(alloc);
                    self.workers.give(effect);
                }
            }
        }
    }

    /// A lease begins with the moment at which its report was sent, and no later.
    fn note_sent(&mut self, serial: u64) {
        self.sent.insert(serial, berth_runtime::boot_time());
        if self.sent.len() > UNANSWERED {
            self.sent.pop_first();
        }
    }

    fn report_again(&mut self, serial: u64, conditions: &BTreeSet<NodeCondition>) {
        let Some(reports) = &self.reports else { return };
        let last = self.last.take();
        reports.send_if_modified(|report| {
            let again = |report| NodeReport { serial, conditions: conditions.clone(), ..report };
            *report = report.take().or(last).map(again);
            report.is_some()
        });
    }
}

/// What the ledger has to take in: the last word on each allocation.
fn entries(effects: &[Effect]) -> Entries {
    let mut entries = Entries::default();
    for effect in effects {
        match effect {
            Effect::RememberEpoch(epoch) => entries.epoch = Some(*epoch),
            Effect::Remember(remembered) => {
                entries.allocs.insert(remembered.desired.id, Some(remembered.as_ref().clone()));
            }
            Effect::Forget(alloc) => {
                entries.allocs.insert(*alloc, None);
            }
            Effect::Prepare(_)
            | Effect::Start { .. }
            | Effect::Lease { .. }
            | Effect::Ask(_)
            | Effect::Signal { .. }
            | Effect::EndOrphans(_)
            | Effect::Remove(_)
            | Effect::Purge(_)
            | Effect::Report(_)
            | Effect::ReportAgain { .. }
            | Effect::WakeAt(_) => {}
        }
    }
    entries
}

/// Sleeps until the wall clock shows `at`; for ever without one.
async fn sleep_until(at: Option<Timestamp>) {
    match at {
        Some(at) => tokio::time::sleep(Duration::from_millis(at.since(clock::now()).0)).await,
        None => std::future::pending().await,
    }
}
