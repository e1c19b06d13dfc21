//! Placing what waits: which classes are tried, in which order, and what is written of the reasons.
//!
//! New members of a class have it tried at once. A class that found no place is tried again where something has changed
//! for it: on nodes on which somebody has given up room ([`Room::On`]), at all when a node came, went or changed
//! ([`Room::Everywhere`]), when somebody moved of whom its rules speak, and when a budget grew that stood in the way of a
//! preemption. What did not fit does not fit by being tried again where only more was placed.
//!
//! The reason that an allocation *stores* is that of the last time that its class was looked at on all nodes; and it
//! changes only with its kind: the numbers in it would else be written for every waiting allocation whenever anything
//! moves. Whoever asks is told the present one, see [`Core::wait_reason`].

use std::collections::BTreeSet;

use berth_model::{
    Alloc, AllocId, AllocState, Cause, DecisionId, Filter, JobKind, NodeId, Outcome, Priority, Verdict, WaitReason,
};
use berth_placement::{Class, Want, fits_on_any, place};

use crate::core::Core;
use crate::index::{ClassKey, Need, Slot};
use crate::preempt::is_hopeful;
use crate::state::{Room, outcome};

/// How many of a slot's latest ends are looked at for nodes to avoid.
const AVOIDED: usize = 3;

/// How a class that waits is looked at.
enum Look<'a> {
    /// On all nodes.
    All,
    /// Only where room has appeared.
    On(&'a BTreeSet<NodeId>),
}

impl Core {
    /// Tries to place what is due. Says whether there was anything due.
    pub(crate) fn schedule(&mut self) -> bool {
        let room = std::mem::take(&mut self.state.dirty.room);
        let there = match &room {
            Room::On(nodes) => Some(nodes),
            Room::Everywhere => None,
        };
        let due = self.due(there);
        if due.is_empty() {
            return false;
        }
        // Written with the first change that it leads to. A run that leads to none is not recorded.
        self.state.meta.decisions += 1;
        let decision = DecisionId::new(self.state.meta.incarnation, self.state.meta.decisions);
        for (class, look) in self.in_order(due) {
            match look {
                Look::All => self.place_class(&class, decision),
                Look::On(nodes) => self.place_class_on(&class, nodes, decision),
            }
        }
        true
    }

    /// The classes that are worth a look, where room has appeared on these nodes, or everywhere.
    fn due<'a>(&mut self, there: Option<&'a BTreeSet<NodeId>>) -> Vec<(ClassKey, Look<'a>)> {
        let mut fresh = std::mem::take(&mut self.state.dirty.classes);
        let moved = std::mem::take(&mut self.state.dirty.moved);
        let index = &self.state.index;
        let Some(nodes) = there else {
            return index.waiting.keys().map(|class| (class.clone(), Look::All)).collect();
        };
        for job in moved.iter().flat_map(|job| index.affected_by(job)) {
            fresh.extend(index.waiting_of(&job));
        }
        fresh.retain(|class| index.waiting.contains_key(class));
        let gaining = self.gaining(nodes, &fresh);
        let fresh = fresh.into_iter().map(|class| (class, Look::All));
        fresh.chain(gaining.into_iter().map(|class| (class, Look::On(nodes)))).collect()
    }

    /// Those that room on these nodes may be of use to, but for `others`. What is kept free for somebody counts as room
    /// here.
    fn gaining(&mut self, nodes: &BTreeSet<NodeId>, others: &BTreeSet<ClassKey>) -> Vec<ClassKey> {
        if nodes.is_empty() || self.state.index.waiting.is_empty() {
            return Vec::new();
        }
        self.look_at_successors(nodes);
        let kept: Vec<AllocId> = self.state.index.preempting.iter().copied().collect();
        self.state.lift(&kept);
        // Most want more than there could be here: that is asked first, since it takes no look at what they are.
        let could =
            |need: &Need| nodes.iter().any(|node| self.state.board.may_have(*node, need.resources, need.priority));
        let gains = |(class, need): &(&ClassKey, &Need)| {
            let could = could(need) && (self.may_preempt(class) || self.fits_on_one_of(class, nodes));
            (could || self.has_outlived_victims(class)) && !others.contains(*class)
        };
        let gaining = self.state.index.needs.iter().filter(gains).map(|(class, _)| class.clone()).collect();
        self.state.reserve(&kept);
        gaining
    }

    /// What is in the way of one that is to replace another on these nodes may by now be the replaced one alone.
    fn look_at_successors(&mut self, nodes: &BTreeSet<NodeId>) {
        let on = nodes.iter().flat_map(|node| self.state.index.live_on.get(node).into_iter().flatten());
        let slots = on.map(|id| self.alloc(*id)).map(|alloc| (alloc.job.clone(), alloc.group.clone(), Slot::of(alloc)));
        let replaced = slots.filter(|(job, group, slot)| {
            let live = self.state.index.slot(job, group, *slot).map(|slot| slot.live.len());
            live.is_some_and(|live| live > 1)
        });
        let replaced: Vec<_> = replaced.collect();
        self.state.dirty.slots.extend(replaced);
    }

    /// Whether one of a class waits for others to go who have gone: where it is not placed now, it waits for something else.
    fn has_outlived_victims(&self, key: &ClassKey) -> bool {
        let preempting = &self.state.index.preempting;
        if preempting.is_empty() {
            return false;
        }
        let mut waiting = self.state.index.waiting.get(key).into_iter().flatten();
        waiting.any(|id| preempting.contains(id) && !self.waits_for_victims(*id))
    }

    /// Whether one of a class would fit on one of these nodes.
    fn fits_on_one_of(&self, key: &ClassKey, nodes: &BTreeSet<NodeId>) -> bool {
        let Some(spec) = self.state.spec(&key.job, key.version) else { return false };
        let Some(group) = spec.group(&key.group) else { return false };
        let class = Class { job: spec, group };
        if spec.kind != JobKind::System {
            return fits_on_any(&self.state.board, class, nodes.iter().copied());
        }
        let bound = self.state.index.waiting.get(key).into_iter().flatten().filter_map(|id| self.alloc(*id).bound_to);
        fits_on_any(&self.state.board, class, bound.filter(|node| nodes.contains(node)))
    }

    /// As [`Core::place_class`], where nothing is new but room on these nodes.
    fn place_class_on(&mut self, key: &ClassKey, nodes: &BTreeSet<NodeId>, decision: DecisionId) {
        let Some(priority) = self.state.spec(&key.job, key.version).map(|spec| spec.priority) else { return };
        let waiting = || self.state.index.waiting.get(key).into_iter().flatten().copied();
        let mut kept: Vec<AllocId> = waiting().filter(|id| self.state.index.preempting.contains(id)).collect();
        kept.extend(self.reserved_below(priority));
        let hopeful = waiting().find(|id| match &self.alloc(*id).state {
            AllocState::Waiting { reason, .. } => is_hopeful(reason),
            AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. }
            | AllocState::Ended { .. } => false,
        });
        self.state.lift(&kept);
        let again = self.fits_on_one_of(key, nodes) || self.has_outlived_victims(key);
        if let Some(by) = hopeful.filter(|_| !again) {
            self.preempt(key, by, Some(nodes), decision);
        }
        self.state.reserve(&kept);
        if again {
            self.place_class(key, decision);
        }
    }

    /// Higher priority first, then whoever waits with the lower id.
    fn in_order<'a>(&self, mut due: Vec<(ClassKey, Look<'a>)>) -> Vec<(ClassKey, Look<'a>)> {
        due.sort_by_cached_key(|(class, _)| {
            let priority = self.state.spec(&class.job, class.version).map(|spec| spec.priority);
            let first = self.state.index.waiting.get(class).and_then(|ids| ids.first().copied());
            (std::cmp::Reverse(priority), first)
        });
        due
    }

    fn place_class(&mut self, key: &ClassKey, decision: DecisionId) {
        let ids: Vec<AllocId> = self.state.index.waiting.get(key).into_iter().flatten().copied().collect();
        let wants: Vec<Want> = ids.iter().map(|id| self.want(*id)).collect();
        let Some(spec) = self.state.spec(&key.job, key.version).cloned() else { return };
        let Some(group) = spec.group(&key.group) else { return };
        let class = Class { job: &spec, group };
        let own: Vec<AllocId> = ids.iter().filter(|id| self.state.index.preempting.contains(id)).copied().collect();
        self.state.lift(&own);
        let policy = self.state.policy.clone();
        let mut outcome = place(&mut self.state.board, class, &wants, &policy, decision);
        let below = if outcome.waiting.is_empty() { Vec::new() } else { self.reserved_below(spec.priority) };
        if !below.is_empty() {
            self.state.lift(&below);
            let stuck: BTreeSet<AllocId> = outcome.waiting.drain(..).flat_map(|(_, ids)| ids).collect();
            let wants: Vec<Want> = wants.into_iter().filter(|want| stuck.contains(&want.alloc)).collect();
            let again = place(&mut self.state.board, class, &wants, &policy, decision);
            outcome.placed.extend(again.placed);
            outcome.waiting = again.waiting;
        }
        for (id, placement) in outcome.placed {
            let cause = self.cause_of_placing(id);
            self.placed(id, placement, cause);
        }
        for (reason, ids) in &outcome.waiting {
            ids.iter().for_each(|id| self.note_reason(*id, reason));
        }
        let mut hopeful = outcome.waiting.iter().filter(|(reason, _)| is_hopeful(reason)).flat_map(|(_, ids)| ids);
        if let Some(by) = hopeful.next() {
            self.preempt(key, *by, None, decision);
        }
        self.state.reserve(&own);
        self.state.reserve(&below);
    }

    /// Those of a lower priority for whom room is kept: it is theirs only while nobody else has no other place.
    fn reserved_below(&self, priority: Priority) -> Vec<AllocId> {
        let is_below = |id: &&AllocId| {
            let alloc = self.alloc(**id);
            self.state.spec(&alloc.job, alloc.version).is_some_and(|spec| spec.priority < priority)
        };
        self.state.index.preempting.iter().filter(is_below).copied().collect()
    }

    pub(crate) fn want(&self, id: AllocId) -> Want {
        let alloc = self.alloc(id);
        let leaving = alloc.replaces.and_then(|old| self.state.allocs.get(&old)).and_then(Alloc::occupies);
        Want { alloc: id, only: alloc.bound_to, avoid: self.failed_nodes(id), leaving }
    }

    /// Where the latest instances of the slot failed, one after the other.
    fn failed_nodes(&self, id: AllocId) -> Vec<NodeId> {
        let alloc = self.alloc(id);
        let slot = self.state.index.slot(&alloc.job, &alloc.group, crate::index::Slot::of(alloc));
        let ended = slot.into_iter().flat_map(|slot| slot.ended.iter().rev());
        let failed = ended.take(AVOIDED).map(|id| self.alloc(*id)).take_while(|old| match outcome(old) {
            Some(Outcome::Failed(_) | Outcome::Lost(_)) => true,
            Some(Outcome::Complete | Outcome::Stopped | Outcome::Preempted { .. } | Outcome::Drained(_)) | None => {
                false
            }
        });
        let nodes: BTreeSet<NodeId> = failed.filter_map(|old| old.placement().map(|p| p.node)).collect();
        nodes.into_iter().collect()
    }

    /// What was made in this step is placed because it was made; what waited, because of what set off the step.
    fn cause_of_placing(&self, id: AllocId) -> Cause {
        let own = self.state.cause_of(self.alloc(id));
        if self.state.dirty.created.contains(&id) { own } else { self.root.clone().unwrap_or(own) }
    }

    fn note_reason(&mut self, id: AllocId, reason: &WaitReason) {
        let alloc = self.alloc(id);
        let AllocState::Waiting { reason: known, .. } = alloc.state.clone() else { return };
        if alloc.replaces.is_some_and(|old| self.state.allocs.get(&old).is_some_and(|old| !old.is_ended())) {
            // What is in the way may by now be the replaced instance alone.
            let slot = (alloc.job.clone(), alloc.group.clone(), crate::index::Slot::of(alloc));
            self.state.dirty.slots.insert(slot);
        }
        if kind(&known) == kind(reason) || self.waits_for_victims(id) {
            return;
        }
        let cause = self.cause_of_placing(id);
        self.wait(id, reason.clone(), is_news(&known, reason), cause);
    }
}

/// Whether a change of reasons belongs in the ledger. Which filters are in the way changes with every move in a crowded
/// cluster, for everybody who waits: that would fill it.
fn is_news(known: &WaitReason, now: &WaitReason) -> bool {
    std::mem::discriminant(known) != std::mem::discriminant(now) || verdict(known) != verdict(now)
}

fn verdict(reason: &WaitReason) -> Option<Verdict> {
    match reason {
        WaitReason::NoNodeFits { verdict, .. } | WaitReason::GangIncomplete { verdict, .. } => Some(*verdict),
        WaitReason::Queued | WaitReason::NoNodes | WaitReason::Preempting { .. } | WaitReason::BackOff { .. } => None,
    }
}

/// What makes a reason another one: not its numbers.
#[derive(PartialEq, Eq)]
enum Kind<'a> {
    Queued,
    NoNodes,
    NoNodeFits(Vec<&'a Filter>, Verdict),
    GangIncomplete(Vec<&'a Filter>, Verdict),
    Preempting,
    BackOff,
}

fn kind(reason: &WaitReason) -> Kind<'_> {
    match reason {
        WaitReason::Queued => Kind::Queued,
        WaitReason::NoNodes => Kind::NoNodes,
        WaitReason::NoNodeFits { filtered, verdict, .. } => Kind::NoNodeFits(filtered.keys().collect(), *verdict),
        WaitReason::GangIncomplete { filtered, verdict, .. } => {
            Kind::GangIncomplete(filtered.keys().collect(), *verdict)
        }
        WaitReason::Preempting { .. } => Kind::Preempting,
        WaitReason::BackOff { .. } => Kind::BackOff,
    }
}
