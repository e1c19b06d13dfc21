//! Reading: for tests and the simulator, which see what the core believes; see [`Core`] for what that means.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use berth_model::{
    Alloc, AllocId, AllocState, Balance, EventId, Job, JobId, JobSpec, JobVersion, LedgerEntry, Meta, Node, NodeId,
    Policy, Snapshot, Timestamp,
};

use crate::Settings;
use crate::core::Core;
use crate::digest::{Hash128, digest128};

/// Counts over the whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes that may be given work.
    pub nodes_ready: u32,
    /// Nodes that are lost.
    pub nodes_lost: u32,
    /// Jobs that are kept, ended ones too.
    pub jobs: u32,
    /// Allocations without a place.
    pub waiting: u32,
    /// Allocations with a place that do not run yet.
    pub placed: u32,
    /// Allocations that run.
    pub running: u32,
    /// Of these, those that are ready.
    pub ready: u32,
    /// Allocations that were told to stop.
    pub stopping: u32,
    /// Allocations that have ended and are kept.
    pub ended: u32,
}

impl Core {
    /// Every node, by id.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.state.nodes
    }

    /// Every job, by namespace and name.
    pub fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.state.jobs
    }

    /// Every allocation, by id.
    pub fn allocs(&self) -> &BTreeMap<AllocId, Alloc> {
        &self.state.allocs
    }

    /// Older versions that are still kept for the allocations that run them.
    pub fn job_versions(&self) -> &BTreeMap<(JobId, JobVersion), JobSpec> {
        &self.state.versions
    }

    /// The specification of a version, the newest or an older one that is kept.
    pub fn job_version(&self, job: &JobId, version: JobVersion) -> Option<&JobSpec> {
        self.state.spec(job, version)
    }

    /// The ledger, oldest first.
    pub fn ledger(&self, range: impl RangeBounds<EventId>) -> impl DoubleEndedIterator<Item = &LedgerEntry> {
        self.state.ledger.range(range).map(|(_, entry)| entry)
    }

    /// The entries about an allocation, oldest first.
    pub fn ledger_of(&self, alloc: AllocId) -> impl DoubleEndedIterator<Item = &LedgerEntry> {
        self.state.index.ledger_of(alloc).filter_map(|id| self.state.ledger.get(&id))
    }

    /// The allocations of a job, by id.
    pub fn job_allocs(&self, job: &JobId) -> Vec<&Alloc> {
        let groups = self.state.index.jobs.get(job).into_iter().flat_map(BTreeMap::values);
        let slots = groups.flat_map(|group| group.slots.values());
        let mut ids: Vec<AllocId> = slots.flat_map(|slot| slot.live.iter().chain(slot.ended.iter())).copied().collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| self.alloc(id)).collect()
    }

    /// The allocations that hold a place on a node, by id.
    pub fn node_allocs(&self, node: NodeId) -> impl Iterator<Item = &Alloc> {
        self.state.index.live_on.get(&node).into_iter().flatten().map(|id| self.alloc(*id))
    }

    /// The counters and the epoch.
    pub fn meta(&self) -> Meta {
        self.state.meta
    }

    /// What the operator has set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The policy by which is placed.
    pub fn policy(&self) -> &Policy {
        &self.state.policy
    }

    /// Whether the core still leads.
    pub fn is_leading(&self) -> bool {
        self.pipeline.lead == crate::pipeline::Lead::Ours
    }

    /// Everything that the store will hold when all commits have arrived.
    pub fn snapshot(&self) -> Snapshot {
        self.state.snapshot()
    }

    /// A digest of [`Core::snapshot`], for tests and for comparing leaders.
    pub fn state_digest(&self) -> u128 {
        let s = &self.state;
        let policy = (&s.policy, &s.policy_changed);
        let all = (&s.meta, &s.nodes, &s.jobs, &s.versions, &s.allocs, &s.commands, &s.ledger, policy);
        let Hash128(digest) = digest128(&all);
        digest
    }

    /// What the last round of the optimiser found out, and when that was. None: there was none in this reign yet.
    pub fn balance(&self) -> Option<&(Timestamp, Balance)> {
        self.balancing.last.as_ref()
    }

    /// Counts over the whole cluster.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for node in self.state.nodes.values() {
            if node.is_eligible() { summary.nodes_ready += 1 } else { summary.nodes_lost += 1 }
        }
        summary.jobs = u32::try_from(self.state.jobs.len()).unwrap_or(u32::MAX);
        for alloc in self.state.allocs.values() {
            match &alloc.state {
                AllocState::Waiting { .. } => summary.waiting += 1,
                AllocState::Placed { .. } => summary.placed += 1,
                AllocState::Running { ready, .. } => {
                    summary.running += 1;
                    summary.ready += u32::from(ready.is_some());
                }
                AllocState::Stopping { .. } => summary.stopping += 1,
                AllocState::Ended { .. } => summary.ended += 1,
            }
        }
        summary
    }
}
