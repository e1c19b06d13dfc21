//! Preemption: an allocation that fits nowhere makes those of lower priority go.
//!
//! The victims are the cheapest set that is enough, see [`berth_placement::evict`]; never one of the same or a higher
//! priority, never of a job that opted out, and within two budgets: of a victim's group no more may be under way at once
//! than its `update.max_parallel` allows, and in the whole cluster no more than [`crate::Settings::preempt_max`].
//!
//! A victim is told to stop with the preemption as its cause, and its slot gets another instance, which waits for a place
//! of its own. The preemptor is not placed yet: it waits for the victims ([`WaitReason::Preempting`]) and is placed like
//! any other when they are gone, in order of priority. Until then its class preempts nobody else, and what it needs is
//! reserved on the node: nobody of the same or a lower priority takes it, and of a higher one only who finds no other.
//!
//! *No bouncing.* What was made in the place of a victim is nobody's victim before it has proven itself by being ready for
//! as long as after a failure ([`FORGIVEN_AFTER`]). And priorities only go down from preemptor to victim, so no chain of
//! preemptions comes back to where it began.

use berth_model::{
    Alloc, AllocId, AllocState, Cause, DecisionId, Gang, GroupName, JobId, JobSpec, Outcome, Preemptible, Priority,
    Verdict, WaitReason,
};
use berth_placement::{Class, Prices, evict};

use crate::core::Core;
use crate::index::{ClassKey, Slot};
use crate::reconcile::FORGIVEN_AFTER;

/// The parts of a victim's price: its priority decides, then how many there are, then how long they have run.
const PER_PRIORITY: u64 = 1_000_000_000;
const PER_VICTIM: u64 = 10_000_000;
/// Seconds of age that count: four months.
const MOST_AGE: u64 = 9_999_999;

impl Core {
    /// Makes room for the first of a class that found none, where that is allowed and not under way already.
    pub(crate) fn preempt(&mut self, key: &ClassKey, stuck: &[(AllocId, WaitReason)], decision: DecisionId) {
        let Some(spec) = self.state.spec(&key.job, key.version) else { return };
        let Some(group) = spec.group(&key.group).filter(|group| group.rules.gang == Gang::Free) else { return };
        let hopeful = |reason: &WaitReason| matches!(reason, WaitReason::NoNodeFits { verdict: Verdict::Waiting, .. });
        let under_way = self.state.index.waiting.get(key).into_iter().flatten().any(|id| self.waits_for_victims(*id));
        let Some((by, _)) = stuck.iter().find(|(_, reason)| hopeful(reason)).filter(|_| !under_way) else { return };
        let only = self.alloc(*by).bound_to;
        let judge = Judge { core: self, below: spec.priority };
        let newest = self.state.jobs.values().map(|job| &job.spec);
        if !newest.chain(self.state.versions.values()).any(|other| judge.may_suffer(other)) {
            return;
        }
        let Some(eviction) = evict(&self.state.board, Class { job: spec, group }, only, &judge) else { return };
        let (by, job) = (*by, key.job.clone());
        let cause = self.state.cause_of(self.alloc(by));
        let reason = WaitReason::Preempting { decision, node: eviction.node, victims: eviction.victims.clone() };
        self.wait(by, reason, true, cause);
        for victim in eviction.victims {
            self.state.dirty.preempted.insert(victim, by);
            self.stop(victim, Cause::Preemption { by, job: job.clone() });
        }
    }

    /// A budget of a job has grown: those that wait with a higher priority are looked at again.
    pub(crate) fn budget_freed(&mut self, job: &JobId) {
        let Some(own) = self.state.jobs.get(job).map(|job| job.spec.priority) else { return };
        let waiting = self.state.index.waiting.keys();
        let mut priorities = waiting.filter_map(|class| self.state.spec(&class.job, class.version)).map(|s| s.priority);
        self.state.dirty.room |= priorities.any(|priority| priority > own);
    }

    /// Whether those that it made go are still on their way.
    pub(crate) fn waits_for_victims(&self, id: AllocId) -> bool {
        match &self.alloc(id).state {
            AllocState::Waiting { reason: WaitReason::Preempting { victims, .. }, .. } => {
                victims.iter().any(|victim| self.state.index.preempted.contains(victim))
            }
            AllocState::Waiting { .. }
            | AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. }
            | AllocState::Ended { .. } => false,
        }
    }

    /// Whether the slot's last instance was preempted and this one has not proven itself since.
    fn is_recovering(&self, alloc: &Alloc) -> bool {
        let before = alloc.replaces.and_then(|before| self.state.allocs.get(&before));
        before.is_some_and(was_victim) && !self.has_proven_itself(alloc)
    }

    fn has_proven_itself(&self, alloc: &Alloc) -> bool {
        match alloc.state {
            AllocState::Running { ready: Some(ready), .. } => self.now.since(ready) >= FORGIVEN_AFTER,
            AllocState::Running { ready: None, .. }
            | AllocState::Waiting { .. }
            | AllocState::Placed { .. }
            | AllocState::Stopping { .. }
            | AllocState::Ended { .. } => false,
        }
    }
}

/// Whether it made room for another, or is about to.
fn was_victim(alloc: &Alloc) -> bool {
    match &alloc.state {
        AllocState::Stopping { cause, .. } => matches!(cause, Cause::Preemption { .. }),
        AllocState::Ended { outcome, .. } => matches!(outcome, Outcome::Preempted { .. }),
        AllocState::Waiting { .. } | AllocState::Placed { .. } | AllocState::Running { .. } => false,
    }
}

/// Who may go for an allocation of a priority.
pub(crate) struct Judge<'a> {
    pub(crate) core: &'a Core,
    pub(crate) below: Priority,
}

impl Judge<'_> {
    fn may_suffer(&self, spec: &JobSpec) -> bool {
        spec.priority < self.below && spec.preemptible == Preemptible::Yes
    }

    /// What it costs that an allocation goes, whether it may or not.
    pub(crate) fn price_of(&self, alloc: &Alloc, spec: &JobSpec) -> u64 {
        let age = (self.core.now.since(alloc.created).0 / 1000).min(MOST_AGE);
        u64::from(spec.priority.0) * PER_PRIORITY + PER_VICTIM + age
    }

    /// How many of a group may be under way at once.
    pub(crate) fn allowed(&self, job: &JobId, group: &GroupName) -> u32 {
        let spec = self.core.state.jobs.get(job).and_then(|job| job.spec.group(group));
        spec.map_or(1, |group| group.update.max_parallel)
    }

    /// How many of a group are under way.
    pub(crate) fn under_way(&self, job: &JobId, group: &GroupName) -> u32 {
        let state = &self.core.state;
        let leaving = state.index.preempted.iter().filter_map(|id| state.allocs.get(id));
        let leaving = leaving.filter(|alloc| alloc.job == *job && alloc.group == *group).map(Slot::of);
        let mut under_way: std::collections::BTreeSet<Slot> = leaving.collect();
        under_way.extend(state.index.group(job, group).into_iter().flat_map(|group| group.busy.iter().copied()));
        u32::try_from(under_way.len()).unwrap_or(u32::MAX)
    }

    /// How many of the whole cluster are on their way out for others.
    pub(crate) fn under_way_in_all(&self) -> u32 {
        u32::try_from(self.core.state.index.preempted.len()).unwrap_or(u32::MAX)
    }
}

impl Prices for Judge<'_> {
    fn price(&self, alloc: AllocId) -> Option<u64> {
        let alloc = self.core.state.allocs.get(&alloc)?;
        let spec = self.core.state.speaks_for(alloc)?;
        let stays = match alloc.state {
            AllocState::Placed { .. } | AllocState::Running { .. } => false,
            AllocState::Waiting { .. } | AllocState::Stopping { .. } | AllocState::Ended { .. } => true,
        };
        if stays || !self.may_suffer(spec) || self.core.is_recovering(alloc) {
            return None;
        }
        Some(self.price_of(alloc, spec))
    }

    fn left(&self, job: &JobId, group: &GroupName) -> u32 {
        self.allowed(job, group).saturating_sub(self.under_way(job, group))
    }

    fn left_in_all(&self) -> u32 {
        self.core.settings.preempt_max.saturating_sub(self.under_way_in_all())
    }
}
