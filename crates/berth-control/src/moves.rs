//! Moving what runs to where everything costs less, where the policy says `balance: on`.
//!
//! What a round of the optimiser proposes goes through the *replace* primitive, see [`crate::replace`]: the new instance
//! is placed beside the old one, on the node that was proposed and at once, or the move is not begun; the old one stops
//! when the new one is ready. A new one that fails, or is not ready in time, is given up, and the old one stays where it
//! is. That a move is under way, and why, is told by the new instance alone: by its cause and whom it replaces.
//!
//! *Budgets.* In the whole cluster no more moves are under way at once than the policy allows, and in a group no more
//! slots are in the course of a replacement, a preemption or a move than its `max_parallel`. A proposal is made whole, or
//! of it the first move that gains by itself.
//!
//! *Rest.* Only services are moved, and nothing that is being updated. What was moved stays until it has been ready for as
//! long as after a failure ([`crate::reconcile::FORGIVEN_AFTER`]), and what could not be moved stays for good. Each move
//! gains more than it costs, so where nothing else changes, they come to an end.

use std::collections::BTreeMap;

use berth_model::{
    Alloc, AllocId, AllocState, Cause, CheckKind, DecisionId, GroupName, Incarnation, JobId, Millis, NodeId, Outcome,
    POOL, Placement, Proposal, Relocation, Timer, Timestamp, WaitReason,
};
use berth_placement::{Class, Want, place};

use crate::core::Core;
use crate::index::Slot;
use crate::lifecycle::NewAlloc;
use crate::pace::Pace;
use crate::preempt::has_proven_itself;
use crate::state::{State, outcome};
use crate::timers::Due;

/// A new instance is given up when it is not ready so long after it could have been.
const PATIENCE: Millis = Millis::from_secs(600);

impl Core {
    /// Begins what was proposed, as far as the budgets allow. Says whether it is too early for that: what was planned is
    /// carried out first.
    pub(crate) fn make_moves(&mut self, cost: i64, proposals: &[Proposal]) -> bool {
        if !self.state.policy.spec.balance.is_on() || proposals.is_empty() {
            return false;
        }
        if self.pace != Pace::Free {
            return true;
        }
        for proposal in proposals {
            let begun = self.begin_moves(&proposal.moves, cost, proposal.gain);
            if !begun && proposal.moves.len() > 1 {
                proposal.moves.iter().any(|one| {
                    let gain = self.balancing.gain(one);
                    gain.is_some_and(|gain| self.begin_moves(std::slice::from_ref(one), cost, gain))
                });
            }
        }
        false
    }

    fn begin_moves(&mut self, moves: &[Relocation], cost: i64, gain: i64) -> bool {
        if !self.may_begin(moves) {
            return false;
        }
        let decisions = self.state.meta.decisions + 1;
        let decision = DecisionId::new(self.state.meta.incarnation, decisions);
        let Some(placements) = self.choose_places(moves, decision) else { return false };
        self.state.meta.decisions = decisions;
        for (one, placement) in moves.iter().zip(placements) {
            self.begin_move(one.alloc, placement, Cause::Balance { from: one.from, cost, gain });
        }
        true
    }

    /// Whether the budgets allow these moves, and nothing speaks against any of them.
    fn may_begin(&self, moves: &[Relocation]) -> bool {
        let at_most = usize::try_from(self.state.policy.spec.balance.at_most()).unwrap_or(usize::MAX);
        if moves.is_empty() || self.state.index.moves.len() + moves.len() > at_most {
            return false;
        }
        let mut of_group: BTreeMap<(&JobId, &GroupName), u32> = BTreeMap::new();
        for one in moves {
            let Some(alloc) = self.state.allocs.get(&one.alloc) else { return false };
            if !self.state.may_move(one.alloc, self.now) || !self.state.have_usual_weights([one.from, one.to]) {
                return false;
            }
            *of_group.entry((&alloc.job, &alloc.group)).or_default() += 1;
        }
        of_group.into_iter().all(|((job, group), moves)| {
            let updated = self.state.index.group(job, group).is_some_and(|group| !group.outdated.is_empty());
            !updated && self.under_way(job, group).saturating_add(moves) <= self.may_be_under_way(job, group)
        })
    }

    /// Where exactly each of the moves leads, all of them together and beside the old instances. The board is as it was
    /// after that.
    fn choose_places(&mut self, moves: &[Relocation], decision: DecisionId) -> Option<Vec<Placement>> {
        let stand_in = |nth: usize| AllocId::new(Incarnation(u32::MAX), nth as u64);
        let mut chosen = Vec::new();
        for (nth, one) in moves.iter().enumerate() {
            let Some(placement) = self.choose_place(stand_in(nth), one, decision) else { break };
            chosen.push(placement);
        }
        for nth in 0..chosen.len() {
            self.state.board.release(stand_in(nth));
        }
        (chosen.len() == moves.len()).then_some(chosen)
    }

    fn choose_place(&mut self, stand_in: AllocId, one: &Relocation, decision: DecisionId) -> Option<Placement> {
        let alloc = self.state.allocs.get(&one.alloc)?;
        let spec = &self.state.jobs.get(&alloc.job)?.spec;
        let class = Class { job: spec, group: spec.group(&alloc.group)? };
        let want = Want { alloc: stand_in, only: Some(one.to), avoid: Vec::new(), leaving: Some(one.from) };
        let mut outcome = place(&mut self.state.board, class, &[want], &self.state.policy, decision);
        outcome.placed.pop().map(|(_, placement)| placement)
    }

    fn begin_move(&mut self, old: AllocId, placement: Placement, cause: Cause) {
        let alloc = self.alloc(old);
        let (job, group, slot) = (alloc.job.clone(), alloc.group.clone(), Slot::of(alloc));
        let reason = WaitReason::Queued;
        let new =
            self.create(NewAlloc { job: &job, group: &group, slot, replaces: Some(old), failures: 0, reason, cause });
        let made = self.state.cause_of(self.alloc(new));
        self.placed(new, placement, made);
        self.wait_for_move(new);
        self.state.index.group_mut(&job, &group).busy.insert(slot);
        self.state.dirty.begun.insert((job, group));
        self.state.dirty.moves.insert(new);
    }

    /// Gives up a move whose new instance is not ready when it has had its time. Also after a change of leader.
    pub(crate) fn wait_for_move(&mut self, new: AllocId) {
        let alloc = self.alloc(new);
        if self.state.is_taking_over(alloc) {
            let begun = alloc.created.min(self.now);
            self.timers.set(begun + self.slowest_start(alloc) + PATIENCE, Due::Move(new));
        }
    }

    /// For how long an allocation may run before it is ready.
    fn slowest_start(&self, alloc: &Alloc) -> Millis {
        let checks = self.group_of(alloc).into_iter().flat_map(|group| &group.tasks).flat_map(|task| &task.checks);
        let startup = checks.filter(|check| check.kind == CheckKind::Startup);
        let longest = startup.map(|check| Millis(check.interval.0.saturating_mul(u64::from(check.failures)))).max();
        self.min_ready(alloc).or(longest).unwrap_or_default()
    }

    pub(crate) fn move_due(&mut self, new: AllocId, due: Timestamp) {
        let Some(alloc) = self.state.allocs.get(&new) else { return };
        if self.state.is_taking_over(alloc) && !self.is_ready(new) {
            let cause = self.timer(Timer::Move, due);
            self.state.dirty.unforeseen = true;
            self.stop(new, cause);
        }
    }

    /// What was moved, or took the place of a victim, may be moved when it has proven itself.
    pub(crate) fn rest(&mut self, id: AllocId) {
        let alloc = self.alloc(id);
        if let Some(ready) = ready_since(alloc).filter(|_| self.state.has_to_prove_itself(alloc, self.now)) {
            self.timers.set(ready + crate::reconcile::FORGIVEN_AFTER, Due::Rested(id));
        }
    }

    pub(crate) fn rested(&mut self, id: AllocId) {
        if self.state.policy.spec.balance.is_on() && self.state.allocs.contains_key(&id) {
            self.state.untold.allocs.insert(id);
        }
    }
}

impl State {
    /// Whether it is to take over from another, on another node, that is still there.
    fn is_taking_over(&self, alloc: &Alloc) -> bool {
        alloc.moved_from().is_some_and(|old| self.index.moves.get(&old) == Some(&alloc.id))
    }

    /// Whether an allocation was moved, or took the place of a victim, so lately that it stays where it is.
    pub(crate) fn has_to_prove_itself(&self, alloc: &Alloc, now: Timestamp) -> bool {
        (alloc.moved_from().is_some() || self.took_place_of_victim(alloc)) && !has_proven_itself(alloc, now)
    }

    /// Whether one that was to take over from it ended by itself, was given up, or was told to stop by somebody.
    pub(crate) fn was_moved_in_vain(&self, alloc: &Alloc) -> bool {
        let slot = self.index.slot(&alloc.job, &alloc.group, Slot::of(alloc));
        let later = slot.into_iter().flat_map(|slot| slot.ended.range(alloc.id..));
        later.map(|id| &self.allocs[id]).filter(|other| other.moved_from() == Some(alloc.id)).any(
            |other| match outcome(other) {
                Some(Outcome::Failed(_) | Outcome::Stopped | Outcome::Complete) => true,
                Some(Outcome::Lost(_) | Outcome::Preempted { .. } | Outcome::Drained(_)) | None => false,
            },
        )
    }

    /// Whether nodes go by the weights of the whole cluster, which are all that the optimiser knows.
    fn have_usual_weights(&self, nodes: [NodeId; 2]) -> bool {
        let usual = |node: NodeId| {
            let pool = self.nodes.get(&node).and_then(|node| node.fingerprint.attributes.get(POOL));
            *self.policy.spec.weights_in(pool.map(String::as_str)) == self.policy.spec.weights
        };
        nodes.into_iter().all(usual)
    }
}

fn ready_since(alloc: &Alloc) -> Option<Timestamp> {
    match alloc.state {
        AllocState::Running { ready, .. } => ready,
        AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => None,
    }
}
