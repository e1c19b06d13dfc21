//! Allocations: one instance of a group, from waiting to its end.

use std::collections::BTreeMap;

use crate::{
    AllocId, Cause, CheckName, CheckStatus, Failure, GroupName, JobId, JobVersion, NodeId, Placement, TaskName,
    Timestamp, WaitReason,
};

/// One instance of a group of a job version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alloc {
    /// Its id, never issued again.
    pub id: AllocId,
    /// The job.
    pub job: JobId,
    /// The version whose specification it runs.
    pub version: JobVersion,
    /// The group.
    pub group: GroupName,
    /// Which of the group's `count`: 0 to count-1. For a system job always 0.
    pub index: u32,
    /// For a system job: the one node it is for.
    pub bound_to: Option<NodeId>,
    /// The instance whose place it takes (update, failure, node loss).
    pub replaces: Option<AllocId>,
    /// How often in a row instances of this index have failed, this one not counted.
    pub failures: u32,
    /// When it was made.
    pub created: Timestamp,
    /// What led to it.
    pub cause: Cause,
    /// Where it stands.
    pub state: AllocState,
    /// What the agent said of its tasks.
    pub tasks: BTreeMap<TaskName, TaskStatus>,
}

impl Alloc {
    /// The placement, if it has ever had one.
    pub fn placement(&self) -> Option<&Placement> {
        match &self.state {
            AllocState::Waiting { .. } => None,
            AllocState::Placed { placement, .. }
            | AllocState::Running { placement, .. }
            | AllocState::Stopping { placement, .. } => Some(placement),
            AllocState::Ended { placement, .. } => placement.as_ref(),
        }
    }

    /// The node whose resources it holds now. None when it waits or has ended.
    pub fn occupies(&self) -> Option<NodeId> {
        match &self.state {
            AllocState::Waiting { .. } | AllocState::Ended { .. } => None,
            AllocState::Placed { placement, .. }
            | AllocState::Running { placement, .. }
            | AllocState::Stopping { placement, .. } => Some(placement.node),
        }
    }

    /// The instance that it is to take over from, or has, on another node, where balancing is why it was made.
    pub fn moved_from(&self) -> Option<AllocId> {
        self.replaces.filter(|_| matches!(self.cause, Cause::Balance { .. }))
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, AllocState::Ended { .. })
    }
}

/// Where an allocation stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AllocState {
    /// Not placed, for a reason.
    Waiting {
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: WaitReason,
    },
    /// Placed; the agent has not yet said that it runs.
    Placed {
        /// Where.
        placement: Placement,
        /// Since when.
        since: Timestamp,
    },
    /// Every task runs, or has ended with status 0 in a batch job.
    Running {
        /// Where.
        placement: Placement,
        /// Since when, as the server's clock tells; a restart of a task begins it anew.
        since: Timestamp,
        /// When it became ready; None until it is.
        ready: Option<Timestamp>,
    },
    /// Told to stop; it holds its resources until the agent says that it is gone.
    Stopping {
        /// Where.
        placement: Placement,
        /// Since when.
        since: Timestamp,
        /// Why it was told.
        cause: Cause,
    },
    /// Over.
    Ended {
        /// Where it was; None when it ended waiting.
        placement: Option<Placement>,
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// What ended it.
        cause: Cause,
    },
}

/// How an allocation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Every task ended with status 0.
    Complete,
    /// It was told to stop, and did.
    Stopped,
    /// It was told to stop to make room for one of higher priority.
    Preempted {
        /// Which.
        by: AllocId,
        /// Of which job.
        job: JobId,
    },
    /// It was told to stop when the time that its drained node had was over.
    Drained(NodeId),
    /// It failed beyond its restart policy.
    Failed(Failure),
    /// Its node was lost.
    Lost(NodeId),
}

/// What the agent said of one task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskStatus {
    /// Where it stands.
    pub state: TaskState,
    /// How often it was started again.
    pub restarts: u32,
    /// How its last run ended, when it has had one.
    pub last_exit: Option<Exit>,
    /// Its checks, as its newest run has answered them.
    pub checks: BTreeMap<CheckName, CheckStatus>,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Not started: the image is being fetched, or another task goes first.
    Pending,
    /// Runs.
    Running {
        /// Its pid as the node's init sees it.
        pid: u32,
        /// When it was started, as the node's clock tells.
        started: Timestamp,
    },
    /// Ended; will be started again.
    BackOff {
        /// When.
        until: Timestamp,
    },
    /// Over, for good.
    Done,
}

/// How a run of a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// When, as the node's clock tells.
    pub at: Timestamp,
    /// How.
    pub how: ExitKind,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExitKind {
    /// By itself, with this status.
    Status(u8),
    /// By this signal.
    Signal(u8),
    /// By the kernel, for its memory limit.
    OutOfMemory,
    /// It never ran, or nobody could tell how it ended.
    Failure(Failure),
}
