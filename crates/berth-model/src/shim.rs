//! What an agent remembers of its allocations, and what their shims say of them.

use std::collections::BTreeMap;

use crate::{DesiredAlloc, Ended, Exit, Failure, TaskName, TaskStatus, Timestamp};

/// What the agent remembers of one allocation, durable in its ledger: enough to go on after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// As last ordered.
    pub desired: DesiredAlloc,
    /// The tasks, with their restarts in the current window.
    pub tasks: BTreeMap<TaskName, RememberedTask>,
    /// How it ended, when it has.
    pub ended: Option<Ended>,
}

/// What the agent remembers of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedTask {
    /// Where it stands.
    pub status: TaskStatus,
    /// When it was started again, within the restart policy's window; oldest first.
    pub restarts: Vec<Timestamp>,
    /// The number of its runs: the first is 1. A run is told apart from an earlier one by it.
    pub run: u32,
}

/// An allocation as an agent finds it when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// From the ledger.
    pub remembered: Remembered,
    /// What keeps it.
    pub shim: FoundShim,
}

/// The shim of an allocation, as an agent finds it when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundShim {
    /// It answers, and says this of its tasks.
    Alive(BTreeMap<TaskName, ShimTask>),
    /// There is none, and no process of the allocation. The last that it wrote of its tasks.
    Gone(BTreeMap<TaskName, ShimTask>),
    /// The shim was killed and processes of the allocation are left.
    Orphaned(BTreeMap<TaskName, ShimTask>),
    /// The machine was rebooted since.
    Rebooted,
}

/// What a shim says of a task's newest run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShimTask {
    /// Which run it is.
    pub run: u32,
    /// Where that run stands.
    pub state: ShimTaskState,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShimTaskState {
    /// Asked for; not yet running.
    Starting,
    /// Runs.
    Running {
        /// Its pid.
        pid: u32,
        /// Since when.
        started: Timestamp,
    },
    /// Ended.
    Exited(Exit),
}

/// Why an allocation could not be made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// What is wrong.
    pub failure: Failure,
    /// Whether another try may do better.
    pub retry: Retry,
}

/// Whether to try again what has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// What was in the way may pass.
    MayHelp,
    /// The same would come of it: somebody has to mend something first.
    Pointless,
}

/// How a task is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// This signal to its main process; without one, the one that its image names, or `SIGTERM`.
    Ask(Option<u8>),
    /// `SIGKILL` to every process of the task.
    Force,
}
