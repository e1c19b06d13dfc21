//! Jobs as users see them. The specification itself travels as the JSON of a job file.

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reason::same;
use super::{Cause, GroupName, JobId, Number, Time};

/// A job, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobSummary {
    /// Which.
    pub id: JobId,
    /// What running it means.
    pub kind: JobKind,
    /// 0 to 100; the higher is placed first.
    pub priority: u8,
    /// Its version.
    pub version: Number,
    /// When it became that.
    pub changed: Time,
    /// Why it became that.
    pub cause: Cause,
    /// Where it stands.
    pub state: JobState,
    /// Its groups, with their allocations counted.
    pub groups: Vec<GroupSummary>,
}

/// A job, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// In short.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// The specification, as the JSON of a job file with every default filled in.
    #[schema(value_type = Object)]
    pub spec: serde_json::Value,
}

/// A group with its allocations counted. Allocations of older versions count too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupSummary {
    /// Its name.
    pub name: GroupName,
    /// How many are asked for; for a system job, per node.
    pub count: u32,
    /// Where its allocations stand.
    #[serde(flatten)]
    pub allocs: AllocCounts,
}

/// Allocations counted by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AllocCounts {
    /// Not placed.
    pub waiting: u32,
    /// Placed, not yet running.
    pub placed: u32,
    /// Running; the ready ones too.
    pub running: u32,
    /// Running and ready.
    pub ready: u32,
    /// Told to stop.
    pub stopping: u32,
    /// Ended with status 0.
    pub complete: u32,
    /// Stopped as told.
    pub stopped: u32,
    /// Stopped to make room for others of higher priority.
    #[serde(default)]
    pub preempted: u32,
    /// Stopped when the time that their drained nodes had was over.
    #[serde(default)]
    pub drained: u32,
    /// Failed beyond their restart policy.
    pub failed: u32,
    /// Lost with their node.
    pub lost: u32,
}

impl AllocCounts {
    /// Counts one more.
    pub fn add(&mut self, state: &model::AllocState) {
        match state {
            model::AllocState::Waiting { .. } => self.waiting += 1,
            model::AllocState::Placed { .. } => self.placed += 1,
            model::AllocState::Running { ready, .. } => {
                self.running += 1;
                self.ready += u32::from(ready.is_some());
            }
            model::AllocState::Stopping { .. } => self.stopping += 1,
            model::AllocState::Ended { outcome, .. } => match outcome {
                model::Outcome::Complete => self.complete += 1,
                model::Outcome::Stopped => self.stopped += 1,
                model::Outcome::Preempted { .. } => self.preempted += 1,
                model::Outcome::Drained(_) => self.drained += 1,
                model::Outcome::Failed(_) => self.failed += 1,
                model::Outcome::Lost(_) => self.lost += 1,
            },
        }
    }
}

/// What running a job means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Runs until stopped.
    Service,
    /// Runs until every task has ended with status 0.
    Batch,
    /// One allocation of each group on every node that its constraints admit.
    System,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobState {
    /// Wanted.
    Active,
    /// Asked to stop; allocations are ending.
    Stopping {
        /// Since when.
        since: Time,
        /// By what.
        cause: Cause,
    },
    /// Ended.
    Ended {
        /// When.
        at: Time,
        /// How.
        outcome: JobOutcome,
    },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// Somebody stopped it.
    Stopped,
    /// Batch: every allocation completed.
    Complete,
    /// Batch: at least one allocation failed for good.
    Failed,
}

same!(JobKind, model::JobKind { Service, Batch, System });
same!(JobOutcome, model::JobOutcome { Stopped, Complete, Failed });
