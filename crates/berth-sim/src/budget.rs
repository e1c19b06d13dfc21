//! The budget of replacements, counted from the commits and what is durable alone: what the core counts is what is to be
//! checked.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{Alloc, AllocId, AllocState, GroupName, Job, JobId, JobKind, Mutation, NodeId};

use crate::Invariant;
use crate::world::World;

/// A place that one instance after the other fills.
type Slot = (u32, Option<NodeId>);

impl World {
    /// Checks every group in which a commit begins a replacement: a budget that was made smaller meanwhile takes nothing
    /// back, and bounds what begins.
    pub(crate) fn check_budget(&mut self, mutations: &[Mutation]) {
        let put =
            mutations.iter().filter_map(|m| if let Mutation::PutAlloc(alloc) = m { Some(&**alloc) } else { None });
        let put: BTreeMap<AllocId, &Alloc> = put.map(|alloc| (alloc.id, alloc)).collect();
        let made = put.values().filter(|alloc| !self.store.allocs.contains_key(&alloc.id));
        let begun: BTreeSet<(&JobId, &GroupName)> = made.map(|alloc| (&alloc.job, &alloc.group)).collect();
        for (id, group) in begun {
            let mut written =
                mutations.iter().filter_map(|m| if let Mutation::PutJob(job) = m { Some(&**job) } else { None });
            let newest = written.rfind(|job| job.spec.id == *id);
            let Some(job) = newest.or_else(|| self.store.jobs.get(id)).filter(|job| job.spec.kind != JobKind::Batch)
            else {
                continue;
            };
            let Some(allowed) = job.spec.group(group).map(|group| group.update.max_parallel) else { continue };
            let before = self.store.allocs.values().filter(|alloc| !put.contains_key(&alloc.id));
            let after = before.chain(put.values().copied());
            let replacing = replacing(job, after.filter(|alloc| alloc.job == *id && alloc.group == *group));
            let what = format!("{replacing} of {id} {group} are being replaced, of {allowed}");
            self.holds(Invariant::ReplaceBudget, replacing <= allowed as usize, format_args!("{what}"));
        }
    }
}

/// How many slots have two instances that were not told to stop, or one of an older version and one of the newest.
fn replacing<'a>(job: &Job, allocs: impl Iterator<Item = &'a Alloc>) -> usize {
    let mut newest: BTreeSet<Slot> = BTreeSet::new();
    let mut older: BTreeSet<Slot> = BTreeSet::new();
    let mut wanted: BTreeSet<Slot> = BTreeSet::new();
    let mut twice: BTreeSet<Slot> = BTreeSet::new();
    for alloc in allocs {
        let is_newest = alloc.version == job.version;
        let slot = (alloc.index, alloc.bound_to);
        match alloc.state {
            AllocState::Waiting { .. } | AllocState::Placed { .. } | AllocState::Running { .. } => {
                if is_newest {
                    newest.insert(slot)
                } else {
                    older.insert(slot)
                };
                if !wanted.insert(slot) {
                    twice.insert(slot);
                }
            }
            AllocState::Stopping { .. } if is_newest => _ = newest.insert(slot),
            AllocState::Stopping { .. } | AllocState::Ended { .. } => {}
        }
    }
    twice.extend(newest.intersection(&older));
    twice.len()
}
