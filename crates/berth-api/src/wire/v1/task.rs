//! Tasks of an allocation: where they stand and how they ended.

use std::collections::BTreeMap;

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reason::{cut, same};
use super::{CheckName, Failure, Time, legible};

/// What the agent said of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskStatus {
    /// Where it stands.
    pub state: TaskState,
    /// How often it was started again.
    pub restarts: u32,
    /// How its last run ended, when it has had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// Its checks by name, as its newest run has answered them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, CheckStatus>)]
    pub checks: BTreeMap<CheckName, CheckStatus>,
}

/// What came of a check so far. It changes when the check turns, and while it fails with the first failure, the second,
/// the fourth, the eighth and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckStatus {
    /// Where it stands.
    pub state: CheckState,
    /// Since when, as the node's clock tells.
    pub since: Time,
    /// Failures in a row, as last told.
    pub failures: u32,
    /// What the last answer that was told said; at most 200 characters.
    pub output: String,
}

/// Where a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// It has neither passed nor failed since the run began.
    Pending,
    /// It passes.
    Passing,
    /// It fails.
    Failing,
}

same!(CheckState, model::CheckState { Pending, Passing, Failing });

impl From<model::CheckStatus> for CheckStatus {
    fn from(status: model::CheckStatus) -> CheckStatus {
        let model::CheckStatus { state, since, failures, output } = status;
        CheckStatus { state: state.into(), since: since.into(), failures, output }
    }
}

impl From<CheckStatus> for model::CheckStatus {
    fn from(status: CheckStatus) -> model::CheckStatus {
        let CheckStatus { state, since, failures, output } = status;
        // A character has at most four bytes.
        let output = cut(legible(&output), 4 * model::limits::CHECK_OUTPUT);
        model::CheckStatus { state: state.into(), since: since.into(), failures, output }
    }
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskState {
    /// Not started.
    Pending,
    /// Runs.
    Running {
        /// Its pid as the node's init sees it.
        pid: u32,
        /// When it was started, as the node's clock tells.
        started: Time,
    },
    /// Ended; will be started again.
    BackOff {
        /// When.
        until: Time,
    },
    /// Over, for good.
    Done,
}

/// How a run of a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    /// When, as the node's clock tells.
    pub at: Time,
    /// How.
    pub how: ExitKind,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExitKind {
    /// By itself.
    Status {
        /// With this status.
        status: u8,
    },
    /// By a signal.
    Signal {
        /// Its number.
        signal: u8,
    },
    /// By the kernel, for its memory limit.
    OutOfMemory,
    /// It never ran, or nobody could tell how it ended.
    Failure {
        /// Why.
        failure: Failure,
    },
}

impl From<model::TaskStatus> for TaskStatus {
    fn from(status: model::TaskStatus) -> TaskStatus {
        TaskStatus {
            state: status.state.into(),
            restarts: status.restarts,
            last_exit: status.last_exit.map(Exit::from),
            checks: status.checks.into_iter().map(|(name, status)| (name.into(), status.into())).collect(),
        }
    }
}

impl From<TaskStatus> for model::TaskStatus {
    fn from(status: TaskStatus) -> model::TaskStatus {
        model::TaskStatus {
            state: status.state.into(),
            restarts: status.restarts,
            last_exit: status.last_exit.map(model::Exit::from),
            checks: status.checks.into_iter().map(|(name, status)| (name.into(), status.into())).collect(),
        }
    }
}

impl From<model::TaskState> for TaskState {
    fn from(state: model::TaskState) -> TaskState {
        match state {
            model::TaskState::Pending => TaskState::Pending,
            model::TaskState::Running { pid, started } => TaskState::Running { pid, started: started.into() },
            model::TaskState::BackOff { until } => TaskState::BackOff { until: until.into() },
            model::TaskState::Done => TaskState::Done,
        }
    }
}

impl From<TaskState> for model::TaskState {
    fn from(state: TaskState) -> model::TaskState {
        match state {
            TaskState::Pending => model::TaskState::Pending,
            TaskState::Running { pid, started } => model::TaskState::Running { pid, started: started.into() },
            TaskState::BackOff { until } => model::TaskState::BackOff { until: until.into() },
            TaskState::Done => model::TaskState::Done,
        }
    }
}

impl From<model::Exit> for Exit {
    fn from(exit: model::Exit) -> Exit {
        Exit { at: exit.at.into(), how: exit.how.into() }
    }
}

impl From<Exit> for model::Exit {
    fn from(exit: Exit) -> model::Exit {
        model::Exit { at: exit.at.into(), how: exit.how.into() }
    }
}

impl From<model::ExitKind> for ExitKind {
    fn from(how: model::ExitKind) -> ExitKind {
        match how {
            model::ExitKind::Status(status) => ExitKind::Status { status },
            model::ExitKind::Signal(signal) => ExitKind::Signal { signal },
            model::ExitKind::OutOfMemory => ExitKind::OutOfMemory,
            model::ExitKind::Failure(failure) => ExitKind::Failure { failure: failure.into() },
        }
    }
}

impl From<ExitKind> for model::ExitKind {
    fn from(how: ExitKind) -> model::ExitKind {
        match how {
            ExitKind::Status { status } => model::ExitKind::Status(status),
            ExitKind::Signal { signal } => model::ExitKind::Signal(signal),
            ExitKind::OutOfMemory => model::ExitKind::OutOfMemory,
            ExitKind::Failure { failure } => model::ExitKind::Failure(failure.into()),
        }
    }
}
