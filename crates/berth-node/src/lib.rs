//! The decision core of one agent: desired against observed, restarts, order of start and stop.
//!
//! Pure: no clock, randomness, hash order, IO or thread. The same events give the same effects, byte for byte.
//! It deliberately knows nothing of how a task is run or of where else the job's allocations are.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

mod alloc;
mod event;
mod health;
mod ledger;
#[cfg(feature = "planted-bugs")]
mod planted;
mod task;

pub use event::*;
#[cfg(feature = "planted-bugs")]
pub use planted::Bug;

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{AllocId, Bytes, Desired, Digest, Epoch, Found, Goal, Millis, NodeCondition, NodeReport, Timestamp};

use crate::alloc::{Around, Memory, Room, Work};
use crate::ledger::Ledger;

/// The shortest time between two reports of news. The first news is told at once; what follows within this
/// time travels together, so that a burst of starts costs a few reports instead of one each.
const NEWS_GAP: Millis = Millis(20);
/// Reports are whole, so their size grows with the node; this many allocations lengthen the gap by 1 ms.
const ALLOCS_PER_GAP_MILLI: usize = 10;

/// The core.
#[derive(Debug)]
pub struct Core {
    /// The highest heard of. Nothing of a lower one is obeyed.
    epoch: Epoch,
    /// Of the desired state last obeyed.
    digest: Digest,
    /// Whether a desired state was heard in this life. Before, what was stopped or dropped meanwhile may still
    /// hold room here that the server has given to what was never started.
    heard: bool,
    session: Option<Session>,
    allocs: BTreeMap<AllocId, Work>,
    /// When each of them has something to do although nothing happens.
    due: BTreeSet<(Timestamp, AllocId)>,
    /// Those that may hold room here that the server has given away.
    unknown: BTreeSet<AllocId>,
    /// The time of the last event.
    now: Timestamp,
    ledger: Ledger,
    /// What is wrong with the machine.
    conditions: BTreeSet<NodeCondition>,
    /// Whether the server has to be told something at once.
    news: bool,
    /// The time last asked for, until it comes.
    wake: Option<Timestamp>,
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

/// A stream on which the server welcomed us.
#[derive(Debug)]
struct Session {
    heartbeat: Millis,
    serial: u64,
    /// When the last report was sent; None before the first.
    reported: Option<Timestamp>,
}

impl Core {
    /// A core over what the agent's ledger and the shims found on this machine say. `epoch` is the one last
    /// remembered, or the default of an agent that has never met a server.
    pub fn load(epoch: Epoch, found: Vec<Found>, now: Timestamp, out: &mut Vec<Effect>) -> Core {
        let mut core = Core {
            epoch,
            digest: Digest::default(),
            heard: false,
            session: None,
            allocs: BTreeMap::new(),
            due: BTreeSet::new(),
            unknown: BTreeSet::new(),
            now,
            ledger: Ledger::default(),
            conditions: BTreeSet::new(),
            news: false,
            wake: None,
            #[cfg(feature = "planted-bugs")]
            bug: None,
        };
        for one in found {
            let work = Work::load(one, now, out);
            core.allocs.insert(work.id(), work);
        }
        core.settle_all(out);
        core.finish(now, out);
        core
    }

    /// Takes one event.
    pub fn step(&mut self, now: Timestamp, event: Event, out: &mut Vec<Effect>) {
        let is_set_back = now < std::mem::replace(&mut self.now, now);
        match event {
            Event::Welcome { epoch, heartbeat, .. } => self.welcomed(epoch, heartbeat, out),
            Event::Disconnected => self.session = None,
            Event::Desired(desired) => self.desired(now, desired, out),
            Event::Leased { since, allocs } => {
                for alloc in allocs {
                    self.with(alloc, now, out, |work, _| work.leased(since));
                }
            }
            Event::Progress { alloc, progress } => self.with(alloc, now, out, |work, _| work.progress(progress)),
            Event::Prepared { alloc, result } => self.with(alloc, now, out, |work, _| work.prepared(now, result)),
            Event::Task { alloc, task, shim } => self.with(alloc, now, out, |work, _| work.task(now, &task, shim)),
            Event::Answered { alloc, task, run, check, answer } => {
                self.with(alloc, now, out, |work, _| work.answered(now, &task, run, &check, answer));
            }
            Event::ShimLost { alloc } => self.with(alloc, now, out, |work, out| work.shim_lost(out)),
            Event::OrphansEnded { alloc } => self.with(alloc, now, out, |work, _| work.orphans_ended(now)),
            Event::Removed { alloc } => self.removed(alloc, now, out),
            Event::DiskUsed { run, used } => self.with(run.alloc, now, out, |work, _| work.disk_used(&run, used)),
            Event::DiskFree { free, reserve } => self.disk_free(free, reserve),
            Event::NotRemembered(effects) => self.not_remembered(now, effects, out),
            Event::Woke => self.woke(now, out),
        }
        // What is due by the time before may be due already, by the clock as it was meant.
        if is_set_back {
            self.advance_all(now, out);
        }
        self.finish(now, out);
    }

    /// Every run whose use of the disk has a limit: what the driver should measure.
    pub fn limited_in_disk(&self) -> impl Iterator<Item = RunningTask> {
        self.allocs.values().flat_map(Work::limited_in_disk)
    }

    /// A server of a lower epoch has lost the lead and does not know it yet: not a word to it.
    fn welcomed(&mut self, epoch: Epoch, heartbeat: Millis, out: &mut Vec<Effect>) {
        if self.is_stale(epoch) {
            return;
        }
        self.hear(epoch, out);
        self.session = Some(Session { heartbeat, serial: 0, reported: None });
    }

    fn is_stale(&self, epoch: Epoch) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(Bug::ObeysOldEpochs) {
            return false;
        }
        epoch < self.epoch
    }

    /// An epoch that is obeyed is written down first, so that a restarted agent refuses what this one would have.
    fn hear(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.ledger.write(Effect::RememberEpoch(epoch), out);
        }
    }

    fn desired(&mut self, now: Timestamp, desired: Desired, out: &mut Vec<Effect>) {
        if self.is_stale(desired.epoch) {
            return;
        }
        self.hear(desired.epoch, out);
        self.news |= self.digest != desired.digest;
        self.digest = desired.digest;
        self.heard = true;
        let listed: BTreeSet<AllocId> = desired.allocs.iter().map(|alloc| alloc.id).collect();
        for (_, work) in self.allocs.iter_mut().filter(|(id, _)| !listed.contains(id)) {
            #[cfg(feature = "planted-bugs")]
            if self.bug == Some(Bug::KeepsUnlisted) {
                continue;
            }
            work.unlisted();
        }
        for alloc in desired.allocs {
            match self.allocs.get_mut(&alloc.id) {
                Some(work) => work.listed(alloc.goal),
                None => {
                    self.ledger.keep(alloc.id);
                    self.allocs.insert(alloc.id, Work::new(alloc, now));
                }
            }
        }
        self.advance_all(now, out);
    }

    /// The room that was freed may be what the ledger lacks.
    fn removed(&mut self, alloc: AllocId, now: Timestamp, out: &mut Vec<Effect>) {
        self.with(alloc, now, out, |work, _| work.removed());
        if self.ledger.retry().is_some() {
            self.try_ledger(now, out);
        }
    }

    /// A disk that was full is so until a quarter more than its reserve is free: one that is about to be full would
    /// otherwise be news with every measurement.
    fn disk_free(&mut self, free: Bytes, reserve: Bytes) {
        let full = NodeCondition::DiskFull;
        let enough = if self.conditions.contains(&full) { reserve.0.saturating_add(reserve.0 / 4) } else { reserve.0 };
        self.news |= if free.0 < enough { self.conditions.insert(full) } else { self.conditions.remove(&full) };
    }

    /// The ledger could not be written, and nothing was begun. What ends something is asked for again at once.
    fn not_remembered(&mut self, now: Timestamp, effects: Vec<Effect>, out: &mut Vec<Effect>) {
        self.ledger.fails(now);
        self.wake = None;
        for effect in effects {
            self.ledger.not_begun(&effect);
            match &effect {
                Effect::Remember(about) => self.not_begun(about.desired.id, now, &effect),
                Effect::Prepare(desired) => self.not_begun(desired.id, now, &effect),
                Effect::Start { alloc, .. } => self.not_begun(*alloc, now, &effect),
                Effect::Ask(question) => self.not_begun(question.alloc, now, &effect),
                Effect::Lease { .. }
                | Effect::Signal { .. }
                | Effect::EndOrphans(_)
                | Effect::Remove(_)
                | Effect::Purge(_) => {
                    out.push(effect);
                }
                Effect::Report(_) | Effect::ReportAgain { .. } => {
                    self.news = true;
                    if let Some(session) = &mut self.session {
                        session.reported = None;
                    }
                }
                Effect::RememberEpoch(_) | Effect::Forget(_) | Effect::WakeAt(_) => {}
            }
        }
        self.advance_all(now, out);
    }

    fn not_begun(&mut self, alloc: AllocId, now: Timestamp, effect: &Effect) {
        if let Some(work) = self.allocs.get_mut(&alloc) {
            work.not_begun(now, effect);
        }
    }

    fn try_ledger(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let (epoch, forgotten) = self.ledger.try_again();
        out.extend(epoch.then_some(Effect::RememberEpoch(self.epoch)));
        out.extend(forgotten.into_iter().map(Effect::Forget));
        self.advance_all(now, out);
    }

    fn woke(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.wake = None;
        if self.ledger.retry().is_some_and(|at| at <= now) {
            self.try_ledger(now, out);
            return;
        }
        let due: Vec<AllocId> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, alloc)| *alloc).collect();
        for alloc in due {
            self.with(alloc, now, out, |_, _| {});
        }
    }

    /// Asks for what is missing, stops before starts: what is to be stopped may hold what is to be started waits for.
    fn advance_all(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.look_for_unknown();
        let around = self.around();
        let (stops, starts): (Vec<_>, Vec<_>) = self.allocs.values_mut().partition(|work| work.goal() == Goal::Stop);
        for work in stops.into_iter().chain(starts) {
            work.advance(now, around, out);
        }
        self.settle_all(out);
    }

    fn room(&self) -> Room {
        if !self.heard || !self.unknown.is_empty() { Room::Taken } else { Room::Free }
    }

    fn around(&self) -> Around {
        Around { room: self.room(), memory: self.ledger.memory() }
    }

    /// Lets one allocation take an event, then go on. One that is unknown is over: what is said of it is late.
    fn with(
        &mut self,
        alloc: AllocId,
        now: Timestamp,
        out: &mut Vec<Effect>,
        take: impl FnOnce(&mut Work, &mut Vec<Effect>),
    ) {
        let before = self.around();
        let Some(work) = self.allocs.get_mut(&alloc) else { return };
        take(work, out);
        work.advance(now, before, out);
        self.settle(alloc, out);
        if before.room != self.room() {
            self.advance_all(now, out);
        }
    }

    fn look_for_unknown(&mut self) {
        self.unknown = self.allocs.iter().filter(|(_, work)| work.is_unknown()).map(|(id, _)| *id).collect();
    }

    fn settle_all(&mut self, out: &mut Vec<Effect>) {
        // All of them first: whether there is room decides what is due.
        self.look_for_unknown();
        let all: Vec<AllocId> = self.allocs.keys().copied().collect();
        all.into_iter().for_each(|alloc| self.settle(alloc, out));
    }

    /// Notes what has become of an allocation that has been advanced, and forgets it where it has ended and is no longer
    /// listed.
    fn settle(&mut self, id: AllocId, out: &mut Vec<Effect>) {
        let Some(work) = self.allocs.get(&id) else { return };
        let (is_unknown, is_over) = (work.is_unknown(), work.is_over());
        if is_unknown {
            self.unknown.insert(id)
        } else {
            self.unknown.remove(&id)
        };
        let around = self.around();
        let Some(work) = self.allocs.get_mut(&id) else { return };
        self.news |= std::mem::take(&mut work.news) || is_over;
        let next = work.next_wake(around).filter(|_| !is_over);
        let before = std::mem::replace(&mut work.due, next);
        if let Some(at) = before.filter(|_| before != next) {
            self.due.remove(&(at, id));
        }
        self.due.extend(next.map(|at| (at, id)));
        if is_over {
            self.allocs.remove(&id);
            out.push(Effect::Purge(id));
            self.ledger.write(Effect::Forget(id), out);
        }
    }

    /// Tells the server if something is due, and asks to be woken for what is due next.
    fn finish(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(Bug::RestartsNotCounted) {
            self.allocs.values_mut().for_each(Work::forget_restarts);
        }
        let gap = self.gap();
        let around = self.around();
        // What is not remembered is not told either: a server may build on it.
        let tells = around.memory == Memory::Works;
        if let Some(session) = &mut self.session {
            // A clock that was set back must not silence the heartbeat until it has caught up.
            let set_back = session.reported.is_some_and(|at| at > now);
            if set_back || session.due(self.news && tells, gap).is_none_or(|due| due <= now) {
                session.serial += 1;
                session.reported = Some(now);
                let serial = session.serial;
                out.push(if tells {
                    self.news = false;
                    let allocs = self.allocs.values().map(Work::observe).collect();
                    let conditions = self.conditions.clone();
                    Effect::Report(NodeReport { serial, digest: self.digest, conditions, allocs })
                } else {
                    Effect::ReportAgain { serial, conditions: self.conditions.clone() }
                });
            }
        } else {
            self.news = false; // The first report of a session tells everything.
        }
        let report = self.session.as_ref().and_then(|session| session.due(self.news && tells, gap));
        let works = self.due.first().map(|(at, _)| *at);
        let next = works.into_iter().chain(report).chain(self.ledger.retry()).min();
        if next.is_some() && next != self.wake {
            self.wake = next;
            out.extend(next.map(Effect::WakeAt));
        }
    }

    fn gap(&self) -> Millis {
        let longer = u64::try_from(self.allocs.len() / ALLOCS_PER_GAP_MILLI).unwrap_or(u64::MAX);
        Millis(NEWS_GAP.0.saturating_add(longer))
    }
}

impl Session {
    /// When the next report is due; None: at once.
    fn due(&self, news: bool, gap: Millis) -> Option<Timestamp> {
        let wait = if news { gap.min(self.heartbeat) } else { self.heartbeat };
        self.reported.map(|at| at + wait)
    }
}
