//! The life of an allocation, one function per change. Each writes the object and its ledger entry, with the cause.

use std::collections::BTreeMap;

use berth_model::{
    Alloc, AllocId, AllocState, Cause, EventId, GroupSpec, Happening, JobId, LedgerEntry, Millis, NodeId, Outcome,
    Placement, TaskName, TaskStatus, Timestamp, WaitReason,
};

use crate::core::Core;
use crate::index::Slot;
use crate::journal::Key;
use crate::state::State;
use crate::timers::Due;

/// What a new allocation is made from.
pub(crate) struct NewAlloc<'a> {
    pub(crate) job: &'a JobId,
    pub(crate) group: &'a berth_model::GroupName,
    pub(crate) slot: Slot,
    pub(crate) replaces: Option<AllocId>,
    pub(crate) failures: u32,
    pub(crate) reason: WaitReason,
    pub(crate) cause: Cause,
}

impl State {
    /// Writes down what happened, in the transaction of the object that it happened to.
    pub(crate) fn note(&mut self, now: Timestamp, with: Key, cause: Cause, what: Happening) -> EventId {
        self.meta.events += 1;
        let id = EventId::new(self.meta.incarnation, self.meta.events);
        self.put_ledger(LedgerEntry { id, at: now, cause, what }, with);
        id
    }

    /// The newest entry about an allocation, as a cause; else what its own state says.
    pub(crate) fn cause_of(&self, alloc: &Alloc) -> Cause {
        match self.index.ledger_of(alloc.id).next_back() {
            Some(event) => Cause::Event(event),
            None => match &alloc.state {
                AllocState::Ended { cause, .. } | AllocState::Stopping { cause, .. } => cause.clone(),
                AllocState::Waiting { .. } | AllocState::Placed { .. } | AllocState::Running { .. } => {
                    alloc.cause.clone()
                }
            },
        }
    }
}

impl Core {
    pub(crate) fn create(&mut self, new: NewAlloc<'_>) -> AllocId {
        self.state.meta.allocs += 1;
        let id = AllocId::new(self.state.meta.incarnation, self.state.meta.allocs);
        let job = self.state.jobs.get(new.job).expect("allocations are made for jobs that exist");
        let (index, bound_to) = match new.slot {
            Slot::Index(index) => (index, None),
            Slot::Node(node) => (0, Some(node)),
        };
        if let WaitReason::BackOff { until, .. } = new.reason {
            self.timers.set(until, Due::Reschedule(id));
        }
        self.state.put_alloc(Alloc {
            id,
            job: new.job.clone(),
            version: job.version,
            group: new.group.clone(),
            index,
            bound_to,
            replaces: new.replaces,
            failures: new.failures,
            created: self.now,
            cause: new.cause.clone(),
            state: AllocState::Waiting { since: self.now, reason: new.reason },
            tasks: BTreeMap::new(),
        });
        let what = Happening::AllocCreated { alloc: id, job: new.job.clone(), replaces: new.replaces };
        self.state.note(self.now, Key::Alloc(id), new.cause, what);
        id
    }

    /// Another reason for waiting. An entry is written only where the kind of reason changed.
    pub(crate) fn wait(&mut self, id: AllocId, reason: WaitReason, noteworthy: bool, cause: Cause) {
        let mut alloc = self.alloc(id).clone();
        let AllocState::Waiting { since, .. } = alloc.state else { return };
        let job = alloc.job.clone();
        alloc.state = AllocState::Waiting { since, reason };
        self.state.put_alloc(alloc);
        if noteworthy {
            self.state.note(self.now, Key::Alloc(id), cause, Happening::AllocWaiting { alloc: id, job });
        }
    }

    pub(crate) fn placed(&mut self, id: AllocId, placement: Placement, cause: Cause) {
        let mut alloc = self.alloc(id).clone();
        let what = Happening::AllocPlaced { alloc: id, job: alloc.job.clone(), node: placement.node };
        alloc.state = AllocState::Placed { placement, since: self.now };
        self.state.put_alloc(alloc);
        self.state.note(self.now, Key::Alloc(id), cause, what);
    }

    /// The agent says that it runs, for the first time or again after a task was restarted.
    pub(crate) fn running(&mut self, id: AllocId, tasks: BTreeMap<TaskName, TaskStatus>, cause: &Cause) {
        let mut alloc = self.alloc(id).clone();
        let first = matches!(alloc.state, AllocState::Placed { .. });
        let Some(placement) = alloc.placement().cloned() else { return };
        let what = Happening::AllocRunning { alloc: id, job: alloc.job.clone(), node: placement.node };
        alloc.tasks = tasks;
        alloc.state = AllocState::Running { placement, since: self.now, ready: None };
        let min_ready = self.min_ready(&alloc);
        self.state.put_alloc(alloc);
        if first {
            self.state.note(self.now, Key::Alloc(id), cause.clone(), what);
        }
        match min_ready {
            None => self.heed_checks(id, cause),
            Some(Millis(0)) => self.ready(id, cause.clone()),
            Some(min_ready) => self.timers.set(self.now + min_ready, Due::MinReady(id)),
        }
    }

    pub(crate) fn ready(&mut self, id: AllocId, cause: Cause) {
        let mut alloc = self.alloc(id).clone();
        let AllocState::Running { ready, .. } = &mut alloc.state else { return };
        *ready = Some(self.now);
        let job = alloc.job.clone();
        self.state.put_alloc(alloc);
        self.wait_until_proven(id);
        self.rest(id);
        self.state.note(self.now, Key::Alloc(id), cause, Happening::AllocReady { alloc: id, job });
    }

    /// Tells an allocation to stop. One that is nowhere yet ends at once.
    pub(crate) fn stop(&mut self, id: AllocId, cause: Cause) {
        let mut alloc = self.alloc(id).clone();
        match &alloc.state {
            AllocState::Waiting { .. } => self.end(id, Outcome::Stopped, cause),
            AllocState::Placed { placement, .. } | AllocState::Running { placement, .. } => {
                let what = Happening::AllocStopping { alloc: id, job: alloc.job.clone() };
                alloc.state =
                    AllocState::Stopping { placement: placement.clone(), since: self.now, cause: cause.clone() };
                self.state.put_alloc(alloc);
                self.state.note(self.now, Key::Alloc(id), cause, what);
            }
            AllocState::Stopping { .. } | AllocState::Ended { .. } => {}
        }
    }

    pub(crate) fn end(&mut self, id: AllocId, outcome: Outcome, cause: Cause) {
        let mut alloc = self.alloc(id).clone();
        if let AllocState::Running { ready: Some(ready), .. } = alloc.state
            && self.now.since(ready) >= crate::reconcile::FORGIVEN_AFTER
        {
            alloc.failures = 0;
        }
        let what = Happening::AllocEnded { alloc: id, job: alloc.job.clone(), outcome: outcome.clone() };
        let placement = alloc.placement().cloned();
        alloc.state = AllocState::Ended { placement, at: self.now, outcome, cause: cause.clone() };
        self.state.put_alloc(alloc);
        self.state.note(self.now, Key::Alloc(id), cause, what);
    }

    pub(crate) fn alloc(&self, id: AllocId) -> &Alloc {
        self.state.allocs.get(&id).expect("an allocation that an index names exists")
    }

    /// For how long an allocation has to run before it is ready; none where its checks tell.
    pub(crate) fn min_ready(&self, alloc: &Alloc) -> Option<Millis> {
        let group = self.group_of(alloc);
        let is_gated = group.is_some_and(GroupSpec::is_gated);
        (!is_gated).then(|| group.map(|group| group.update.min_ready).unwrap_or_default())
    }

    /// The group, in the version that the allocation runs.
    pub(crate) fn group_of(&self, alloc: &Alloc) -> Option<&GroupSpec> {
        self.state.spec(&alloc.job, alloc.version).and_then(|spec| spec.group(&alloc.group))
    }

    /// The allocations that hold a place on the node.
    pub(crate) fn live_on(&self, node: NodeId) -> Vec<AllocId> {
        self.state.index.live_on.get(&node).into_iter().flatten().copied().collect()
    }
}
