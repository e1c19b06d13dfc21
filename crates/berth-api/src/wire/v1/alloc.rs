//! Allocations as users see them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AllocId, Cause, Failure, GroupName, JobId, NodeRef, Number, Placement, TaskName, TaskStatus, Time, WaitReason,
};

/// One instance of a group of a job version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alloc {
    /// Its id, never issued again.
    pub id: AllocId,
    /// The job.
    pub job: JobId,
    /// The version whose specification it runs.
    pub version: Number,
    /// The group.
    pub group: GroupName,
    /// Which of the group's `count`, from 0.
    pub index: u32,
    /// For a system job: the one node it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<NodeRef>,
    /// The instance whose place it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<AllocId>,
    /// How often in a row instances of this index have failed, this one not counted.
    pub failures: u32,
    /// When it was made.
    pub created: Time,
    /// What led to it.
    pub cause: Cause,
    /// Where it stands.
    pub state: AllocState,
    /// What the agent said of its tasks.
    pub tasks: BTreeMap<TaskName, TaskStatus>,
    /// How far the fetching of its images is, while it is being made ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// While its node is lost: nobody can tell what has become of it, and all else that is told of it is from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard: Option<Unheard>,
    /// For one that failed, was lost or was preempted: the instance that follows it in its place. Absent where nothing follows, as when
    /// its job was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<Successor>,
}

/// An allocation on a node that is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unheard {
    /// Since when.
    pub since: Time,
    /// The node.
    pub node: NodeRef,
    /// What becomes of it, unless the node comes back before.
    pub then: Fate,
}

/// What becomes of an allocation while its node is lost, as its group's `on_partition` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fate {
    /// It is not given up before somebody gives the node up.
    Kept,
    /// It is given up; where it is still wanted, another takes its place.
    GivenUp {
        /// When.
        at: Time,
    },
    /// It is given up when its lease has ended for sure.
    Fenced,
}

impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not heard of since node {} was lost at {}: ", self.node, self.since)?;
        match &self.then {
            Fate::Kept => {
                let node = self.node.name.as_ref().map_or_else(|| self.node.id.to_string(), |name| name.0.to_string());
                write!(f, "kept until the node is back, or `berth node abandon {node}`")
            }
            Fate::GivenUp { at } => write!(f, "given up at {at}, unless the node is back before"),
            Fate::Fenced => f.write_str("given up when its lease has ended, unless the node is back before"),
        }
    }
}

/// The instance that follows another in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Successor {
    /// Which.
    pub id: AllocId,
    /// When its back-off ends, while it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
}

impl fmt::Display for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.due {
            Some(due) => write!(f, "{} takes its place, at {due} when its back-off ends", self.id),
            None => write!(f, "{} took its place", self.id),
        }
    }
}

/// How far the fetching of images is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Bytes fetched.
    pub done: Number,
    /// Bytes in all; zero while unknown.
    pub total: Number,
}

/// Where an allocation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AllocState {
    /// Not placed, for a reason.
    Waiting {
        /// Since when.
        since: Time,
        /// Why.
        reason: WaitReason,
    },
    /// Placed; the agent has not yet said that it runs.
    Placed {
        /// Where.
        placement: Placement,
        /// Since when.
        since: Time,
    },
    /// Every task runs, or has ended with status 0 in a batch job.
    Running {
        /// Where.
        placement: Placement,
        /// Since when; a restart of a task begins it anew.
        since: Time,
        /// When it became ready.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ready: Option<Time>,
    },
    /// Told to stop.
    Stopping {
        /// Where.
        placement: Placement,
        /// Since when.
        since: Time,
        /// Why it was told.
        cause: Cause,
    },
    /// Over.
    Ended {
        /// Where it was; absent when it ended waiting.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        placement: Option<Placement>,
        /// When.
        at: Time,
        /// How.
        outcome: Outcome,
        /// What ended it.
        cause: Cause,
    },
}

impl AllocState {
    /// The placement, if it has ever had one.
    pub fn placement(&self) -> Option<&Placement> {
        match self {
            AllocState::Waiting { .. } => None,
            AllocState::Placed { placement, .. }
            | AllocState::Running { placement, .. }
            | AllocState::Stopping { placement, .. } => Some(placement),
            AllocState::Ended { placement, .. } => placement.as_ref(),
        }
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            AllocState::Waiting { .. } => "waiting",
            AllocState::Placed { .. } => "placed",
            AllocState::Running { .. } => "running",
            AllocState::Stopping { .. } => "stopping",
            AllocState::Ended { outcome, .. } => match outcome {
                Outcome::Complete => "complete",
                Outcome::Stopped => "stopped",
                Outcome::Preempted { .. } => "preempted",
                Outcome::Drained { .. } => "drained",
                Outcome::Failed { .. } => "failed",
                Outcome::Lost { .. } => "lost",
            },
        }
    }

    /// Since when it stands there.
    pub fn since(&self) -> &Time {
        match self {
            AllocState::Waiting { since, .. }
            | AllocState::Placed { since, .. }
            | AllocState::Running { since, .. }
            | AllocState::Stopping { since, .. } => since,
            AllocState::Ended { at, .. } => at,
        }
    }
}

/// How an allocation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
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
    Drained {
        /// Which.
        node: NodeRef,
    },
    /// It failed beyond its restart policy.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Its node was lost.
    Lost {
        /// Which.
        node: NodeRef,
    },
}
