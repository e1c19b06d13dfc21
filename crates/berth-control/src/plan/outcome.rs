//! What was against what has become of it.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{
    Alloc, AllocId, AllocState, Planned, PlannedChange, PlannedWait, Resources, Source, Target, Utilisation, WaitReason,
};

use super::future::Future;
use crate::core::Core;

/// What has changed on the way, in order of waves, and what is left waiting that was not.
pub(super) fn compare(before: &Core, future: &Future) -> (Vec<PlannedChange>, Vec<PlannedWait>) {
    let after = &future.core;
    let mut changes: Vec<(u32, AllocId, PlannedChange)> = Vec::new();
    let mut waits = Vec::new();
    let mut followed = BTreeSet::new();
    let victims = |id: AllocId| {
        let gone = future.preempted.get(&id).into_iter().flatten();
        gone.copied().filter(|victim| held(before, *victim).is_some()).collect::<Vec<_>>()
    };
    for alloc in future.touched.iter().filter_map(|id| after.allocs().get(id)) {
        let source = alloc.replaces.and_then(|old| held(before, old));
        let is_new = held(before, alloc.id).is_none();
        match &alloc.state {
            AllocState::Waiting { reason, .. } if !waited(before, alloc.id) => {
                followed.extend(source.map(|source| source.alloc));
                let stops_first = |old: &Source| future.stopped.contains_key(&old.alloc);
                let source = source.map(|old| Source { stops_first: stops_first(&old), ..old });
                let reason = after.wait_reason(alloc.id).unwrap_or_else(|| reason.clone());
                waits.push(PlannedWait { preempts: victims(alloc.id), ..wait(alloc, source, reason) });
            }
            AllocState::Placed { placement, .. } | AllocState::Running { placement, .. } if is_new => {
                followed.extend(source.map(|source| source.alloc));
                let target = Target::of(placement);
                let round = future.placed.get(&alloc.id).copied().unwrap_or(1);
                let stops_first = |old: &Source| future.stopped.get(&old.alloc).is_some_and(|at| *at <= round);
                let source = source.map(|old| Source { stops_first: stops_first(&old), ..old });
                let what = taking_place_of(before, alloc, source, target);
                changes.push((round, alloc.id, PlannedChange { preempts: victims(alloc.id), ..change(alloc, what) }));
            }
            AllocState::Waiting { .. }
            | AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. }
            | AllocState::Ended { .. } => {}
        }
    }
    for (id, round) in future.stopped.iter().filter(|(id, _)| !followed.contains(id)) {
        if let (Some(source), Some(alloc)) = (held(before, *id), before.allocs().get(id)) {
            changes.push((*round, *id, change(alloc, Planned::Stop(source))));
        }
    }
    (in_waves(changes), waits)
}

/// Rounds are many; a wave is one in which something is placed, or stopped for good. The first is what follows at once,
/// also where nothing does.
fn in_waves(mut changes: Vec<(u32, AllocId, PlannedChange)>) -> Vec<PlannedChange> {
    changes.sort_by(|(round, id, a), (later, other, b)| {
        (round, &a.job, &a.group, a.index, id).cmp(&(later, &b.job, &b.group, b.index, other))
    });
    let mut waves = BTreeMap::from([(1, 1)]);
    for (round, ..) in &changes {
        let next = u32::try_from(waves.len()).unwrap_or(u32::MAX).saturating_add(1);
        waves.entry(*round).or_insert(next);
    }
    changes.into_iter().map(|(round, _, change)| PlannedChange { wave: waves[&round], ..change }).collect()
}

/// The place that an allocation held before.
fn held(before: &Core, id: AllocId) -> Option<Source> {
    let node = before.allocs().get(&id)?.occupies()?;
    Some(Source { alloc: id, node, stops_first: false })
}

fn waited(before: &Core, id: AllocId) -> bool {
    before.allocs().get(&id).is_some_and(|alloc| matches!(alloc.state, AllocState::Waiting { .. }))
}

fn taking_place_of(before: &Core, alloc: &Alloc, source: Option<Source>, target: Target) -> Planned {
    let old = source.and_then(|source| Some((source, before.allocs().get(&source.alloc)?)));
    match old {
        Some((source, old)) if old.version == alloc.version => Planned::Move(source, target),
        Some((source, _)) => Planned::Replace(source, target),
        None => Planned::Start(target),
    }
}

fn change(alloc: &Alloc, what: Planned) -> PlannedChange {
    PlannedChange {
        wave: 0,
        job: alloc.job.clone(),
        group: alloc.group.clone(),
        index: alloc.index,
        version: alloc.version,
        what,
        preempts: Vec::new(),
    }
}

fn wait(alloc: &Alloc, replaces: Option<Source>, reason: WaitReason) -> PlannedWait {
    PlannedWait {
        job: alloc.job.clone(),
        group: alloc.group.clone(),
        index: alloc.index,
        bound_to: alloc.bound_to,
        version: alloc.version,
        replaces,
        preempts: Vec::new(),
        reason,
    }
}

impl Core {
    /// What is promised of the nodes that take work.
    pub(crate) fn utilisation(&self) -> Utilisation {
        let taking = self.state.nodes.values().filter(|n| n.takes_work());
        let mut sum = Utilisation::default();
        for node in taking {
            let used: Resources = self.node_allocs(node.id).filter_map(|alloc| self.resources_of(alloc)).sum();
            sum.nodes += 1;
            sum.used = sum.used + used;
            sum.capacity = sum.capacity + node.fingerprint.resources;
        }
        sum
    }

    fn resources_of(&self, alloc: &Alloc) -> Option<Resources> {
        let spec = self.state.spec(&alloc.job, alloc.version)?;
        Some(spec.group(&alloc.group)?.resources())
    }
}
