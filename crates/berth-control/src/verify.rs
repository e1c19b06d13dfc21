//! Every plan is looked at by code that did not make it before it is written. A finding is a fault of ours: a panic.

use std::collections::BTreeSet;

use berth_check::{Budget, Fence, Finding, Granted, NodeView, PlanView, check, check_commit};
use berth_model::{Alloc, AllocId, AllocState, GroupName, GroupSpec, JobId, JobKind, JobSpec, Mutation, NodeId};

use crate::core::Core;
use crate::index::SlotIndex;
use berth_model::control::Effect;

impl Core {
    /// Checks what this step placed, made and began to replace.
    pub(crate) fn verify(&mut self) {
        let findings = check(&self.plan_view());
        assert!(findings.is_empty(), "a plan with faults: {}", listed(&findings));
        self.state.dirty.placed.clear();
        self.state.dirty.created.clear();
        self.state.dirty.begun.clear();
    }

    /// Checks what goes out.
    pub(crate) fn verify_commits(&mut self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Commit { mutations, .. } = effect else { continue };
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
            granted: placed.iter().filter_map(|alloc| self.granted(alloc)).collect(),
            budgets: self.state.dirty.begun.iter().filter_map(|(job, group)| self.budget(job, group)).collect(),
            created: created.map(|id| (*id, self.ledger_of(*id).next())).collect(),
        }
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

    /// Counted from the allocations themselves: slots in which an older version and its successor are
    /// both wanted. One that was told to stop is on its way, whoever told it.
    fn budget<'a>(&'a self, job: &'a JobId, group: &'a GroupName) -> Option<Budget<'a>> {
        #[cfg(feature = "planted-bugs")]
        if self.state.bug == Some(crate::planted::Bug::BudgetIgnored) {
            return None;
        }
        let held = self.state.jobs.get(job).filter(|job| job.spec.kind != JobKind::Batch)?;
        let allowed = held.spec.group(group)?.update.max_parallel;
        let version = held.version;
        let slots = self.state.index.group(job, group)?.slots.values();
        let wanted = |id: &AllocId| !matches!(self.alloc(*id).state, AllocState::Stopping { .. });
        let both = |slot: &&SlotIndex| {
            let newest = slot.live.iter().any(|id| self.alloc(*id).version == version);
            newest && slot.live.iter().any(|id| self.alloc(*id).version != version && wanted(id))
        };
        let replacing = u32::try_from(slots.filter(both).count()).unwrap_or(u32::MAX);
        Some(Budget { job, group, replacing, allowed })
    }
}

fn listed(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}
