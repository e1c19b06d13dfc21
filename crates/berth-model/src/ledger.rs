//! The ledger: what happened, in order, each entry with its cause.

use crate::{
    AllocId, Cause, CheckName, EventId, Exit, Format, JobId, JobOutcome, JobVersion, NodeId, NodeName, Outcome,
    PolicyName, PolicyVersion, TaskName, Timestamp, TrustHappening,
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LedgerEntry {
    /// Its id; entries are in order of ids.
    pub id: EventId,
    /// When, as the leader's clock tells.
    pub at: Timestamp,
    /// What led to it.
    pub cause: Cause,
    /// What happened.
    pub what: Happening,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Happening {
    /// A version of a job was accepted.
    JobVersion {
        /// Which job.
        job: JobId,
        /// The version.
        version: JobVersion,
    },
    /// A job was told to stop.
    JobStopping(JobId),
    /// A job ended.
    JobEnded {
        /// Which job.
        job: JobId,
        /// How.
        outcome: JobOutcome,
    },
    /// A job and all that is known of it was collected.
    JobCollected(JobId),
    /// A node registered, or came back.
    NodeReady {
        /// Which.
        node: NodeId,
        /// Its name.
        name: NodeName,
    },
    /// A node was lost.
    NodeLost {
        /// Which.
        node: NodeId,
        /// Its name.
        name: NodeName,
    },
    /// A node that had been lost for long was forgotten.
    NodeCollected {
        /// Which.
        node: NodeId,
        /// Its name.
        name: NodeName,
    },
    /// A node is to be emptied, or by another time than was asked for before.
    NodeDraining {
        /// Which.
        node: NodeId,
        /// Its name.
        name: NodeName,
        /// When what is still there is stopped; none: never.
        deadline: Option<Timestamp>,
    },
    /// A node that was to be emptied is empty: its agent has confirmed that nothing is left.
    NodeDrained {
        /// Which.
        node: NodeId,
        /// Its name.
        name: NodeName,
    },
    /// A node that was being emptied takes work again.
    NodeEnabled {
        /// Which.
        node: NodeId,
        /// Its name.
        name: NodeName,
    },
    /// What was kept on a lost node is given up.
    NodeAbandoned {
        /// Which.
        node: NodeId,
        /// Its name.
        name: NodeName,
    },
    /// An allocation was made.
    AllocCreated {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
        /// The one whose place it takes.
        replaces: Option<AllocId>,
    },
    /// An allocation waits for another reason than before.
    AllocWaiting {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
    },
    /// An allocation was placed.
    AllocPlaced {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
        /// Where.
        node: NodeId,
    },
    /// An allocation runs.
    AllocRunning {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
        /// Where.
        node: NodeId,
    },
    /// An allocation is ready.
    AllocReady {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
    },
    /// A task ended, and will be started again by its agent.
    TaskRestarting {
        /// Of which allocation.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
        /// Which task.
        task: TaskName,
        /// How it ended.
        exit: Exit,
    },
    /// A check of a task began to fail.
    CheckFailing {
        /// Of which allocation.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
        /// Of which task.
        task: TaskName,
        /// Which check.
        check: CheckName,
        /// What was wrong.
        output: String,
    },
    /// An allocation was told to stop.
    AllocStopping {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
    },
    /// An allocation ended.
    AllocEnded {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
        /// How.
        outcome: Outcome,
    },
    /// The cluster has another policy.
    PolicyChanged {
        /// Its name.
        name: PolicyName,
        /// Its version.
        version: PolicyVersion,
    },
    /// The cluster trusts others than before.
    Trust(TrustHappening),
    /// What is stored has a newer format from here on.
    Finalised(Format),
}

impl Happening {
    /// The allocation it is about, if any.
    pub fn alloc(&self) -> Option<AllocId> {
        match self {
            Happening::AllocCreated { alloc, .. }
            | Happening::AllocWaiting { alloc, .. }
            | Happening::AllocPlaced { alloc, .. }
            | Happening::AllocRunning { alloc, .. }
            | Happening::AllocReady { alloc, .. }
            | Happening::TaskRestarting { alloc, .. }
            | Happening::CheckFailing { alloc, .. }
            | Happening::AllocStopping { alloc, .. }
            | Happening::AllocEnded { alloc, .. } => Some(*alloc),
            Happening::JobVersion { .. }
            | Happening::JobStopping(_)
            | Happening::JobEnded { .. }
            | Happening::JobCollected(_)
            | Happening::NodeReady { .. }
            | Happening::NodeLost { .. }
            | Happening::NodeCollected { .. }
            | Happening::NodeDraining { .. }
            | Happening::NodeDrained { .. }
            | Happening::NodeEnabled { .. }
            | Happening::NodeAbandoned { .. }
            | Happening::PolicyChanged { .. }
            | Happening::Trust(_)
            | Happening::Finalised(_) => None,
        }
    }

    /// The job it is about, if any.
    pub fn job(&self) -> Option<&JobId> {
        match self {
            Happening::AllocCreated { job, .. }
            | Happening::AllocWaiting { job, .. }
            | Happening::AllocPlaced { job, .. }
            | Happening::AllocRunning { job, .. }
            | Happening::AllocReady { job, .. }
            | Happening::TaskRestarting { job, .. }
            | Happening::CheckFailing { job, .. }
            | Happening::AllocStopping { job, .. }
            | Happening::AllocEnded { job, .. }
            | Happening::JobVersion { job, .. }
            | Happening::JobStopping(job)
            | Happening::JobEnded { job, .. }
            | Happening::JobCollected(job) => Some(job),
            Happening::NodeReady { .. }
            | Happening::NodeLost { .. }
            | Happening::NodeCollected { .. }
            | Happening::NodeDraining { .. }
            | Happening::NodeDrained { .. }
            | Happening::NodeEnabled { .. }
            | Happening::NodeAbandoned { .. }
            | Happening::PolicyChanged { .. }
            | Happening::Trust(_)
            | Happening::Finalised(_) => None,
        }
    }
}
