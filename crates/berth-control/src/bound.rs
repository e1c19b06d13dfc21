//! A plan that binds: a command that was sent under a plan has its consequences where and with which ports the plan
//! says, whichever node is quicker.
//!
//! While a plan binds, only what it places is placed, each as soon as its place is free; whoever else waits would have
//! found no place by the plan either. It binds until all is placed, or until something happens that it did not foresee:
//! another command, a failure, a node that comes, goes or changes. Then everything is free again. It is kept in memory
//! alone: a new leader is not bound.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{AllocId, GroupName, JobId, JobVersion, Millis, Plan, Planned, Target};

use crate::core::Core;
use crate::index::Slot;
use crate::timers::Due;

/// The longest that a plan binds. By then it has gone otherwise in a way that nobody has noticed.
const LONGEST: Millis = Millis::from_secs(3600);

/// Where something goes.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    version: JobVersion,
    pub(crate) target: Target,
    /// Whether what it takes the place of stops before it is placed.
    pub(crate) after_old: bool,
}

/// What the plan that binds has yet to place.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pins: BTreeMap<(JobId, GroupName, Slot), Pin>,
    /// Those that make room although what follows them finds none.
    given_up: BTreeSet<AllocId>,
}

impl Core {
    /// Binds itself to what a plan places.
    pub(crate) fn bind(&mut self, plan: &Plan) {
        let pins = plan.changes.iter().filter_map(|change| {
            let (target, after_old) = match &change.what {
                Planned::Start(target) => (target, false),
                Planned::Replace(old, target) | Planned::Move(old, target) => (target, old.stops_first),
                Planned::Stop(_) => return None,
            };
            let slot = match self.is_system(&change.job) {
                true => Slot::Node(target.node),
                false => Slot::Index(change.index),
            };
            let pin = Pin { version: change.version, target: target.clone(), after_old };
            Some(((change.job.clone(), change.group.clone(), slot), pin))
        });
        let left = plan.waits.iter().filter_map(|wait| wait.replaces);
        let given_up = left.filter(|old| old.stops_first).map(|old| old.alloc).collect();
        let bound = Bound { pins: pins.collect(), given_up };
        if !bound.pins.is_empty() || !bound.given_up.is_empty() {
            self.timers.set(self.now + LONGEST, Due::Unbind);
            self.bound = Some(bound);
        }
    }

    /// Something has happened that the plan, if one binds, did not foresee.
    pub(crate) fn unbind(&mut self) {
        if self.bound.take().is_some() {
            self.state.dirty.room = true;
        }
    }

    /// Where the plan puts an allocation.
    pub(crate) fn pin(&self, id: AllocId) -> Option<&Pin> {
        let alloc = self.state.allocs.get(&id)?;
        let pin = self.bound.as_ref()?.pins.get(&(alloc.job.clone(), alloc.group.clone(), Slot::of(alloc)))?;
        (pin.version == alloc.version).then_some(pin)
    }

    /// Whether an allocation may be placed: all may, unless a plan binds that does not place it.
    pub(crate) fn may_be_placed(&self, id: AllocId) -> bool {
        self.bound.is_none() || self.pin(id).is_some()
    }

    /// Whether the plan gives up an allocation for another that is placed where it was.
    pub(crate) fn is_given_up(&self, id: AllocId) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.given_up.contains(&id))
    }

    /// An allocation was told to stop.
    pub(crate) fn gave_up(&mut self, id: AllocId) {
        if let Some(bound) = &mut self.bound
            && bound.given_up.remove(&id)
        {
            self.unbind_when_done();
        }
    }

    fn unbind_when_done(&mut self) {
        if self.bound.as_ref().is_some_and(|bound| bound.pins.is_empty() && bound.given_up.is_empty()) {
            self.unbind();
        }
    }

    /// An allocation was placed.
    pub(crate) fn unpin(&mut self, id: AllocId) {
        let Some(bound) = &mut self.bound else { return };
        let Some(alloc) = self.state.allocs.get(&id) else { return };
        bound.pins.remove(&(alloc.job.clone(), alloc.group.clone(), Slot::of(alloc)));
        self.unbind_when_done();
    }
}
