//! Reconciling: what each slot of a job should hold against what it holds.
//!
//! A slot is looked at when something in it changed, alone; what concerns a whole group (the budget of replacements)
//! or a job (whether it has ended) follows from counts that the index keeps.

mod batch;
mod service;

use std::collections::BTreeSet;

use berth_model::{
    Alloc, AllocId, AllocState, Cause, GroupName, Happening, JobId, JobKind, JobOutcome, JobState, Millis, NodeId,
    Outcome, Timer, Timestamp, WaitReason,
};
use berth_placement::{Class, admits};

use crate::commands::wish_of;
use crate::core::Core;
use crate::index::{ClassKey, Slot};
use crate::journal::Key;
use crate::lifecycle::NewAlloc;
use crate::state::{State, outcome};

/// The back-off after the first failure; doubles with each further one in a row.
const BACK_OFF: Millis = Millis(1_000);
/// What the doubling stops at.
const MAX_BACK_OFF: Millis = Millis::from_secs(300);
/// An instance that was ready for this long has proven itself: its failure is the first of a row.
pub(crate) const FORGIVEN_AFTER: Millis = Millis::from_secs(600);
/// Instances of a batch slot that may fail, the first included, before the slot's work counts as failed.
pub(crate) const BATCH_TRIES: u32 = 4;

/// What became of a batch slot's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Complete,
    Failed,
    Stopped,
}

impl Core {
    /// Looks at every marked slot, then at the groups and jobs around them.
    pub(crate) fn reconcile(&mut self, slots: BTreeSet<(JobId, GroupName, Slot)>, mut jobs: BTreeSet<JobId>) {
        let mut groups: BTreeSet<(JobId, GroupName)> = BTreeSet::new();
        for (job, group, slot) in slots {
            self.reconcile_slot(&job, &group, slot);
            groups.insert((job.clone(), group));
            jobs.insert(job);
        }
        for (job, group) in groups {
            self.advance_replacements(&job, &group);
        }
        for job in jobs {
            self.end_job_if_over(&job);
        }
    }

    fn reconcile_slot(&mut self, job: &JobId, group: &GroupName, slot: Slot) {
        let kind = self.state.jobs.get(job).map(|job| job.spec.kind);
        let wanted = self.is_slot_wanted(job, group, slot);
        if wanted {
            self.renew(job, group, slot);
        }
        match (kind, wanted) {
            (Some(JobKind::Batch), true) => self.reconcile_batch(job, group, slot),
            (Some(JobKind::Service | JobKind::System), true) => self.reconcile_service(job, group, slot),
            (Some(_), false) | (None, _) => self.empty_slot(job, group, slot),
        }
        self.state.need(job, group, slot, self.needed_in(job, group, slot));
    }

    /// The ended allocation that what comes next in a slot depends on: the newest, until its successor has a place.
    fn needed_in(&self, job: &JobId, group: &GroupName, slot: Slot) -> Option<AllocId> {
        let spec = self.state.jobs.get(job).filter(|_| self.state.is_active(job))?.spec.group(group)?;
        let exists = match slot {
            Slot::Index(index) => index < spec.count,
            Slot::Node(node) => self.state.nodes.contains_key(&node),
        };
        let held = self.state.index.slot(job, group, slot).filter(|_| exists)?;
        let (latest, ended) = (held.latest()?, held.ended.last().copied()?);
        let placeless = matches!(self.alloc(latest).state, AllocState::Waiting { .. });
        (latest == ended || placeless).then_some(ended)
    }

    pub(crate) fn is_slot_wanted(&self, id: &JobId, group: &GroupName, slot: Slot) -> bool {
        let Some(job) = self.state.jobs.get(id).filter(|_| self.state.is_active(id)) else { return false };
        let Some(group) = job.spec.group(group) else { return false };
        match (job.spec.kind, slot) {
            (JobKind::Service | JobKind::Batch, Slot::Index(index)) => index < group.count,
            (JobKind::System, Slot::Node(node)) => self.state.nodes.get(&node).is_some_and(|node| {
                // On a lost node is wanted what has not been given up.
                (node.is_eligible() || !self.active_in(id, &group.name, slot).is_empty())
                    && !self.state.is_closed_to_system_jobs(node.id)
                    && admits(&node.fingerprint, Class { job: &job.spec, group })
            }),
            (JobKind::System, Slot::Index(_)) | (JobKind::Service | JobKind::Batch, Slot::Node(_)) => false,
        }
    }

    /// What waits, and would run the same by the newest version, waits as one of that: of its priority and in its class.
    fn renew(&mut self, job: &JobId, group: &GroupName, slot: Slot) {
        let Some(newest) = self.state.jobs.get(job).map(|job| job.version) else { return };
        for id in self.live_in(job, group, slot) {
            let alloc = self.alloc(id);
            let waits = matches!(alloc.state, AllocState::Waiting { .. });
            if waits && alloc.version != newest && self.state.is_current(alloc) {
                let alloc = Alloc { version: newest, ..alloc.clone() };
                self.state.dirty.classes.insert(ClassKey::of(&alloc));
                self.state.put_alloc(alloc);
            }
        }
    }

    /// Nobody wants the slot: whatever lives in it stops.
    fn empty_slot(&mut self, job: &JobId, group: &GroupName, slot: Slot) {
        self.forget_slot_marks(job, group, slot);
        for id in self.live_in(job, group, slot) {
            let cause = match (slot, self.state.jobs.get(job)) {
                (Slot::Node(node), Some(job)) if job.state == JobState::Active => self.cause_of_node(node),
                (_, Some(job)) => wish_of(job),
                (_, None) => self.job_cause(self.alloc(id)),
            };
            self.stop(id, cause);
        }
    }

    /// The newest entry about a node, as a cause.
    fn cause_of_node(&self, node: NodeId) -> Cause {
        let about = self.state.ledger.values().rev().find(|entry| {
            matches!(&entry.what, Happening::NodeReady { node: n, .. } | Happening::NodeLost { node: n, .. } if *n == node)
        });
        about.map_or(Cause::Report { node, serial: 0 }, |entry| Cause::Event(entry.id))
    }

    pub(crate) fn forget_slot_marks(&mut self, job: &JobId, group: &GroupName, slot: Slot) {
        if self.state.index.group(job, group).is_some() {
            let index = self.state.index.group_mut(job, group);
            index.outdated.remove(&slot);
            index.done.remove(&slot);
            if index.busy.remove(&slot) {
                self.state.budget_freed();
            }
        }
    }

    pub(crate) fn live_in(&self, job: &JobId, group: &GroupName, slot: Slot) -> Vec<AllocId> {
        self.state.index.slot(job, group, slot).map(|slot| slot.live.iter().copied().collect()).unwrap_or_default()
    }

    pub(crate) fn latest_in(&self, job: &JobId, group: &GroupName, slot: Slot) -> Option<AllocId> {
        self.state.index.slot(job, group, slot)?.latest()
    }

    /// Those in the slot that were not told to stop.
    pub(crate) fn active_in(&self, job: &JobId, group: &GroupName, slot: Slot) -> Vec<AllocId> {
        let mut live = self.live_in(job, group, slot);
        live.retain(|id| !matches!(self.alloc(*id).state, AllocState::Stopping { .. }));
        live
    }

    /// Makes the next instance of a slot after `before`, if there was one: with a back-off where that failed.
    pub(crate) fn succeed(
        &mut self,
        (job, group, slot): (&JobId, &GroupName, Slot),
        before: Option<AllocId>,
        replaces: Option<AllocId>,
    ) -> AllocId {
        let wish = self.state.jobs.get(job).map(wish_of).expect("only wanted slots get instances");
        let mut new = NewAlloc {
            job,
            group,
            slot,
            replaces: replaces.or(before),
            failures: 0,
            reason: WaitReason::Queued,
            cause: wish,
        };
        // What only balancing does has balancing as its cause.
        let cause_of = |state: &State, old: &Alloc| match state.cause_of(old) {
            Cause::Balance { .. } => new.cause.clone(),
            other => other,
        };
        let Some(before) = before else { return self.create(new) };
        let old = self.alloc(before);
        let current = self.state.is_current(old);
        let of_wish = self.state.jobs.get(job).is_some_and(|job| job.version == old.version);
        match outcome(old) {
            Some(Outcome::Failed(_)) if current => {
                new.failures = old.failures.saturating_add(1);
                new.reason = WaitReason::BackOff { until: self.now + back_off(new.failures), failed: before };
                new.cause = cause_of(&self.state, old);
            }
            // A new version begins with a clean slate.
            Some(Outcome::Failed(_)) => {}
            Some(Outcome::Lost(_) | Outcome::Preempted { .. } | Outcome::Drained(_)) => {
                new.failures = if current { old.failures } else { 0 };
                new.cause = cause_of(&self.state, old);
            }
            Some(Outcome::Complete | Outcome::Stopped) if of_wish => new.cause = cause_of(&self.state, old),
            // Over and done with before the job was asked for anew: nobody's place is taken.
            Some(Outcome::Complete | Outcome::Stopped) => new.replaces = replaces,
            // It is where it is to leave: because of the drain of its node.
            None if current => new.cause = self.state.drain_cause(old).unwrap_or_else(|| cause_of(&self.state, old)),
            None => {}
        }
        self.create(new)
    }

    /// The back-off of an allocation has passed.
    pub(crate) fn reschedule_due(&mut self, id: AllocId, due: Timestamp) {
        let Some(alloc) = self.state.allocs.get(&id) else { return };
        let AllocState::Waiting { reason: WaitReason::BackOff { until, .. }, .. } = alloc.state else { return };
        if until > self.now {
            return;
        }
        let cause = self.timer(Timer::Reschedule, due);
        self.wait(id, WaitReason::Queued, true, cause);
    }

    /// Timers that a stored allocation asks for after a change of leader.
    pub(crate) fn resume_alloc(&mut self, id: AllocId) {
        self.clamp_times(id);
        self.wait_for_move(id);
        self.rest(id);
        let alloc = self.alloc(id);
        match &alloc.state {
            AllocState::Waiting { reason: WaitReason::BackOff { until, .. }, .. } => {
                self.timers.set(*until, crate::timers::Due::Reschedule(id));
            }
            AllocState::Running { since, ready: None, .. } => {
                if let Some(min_ready) = self.min_ready(alloc) {
                    self.timers.set(*since + min_ready, crate::timers::Due::MinReady(id));
                }
            }
            AllocState::Waiting { .. } => {
                let key = ClassKey::of(alloc);
                self.state.dirty.classes.insert(key);
            }
            AllocState::Running { ready: Some(_), .. } => self.wait_until_proven(id),
            AllocState::Placed { .. } | AllocState::Stopping { .. } | AllocState::Ended { .. } => {}
        }
    }

    /// A clock that was set back between two leaders makes nothing wait longer than it would have from now on.
    fn clamp_times(&mut self, id: AllocId) {
        let alloc = self.alloc(id);
        let latest = self.now + back_off(alloc.failures);
        let state = match &alloc.state {
            AllocState::Waiting { since, reason: WaitReason::BackOff { until, failed } } if *until > latest => {
                AllocState::Waiting { since: *since, reason: WaitReason::BackOff { until: latest, failed: *failed } }
            }
            AllocState::Running { placement, since, ready: None } if *since > self.now => {
                AllocState::Running { placement: placement.clone(), since: self.now, ready: None }
            }
            AllocState::Waiting { .. }
            | AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. }
            | AllocState::Ended { .. } => return,
        };
        let alloc = berth_model::Alloc { state, ..alloc.clone() };
        self.state.put_alloc(alloc);
    }

    /// A job ends when it was stopped and nothing of it lives, or when all of a batch job's work is over.
    fn end_job_if_over(&mut self, id: &JobId) {
        let Some(job) = self.state.jobs.get(id) else { return };
        let live = self.state.index.live.get(id).copied().unwrap_or(0);
        let (outcome, cause) = match (&job.state, job.spec.kind) {
            (JobState::Stopping { cause, .. }, _) if live == 0 => (JobOutcome::Stopped, cause.clone()),
            (JobState::Active, JobKind::Batch) if live == 0 => match self.batch_outcome(id) {
                Some(over) => over,
                None => return,
            },
            (JobState::Active | JobState::Stopping { .. } | JobState::Ended { .. }, _) => return,
        };
        let mut job = job.clone();
        job.state = JobState::Ended { at: self.now, outcome };
        self.state.put_job(job);
        self.state.need_nothing(id);
        self.state.note(self.now, Key::Job(id.clone()), cause, Happening::JobEnded { job: id.clone(), outcome });
    }
}

/// The wait after so many failures in a row.
fn back_off(failures: u32) -> Millis {
    let doublings = failures.saturating_sub(1).min(16);
    Millis((BACK_OFF.0 << doublings).min(MAX_BACK_OFF.0))
}
