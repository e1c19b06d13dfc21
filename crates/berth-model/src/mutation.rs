//! What a commit writes: whole objects put or deleted. The server's driver encodes them for the store.

use crate::{
    Alloc, AllocId, CommandRecord, Epoch, EventId, IdempotencyKey, Incarnation, Job, JobId, JobSpec, JobVersion,
    LedgerEntry, Namespace, Node, NodeId, Principal, SetPolicy, Trust, TrustId,
};

/// One write of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// The counters and the epoch. Part of every commit.
    PutMeta(Meta),
    /// A node, new or changed.
    PutNode(Node),
    /// A node is forgotten.
    DeleteNode(NodeId),
    /// A job, new or changed.
    PutJob(Box<Job>),
    /// A job is forgotten.
    DeleteJob(JobId),
    /// An older version's specification, kept while allocations run it.
    PutJobVersion(JobVersion, Box<JobSpec>),
    /// An older version is no longer needed.
    DeleteJobVersion(JobId, JobVersion),
    /// An allocation, new or changed.
    PutAlloc(Box<Alloc>),
    /// An allocation is forgotten.
    DeleteAlloc(AllocId),
    /// A command with its outcome.
    PutCommand(CommandRecord),
    /// A command's outcome is forgotten.
    DeleteCommand(Principal, Namespace, IdempotencyKey),
    /// An entry of the ledger.
    PutLedger(LedgerEntry),
    /// An entry of the ledger is forgotten.
    DeleteLedger(EventId),
    /// The cluster's policy, set for the first time or changed.
    PutPolicy(Box<SetPolicy>),
    /// Something of which trust consists, new or changed.
    PutTrust(Box<Trust>),
    /// Something of which trust consisted is forgotten.
    DeleteTrust(TrustId),
}

/// The version of the form in which records are written. What was written in an older one is read on, and is written in
/// this one with its next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Format(pub u32);

impl Format {
    /// The oldest that is still written: that of a store which nobody has finalised.
    pub const FIRST: Format = Format(2);
}

impl Default for Format {
    fn default() -> Format {
        Format::FIRST
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The cluster's counters, and whose reign it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// In which all is written. It only grows, and only when an operator says so: older releases do not read a newer one.
    pub format: Format,
    /// The life of the store.
    pub incarnation: Incarnation,
    /// The leader that wrote last.
    pub epoch: Epoch,
    /// The last counters issued.
    pub allocs: u64,
    /// The last node counter issued.
    pub nodes: u64,
    /// The last command counter issued.
    pub commands: u64,
    /// The last decision counter issued.
    pub decisions: u64,
    /// The last ledger counter issued.
    pub events: u64,
}

/// Everything that the store holds, as loaded by a new leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The counters.
    pub meta: Meta,
    /// In order of id.
    pub nodes: Vec<Node>,
    /// In order of id.
    pub jobs: Vec<Job>,
    /// In order of job and version.
    pub job_versions: Vec<(JobVersion, JobSpec)>,
    /// In order of id.
    pub allocs: Vec<Alloc>,
    /// In any order.
    pub commands: Vec<CommandRecord>,
    /// In order of id.
    pub ledger: Vec<LedgerEntry>,
    /// The policy, where somebody has set one.
    pub policy: Option<SetPolicy>,
    /// Whom the cluster trusts, in order of id.
    pub trust: Vec<Trust>,
}
