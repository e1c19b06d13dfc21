//! A plan that binds: a command that was sent under a plan has its consequences where and with which ports the plan
//! says, whichever node is quicker.
//!
//! While a plan binds, only what it places is placed, each as soon as its place is free, and only those go for others
//! whom it has go; whoever else waits would have found no place by the plan either. It binds until all that is done, or
//! until something happens that it did not foresee: another command, a failure, a node that comes, goes or changes. Then
//! everything is free again, and all that waits is looked at on all nodes, as the plan did at its end. It is kept in
//! memory alone: a new leader is not bound.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{AllocId, AllocState, DecisionId, GroupName, JobId, JobVersion, Millis, Plan, Planned, Target};

use crate::core::Core;
use crate::index::{ClassKey, Slot};
use crate::timers::Due;

/// The longest that a plan binds. By then it has gone otherwise in a way that nobody has noticed.
const LONGEST: Millis = Millis::from_secs(12 * 3600);

type Place = (JobId, GroupName, Slot);

/// What the plan that binds has in mind for whoever waits for a place.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    version: JobVersion,
    /// Where it goes; none where it waits in vain.
    target: Option<Target>,
    /// Whether what it takes the place of stops before it is placed.
    after_old: bool,
    /// Those that go for it first.
    victims: BTreeSet<AllocId>,
}

/// What the plan that binds has yet to do.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pins: BTreeMap<Place, Pin>,
    /// Those that make room although what follows them finds none.
    given_up: BTreeSet<AllocId>,
}

impl Core {
    /// Binds itself to what a plan places.
    pub(crate) fn bind(&mut self, plan: &Plan) {
        let placed = plan.changes.iter().filter_map(|change| {
            let (target, after_old) = match &change.what {
                Planned::Start(target) => (target, false),
                Planned::Replace(old, target) | Planned::Move(old, target) => (target, old.stops_first),
                Planned::Stop(_) => return None,
            };
            let slot = self.slot_at(&change.job, change.index, target);
            let victims = change.preempts.iter().copied().collect();
            let pin = Pin { version: change.version, target: Some(target.clone()), after_old, victims };
            Some(((change.job.clone(), change.group.clone(), slot), pin))
        });
        let in_vain = plan.waits.iter().filter(|wait| !wait.preempts.is_empty()).map(|wait| {
            let slot = wait.bound_to.map_or(Slot::Index(wait.index), Slot::Node);
            let victims = wait.preempts.iter().copied().collect();
            let pin = Pin { version: wait.version, target: None, after_old: false, victims };
            ((wait.job.clone(), wait.group.clone(), slot), pin)
        });
        let pins = placed.chain(in_vain).collect();
        let left = plan.waits.iter().filter_map(|wait| wait.replaces).filter(|old| old.stops_first);
        let stopped = plan.changes.iter().filter_map(|change| match &change.what {
            Planned::Stop(old) => Some(*old),
            Planned::Start(_) | Planned::Replace(..) | Planned::Move(..) => None,
        });
        let given_up = left.chain(stopped).map(|old| old.alloc).filter(|old| self.is_here(*old));
        let given_up: BTreeSet<AllocId> = given_up.collect();
        let slots = given_up.iter().map(|id| self.alloc(*id));
        let slots = slots.map(|old| (old.job.clone(), old.group.clone(), Slot::of(old))).collect::<Vec<_>>();
        self.state.dirty.slots.extend(slots);
        let bound = Bound { pins, given_up };
        if !bound.is_done() {
            self.timers.set(self.now + LONGEST, Due::Unbind);
            self.bound = Some(bound);
        }
    }

    fn slot_at(&self, job: &JobId, index: u32, target: &Target) -> Slot {
        if self.is_system(job) { Slot::Node(target.node) } else { Slot::Index(index) }
    }

    /// Something has happened that the plan, if one binds, did not foresee.
    pub(crate) fn unbind(&mut self) {
        if self.bound.take().is_some() {
            self.look_everywhere();
        }
    }

    /// What the plan has in mind for an allocation.
    fn pin(&self, id: AllocId) -> Option<&Pin> {
        let alloc = self.state.allocs.get(&id)?;
        let pin = self.bound.as_ref()?.pins.get(&(alloc.job.clone(), alloc.group.clone(), Slot::of(alloc)))?;
        (pin.version == alloc.version).then_some(pin)
    }

    /// Where the plan puts an allocation, as soon as those are gone that go for it.
    pub(crate) fn decided(&self, id: AllocId) -> Option<&Target> {
        let pin = self.pin(id)?;
        let there = |victim: &AllocId| self.state.allocs.get(victim).is_some_and(|victim| victim.occupies().is_some());
        pin.target.as_ref().filter(|_| !pin.victims.iter().any(there))
    }

    /// Whether what is replaced stops before its successor is placed; none where no plan says so.
    pub(crate) fn stops_first(&self, newcomer: AllocId) -> Option<bool> {
        self.bound.as_ref()?;
        Some(self.pin(newcomer).is_some_and(|pin| pin.after_old))
    }

    /// The classes that the plan has something in mind for.
    pub(crate) fn pinned_classes(&self) -> Vec<ClassKey> {
        let pinned = |ids: &BTreeSet<AllocId>| ids.iter().any(|id| self.pin(*id).is_some());
        let waiting = self.state.index.waiting.iter();
        waiting.filter(|(_, ids)| pinned(ids)).map(|(class, _)| class.clone()).collect()
    }

    /// Makes those go that the plan has go for an allocation, as far as budgets allow it by now.
    pub(crate) fn make_room_as_planned(&mut self, key: &ClassKey, id: AllocId, decision: DecisionId) {
        let Some(pin) = self.pin(id) else { return };
        let victims: Vec<AllocId> = pin.victims.iter().copied().filter(|victim| self.is_here(*victim)).collect();
        if !victims.is_empty() {
            self.preempt_these(key, id, &victims, decision);
        }
    }

    /// Whether it has a place, and was not told to leave it.
    fn is_here(&self, id: AllocId) -> bool {
        let state = self.state.allocs.get(&id).map(|alloc| &alloc.state);
        matches!(state, Some(AllocState::Placed { .. } | AllocState::Running { .. }))
    }

    /// Whether the plan gives up an allocation for another that is placed where it was.
    pub(crate) fn is_given_up(&self, id: AllocId) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.given_up.contains(&id))
    }

    /// An allocation was told to stop.
    pub(crate) fn gave_up(&mut self, id: AllocId) {
        let Some(bound) = &mut self.bound else { return };
        bound.given_up.remove(&id);
        bound.pins.values_mut().filter(|pin| pin.target.is_none()).for_each(|pin| _ = pin.victims.remove(&id));
        bound.pins.retain(|_, pin| pin.target.is_some() || !pin.victims.is_empty());
        self.unbind_when_done();
    }

    /// An allocation was placed.
    pub(crate) fn unpin(&mut self, id: AllocId) {
        let Some(bound) = &mut self.bound else { return };
        let Some(alloc) = self.state.allocs.get(&id) else { return };
        bound.pins.remove(&(alloc.job.clone(), alloc.group.clone(), Slot::of(alloc)));
        self.unbind_when_done();
    }

    fn unbind_when_done(&mut self) {
        if self.bound.as_ref().is_some_and(Bound::is_done) {
            self.unbind();
        }
    }
}

impl Bound {
    fn is_done(&self) -> bool {
        self.pins.is_empty() && self.given_up.is_empty()
    }
}
