//! Causes and reasons: why something changed, why something waits, why something was refused or failed.

use std::fmt;

use crate::{
    AllocId, AuthorityId, CommandId, DecisionId, EventId, Filtered, JobId, JoinRefusal, NodeId, NodeName, PlanId,
    PolicyVersion, Shortfall, Timestamp,
};

/// What led to a change. Every change has exactly one; following `Event` backwards gives the chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Somebody asked for it.
    Command(CommandId),
    /// It follows from an earlier entry of the ledger.
    Event(EventId),
    /// An agent reported it.
    Report {
        /// Whose.
        node: NodeId,
        /// The report's number within the agent's session.
        serial: u64,
    },
    /// An allocation of higher priority took the place.
    Preemption {
        /// Which.
        by: AllocId,
        /// Of which job.
        job: JobId,
    },
    /// Its node is drained.
    Drain {
        /// Which.
        node: NodeId,
    },
    /// A time had come.
    Timer {
        /// Which.
        timer: Timer,
        /// When it was due.
        due: Timestamp,
    },
    /// It is to take over on another node, so that everything costs less. Costs are in thousandths of a node's worth.
    Balance {
        /// The node of the one that it takes over from.
        from: NodeId,
        /// What everything cost before.
        cost: i64,
        /// How much less it costs with all moves of the proposal, less what those cost.
        gain: i64,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Command(id) => write!(f, "command {id}"),
            Cause::Event(id) => write!(f, "event {id}"),
            Cause::Report { node, serial } => write!(f, "report {serial} of node {node}"),
            Cause::Preemption { by, job } => write!(f, "preempted by {by} of job {job}"),
            Cause::Drain { node } => write!(f, "drain of node {node}"),
            Cause::Timer { timer, .. } => write!(f, "timer: {timer}"),
            Cause::Balance { from, .. } => write!(f, "moved from {from} by balancing"),
        }
    }
}

/// The timers of the decision core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A node's heartbeat is overdue.
    Heartbeat,
    /// An allocation has been running for `min_ready`.
    MinReady,
    /// The back-off before a failed allocation is placed again has passed.
    Reschedule,
    /// Old objects are collected.
    Collect,
    /// A moved instance should have been ready by then.
    Move,
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timer::Heartbeat => "heartbeat overdue",
            Timer::MinReady => "ran for min_ready",
            Timer::Reschedule => "reschedule back-off passed",
            Timer::Collect => "old objects collected",
            Timer::Move => "a moved instance was not ready in time",
        })
    }
}

/// Why an allocation is not placed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Not looked at yet; the next run of the core will.
    Queued,
    /// The cluster has no nodes.
    NoNodes,
    /// Every node was filtered.
    NoNodeFits {
        /// The run that looked.
        decision: DecisionId,
        /// How many nodes each filter removed.
        filtered: Filtered,
        /// The nearest miss: the node that lacks least, and what it lacks. None where no node passed
        /// the filters before resources.
        nearest: Option<(NodeId, Shortfall)>,
        /// Whether it would fit if the cluster were empty.
        verdict: Verdict,
    },
    /// All of the group are placed together, and only some would fit.
    GangIncomplete {
        /// The run that looked.
        decision: DecisionId,
        /// How many would fit.
        fit: u32,
        /// How many wait for a place.
        wanted: u32,
        /// How many nodes each filter removed, with those that fit in place.
        filtered: Filtered,
        /// The nearest miss of the first that does not fit.
        nearest: Option<(NodeId, Shortfall)>,
        /// Whether all would fit if the cluster were empty.
        verdict: Verdict,
    },
    /// It fits nowhere, and allocations of lower priority were told to make room for it.
    Preempting {
        /// The run that chose them.
        decision: DecisionId,
        /// Where they are.
        node: NodeId,
        /// Which.
        victims: Vec<AllocId>,
    },
    /// The earlier instance failed; the next try comes at `until`.
    BackOff {
        /// When the next try is due.
        until: Timestamp,
        /// The instance that failed.
        failed: AllocId,
    },
}

/// Whether waiting can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It would fit an empty cluster of these nodes.
    Waiting,
    /// It would not: no node of the cluster could ever take it.
    Never,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The principal may not do this.
    NotAuthorized {
        /// What would have been needed.
        needed: String,
    },
    /// No such job.
    NoSuchJob(JobId),
    /// No such allocation.
    NoSuchAlloc(AllocId),
    /// There is no such node.
    NoSuchNode(NodeId),
    /// The idempotency key was used for another command before.
    KeyReused {
        /// For which.
        command: CommandId,
    },
    /// The specification breaks a rule that the whole cluster knows of.
    Invalid {
        /// Where: a path into the specification, such as `groups[0].tasks[1].ports[0]`.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The state has changed since the plan was made: the command would do something else than the plan says.
    PlanChanged {
        /// The plan.
        plan: PlanId,
        /// What would be done now.
        now: PlanId,
    },
    /// The policy is not of the version that the command was to follow: somebody else has changed it.
    PolicyChanged {
        /// The version that holds.
        version: PolicyVersion,
    },
    /// A machine may not join.
    Join(JoinRefusal),
    /// No node of this name has joined, or none that is not shut out already.
    NoSuchMember(NodeName),
    /// The cluster believes no such certificate authority.
    NoSuchAuthority(AuthorityId),
    /// Another certificate authority signs than the one that the command was to follow.
    AuthorityChanged {
        /// The one that does.
        signs: Option<AuthorityId>,
    },
    /// This server does not lead, or has just lost the lead; ask again.
    NotLeader,
    /// The store failed. Whether the command was carried out is not known.
    StoreUnavailable,
    /// Too many commands are waiting for the store; ask again later.
    Overloaded,
}

/// Why a task or an allocation failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// The kind, for programs.
    pub kind: FailureKind,
    /// The sentence for people: what happened, where, what to do. At most 1,000 characters.
    pub message: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// The image could not be found, reached or read.
    Image,
    /// A blob of the image has not the digest it should have.
    ImageDigest,
    /// The disk is full.
    DiskFull,
    /// There is no such command in the task's files.
    NoSuchCommand,
    /// There is no such user in the task's files.
    NoSuchUser,
    /// A fixed port was taken by something that is not ours.
    PortTaken,
    /// The task ended with a status other than 0, or by a signal.
    Exit,
    /// The kernel killed the task for its memory limit.
    OutOfMemory,
    /// The task used more disk than it asked for.
    DiskExceeded,
    /// The task failed a check that restarts it.
    Unhealthy,
    /// The shim was killed; what it kept has been ended.
    ShimLost,
    /// The runtime (namespaces, cgroups, mounts) refused.
    Runtime,
    /// The node was rebooted under the allocation.
    Rebooted,
    /// A device that it was given is not there any more.
    DeviceMissing,
    /// Its lease ran out, or it had none yet: its agent was not answered for as long.
    Fenced,
}
