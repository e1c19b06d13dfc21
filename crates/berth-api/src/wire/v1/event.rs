//! Entries of the ledger as they travel.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AllocId, AuthorityId, Cause, CheckName, EventId, Exit, JobId, JobOutcome, NodeName, NodeRef, Number, Outcome,
    PolicyName, Role, TaskName, Time,
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id; entries are in order of ids.
    pub id: EventId,
    /// When, as the leader's clock tells.
    pub at: Time,
    /// What led to it.
    pub cause: Cause,
    /// What happened.
    pub what: Happening,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happening {
    /// A version of a job was accepted.
    JobVersion {
        /// Which job.
        job: JobId,
        /// The version.
        version: Number,
    },
    /// A job was told to stop.
    JobStopping {
        /// Which job.
        job: JobId,
    },
    /// A job ended.
    JobEnded {
        /// Which job.
        job: JobId,
        /// How.
        outcome: JobOutcome,
    },
    /// A job and all that is known of it was collected.
    JobCollected {
        /// Which job.
        job: JobId,
    },
    /// A node registered, or came back.
    NodeReady {
        /// Which.
        node: NodeRef,
    },
    /// A node was lost.
    NodeLost {
        /// Which.
        node: NodeRef,
    },
    /// A node that had been lost for long was forgotten.
    NodeCollected {
        /// Which.
        node: NodeRef,
    },
    /// A node is to be emptied, or by another time than was asked for before.
    NodeDraining {
        /// Which.
        node: NodeRef,
        /// When what is still there is stopped; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Time>,
    },
    /// A node that was to be emptied is empty, as its agent has confirmed.
    NodeDrained {
        /// Which.
        node: NodeRef,
    },
    /// A node that was being emptied takes work again.
    NodeEnabled {
        /// Which.
        node: NodeRef,
    },
    /// What was kept on a lost node is given up.
    NodeAbandoned {
        /// Which.
        node: NodeRef,
    },
    /// An allocation was made.
    AllocCreated {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
        /// The one whose place it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
        node: NodeRef,
    },
    /// An allocation runs.
    AllocRunning {
        /// Which.
        alloc: AllocId,
        /// Of which job.
        job: JobId,
        /// Where.
        node: NodeRef,
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
        version: Number,
    },
    /// What is stored has a newer format from here on.
    Finalised {
        /// Which.
        format: u32,
    },
    /// A certificate authority signs from now on.
    AuthorityAdded {
        /// Which.
        authority: AuthorityId,
    },
    /// A certificate authority is believed no more.
    AuthorityRetired {
        /// Which.
        authority: AuthorityId,
    },
    /// A join token lets a machine in.
    TokenMade {
        /// What may join with it.
        role: Role,
        /// The only node that may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeName>,
        /// Until when.
        expires: Time,
    },
    /// A machine has joined.
    Joined {
        /// As what.
        role: Role,
        /// Under which name.
        name: NodeName,
    },
    /// A node was shut out.
    NodeRevoked {
        /// Which.
        name: NodeName,
    },
}
