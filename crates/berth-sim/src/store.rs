//! The simulated store: whole objects, guarded by epoch and revision. It keeps what a real one keeps durable;
//! what is under way when a server dies is the server's affair.

use std::collections::BTreeMap;

use berth_model::{
    Alloc, AllocId, CommandRecord, Epoch, EventId, IdempotencyKey, Incarnation, Job, JobId, JobSpec, JobVersion,
    LedgerEntry, Meta, Mutation, Namespace, Node, NodeId, Principal, Revision, SetPolicy, Snapshot, Trust, TrustId,
};

/// The name of a command's record.
pub(crate) type CommandKey = (Principal, Namespace, IdempotencyKey);

/// Everything that is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    pub(crate) revision: Revision,
    pub(crate) meta: Meta,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) versions: BTreeMap<(JobId, JobVersion), JobSpec>,
    pub(crate) allocs: BTreeMap<AllocId, Alloc>,
    pub(crate) commands: BTreeMap<CommandKey, CommandRecord>,
    pub(crate) ledger: BTreeMap<EventId, LedgerEntry>,
    pub(crate) policy: Option<SetPolicy>,
    pub(crate) trust: BTreeMap<TrustId, Trust>,
}

/// Somebody else wrote.
#[derive(Debug)]
pub(crate) struct Conflict;

impl Store {
    /// An empty store of a new cluster.
    pub(crate) fn new() -> Store {
        Store { meta: Meta { incarnation: Incarnation(1), ..Meta::default() }, ..Store::default() }
    }

    /// Whether a commit of this reign, decided on that revision, may be carried out.
    pub(crate) fn guard(&self, epoch: Epoch, decided_on: Revision) -> Result<(), Conflict> {
        if epoch < self.meta.epoch || decided_on != self.revision { Err(Conflict) } else { Ok(()) }
    }

    /// Carries out a commit, guards apart.
    pub(crate) fn apply(&mut self, mutations: Vec<Mutation>) -> Revision {
        self.revision.0 += 1;
        for mutation in mutations {
            self.apply_one(mutation);
        }
        self.revision
    }

    fn apply_one(&mut self, mutation: Mutation) {
        match mutation {
            Mutation::PutMeta(meta) => self.meta = meta,
            Mutation::PutNode(node) => _ = self.nodes.insert(node.id, node),
            Mutation::DeleteNode(id) => _ = self.nodes.remove(&id),
            Mutation::PutJob(job) => _ = self.jobs.insert(job.spec.id.clone(), *job),
            Mutation::DeleteJob(id) => _ = self.jobs.remove(&id),
            Mutation::PutJobVersion(version, spec) => _ = self.versions.insert((spec.id.clone(), version), *spec),
            Mutation::DeleteJobVersion(job, version) => _ = self.versions.remove(&(job, version)),
            Mutation::PutAlloc(alloc) => _ = self.allocs.insert(alloc.id, *alloc),
            Mutation::DeleteAlloc(id) => _ = self.allocs.remove(&id),
            Mutation::PutCommand(record) => {
                let key = (record.principal.clone(), record.namespace.clone(), record.key.clone());
                self.commands.insert(key, record);
            }
            Mutation::DeleteCommand(principal, namespace, key) => {
                self.commands.remove(&(principal, namespace, key));
            }
            Mutation::PutLedger(entry) => _ = self.ledger.insert(entry.id, entry),
            Mutation::DeleteLedger(id) => _ = self.ledger.remove(&id),
            Mutation::PutPolicy(policy) => self.policy = Some(*policy),
            Mutation::PutTrust(trust) => _ = self.trust.insert(trust.id(), *trust),
            Mutation::DeleteTrust(id) => _ = self.trust.remove(&id),
        }
    }

    /// The specification that an allocation runs.
    pub(crate) fn spec(&self, job: &JobId, version: JobVersion) -> Option<&JobSpec> {
        let newest = self.jobs.get(job).filter(|j| j.version == version).map(|j| &j.spec);
        newest.or_else(|| self.versions.get(&(job.clone(), version)))
    }

    /// Everything, as a new leader loads it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            meta: self.meta,
            nodes: self.nodes.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            job_versions: self.versions.iter().map(|((_, version), spec)| (*version, spec.clone())).collect(),
            allocs: self.allocs.values().cloned().collect(),
            commands: self.commands.values().cloned().collect(),
            ledger: self.ledger.values().cloned().collect(),
            policy: self.policy.clone(),
            trust: self.trust.values().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_leader_writes_and_only_on_what_it_has_seen() {
        let mut store = Store::new();
        let epoch = |counter| Epoch { incarnation: Incarnation(1), counter };
        let take = |counter| vec![Mutation::PutMeta(Meta { epoch: epoch(counter), ..Meta::default() })];
        assert!(store.guard(epoch(1), Revision(0)).is_ok());
        assert_eq!(store.apply(take(2)), Revision(1));
        assert!(store.guard(epoch(1), Revision(1)).is_err(), "an older reign");
        assert!(store.guard(epoch(2), Revision(0)).is_err(), "decided on what has changed since");
        assert!(store.guard(epoch(2), Revision(1)).is_ok());
        assert_eq!(store.snapshot().meta.epoch, epoch(2));
    }
}
