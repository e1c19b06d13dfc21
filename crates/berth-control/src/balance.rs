//! Keeping the optimiser up to date, and asking it for rounds.
//!
//! A round says how far from the best everything is, and proposes moves, which are made where the policy says so, see
//! [`crate::moves`]. It comes some time after a change, so that it sees many at once and an idle cluster none. A new leader
//! begins with an optimiser that is told of everything anew, in order of id, as a replay does.

use berth_model::{
    Alloc, AllocId, AllocState, Balance, JobKind, Millis, NodeId, Proposal, Relocation, Timestamp, Weights,
};
use berth_placement::balance::{Balancer, Stand};
use berth_placement::{Class, Hold, fits_on_any, reservation};

use crate::core::Core;
use crate::index::{ClassKey, Slot, preempting_on};
use crate::state::{State, is_queued, is_wanted};
use crate::timers::Due;

/// After a change, the next round comes so much later.
const AFTER: Millis = Millis::from_secs(5);
/// Where a round has not come to its end, because it found no bound within its budget or was not told of everything yet,
/// the next one goes on so much later.
const ON: Millis = Millis::from_secs(1);
/// So many allocations the optimiser is told of at once: agents wait for their turn meanwhile.
const TOLD: usize = 10_000;

/// So often it is told more, or goes on, where regret is asked for at once.
const LOOKS: u32 = 64;

/// The living optimiser.
#[derive(Debug)]
pub(crate) struct Balancing {
    balancer: Balancer<ClassKey>,
    /// A round is due.
    planned: bool,
    pub(crate) last: Option<(Timestamp, Balance)>,
}

impl Balancing {
    pub(crate) fn new(weights: Weights) -> Balancing {
        Balancing { balancer: Balancer::new(weights), planned: false, last: None }
    }

    /// Begins anew by other weights: it has to be told of everything. What it found out by the old ones is forgotten.
    pub(crate) fn begin_anew(&mut self, weights: Weights) {
        (self.balancer, self.last) = (Balancer::new(weights), None);
    }

    /// What it is worth to make one move of those proposed and no other.
    pub(crate) fn gain(&mut self, one: &Relocation) -> Option<i64> {
        self.balancer.gain(one)
    }

    /// That of a copy to plan on: no round ever comes.
    pub(crate) fn asleep(weights: Weights) -> Balancing {
        Balancing { planned: true, ..Balancing::new(weights) }
    }
}

impl Core {
    /// Asks to be woken for a round when something has changed.
    pub(crate) fn plan_to_balance(&mut self) {
        if !self.balancing.planned && !self.state.untold.is_empty() {
            self.balancing.planned = true;
            self.timers.set(self.now + AFTER, Due::Balance);
        }
    }

    pub(crate) fn balance_due(&mut self) {
        let Some(found) = self.review() else { return };
        if self.make_moves(found.cost, &found.proposals) {
            self.review_again(AFTER);
        }
    }

    /// A round. None: not all that has changed has been told yet.
    fn review(&mut self) -> Option<Balance> {
        self.balancing.planned = false;
        for node in std::mem::take(&mut self.state.untold.nodes) {
            self.balancing.balancer.see_node(&self.state.board, node);
        }
        for _ in 0..TOLD {
            let Some(alloc) = self.state.untold.allocs.pop_first() else { break };
            self.tell(alloc);
        }
        if !self.state.untold.is_empty() {
            self.review_again(ON);
            return None;
        }
        let (state, now) = (&mut self.state, self.now);
        let balance = self.balancing.balancer.round(|proposal| state.allows(proposal, now));
        if balance.bound.is_none() {
            self.review_again(ON);
        }
        self.balancing.last = Some((now, balance.clone()));
        Some(balance)
    }

    /// Regret of all that is, looked at anew, in thousandths of the bound. None: no bound is found within the budget.
    pub(crate) fn regret_permille(&mut self) -> Option<i64> {
        self.balancing = Balancing::new(self.state.policy.spec.weights);
        self.state.untold.nodes.extend(self.state.nodes.keys());
        self.state.untold.allocs.extend(self.state.allocs.keys());
        (0..LOOKS).find_map(|_| {
            self.review();
            self.balancing.last.as_ref().and_then(|(_, balance)| balance.regret_permille())
        })
    }

    fn review_again(&mut self, after: Millis) {
        self.balancing.planned = true;
        self.timers.set(self.now + after, Due::Balance);
    }

    /// Tells the optimiser what has become of an allocation.
    fn tell(&mut self, id: AllocId) {
        let balancer = &mut self.balancing.balancer;
        let told = self.state.allocs.get(&id).and_then(|alloc| {
            let class = ClassKey::of(alloc);
            let spec = self.state.spec(&class.job, class.version)?;
            Some((self.state.stand(id)?, Class { job: spec, group: spec.group(&class.group)? }, class))
        });
        match told {
            Some((stand, spec, class)) => balancer.see(&self.state.board, id, &class, spec, stand),
            None => balancer.forget(id),
        }
    }
}

impl State {
    /// Where an allocation stands, as the optimiser tells them apart. None: it neither holds nor wants anything, or is being
    /// moved: what is told is how things stand after that. Those of a class that come and those that run are told alike,
    /// since of one that stays the optimiser does not know that it crowds the others.
    fn stand(&self, id: AllocId) -> Option<Stand> {
        let alloc = &self.allocs[&id];
        if self.index.moves.contains_key(&id) {
            return None;
        }
        match self.board.held(id) {
            Some(hold) if is_wanted(alloc) && self.could_be_elsewhere(alloc) => Some(Stand::Runs(hold.node)),
            Some(hold) => Some(Stand::Stays(hold.node)),
            None => {
                let waits = is_queued(alloc) && alloc.bound_to.is_none() && preempting_on(alloc).is_none();
                waits.then_some(Stand::Waits)
            }
        }
    }

    /// Whether an allocation is of a kind that may be on any node, and the wish of its job still.
    fn could_be_elsewhere(&self, alloc: &Alloc) -> bool {
        let kind = self.jobs.get(&alloc.job).map(|job| job.spec.kind);
        let on = self.policy.spec.balance.is_on();
        let goes = match kind {
            Some(JobKind::Service) => !on || !self.was_moved_in_vain(alloc),
            Some(JobKind::Batch) => !on,
            Some(JobKind::System) | None => false,
        };
        goes && self.is_active(&alloc.job) && self.is_current(alloc)
    }

    /// Whether an allocation runs undisturbed and could do so elsewhere.
    pub(crate) fn may_move(&self, id: AllocId, now: Timestamp) -> bool {
        let alloc = &self.allocs[&id];
        let settled = matches!(alloc.state, AllocState::Running { ready: Some(_), .. });
        let alone = self.index.slot(&alloc.job, &alloc.group, Slot::of(alloc)).is_some_and(|slot| slot.live.len() == 1);
        let rested = !self.policy.spec.balance.is_on() || !self.has_to_prove_itself(alloc, now);
        let fenced = self.index.is_fenced(&alloc.job, alloc.version, &alloc.group);
        settled && alone && rested && !fenced && self.could_be_elsewhere(alloc)
    }

    /// Whether a proposal can be done by all rules, tried on the board.
    fn allows(&mut self, proposal: &Proposal, now: Timestamp) -> bool {
        if !proposal.moves.iter().all(|one| self.may_move(one.alloc, now)) {
            return false;
        }
        let moves = proposal.moves.iter().map(|one| (one.alloc, one.to));
        let steps: Vec<(AllocId, NodeId)> = moves.chain(proposal.placed.iter().copied()).collect();
        let before: Vec<(AllocId, Option<Hold>)> =
            steps.iter().map(|(alloc, _)| (*alloc, self.board.held(*alloc).cloned())).collect();
        for (alloc, _) in &before {
            self.board.release(*alloc);
        }
        let fits = steps.iter().all(|(alloc, to)| self.seat_if_it_fits(*alloc, *to));
        for (alloc, hold) in before {
            self.board.release(alloc);
            if let Some(hold) = hold {
                self.board.hold(alloc, hold);
            }
        }
        fits
    }

    fn seat_if_it_fits(&mut self, id: AllocId, to: NodeId) -> bool {
        let alloc = &self.allocs[&id];
        let Some(job) = self.spec(&alloc.job, alloc.version) else { return false };
        let Some(group) = job.group(&alloc.group) else { return false };
        let class = Class { job, group };
        let fits = fits_on_any(&self.board, class, [to].into_iter());
        let hold = reservation(&self.board, class, to, &[]);
        if fits {
            self.board.hold(id, hold);
        }
        fits
    }
}
