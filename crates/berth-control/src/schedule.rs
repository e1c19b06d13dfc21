//! Placing what waits: which classes are tried, in which order, and what is written of the reasons.
//!
//! New members of a class have it tried at once. Room that appears anywhere has every waiting class tried. The reason
//! that an allocation *stores* changes only with its kind; the numbers in it would else be written for every waiting
//! allocation whenever anything moves. Whoever asks is told the present ones, see [`Core::wait_reason`].

use std::collections::BTreeSet;

use berth_model::{
    Alloc, AllocId, AllocState, Cause, DecisionId, Filter, NodeId, Outcome, Priority, Verdict, WaitReason,
};
use berth_placement::{Class, Want, place};

use crate::core::Core;
use crate::index::ClassKey;
use crate::state::outcome;

/// How many of a slot's latest ends are looked at for nodes to avoid.
const AVOIDED: usize = 3;

impl Core {
    /// Tries to place what is due. Says whether there was anything due.
    pub(crate) fn schedule(&mut self) -> bool {
        let fresh = std::mem::take(&mut self.state.dirty.classes);
        let room = std::mem::take(&mut self.state.dirty.room);
        let due: Vec<ClassKey> = if room {
            self.state.index.waiting.keys().cloned().collect()
        } else {
            fresh.into_iter().filter(|class| self.state.index.waiting.contains_key(class)).collect()
        };
        if due.is_empty() {
            return false;
        }
        // Written with the first change that it leads to. A run that leads to none is not recorded.
        self.state.meta.decisions += 1;
        let decision = DecisionId::new(self.state.meta.incarnation, self.state.meta.decisions);
        for class in self.in_order(due) {
            self.place_class(&class, decision);
        }
        true
    }

    /// Higher priority first, then whoever waits with the lower id.
    fn in_order(&self, mut classes: Vec<ClassKey>) -> Vec<ClassKey> {
        classes.sort_by_key(|class| {
            let priority = self.state.spec(&class.job, class.version).map(|spec| spec.priority);
            let first = self.state.index.waiting.get(class).and_then(|ids| ids.first().copied());
            (std::cmp::Reverse(priority), first)
        });
        classes
    }

    fn place_class(&mut self, key: &ClassKey, decision: DecisionId) {
        let ids: Vec<AllocId> = self.state.index.waiting.get(key).into_iter().flatten().copied().collect();
        let wants: Vec<Want> = ids.iter().map(|id| self.want(*id)).collect();
        let Some(spec) = self.state.spec(&key.job, key.version).cloned() else { return };
        let Some(group) = spec.group(&key.group) else { return };
        let class = Class { job: &spec, group };
        let own: Vec<AllocId> = ids.iter().filter(|id| self.state.index.preempting.contains(id)).copied().collect();
        self.state.lift(&own);
        let mut outcome = place(&mut self.state.board, class, &wants, self.settings.policy, decision);
        let below = if outcome.waiting.is_empty() { Vec::new() } else { self.reserved_below(spec.priority) };
        if !below.is_empty() {
            self.state.lift(&below);
            let stuck: BTreeSet<AllocId> = outcome.waiting.drain(..).flat_map(|(_, ids)| ids).collect();
            let wants: Vec<Want> = wants.into_iter().filter(|want| stuck.contains(&want.alloc)).collect();
            let again = place(&mut self.state.board, class, &wants, self.settings.policy, decision);
            outcome.placed.extend(again.placed);
            outcome.waiting = again.waiting;
        }
        for (id, placement) in outcome.placed {
            let cause = self.cause_of_placing(id);
            self.placed(id, placement, cause);
        }
        let mut stuck = Vec::new();
        for (reason, ids) in outcome.waiting {
            for id in ids {
                self.note_reason(id, &reason);
                stuck.push((id, reason.clone()));
            }
        }
        self.preempt(key, &stuck, decision);
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
            Some(Outcome::Complete | Outcome::Stopped | Outcome::Preempted { .. }) | None => false,
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
