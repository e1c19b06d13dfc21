//! Service and system: every slot has one instance of the newest version that runs, for as long as the job is wanted.

use berth_model::{Alloc, AllocId, AllocState, GroupName, JobId, Outcome};

use crate::core::Core;
use crate::index::Slot;
use crate::state::outcome;

impl Core {
    pub(super) fn reconcile_service(&mut self, job: &JobId, group: &GroupName, slot: Slot) {
        let active = self.active_in(job, group, slot);
        let (current, old): (Vec<AllocId>, Vec<AllocId>) =
            active.iter().partition(|id| self.state.is_in_place(self.alloc(**id)));
        let incumbent = self.keep_best(&old);
        let newcomer = self.keep_best(&current);
        let holds_one = self.holds_one(job, group, slot);
        match (newcomer, incumbent) {
            (Some(newcomer), Some(incumbent)) => self.hand_over(newcomer, incumbent),
            (None, _) if holds_one && self.is_being_emptied(job, group, slot) => {}
            (None, Some(_)) if holds_one => {}
            (None, None) => {
                let before = self.latest_in(job, group, slot).map(|latest| self.last_in_charge(latest));
                self.succeed((job, group, slot), before, None);
            }
            (None, Some(incumbent)) => self.try_again_beside(job, group, slot, incumbent),
            (Some(_), None) => {}
        }
        self.mark_slot(job, group, slot);
    }

    /// Of several instances of one slot the best stays: one that is ready before one that is not, then the older.
    /// More than one arises only where a version was overtaken by the next before it was in place.
    fn keep_best(&mut self, of: &[AllocId]) -> Option<AllocId> {
        let best = of.iter().copied().min_by_key(|id| (!self.is_ready(*id), *id))?;
        for id in of.iter().filter(|id| **id != best) {
            let alloc = self.alloc(*id);
            // What runs what it should was overtaken by no version, but by whatever is done about its node.
            let of_node = self.root.clone().filter(|_| self.state.is_current(alloc));
            let cause = of_node.unwrap_or_else(|| self.job_cause(alloc));
            self.stop(*id, cause);
        }
        Some(best)
    }

    pub(crate) fn is_ready(&self, id: AllocId) -> bool {
        matches!(self.alloc(id).state, AllocState::Running { ready: Some(_), .. })
    }

    /// Who ran a slot last, where `latest` is its newest: one that was to take over elsewhere may have ended before the
    /// other did, and never have.
    fn last_in_charge(&self, latest: AllocId) -> AllocId {
        let end = |alloc: &Alloc| match alloc.state {
            AllocState::Ended { at, .. } => at,
            AllocState::Waiting { .. }
            | AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. } => self.now,
        };
        let alloc = self.alloc(latest);
        let moved = alloc.moved_from().and_then(|old| self.state.allocs.get(&old));
        moved.filter(|old| end(old) > end(alloc)).map_or(latest, |old| old.id)
    }

    /// A replacement that failed is tried again, after a back-off; the old instance goes on meanwhile.
    fn try_again_beside(&mut self, job: &JobId, group: &GroupName, slot: Slot, incumbent: AllocId) {
        let Some(latest) = self.latest_in(job, group, slot).filter(|latest| *latest != incumbent) else { return };
        let last = self.alloc(latest);
        let failed = matches!(outcome(last), Some(Outcome::Failed(_) | Outcome::Lost(_)));
        // A move that came to nothing is not tried again here.
        let gone = failed && last.moved_from().is_none();
        if gone && self.state.is_current(last) {
            self.succeed((job, group, slot), Some(latest), Some(incumbent));
        }
    }

    /// Tells the index how the slot stands towards the newest version.
    fn mark_slot(&mut self, job: &JobId, group: &GroupName, slot: Slot) {
        let live = self.live_in(job, group, slot);
        let current = |id: &AllocId| self.state.is_in_place(self.alloc(*id));
        let stopping = |id: &AllocId| matches!(self.alloc(*id).state, AllocState::Stopping { .. });
        let newcomer = live.iter().copied().find(|id| current(id) && !stopping(id));
        let remains = newcomer.is_none() && live.iter().any(|id| !current(id) && !stopping(id));
        // One that was to take over and was told to stop, as its own node is drained, is on its way until it is gone.
        let given_up = remains && live.iter().any(|id| stopping(id) && self.state.is_current(self.alloc(*id)));
        let outdated = remains && !given_up;
        let unready = newcomer.is_some_and(|id| !self.is_ready(id));
        // Nobody knows when one that is out of reach will be gone.
        let unheard = |id: &AllocId| stopping(id) && self.is_out_of_reach(*id);
        let leaving = live.iter().any(|id| !current(id) && !unheard(id)) && newcomer.is_some();
        let empties = newcomer.is_none() && self.holds_one(job, group, slot) && live.iter().any(stopping);
        let index = self.state.index.group_mut(job, group);
        set(&mut index.outdated, slot, outdated);
        let was_busy = index.busy.contains(&slot);
        let busy = unready || leaving || given_up || empties;
        set(&mut index.busy, slot, busy);
        if was_busy && !busy {
            self.state.budget_freed();
        }
    }
}

fn set(slots: &mut std::collections::BTreeSet<Slot>, slot: Slot, member: bool) {
    if member {
        slots.insert(slot);
    } else {
        slots.remove(&slot);
    }
}
