//! Why an allocation waits, with the numbers of this moment.
//!
//! The reason that is stored with an allocation changes only with its kind, or its numbers would be written for every
//! waiting allocation whenever anything moves. Whoever asks is told what the board says now. What led to a state is
//! durable, and told by whoever shows what is durable.

mod advice;
mod peers;
mod prices;

use std::collections::BTreeSet;

use berth_model::{AllocId, AllocState, DecisionId, WaitReason};
use berth_placement::{Class, why_waiting};

use crate::core::Core;
use crate::index::ClassKey;
use crate::state::is_queued;

impl Core {
    /// Why the allocation waits. None: it does not.
    ///
    /// Allocations of one version and group, and of one node where they are bound to one, wait for the same reason,
    /// but for those that wait for the end of a back-off.
    pub fn wait_reason(&self, id: AllocId) -> Option<WaitReason> {
        let alloc = self.state.allocs.get(&id)?;
        let AllocState::Waiting { reason: stored, .. } = &alloc.state else { return None };
        if self.waits_for_victims(id) {
            return Some(stored.clone());
        }
        let spec = self.state.spec(&alloc.job, alloc.version).filter(|_| is_queued(alloc));
        let class = spec.and_then(|job| Some(Class { job, group: job.group(&alloc.group)? }));
        // Nothing was decided for this answer: it tells of the state that the last run left.
        let last = DecisionId::new(self.state.meta.incarnation, self.state.meta.decisions);
        let waiting = self.state.index.waiting.get(&ClassKey::of(alloc)).map_or(1, BTreeSet::len);
        let present = class
            .and_then(|class| why_waiting(&self.state.board, class, waiting, alloc.bound_to, &self.state.policy, last));
        Some(present.unwrap_or_else(|| stored.clone()))
    }
}
