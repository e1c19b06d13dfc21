//! What could be done about an allocation that waits.
//!
//! What placing alone can tell comes from [`berth_placement::remedy`]. Here and in `peers` is what needs to know of jobs:
//! priorities, budgets, and peers that are not there. All of it is tried on the same copy of the board.

use std::collections::BTreeSet;

use berth_model::{
    Act, Advice, AllocId, Change, Gang, GroupChange, GroupName, JobId, NodeId, Priority, Remedy, WaitReason,
};
use berth_placement::remedy::{self, Ahead, Case, Demand, Offer, Trial, make_room};
use berth_placement::{Class, Eviction, Prices, Want, evict, reservation};

use super::prices::{Leavers, Preempted, Raised, Unbounded};
use crate::core::Core;
use crate::index::ClassKey;
use crate::preempt::Judge;

/// Classes, and allocations of them, that may come first: with more of them, what only makes room is not offered.
const AHEAD_CLASSES: usize = 16;
const AHEAD_WANTS: usize = 1_000;
/// The most of one class that have to be placed with the one that is asked about.
const TOGETHER: usize = 10_000;

impl Core {
    /// Who holds what the allocation lacks, and what would make it run. None: it does not wait for a place, or it will have
    /// the one that others are leaving for it.
    pub fn advice(&self, id: AllocId) -> Option<Advice> {
        match self.wait_reason(id)? {
            WaitReason::NoNodes | WaitReason::NoNodeFits { .. } | WaitReason::GangIncomplete { .. } => {}
            WaitReason::Queued | WaitReason::Preempting { .. } | WaitReason::BackOff { .. } => return None,
        }
        let alloc = self.alloc(id);
        let key = ClassKey::of(alloc);
        let job = self.state.spec(&key.job, key.version)?;
        let class = Class { job, group: job.group(&key.group)? };
        let wants = self.together(id, &key, class);
        if wants.is_empty() || wants.len() > TOGETHER {
            return None;
        }
        let ahead = self.ahead(&key, job.priority);
        let case = Case { class, wants: &wants, ahead: ahead.as_deref() };
        let mut trial = Trial::new(&self.state.board, &self.state.policy);
        let held = remedy::held(&self.state.board, class, alloc.bound_to);
        let mut offers = remedy::offers(&mut trial, case, &Leavers::new(self, &key, job.priority));
        offers.extend(self.deploy(&mut trial, case));
        offers.extend(self.appease(&mut trial, case));
        if class.group.rules.gang == Gang::Free {
            offers.extend(self.raise(&mut trial, case));
            offers.extend(self.allow(&mut trial, case));
        }
        Some(Advice { held, remedies: remedy::told(&mut trial, case, offers) })
    }

    /// Those of the class that have to be placed for this one to be.
    fn together(&self, id: AllocId, key: &ClassKey, class: Class<'_>) -> Vec<Want> {
        let waiting = self.state.index.waiting.get(key).into_iter().flatten().copied();
        let bound = self.alloc(id).bound_to.is_some();
        let needed = waiting.filter(|other| match class.group.rules.gang {
            Gang::Whole => true,
            Gang::Free => {
                if bound {
                    *other == id
                } else {
                    *other <= id
                }
            }
        });
        needed.take(TOGETHER + 1).map(|id| self.want(id)).collect()
    }

    /// Those of other classes that are tried before this one. None: they are too many.
    fn ahead(&self, key: &ClassKey, priority: Priority) -> Option<Vec<Ahead<'_>>> {
        let first = self.state.index.waiting.get(key).and_then(BTreeSet::first);
        let mut ahead = Vec::new();
        let mut wants = 0;
        let others = self.state.index.waiting.iter().filter(|(other, _)| *other != key);
        let mut due: Vec<_> = others
            .filter_map(|(other, ids)| {
                let job = self.state.spec(&other.job, other.version)?;
                let order = (std::cmp::Reverse(job.priority), ids.first());
                (order < (std::cmp::Reverse(priority), first)).then_some((order, other, job, ids))
            })
            .collect();
        due.sort_by_key(|(order, ..)| *order);
        for (_, other, job, ids) in due {
            wants += ids.len();
            if ahead.len() == AHEAD_CLASSES || wants > AHEAD_WANTS {
                return None;
            }
            let class = Class { job, group: job.group(&other.group)? };
            ahead.push(Ahead { class, wants: ids.iter().map(|id| self.want(*id)).collect() });
        }
        Some(ahead)
    }

    /// A priority high enough to make others go.
    fn raise(&self, trial: &mut Trial, case: Case<'_>) -> Option<Offer> {
        let job = case.class.job;
        let most = Priority(100);
        let victims = make_room(trial, case, &Judge::new(self, most));
        trial.undo();
        let highest =
            victims?.iter().map(|id| self.state.speaks_for(self.alloc(*id)).map(|spec| spec.priority)).max()??;
        let priority = Priority(highest.0 + 1);
        if priority <= job.priority {
            return None;
        }
        let (node, victims) = self.preempted(trial, case, &Judge::new(self, priority), priority)?;
        let demand = Demand::priority(priority.0 - job.priority.0, victims.len());
        let act = Act::Change { job: job.id.clone(), change: Change::Priority(priority) };
        Some(Offer { demand, remedy: Remedy { act, node: Some(node), preempts: victims } })
    }

    /// Who goes for one of this priority when it comes to it, and where it is placed then.
    fn preempted(
        &self,
        trial: &mut Trial,
        case: Case<'_>,
        prices: &impl Prices,
        priority: Priority,
    ) -> Option<(NodeId, Vec<AllocId>)> {
        let [want] = case.wants else { return None };
        let only = want.only.map(|node| BTreeSet::from([node]));
        let Eviction { node, victims, .. } = evict(trial.board(), case.class, only.as_ref(), prices)?;
        let hold = reservation(trial.board(), case.class, node, &victims);
        trial.hold(want.alloc, hold);
        trial.leave(&victims, &Preempted(self));
        trial.release(want.alloc);
        let before = case.ahead?.iter().filter(|ahead| ahead.class.job.priority > priority);
        let before: Vec<Ahead<'_>> = before.cloned().collect();
        let node = trial.place_after_others(Case { ahead: Some(&before), ..case }, case.class);
        trial.undo();
        Some((node?, victims))
    }

    /// A budget that is in the way of preemption is raised: that of a group, or the cluster's.
    fn allow(&self, trial: &mut Trial, case: Case<'_>) -> Option<Offer> {
        let judge = Judge::new(self, case.class.job.priority);
        let victims = make_room(trial, case, &Unbounded(&judge));
        trial.undo();
        let (act, more) = self.raised_budget(&judge, &victims?)?;
        let raised = Raised { judge: &judge, act: &act };
        let (node, victims) = self.preempted(trial, case, &raised, case.class.job.priority)?;
        Some(Offer { demand: Demand::budget(more), remedy: Remedy { act, node: Some(node), preempts: victims } })
    }

    /// The one budget that the victims exceed, raised, and by how much.
    fn raised_budget(&self, judge: &Judge<'_>, victims: &[AllocId]) -> Option<(Act, u32)> {
        let mut groups: Vec<(&JobId, &GroupName, u32)> = Vec::new();
        for alloc in victims.iter().map(|id| self.alloc(*id)) {
            match groups.iter_mut().find(|(job, group, _)| **job == alloc.job && **group == alloc.group) {
                Some((.., count)) => *count += 1,
                None => groups.push((&alloc.job, &alloc.group, 1)),
            }
        }
        let over = |needed: u32, allowed: u32| needed.checked_sub(allowed).filter(|more| *more > 0);
        let of_groups = groups.into_iter().filter_map(|(job, group, count)| {
            let needed = judge.under_way(job, group).saturating_add(count);
            let more = over(needed, judge.allowed(job, group))?;
            Some((change_of(job, group, GroupChange::MaxParallel(needed)), more))
        });
        let total = u32::try_from(victims.len()).unwrap_or(u32::MAX).saturating_add(judge.under_way_in_all());
        let of_all = over(total, self.settings.preempt_max).map(|more| (Act::PreemptMax(total), more));
        let mut raised: Vec<_> = of_groups.chain(of_all).collect();
        raised.pop().filter(|_| raised.is_empty())
    }
}

pub(super) fn change_of(job: &JobId, group: &GroupName, change: GroupChange) -> Act {
    Act::Change { job: job.clone(), change: Change::Group { group: group.clone(), change } }
}
