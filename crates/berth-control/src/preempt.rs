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

use std::cell::Cell;
use std::collections::BTreeSet;

use berth_model::{
    Alloc, AllocId, AllocState, Cause, DecisionId, Gang, GroupName, JobId, NodeId, Outcome, Preemptible, Priority,
    Timestamp, Verdict, WaitReason,
};
use berth_placement::{Below, Class, Prices, Standing, evict};

use crate::core::Core;
use crate::index::{ClassKey, Slot};
use crate::reconcile::FORGIVEN_AFTER;
use crate::state::State;
use crate::timers::Due;

/// The parts of a victim's price: its priority decides, then how many there are, then how long they have run.
const PER_PRIORITY: u64 = 1_000_000_000;
const PER_VICTIM: u64 = 10_000_000;
/// Seconds of age that count: four months.
const MOST_AGE: u64 = 9_999_999;

impl Core {
    /// Whether one of the class may make others go: there are some of lower priority, and nobody goes for the class yet.
    pub(crate) fn may_preempt(&self, key: &ClassKey) -> bool {
        let Some(spec) = self.state.spec(&key.job, key.version) else { return false };
        let is_free = || spec.group(&key.group).is_some_and(|group| group.rules.gang == Gang::Free);
        let mut waiting = self.state.index.waiting.get(key).into_iter().flatten();
        let lowest = self.state.index.lowest_preemptible();
        let preempting = &self.state.index.preempting;
        lowest.is_some_and(|lowest| lowest < spec.priority)
            && is_free()
            && (preempting.is_empty() || !waiting.any(|id| preempting.contains(id) && self.waits_for_victims(*id)))
    }

    /// Makes room for one of a class that found none and could have some, see [`is_hopeful`], where that is allowed and
    /// not under way already. On these nodes alone, where no others have changed since that was last tried.
    pub(crate) fn preempt(
        &mut self,
        key: &ClassKey,
        by: AllocId,
        among: Option<&BTreeSet<NodeId>>,
        decision: DecisionId,
    ) {
        if !self.may_preempt(key) {
            return;
        }
        let Some(spec) = self.state.spec(&key.job, key.version) else { return };
        let Some(group) = spec.group(&key.group) else { return };
        let bound = self.alloc(by).bound_to.map(|node| BTreeSet::from([node]));
        let judge = Judge::new(self, spec.priority);
        let found = evict(&self.state.board, Class { job: spec, group }, bound.as_ref().or(among), &judge);
        let held_back = judge.held_back.get();
        let Some(eviction) = found else {
            if held_back {
                self.state.held_back.insert(key.clone());
            }
            return;
        };
        let job = key.job.clone();
        let cause = self.state.cause_of(self.alloc(by));
        let reason = WaitReason::Preempting { decision, node: eviction.node, victims: eviction.victims.clone() };
        self.wait(by, reason, true, cause);
        for victim in eviction.victims {
            self.state.dirty.preempted.insert(victim, by);
            self.stop(victim, Cause::Preemption { by, job: job.clone() });
        }
    }

    /// What took the place of a victim may be one again after a time.
    pub(crate) fn wait_until_proven(&mut self, id: AllocId) {
        let alloc = self.alloc(id);
        if let AllocState::Running { ready: Some(ready), .. } = alloc.state
            && self.is_recovering(alloc)
        {
            self.timers.set(ready + FORGIVEN_AFTER, Due::Proven);
        }
    }

    /// Whether somebody would make others go if those had proven themselves, which they have not by then, but will.
    pub(crate) fn waits_for_proof(&self, at: Timestamp) -> bool {
        let will = |alloc: &Alloc| {
            self.is_ready(alloc.id) && self.state.took_place_of_victim(alloc) && !has_proven_itself(alloc, at)
        };
        !self.state.held_back.is_empty() && self.state.allocs.values().any(will)
    }

    /// Whether those that it made go are still on their way. What a lost node has of them is not waited for: that may be
    /// for ever.
    pub(crate) fn waits_for_victims(&self, id: AllocId) -> bool {
        match &self.alloc(id).state {
            AllocState::Waiting { reason: WaitReason::Preempting { victims, .. }, .. } => {
                let leaves = |id: &AllocId| self.state.index.preempted.contains(id) && !self.is_out_of_reach(*id);
                victims.iter().any(leaves)
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
        self.state.took_place_of_victim(alloc) && !has_proven_itself(alloc, self.judged_at())
    }

    /// Whether nobody may make the one go that has taken its place, as long as it is remembered that it made room itself.
    pub(crate) fn protects_successor(&self, alloc: &Alloc) -> bool {
        let live = || self.live_in(&alloc.job, &alloc.group, Slot::of(alloc)).into_iter().map(|id| self.alloc(id));
        was_victim(alloc) && live().any(|next| next.replaces == Some(alloc.id) && self.is_recovering(next))
    }

    /// How many slots of a group may be under way at once.
    pub(crate) fn may_be_under_way(&self, job: &JobId, group: &GroupName) -> u32 {
        let spec = self.state.jobs.get(job).and_then(|job| job.spec.group(group));
        spec.map_or(1, |group| group.update.max_parallel)
    }

    /// How many slots of a group are under way: in the course of a replacement, or left for others.
    pub(crate) fn under_way(&self, job: &JobId, group: &GroupName) -> u32 {
        let leaving = self.state.allocs_leaving().filter(|alloc| alloc.job == *job && alloc.group == *group);
        let mut under_way: BTreeSet<Slot> = leaving.map(Slot::of).collect();
        under_way.extend(self.state.index.group(job, group).into_iter().flat_map(|group| group.busy.iter().copied()));
        u32::try_from(under_way.len()).unwrap_or(u32::MAX)
    }
}

impl State {
    pub(crate) fn took_place_of_victim(&self, alloc: &Alloc) -> bool {
        alloc.replaces.and_then(|before| self.allocs.get(&before)).is_some_and(was_victim)
    }
}

/// Whether it has been ready for long enough by then.
pub(crate) fn has_proven_itself(alloc: &Alloc, at: Timestamp) -> bool {
    match alloc.state {
        AllocState::Running { ready: Some(ready), .. } => at.since(ready) >= FORGIVEN_AFTER,
        AllocState::Running { ready: None, .. }
        | AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => false,
    }
}

/// Whether one who waits for this could have a place if others went.
pub(crate) fn is_hopeful(reason: &WaitReason) -> bool {
    matches!(reason, WaitReason::NoNodeFits { verdict: Verdict::Waiting, .. })
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
    core: &'a Core,
    below: Priority,
    /// Whether somebody was spared for a reason that passes.
    held_back: Cell<bool>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(core: &'a Core, below: Priority) -> Judge<'a> {
        Judge { core, below, held_back: Cell::new(false) }
    }

    /// What it costs that such an allocation goes, whether it may or not.
    pub(crate) fn price_of(&self, standing: Standing) -> u64 {
        // Whole seconds of both times: who is older than whom does not hang on when that is asked.
        let age = (self.core.now.0 / 1000).saturating_sub(standing.since.0 / 1000).min(MOST_AGE);
        u64::from(standing.priority.0) * PER_PRIORITY + PER_VICTIM + age
    }

    /// How many of a group may be under way at once.
    pub(crate) fn allowed(&self, job: &JobId, group: &GroupName) -> u32 {
        self.core.may_be_under_way(job, group)
    }

    /// How many of a group are under way.
    pub(crate) fn under_way(&self, job: &JobId, group: &GroupName) -> u32 {
        self.core.under_way(job, group)
    }

    /// How many of the whole cluster are on their way out for others.
    pub(crate) fn under_way_in_all(&self) -> u32 {
        u32::try_from(self.core.state.index.preempted.len()).unwrap_or(u32::MAX)
    }

    /// What is left of a budget. One of which nothing is in use will not grow by waiting.
    fn left_of(&self, allowed: u32, under_way: u32) -> u32 {
        if under_way > 0 {
            self.held_back.set(true);
        }
        allowed.saturating_sub(under_way)
    }
}

impl Prices for Judge<'_> {
    fn below(&self) -> Option<Below> {
        let lowest = self.core.state.index.lowest_preemptible().unwrap_or(self.below);
        let newest = Standing { priority: lowest, preemptible: Preemptible::Yes, since: self.core.now };
        Some(Below { priority: self.below, floor: self.price_of(newest) })
    }

    fn least(&self, of: Standing) -> Option<u64> {
        let may = of.priority < self.below && of.preemptible == Preemptible::Yes;
        may.then(|| self.price_of(of))
    }

    fn price(&self, alloc: AllocId) -> Option<u64> {
        let alloc = self.core.state.allocs.get(&alloc)?;
        let price = self.least(self.core.state.standing(alloc)?)?;
        if self.core.is_recovering(alloc) {
            self.held_back.set(true);
            return None;
        }
        Some(price)
    }

    fn left(&self, job: &JobId, group: &GroupName) -> u32 {
        self.left_of(self.allowed(job, group), self.under_way(job, group))
    }

    fn left_in_all(&self) -> u32 {
        self.left_of(self.core.settings.preempt_max, self.under_way_in_all())
    }
}
