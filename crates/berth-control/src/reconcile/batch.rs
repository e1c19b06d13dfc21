//! Batch: every slot's work is done once. What failed is tried again elsewhere a few times; what was lost with its node,
//! made room for another or was drained is done again; what somebody stopped stays stopped. A new version begins all work anew, and the old instances stop
//! first: two at once would do the same work. Instances that the new version leaves as they were go on, and count.

use berth_model::{AllocState, Cause, GroupName, JobId, JobOutcome, Outcome};

use super::{BATCH_TRIES, Work};
use crate::core::Core;
use crate::index::Slot;
use crate::state::outcome;

impl Core {
    pub(super) fn reconcile_batch(&mut self, job: &JobId, group: &GroupName, slot: Slot) {
        self.forget_slot_marks(job, group, slot);
        let live = self.live_in(job, group, slot);
        for id in &live {
            let alloc = self.alloc(*id);
            if !self.state.is_in_place(alloc) {
                let cause = self.job_cause(alloc);
                self.stop(*id, cause);
            }
        }
        if !self.live_in(job, group, slot).is_empty() {
            return;
        }
        let latest = self.latest_in(job, group, slot);
        match latest.and_then(|id| self.work_of(job, id)) {
            Some(work) => {
                self.state.index.group_mut(job, group).done.insert(slot, work);
            }
            None => {
                self.succeed((job, group, slot), latest, None);
            }
        }
    }

    /// What became of the work; none where it has to be done, again or at all.
    fn work_of(&self, job: &JobId, latest: berth_model::AllocId) -> Option<Work> {
        let alloc = self.alloc(latest);
        let job = self.state.jobs.get(job)?;
        // What was under way when the version changed counts, when it is the same work; what was over does not.
        let of_this_run = match &alloc.state {
            AllocState::Ended { at, .. } => {
                alloc.version == job.version || (self.state.is_current(alloc) && *at > job.changed.0)
            }
            AllocState::Waiting { .. }
            | AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. } => false,
        };
        if !of_this_run {
            return None;
        }
        match outcome(alloc)? {
            Outcome::Complete => Some(Work::Complete),
            Outcome::Stopped => Some(Work::Stopped),
            Outcome::Failed(_) => (alloc.failures + 1 >= BATCH_TRIES).then_some(Work::Failed),
            Outcome::Lost(_) | Outcome::Preempted { .. } | Outcome::Drained(_) => None,
        }
    }

    /// How a batch job ended, and what ended it; none while there is work left.
    pub(super) fn batch_outcome(&self, id: &JobId) -> Option<(JobOutcome, Cause)> {
        let job = self.state.jobs.get(id)?;
        let mut outcome = JobOutcome::Complete;
        let mut last = None;
        for spec in job.spec.groups.iter().filter(|group| group.count > 0) {
            let group = self.state.index.group(id, &spec.name)?;
            let wanted = (0..spec.count).map(Slot::Index);
            if u32::try_from(group.done.len()).ok()? < spec.count {
                return None;
            }
            for slot in wanted {
                match group.done.get(&slot)? {
                    Work::Complete => {}
                    Work::Stopped if outcome == JobOutcome::Complete => outcome = JobOutcome::Stopped,
                    Work::Stopped => {}
                    Work::Failed => outcome = JobOutcome::Failed,
                }
                last = last.max(group.slots.get(&slot).and_then(crate::index::SlotIndex::latest));
            }
        }
        let cause = last.map_or_else(|| job.changed.1.clone(), |alloc| self.state.cause_of(self.alloc(alloc)));
        Some((outcome, cause))
    }
}
