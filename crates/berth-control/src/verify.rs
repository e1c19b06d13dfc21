//! Every plan is looked at by code that did not make it before it is written. A finding is a fault of ours: a panic.

use std::collections::{BTreeMap, BTreeSet};

use berth_check::{
    Budget, Fence, Finding, Gang, Granted, Moved, NodeView, Occupant, PlanView, Preemption, check, check_commit,
};
use berth_model::control::Effect;
use berth_model::{
    Alloc, AllocId, AllocState, DecisionId, GroupName, GroupSpec, JobId, JobKind, JobSpec, Mutation, NodeId, Rules,
    WaitReason,
};

use crate::core::Core;
use crate::index::{ClassKey, SlotIndex};
use crate::state::is_wanted;

impl Core {
    /// Checks what this step placed, made and began to replace.
    pub(crate) fn verify(&mut self) {
        let findings = check(&self.plan_view());
        assert!(findings.is_empty(), "a plan with faults: {}", listed(&findings));
        self.state.dirty.placed.clear();
        self.state.dirty.preempted.clear();
        self.state.dirty.created.clear();
        self.state.dirty.begun.clear();
        self.state.dirty.moves.clear();
    }

    /// Checks what goes out.
    pub(crate) fn verify_commits(&mut self, effects: &[Effect]) {
        for effect in effects {
            // One without any writes nothing, and only proves that the reign goes on.
            let Effect::Commit { mutations, .. } = effect else { continue };
            if mutations.is_empty() {
                continue;
            }
            let fence = Fence { epoch: self.state.meta.epoch, before: self.written };
            let findings = check_commit(&fence, mutations);
            assert!(findings.is_empty(), "a commit with faults: {}", listed(&findings));
            if let Some(Mutation::PutMeta(meta)) = mutations.first() {
                self.written = *meta;
            }
        }
    }

    fn plan_view(&self) -> PlanView<'_> {
        let placed: Vec<&Alloc> = self
            .state
            .dirty
            .placed
            .iter()
            .filter_map(|id| self.state.allocs.get(id))
            .filter(|a| a.occupies().is_some())
            .collect();
        let nodes: BTreeSet<NodeId> = placed.iter().filter_map(|alloc| alloc.occupies()).collect();
        let created = self.state.dirty.created.iter().filter(|id| self.state.allocs.contains_key(id));
        PlanView {
            nodes: nodes.iter().filter_map(|node| self.node_view(*node)).collect(),
            occupants: self.occupants(&placed),
            gangs: self.gangs(&placed),
            preemptions: self.preemptions(),
            leaving: self.state.allocs_leaving().count(),
            may_leave: self.settings.preempt_max,
            moves: self.moves(),
            moving: if self.state.dirty.moves.is_empty() { 0 } else { self.moving() },
            may_move: self.state.policy.spec.balance.at_most(),
            granted: placed.iter().filter_map(|alloc| self.granted(alloc)).collect(),
            budgets: self.state.dirty.begun.iter().filter_map(|(job, group)| self.budget(job, group)).collect(),
            created: created.map(|id| (*id, self.ledger_of(*id).next())).collect(),
        }
    }

    /// What holds a place of every job that a rule of what was placed may be about.
    fn occupants(&self, placed: &[&Alloc]) -> Vec<Occupant<'_>> {
        let classes: BTreeSet<ClassKey> = placed.iter().map(|alloc| ClassKey::of(alloc)).collect();
        let mut jobs = BTreeSet::new();
        for class in &classes {
            let Some(spec) = self.state.spec(&class.job, class.version) else { continue };
            let Some(group) = spec.group(&class.group) else { continue };
            let named = self.state.index.named_by(&class.job);
            if group.rules == Rules::default() && named.is_none() {
                continue;
            }
            let namespace = &class.job.namespace;
            jobs.insert(class.job.clone());
            jobs.extend(group.rules.relations.iter().map(|relation| relation.of(namespace)));
            jobs.extend(named.into_iter().flatten().cloned());
        }
        let live = jobs.iter().flat_map(|job| self.state.index.of_job(job));
        let holding = live.filter_map(|id| self.occupant(id));
        holding.collect()
    }

    /// Anything that the board counts, also what ended and may still run.
    fn occupant(&self, id: AllocId) -> Option<Occupant<'_>> {
        let alloc = self.state.allocs.get(&id)?;
        let node = self.state.board.held(id)?.node;
        Some(Occupant { alloc, node: self.state.nodes.get(&node)?, group: self.spec_of(alloc)?.1 })
    }

    /// Whom this step told to go, with all of the same group that are leaving for others.
    fn preemptions(&self) -> Vec<Preemption<'_>> {
        let preemption = |(victim, by): (&AllocId, &AllocId)| {
            let (victim, by) = (self.state.allocs.get(victim)?, self.state.allocs.get(by)?);
            let (of, own) = (self.state.speaks_for(victim)?, self.spec_of(victim)?.1);
            let newest = self.state.jobs.get(&victim.job).and_then(|job| job.spec.group(&victim.group));
            let group = newest.unwrap_or(own);
            let alike = |other: &&Alloc| other.job == victim.job && other.group == victim.group;
            let leaving = self.state.allocs_leaving().filter(alike).count();
            let preemptor = self.spec_of(by)?.0;
            Some(Preemption { victim: victim.id, of, group, by: by.id, preemptor, leaving })
        };
        self.state.dirty.preempted.iter().filter_map(preemption).collect()
    }

    /// What this step began to move and has not given up again.
    fn moves(&self) -> Vec<Moved<'_>> {
        let moved = |id: &AllocId| {
            let to = self.state.allocs.get(id).filter(|to| is_wanted(to))?;
            let from = self.state.allocs.get(&to.moved_from()?)?;
            Some(Moved { from, to, job: self.spec_of(to)?.0 })
        };
        self.state.dirty.moves.iter().filter_map(moved).collect()
    }

    /// How many moves are under way, counted from the allocations themselves.
    fn moving(&self) -> usize {
        let lives = |id: AllocId| self.state.allocs.get(&id).is_some_and(|alloc| !alloc.is_ended());
        self.state.allocs.values().filter(|alloc| is_wanted(alloc) && alloc.moved_from().is_some_and(lives)).count()
    }

    /// What was placed of each gang, and what one run of the core looked at and left behind. One that began to wait after
    /// that run, such as the next instance of a member that this step told to go, is of the next gathering.
    fn gangs(&self, placed: &[&Alloc]) -> Vec<Gang<'_>> {
        let mut classes: BTreeMap<ClassKey, (usize, Option<DecisionId>)> = BTreeMap::new();
        for alloc in placed {
            let (count, last) = classes.entry(ClassKey::of(alloc)).or_default();
            *count += 1;
            *last = (*last).max(alloc.placement().map(|placement| placement.decision));
        }
        let gang = |(class, (placed, last)): (ClassKey, (usize, Option<DecisionId>))| {
            let group = self.state.spec(&class.job, class.version)?.group(&class.group)?;
            let (job, _) = self.state.jobs.get_key_value(&class.job)?;
            let members = self.state.index.waiting.get(&class).into_iter().flatten();
            let left = members.filter(|id| looked_at(&self.state.allocs[id]) <= last);
            let whole = group.rules.gang == berth_model::Gang::Whole;
            whole.then(|| Gang { job, group: &group.name, placed, waiting: left.count() })
        };
        classes.into_iter().filter_map(gang).collect()
    }

    fn spec_of(&self, alloc: &Alloc) -> Option<(&JobSpec, &GroupSpec)> {
        let job = self.state.spec(&alloc.job, alloc.version)?;
        Some((job, job.group(&alloc.group)?))
    }

    /// Allocations whose machine changed its mind about what it has are not this plan's fault: a node that is over its
    /// capacity without anything new is not looked at, and nothing is placed on it.
    fn node_view(&self, node: NodeId) -> Option<NodeView<'_>> {
        let allocs = self.node_allocs(node).filter_map(|alloc| Some((alloc, self.spec_of(alloc)?.1)));
        Some(NodeView { node: self.state.nodes.get(&node)?, allocs: allocs.collect() })
    }

    fn granted(&self, alloc: &'_ Alloc) -> Option<Granted<'_>> {
        let alloc = self.state.allocs.get(&alloc.id)?;
        let (job, group) = self.spec_of(alloc)?;
        Some(Granted { alloc, node: self.state.nodes.get(&alloc.occupies()?)?, job, group })
    }

    /// Counted from the allocations themselves: slots in which an instance and its successor are both wanted. One that was
    /// told to stop is on its way, whoever told it.
    fn budget<'a>(&'a self, job: &'a JobId, group: &'a GroupName) -> Option<Budget<'a>> {
        #[cfg(feature = "planted-bugs")]
        if self.state.bug == Some(crate::planted::Bug::BudgetIgnored) {
            return None;
        }
        let held = self.state.jobs.get(job).filter(|job| job.spec.kind != JobKind::Batch)?;
        let allowed = held.spec.group(group)?.update.max_parallel;
        let slots = self.state.index.group(job, group)?.slots.values();
        let wanted = |id: &AllocId| !matches!(self.alloc(*id).state, AllocState::Stopping { .. });
        let both = |slot: &&SlotIndex| slot.live.iter().filter(|id| wanted(id)).count() > 1;
        let replacing = u32::try_from(slots.filter(both).count()).unwrap_or(u32::MAX);
        Some(Budget { job, group, replacing, allowed })
    }
}

fn listed(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}

/// The run of the core that found no place for one that waits.
fn looked_at(alloc: &Alloc) -> Option<DecisionId> {
    match &alloc.state {
        AllocState::Waiting { reason, .. } => match reason {
            WaitReason::NoNodeFits { decision, .. }
            | WaitReason::GangIncomplete { decision, .. }
            | WaitReason::Preempting { decision, .. } => Some(*decision),
            WaitReason::Queued | WaitReason::NoNodes | WaitReason::BackOff { .. } => None,
        },
        AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => None,
    }
}
