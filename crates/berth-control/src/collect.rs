//! Collecting: what has ended is kept for questions, for a while and up to a number, and then forgotten. Bounded work
//! per run.

use berth_model::{AllocId, Cause, Happening, JobState, Millis, NodeState, Timer, Timestamp};

use crate::core::Core;
use crate::index::Slot;
use crate::journal::Key;
use crate::pace::Pace;
use crate::timers::Due;

/// Objects of a kind that one run forgets at most.
const PER_RUN: usize = 500;
/// The same for allocations, of which a busy cluster ends many in a second.
const ALLOCS_PER_RUN: usize = 4 * PER_RUN;
/// The wait to the next run when the last one left something over.
pub(crate) const SOON: Millis = Millis(1_000);

impl Core {
    pub(crate) fn collect_interval(&self) -> Millis {
        Millis(self.settings.keep_ended.0.clamp(1_000, 60_000))
    }

    pub(crate) fn collect(&mut self, due: Timestamp) {
        let cause = self.timer(Timer::Collect, due);
        let full = [
            self.collect_allocs(),
            self.collect_jobs(&cause),
            self.collect_nodes(&cause),
            self.collect_commands(),
            self.collect_ledger(),
            self.collect_tokens(),
        ];
        let next = if full.contains(&true) { SOON } else { self.collect_interval() };
        self.timers.set(self.now + next, Due::Collect);
    }

    fn is_old(&self, at: Timestamp, keep: Millis) -> bool {
        at + keep <= self.now
    }

    /// What nothing depends on any more, oldest first, where it is too old or there is too much of it. Not in step: where
    /// an instance goes may hang on where earlier ones failed.
    fn collect_allocs(&mut self) -> bool {
        if self.pace != Pace::Free {
            return false;
        }
        let spent = &self.state.index.spent;
        let surplus = self.surplus(spent.len());
        let over = spent.iter().enumerate();
        let over = over.take_while(|(nth, (at, _))| *nth < surplus || self.is_old(*at, self.settings.keep_ended));
        // In a slot that has changed in this step nobody has looked yet for what it needs.
        let settled = |id: &AllocId| {
            let alloc = self.alloc(*id);
            let slot = (alloc.job.clone(), alloc.group.clone(), Slot::of(alloc));
            !self.state.dirty.slots.contains(&slot) && !self.protects_successor(alloc)
        };
        let gone: Vec<AllocId> = over.map(|(_, (_, id))| *id).filter(settled).take(ALLOCS_PER_RUN).collect();
        for id in &gone {
            self.state.delete_alloc(*id);
        }
        gone.len() == ALLOCS_PER_RUN
    }

    fn surplus(&self, ended: usize) -> usize {
        ended.saturating_sub(usize::try_from(self.settings.keep_ended_max).unwrap_or(usize::MAX))
    }

    /// Those of which no allocation is kept, oldest first, where they are too old or too many.
    fn collect_jobs(&mut self, cause: &Cause) -> bool {
        let ended = self.state.jobs.iter().filter_map(|(id, job)| match job.state {
            JobState::Ended { at, .. } => Some((at, id)),
            JobState::Active | JobState::Stopping { .. } => None,
        });
        let mut ended: Vec<_> = ended.collect();
        let surplus = self.surplus(ended.len());
        ended.retain(|(_, id)| !self.state.index.jobs.contains_key(id));
        ended.sort_unstable();
        let over = ended.into_iter().enumerate();
        let over = over.take_while(|(nth, (at, _))| *nth < surplus || self.is_old(*at, self.settings.keep_ended));
        let gone: Vec<_> = over.map(|(_, (_, id))| id.clone()).take(PER_RUN).collect();
        for id in &gone {
            self.state.delete_job(id);
            let what = Happening::JobCollected(id.clone());
            self.state.note(self.now, Key::Job(id.clone()), cause.clone(), what);
        }
        gone.len() == PER_RUN
    }

    fn collect_nodes(&mut self, cause: &Cause) -> bool {
        let lost = self.state.nodes.values().filter(|node| match node.state {
            NodeState::Lost { since, .. } => {
                self.is_old(since, self.settings.keep_ended)
                    && !self.state.index.live_on.contains_key(&node.id)
                    && self.links.get(&node.id).is_none_or(|link| link.session.is_none())
            }
            NodeState::Ready { .. } => false,
        });
        let gone: Vec<_> = lost.map(|node| (node.id, node.fingerprint.name.clone())).take(PER_RUN).collect();
        let full = gone.len() == PER_RUN;
        for (node, name) in gone {
            self.state.delete_node(node);
            self.links.remove(&node);
            self.leases.forget(node);
            self.mark_system_slots(node);
            let what = Happening::NodeCollected { node, name };
            self.state.note(self.now, Key::Node(node), cause.clone(), what);
        }
        full
    }

    fn collect_commands(&mut self) -> bool {
        let old =
            self.state.index.commands_at.iter().take_while(|(at, _)| self.is_old(*at, self.settings.keep_commands));
        let gone: Vec<_> = old.map(|(_, key)| key.clone()).take(PER_RUN).collect();
        for key in &gone {
            self.state.delete_command(key);
        }
        gone.len() == PER_RUN
    }

    /// The ledger may be longer than it is kept by what happens between two runs.
    fn collect_ledger(&mut self) -> bool {
        let keep = usize::try_from(self.settings.keep_ledger).unwrap_or(usize::MAX);
        let surplus = self.state.ledger.len().saturating_sub(keep);
        // More than for the others: a busy cluster writes more entries than anything else.
        let gone: Vec<_> = self.state.ledger.keys().take(surplus.min(20 * PER_RUN)).copied().collect();
        for id in &gone {
            self.state.delete_ledger(*id);
        }
        gone.len() < surplus
    }
}
