//! What is durable, ready to be shown: follows the commits, and knows nothing that is not stored.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use berth_api::wire::v1::NodeNames;
use berth_control::runs_the_same;
use berth_model::{
    Alloc, AllocId, CommandId, CommandRecord, DeviceId, DeviceSpec, Epoch, EventId, Format, GroupName, GroupSpec,
    Happening, IdempotencyKey, Job, JobId, JobSpec, JobVersion, LedgerEntry, Meta, Mutation, Namespace, Node, NodeId,
    NodeName, Principal, Resources, Revision, SetPolicy, Snapshot, Trust, TrustId,
};

type CommandKey = (Principal, Namespace, IdempotencyKey);

/// The place in a group that one allocation after the other fills: the index, or the node of a system job.
type Slot = (JobId, GroupName, u32, Option<NodeId>);

fn slot(alloc: &Alloc) -> Slot {
    (alloc.job.clone(), alloc.group.clone(), alloc.index, alloc.bound_to)
}

/// The durable state.
#[derive(Debug, Default)]
pub struct View {
    /// Whose reign it is.
    pub epoch: Epoch,
    /// The revision of the store up to which it has followed.
    pub revision: Revision,
    /// The counters of the cluster.
    meta: Meta,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, Arc<Node>>,
    /// The jobs.
    pub jobs: BTreeMap<JobId, Arc<Job>>,
    /// The allocations.
    pub allocs: BTreeMap<AllocId, Arc<Alloc>>,
    /// The ledger.
    pub ledger: BTreeMap<EventId, Arc<LedgerEntry>>,
    /// The policy that somebody has set.
    pub policy: Option<Arc<SetPolicy>>,
    /// Whom the cluster trusts.
    pub trust: BTreeMap<TrustId, Arc<Trust>>,
    /// Older versions, while allocations run them.
    job_versions: BTreeMap<(JobId, JobVersion), Arc<JobSpec>>,
    allocs_of_job: BTreeMap<JobId, BTreeSet<AllocId>>,
    allocs_on_node: BTreeMap<NodeId, BTreeSet<AllocId>>,
    replaced_by: BTreeMap<AllocId, AllocId>,
    in_slot: BTreeMap<Slot, BTreeSet<AllocId>>,
    commands: BTreeMap<CommandId, Arc<CommandRecord>>,
    command_ids: BTreeMap<CommandKey, CommandId>,
    /// Names of nodes that the ledger still tells of.
    former_names: BTreeMap<NodeId, NodeName>,
}

impl View {
    /// What a new leader found.
    pub fn load(snapshot: &Snapshot, epoch: Epoch, revision: Revision) -> View {
        let mut view = View { epoch, revision, meta: snapshot.meta, ..View::default() };
        for node in &snapshot.nodes {
            view.apply(Mutation::PutNode(node.clone()));
        }
        for job in &snapshot.jobs {
            view.apply(Mutation::PutJob(Box::new(job.clone())));
        }
        for (version, spec) in &snapshot.job_versions {
            view.apply(Mutation::PutJobVersion(*version, Box::new(spec.clone())));
        }
        for alloc in &snapshot.allocs {
            view.apply(Mutation::PutAlloc(Box::new(alloc.clone())));
        }
        for command in &snapshot.commands {
            view.apply(Mutation::PutCommand(command.clone()));
        }
        for entry in &snapshot.ledger {
            view.apply(Mutation::PutLedger(entry.clone()));
        }
        if let Some(policy) = &snapshot.policy {
            view.apply(Mutation::PutPolicy(Box::new(policy.clone())));
        }
        for trust in &snapshot.trust {
            view.apply(Mutation::PutTrust(Box::new(trust.clone())));
        }
        view
    }

    /// In which all is written.
    pub fn format(&self) -> Format {
        self.meta.format
    }

    /// All that it holds, as it would be loaded.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            meta: self.meta,
            nodes: self.nodes.values().map(|node| Node::clone(node)).collect(),
            jobs: self.jobs.values().map(|job| Job::clone(job)).collect(),
            job_versions: self
                .job_versions
                .iter()
                .map(|((_, version), spec)| (*version, JobSpec::clone(spec)))
                .collect(),
            allocs: self.allocs.values().map(|alloc| Alloc::clone(alloc)).collect(),
            commands: self.command_ids.values().map(|id| CommandRecord::clone(&self.commands[id])).collect(),
            ledger: self.ledger.values().map(|entry| LedgerEntry::clone(entry)).collect(),
            policy: self.policy.as_deref().cloned(),
            trust: self.trust.values().map(|trust| Trust::clone(trust)).collect(),
        }
    }

    /// Follows one write.
    pub fn apply(&mut self, mutation: Mutation) {
        match mutation {
            Mutation::PutMeta(meta) => (self.epoch, self.meta) = (meta.epoch, meta),
            Mutation::PutNode(node) => drop(self.nodes.insert(node.id, Arc::new(node))),
            Mutation::DeleteNode(id) => drop(self.nodes.remove(&id)),
            Mutation::PutJob(job) => drop(self.jobs.insert(job.spec.id.clone(), Arc::new(*job))),
            Mutation::DeleteJob(id) => drop(self.jobs.remove(&id)),
            Mutation::PutJobVersion(version, spec) => {
                drop(self.job_versions.insert((spec.id.clone(), version), Arc::new(*spec)));
            }
            Mutation::DeleteJobVersion(job, version) => drop(self.job_versions.remove(&(job, version))),
            Mutation::PutAlloc(alloc) => self.put_alloc(*alloc),
            Mutation::DeleteAlloc(id) => self.remove_alloc(id),
            Mutation::PutCommand(record) => {
                let key = (record.principal.clone(), record.namespace.clone(), record.key.clone());
                self.command_ids.insert(key, record.id);
                self.commands.insert(record.id, Arc::new(record));
            }
            Mutation::DeleteCommand(principal, namespace, key) => {
                if let Some(id) = self.command_ids.remove(&(principal, namespace, key)) {
                    self.commands.remove(&id);
                }
            }
            Mutation::PutLedger(entry) => self.put_ledger(entry),
            Mutation::DeleteLedger(id) => self.remove_ledger(id),
            Mutation::PutPolicy(policy) => self.policy = Some(Arc::new(*policy)),
            Mutation::PutTrust(trust) => drop(self.trust.insert(trust.id(), Arc::new(*trust))),
            Mutation::DeleteTrust(id) => drop(self.trust.remove(&id)),
        }
    }

    fn put_alloc(&mut self, alloc: Alloc) {
        let id = alloc.id;
        self.remove_alloc(id);
        self.allocs_of_job.entry(alloc.job.clone()).or_default().insert(id);
        self.in_slot.entry(slot(&alloc)).or_default().insert(id);
        if let Some(node) = alloc.placement().map(|placement| placement.node) {
            self.allocs_on_node.entry(node).or_default().insert(id);
        }
        if let Some(old) = alloc.replaces {
            self.replaced_by.insert(old, id);
        }
        self.allocs.insert(id, Arc::new(alloc));
    }

    fn remove_alloc(&mut self, id: AllocId) {
        let Some(alloc) = self.allocs.remove(&id) else { return };
        remove_from(&mut self.allocs_of_job, &alloc.job, id);
        remove_from(&mut self.in_slot, &slot(&alloc), id);
        if let Some(placement) = alloc.placement() {
            remove_from(&mut self.allocs_on_node, &placement.node, id);
        }
        if let Some(old) = alloc.replaces {
            self.replaced_by.remove(&old);
        }
    }

    fn put_ledger(&mut self, entry: LedgerEntry) {
        if let Happening::NodeReady { node, name }
        | Happening::NodeLost { node, name }
        | Happening::NodeCollected { node, name }
        | Happening::NodeDraining { node, name, .. }
        | Happening::NodeDrained { node, name }
        | Happening::NodeEnabled { node, name }
        | Happening::NodeAbandoned { node, name } = &entry.what
        {
            self.former_names.insert(*node, name.clone());
        }
        self.ledger.insert(entry.id, Arc::new(entry));
    }

    fn remove_ledger(&mut self, id: EventId) {
        let Some(entry) = self.ledger.remove(&id) else { return };
        if let Happening::NodeCollected { node, .. } = &entry.what {
            self.former_names.remove(node);
        }
    }

    /// The allocations of a job, in order of id.
    pub fn allocs_of_job(&self, job: &JobId) -> impl Iterator<Item = &Arc<Alloc>> {
        self.of(self.allocs_of_job.get(job))
    }

    /// The allocations that are or were placed on a node, in order of id.
    pub fn allocs_on_node(&self, node: NodeId) -> impl Iterator<Item = &Arc<Alloc>> {
        self.of(self.allocs_on_node.get(&node))
    }

    fn of<'a>(&'a self, ids: Option<&'a BTreeSet<AllocId>>) -> impl Iterator<Item = &'a Arc<Alloc>> {
        ids.into_iter().flatten().filter_map(|id| self.allocs.get(id))
    }

    /// The instance that took the place of another.
    pub fn replaced_by(&self, alloc: AllocId) -> Option<AllocId> {
        self.replaced_by.get(&alloc).copied()
    }

    /// The instance that follows another in its slot.
    pub fn followed_by(&self, alloc: &Alloc) -> Option<&Arc<Alloc>> {
        let later = self.in_slot.get(&slot(alloc))?.range((Bound::Excluded(alloc.id), Bound::Unbounded)).next()?;
        self.allocs.get(later)
    }

    /// A command that is still remembered, by the key that its client gave it.
    pub fn command_under(
        &self,
        principal: &Principal,
        namespace: &Namespace,
        key: &IdempotencyKey,
    ) -> Option<&Arc<CommandRecord>> {
        let id = self.command_ids.get(&(principal.clone(), namespace.clone(), key.clone()))?;
        self.commands.get(id)
    }

    /// A command that is still remembered.
    pub fn command(&self, id: CommandId) -> Option<&Arc<CommandRecord>> {
        self.commands.get(&id)
    }

    /// A node by id or name. Of several with one name, which only happens while all but one are lost, the newest.
    pub fn node(&self, text: &str) -> Option<&Arc<Node>> {
        let by_id = text.parse().ok().and_then(|id: NodeId| self.nodes.get(&id));
        by_id.or_else(|| self.nodes.values().rev().find(|node| node.fingerprint.name.as_str() == text))
    }

    /// What allocations hold of a node, and how many they are.
    pub fn used(&self, node: NodeId) -> (Resources, u32) {
        let holding = self.allocs_on_node(node).filter(|alloc| alloc.occupies() == Some(node));
        holding.fold((Resources::default(), 0), |(used, count), alloc| {
            (used + self.group(alloc).map(GroupSpec::resources).unwrap_or_default(), count + 1)
        })
    }

    /// How much of a device allocations hold, in thousandths.
    pub fn used_of(&self, node: NodeId, device: &DeviceId) -> u32 {
        let holding = self.allocs_on_node(node).filter(|alloc| alloc.occupies() == Some(node));
        let of_alloc = |alloc: &Alloc| -> u32 {
            let wishes = self.group(alloc).into_iter().flat_map(GroupSpec::devices);
            let grants = alloc.placement().map(|placement| &placement.devices);
            let has =
                |wish: &&DeviceSpec| grants.and_then(|all| all.get(&wish.name)).is_some_and(|ids| ids.contains(device));
            wishes.filter(has).map(|wish| u32::from(wish.amount.of_each().0)).sum()
        };
        holding.map(|alloc| of_alloc(alloc)).sum()
    }

    /// The group that an allocation runs, as its own version of the job specifies it.
    pub fn group(&self, alloc: &Alloc) -> Option<&GroupSpec> {
        self.spec(alloc)?.group(&alloc.group)
    }

    /// The group that says how an allocation is to be treated: that of the newest version, where it leaves what the allocation
    /// runs as it is.
    pub fn treated_as(&self, alloc: &Alloc) -> Option<&GroupSpec> {
        let own = self.spec(alloc)?;
        let newest = self.jobs.get(&alloc.job).map(|job| &job.spec);
        let says = newest.filter(|newest| runs_the_same(own, newest, &alloc.group)).unwrap_or(own);
        says.group(&alloc.group)
    }

    fn spec(&self, alloc: &Alloc) -> Option<&JobSpec> {
        let newest = self.jobs.get(&alloc.job).filter(|job| job.version == alloc.version).map(|job| &job.spec);
        newest.or_else(|| self.job_versions.get(&(alloc.job.clone(), alloc.version)).map(|spec| &**spec))
    }
}

impl NodeNames for View {
    fn node_name(&self, node: NodeId) -> Option<NodeName> {
        let known = self.nodes.get(&node).map(|node| &node.fingerprint.name);
        known.or_else(|| self.former_names.get(&node)).cloned()
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<AllocId>>, key: &K, id: AllocId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
