//! The one *replace* primitive: start the new, wait until it is ready, stop the old, within a budget.
//!
//! It goes in *waves*: as many slots as the budget (`max_parallel`) allows, and the next ones when those have come to
//! rest. So what comes next depends on what has been done and not on who was quicker, and a plan can tell it.
//!
//! It works on slots. A slot is *outdated* when what runs in it is not what is wished for, and *busy* while a
//! replacement is under way in it or its instance is not ready. [`Core::advance_replacements`] begins a wave: as many
//! replacements as the budget, less the busy slots, allows, lowest slot first; [`Core::hand_over`] ends one. A slot
//! becomes outdated by a new version of its job, and by the draining of its node.
//!
//! A replacement that fails leaves the old instance alone, is tried again with a back-off, and keeps its part of the
//! budget, as one does that waits for room; neither holds up the next wave. A broken version harms at most
//! `max_parallel` slots, and those only by waiting.
//!
//! *Room.* The new instance is placed beside the old one. Where it fits nowhere, and the node of the old one would take
//! it if only the old one were gone (the same fixed port, or a full cluster), waiting would last for ever: then, and
//! only then, and where the group is fenced (see [`crate::partition`]), the old one stops first. The wait reason of the new one tells what was in the way, and is the cause of
//! the stop.

use berth_model::{AllocId, AllocState, Cause, GroupName, JobId, WaitReason};
use berth_placement::{Class, fits_in_place_of};

use crate::core::Core;
use crate::index::Slot;

impl Core {
    /// Begins as many replacements in the group as its budget allows, when the wave before has come to rest.
    pub(crate) fn advance_replacements(&mut self, job: &JobId, group: &GroupName) {
        let Some(spec) = self.state.jobs.get(job).and_then(|job| job.spec.group(group)) else { return };
        let budget = usize::try_from(spec.update.max_parallel).unwrap_or(usize::MAX);
        #[cfg(feature = "planted-bugs")]
        let budget = budget + usize::from(self.state.bug == Some(crate::planted::Bug::BudgetIgnored));
        let Some(index) = self.state.index.group(job, group) else { return };
        if index.outdated.is_empty() || index.busy.iter().any(|slot| self.is_moving(job, group, *slot)) {
            return;
        }
        let free = budget.saturating_sub(index.busy.len());
        let next: Vec<Slot> = index.outdated.iter().take(free).copied().collect();
        for slot in next {
            let old = self.active_in(job, group, slot).first().copied();
            let Some(old) = old else { continue };
            if self.holds_one(job, group, slot) {
                let alloc = self.alloc(old);
                let drained = self.state.drain_cause(alloc).filter(|_| self.state.is_current(alloc));
                let cause = drained.unwrap_or_else(|| self.job_cause(alloc));
                self.stop(old, cause);
            } else {
                self.succeed((job, group, slot), Some(old), None);
            }
            let index = self.state.index.group_mut(job, group);
            index.outdated.remove(&slot);
            index.busy.insert(slot);
            self.state.dirty.begun.insert((job.clone(), group.clone()));
        }
    }

    /// Whether something in the slot is on its way: to being ready, or to its end. What waits may do so for ever.
    fn is_moving(&self, job: &JobId, group: &GroupName, slot: Slot) -> bool {
        let moving = |id: &AllocId| self.state.index.moving.contains(id) && !self.is_out_of_reach(*id);
        self.live_in(job, group, slot).iter().any(moving)
    }

    /// Stops the old instance as soon as the new one is ready, or at once where it alone is in the new one's way.
    pub(crate) fn hand_over(&mut self, newcomer: AllocId, incumbent: AllocId) {
        #[cfg(feature = "planted-bugs")]
        if self.state.bug == Some(crate::planted::Bug::UpdateKeepsOld) {
            return;
        }
        let ready = self.is_ready(newcomer);
        if ready || self.is_only_obstacle(newcomer, incumbent) {
            let cause = self.state.cause_of(self.alloc(newcomer));
            self.stop(incumbent, cause);
            return;
        }
        // What has no place itself is nothing worth keeping while its successor waits for one.
        if matches!(self.alloc(incumbent).state, AllocState::Waiting { .. }) {
            let cause: Cause = self.job_cause(self.alloc(incumbent));
            self.stop(incumbent, cause);
        }
    }

    /// Whether the new instance was looked at, fits nowhere, and would fit if the old one were gone.
    fn is_only_obstacle(&self, newcomer: AllocId, incumbent: AllocId) -> bool {
        let new = self.alloc(newcomer);
        match &new.state {
            AllocState::Waiting {
                reason: WaitReason::NoNodeFits { .. } | WaitReason::GangIncomplete { .. }, ..
            } => {}
            AllocState::Waiting { .. }
            | AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. }
            | AllocState::Ended { .. } => return false,
        }
        let Some(job) = self.state.spec(&new.job, new.version) else { return false };
        let Some(group) = job.group(&new.group) else { return false };
        fits_in_place_of(&self.state.board, Class { job, group }, new.bound_to, incumbent)
    }
}
