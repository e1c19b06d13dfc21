//! How many of a group's instances that were ready are missing at once, against what the group allows.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{Alloc, AllocId, AllocState, BrokenBudget, GroupName, JobId, JobKind};

use crate::core::Core;
use crate::index::Slot;

type Place = (JobId, GroupName, Slot);

/// Which slots have a ready instance, and which of those that had one at first have none.
pub(super) struct Readiness {
    /// The ready instances of each slot that had one at first.
    ready: BTreeMap<Place, BTreeSet<AllocId>>,
    missing: BTreeMap<(JobId, GroupName), BTreeSet<Slot>>,
    worst: BTreeMap<(JobId, GroupName), (u32, u32)>,
}

impl Readiness {
    pub(super) fn of(core: &Core) -> Readiness {
        let mut ready: BTreeMap<Place, BTreeSet<AllocId>> = BTreeMap::new();
        for alloc in core.allocs().values().filter(|alloc| is_ready(alloc)) {
            ready.entry(place(alloc)).or_default().insert(alloc.id);
        }
        Readiness { ready, missing: BTreeMap::new(), worst: BTreeMap::new() }
    }

    /// Counts with what has become of an allocation.
    pub(super) fn follow(&mut self, core: &Core, alloc: &Alloc) {
        let place = place(alloc);
        let Some(ready) = self.ready.get_mut(&place) else { return };
        if is_ready(alloc) {
            ready.insert(alloc.id)
        } else {
            ready.remove(&alloc.id)
        };
        let (job, group, slot) = place;
        let is_missing = ready.is_empty() && core.is_slot_wanted(&job, &group, slot);
        let Some(spec) = core.jobs().get(&job).filter(|job| job.spec.kind != JobKind::Batch) else { return };
        let Some(allowed) = spec.spec.group(&group).map(|group| group.update.max_parallel) else { return };
        let group = (job, group);
        let missing = self.missing.entry(group.clone()).or_default();
        if is_missing {
            missing.insert(slot)
        } else {
            missing.remove(&slot)
        };
        let count = u32::try_from(missing.len()).unwrap_or(u32::MAX);
        let worst = self.worst.entry(group).or_default();
        *worst = (worst.0.max(count), allowed);
    }

    /// The groups that would miss more than they allow.
    pub(super) fn broken(&self) -> Vec<BrokenBudget> {
        let broken = self.worst.iter().filter(|(_, (missing, allowed))| missing > allowed);
        broken
            .map(|((job, group), (missing, allowed))| BrokenBudget {
                job: job.clone(),
                group: group.clone(),
                missing: *missing,
                allowed: *allowed,
            })
            .collect()
    }
}

fn place(alloc: &Alloc) -> Place {
    (alloc.job.clone(), alloc.group.clone(), Slot::of(alloc))
}

fn is_ready(alloc: &Alloc) -> bool {
    matches!(alloc.state, AllocState::Running { ready: Some(_), .. })
}
