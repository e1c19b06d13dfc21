//! Commands: everything that changes the cluster from outside, and what came of it.

use std::collections::BTreeSet;

use crate::{
    AllocId, CommandId, Format, JobId, JobSpec, JobVersion, Millis, Namespace, NodeId, PlanId, PolicyName, PolicySpec,
    PolicyVersion, Refusal, Timestamp, TrustCommand, TrustOutcome,
};

/// Who asks, as authentication found out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(pub String);

/// A client's own key for one command: sent again, the command is answered, not done, again.
/// 1 to 128 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(pub String);

/// A mutating request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandRequest {
    /// Who.
    pub principal: Principal,
    /// Where. Must be the namespace of what the command names.
    pub namespace: Namespace,
    /// The client's key.
    pub key: IdempotencyKey,
    /// Only if it would do what this plan says.
    pub plan: Option<PlanId>,
    /// What.
    pub command: Command,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Make the job be as specified: new, or a new version of it, or nothing when it is so already.
    Run(Box<JobSpec>),
    /// Stop the job.
    Stop(JobId),
    /// Stop one allocation; a service's is replaced.
    StopAlloc(AllocId),
    /// Empty nodes: nothing new is placed on them, and what is on them moves away.
    Drain {
        /// Which, at least one.
        nodes: BTreeSet<NodeId>,
        /// After how long what is still there is stopped; none: never. With 0 all is stopped at once.
        deadline: Option<Millis>,
    },
    /// Place on these nodes again, at least one.
    Enable(BTreeSet<NodeId>),
    /// Place by this policy from now on. What is placed stays where it is.
    SetPolicy {
        /// Which.
        spec: Box<PolicySpec>,
        /// The version that it is to follow; refused where another holds.
        after: Option<PolicyVersion>,
    },
    /// Change whom the cluster trusts.
    Trust(TrustCommand),
    /// Replace what is kept on these lost nodes, at least one; what is fenced there is replaced when its lease is over.
    Abandon(BTreeSet<NodeId>),
    /// Write in this format from now on, where that is newer: no release that does not know it reads the store any more.
    Finalise(Format),
}

/// What came of an accepted command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CommandOutcome {
    /// The job has this version now.
    JobVersion {
        /// Which job.
        job: JobId,
        /// Its version.
        version: JobVersion,
        /// Whether the command changed anything.
        changed: bool,
    },
    /// The job is stopping, or had ended.
    Stopping(JobId),
    /// The allocation is stopping, or had ended.
    StoppingAlloc(AllocId),
    /// The nodes are being emptied, or have been.
    Draining(BTreeSet<NodeId>),
    /// The nodes take work.
    Enabled(BTreeSet<NodeId>),
    /// The cluster has this policy now.
    Policy {
        /// Its name.
        name: PolicyName,
        /// Its version.
        version: PolicyVersion,
        /// Whether the command changed anything.
        changed: bool,
    },
    /// Trust is as asked for.
    Trust(TrustOutcome),
    /// What was kept on the nodes is given up.
    Abandoned(BTreeSet<NodeId>),
    /// What is stored from now on has this format.
    Finalised {
        /// Which.
        format: Format,
        /// Whether the command changed anything.
        changed: bool,
    },
}

/// A command with its outcome as stored, under principal, namespace and key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandRecord {
    /// Its id.
    pub id: CommandId,
    /// Who.
    pub principal: Principal,
    /// Where.
    pub namespace: Namespace,
    /// The client's key.
    pub key: IdempotencyKey,
    /// When it was accepted.
    pub at: Timestamp,
    /// A digest of what was asked, to tell a repetition from a reuse of the key.
    pub digest: u64,
    /// What came of it. Refusals are not stored: they changed nothing.
    pub outcome: CommandOutcome,
}

/// The answer to a command.
pub type CommandResult = Result<CommandOutcome, Refusal>;
