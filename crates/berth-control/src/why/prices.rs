//! Who may go, as the acts that are tried would have it.

use std::collections::BTreeSet;

use berth_model::{Act, Alloc, AllocId, Change, GroupChange, GroupName, JobId, JobKind, JobSpec, NodeId, Priority};
use berth_placement::remedy::Others;
use berth_placement::{Below, Class, Prices, Standing};

use crate::core::Core;
use crate::index::ClassKey;
use crate::preempt::Judge;

/// Who may be stopped by hand: those whose next instances come after the class that waits.
pub(super) struct Leavers<'a> {
    judge: Judge<'a>,
    core: &'a Core,
    key: &'a ClassKey,
    priority: Priority,
}

impl<'a> Leavers<'a> {
    pub(super) fn new(core: &'a Core, key: &'a ClassKey, priority: Priority) -> Leavers<'a> {
        Leavers { judge: Judge::new(core, priority), core, key, priority }
    }

    fn comes_after(&self, job: &JobSpec, alloc: &Alloc) -> bool {
        let first = |key: &ClassKey| self.core.state.index.waiting.get(key).and_then(BTreeSet::first).copied();
        let theirs = first(&ClassKey::of(alloc));
        let later = theirs.is_none() || theirs > first(self.key);
        job.kind == JobKind::Batch || job.priority < self.priority || (job.priority == self.priority && later)
    }
}

impl Prices for Leavers<'_> {
    fn least(&self, of: Standing) -> Option<u64> {
        Some(self.judge.price_of(of))
    }

    fn price(&self, id: AllocId) -> Option<u64> {
        let alloc = self.core.state.allocs.get(&id)?;
        let (standing, job) = (self.core.state.standing(alloc)?, self.core.state.speaks_for(alloc)?);
        let may = alloc.job != self.key.job && self.comes_after(job, alloc);
        may.then(|| self.judge.price_of(standing))
    }

    fn left(&self, _: &JobId, _: &GroupName) -> u32 {
        u32::MAX
    }

    fn left_in_all(&self) -> u32 {
        u32::MAX
    }
}

impl Others for Leavers<'_> {
    fn successor(&self, id: AllocId) -> Option<(Class<'_>, Option<NodeId>)> {
        let alloc = self.core.state.allocs.get(&id)?;
        // A batch slot that somebody stops is done.
        successor(self.core, alloc).filter(|(class, _)| class.job.kind != JobKind::Batch)
    }
}

/// What is made in the places of those who go for another.
pub(super) struct Preempted<'a>(pub(super) &'a Core);

impl Others for Preempted<'_> {
    fn successor(&self, id: AllocId) -> Option<(Class<'_>, Option<NodeId>)> {
        successor(self.0, self.0.state.allocs.get(&id)?)
    }
}

fn successor<'a>(core: &'a Core, alloc: &Alloc) -> Option<(Class<'a>, Option<NodeId>)> {
    let job = &core.state.jobs.get(&alloc.job)?.spec;
    Some((Class { job, group: job.group(&alloc.group)? }, alloc.bound_to))
}

/// A judge who knows no budgets.
pub(super) struct Unbounded<'a>(pub(super) &'a Judge<'a>);

impl Prices for Unbounded<'_> {
    fn below(&self) -> Option<Below> {
        self.0.below()
    }

    fn least(&self, of: Standing) -> Option<u64> {
        self.0.least(of)
    }

    fn price(&self, alloc: AllocId) -> Option<u64> {
        self.0.price(alloc)
    }

    fn left(&self, _: &JobId, _: &GroupName) -> u32 {
        u32::MAX
    }

    fn left_in_all(&self) -> u32 {
        u32::MAX
    }
}

/// A judge after a budget was raised.
pub(super) struct Raised<'a> {
    pub(super) judge: &'a Judge<'a>,
    pub(super) act: &'a Act,
}

impl Prices for Raised<'_> {
    fn below(&self) -> Option<Below> {
        self.judge.below()
    }

    fn least(&self, of: Standing) -> Option<u64> {
        self.judge.least(of)
    }

    fn price(&self, alloc: AllocId) -> Option<u64> {
        self.judge.price(alloc)
    }

    fn left(&self, job: &JobId, group: &GroupName) -> u32 {
        let allowed = match self.act {
            Act::Change {
                job: of,
                change: Change::Group { group: which, change: GroupChange::MaxParallel(raised) },
            } if of == job && which == group => *raised,
            _ => self.judge.allowed(job, group),
        };
        allowed.saturating_sub(self.judge.under_way(job, group))
    }

    fn left_in_all(&self) -> u32 {
        match self.act {
            Act::PreemptMax(raised) => raised.saturating_sub(self.judge.under_way_in_all()),
            _ => self.judge.left_in_all(),
        }
    }
}
