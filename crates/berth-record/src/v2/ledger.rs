//! Entries of the cluster's ledger, version 2.

use super::alloc::{Exit, Outcome};
use super::job::JobOutcome;
use super::meta::{Cause, JobId};
use super::trust::TrustHappening;
use crate::stored::stored;

stored! {
    struct LedgerEntry = LedgerEntry { id: String, at: u64, cause: Cause, what: Happening }

    enum Happening = Happening {
        JobVersion { job: JobId, version: u64 },
        JobStopping(job: JobId),
        JobEnded { job: JobId, outcome: JobOutcome },
        JobCollected(job: JobId),
        NodeReady { node: String, name: String },
        NodeLost { node: String, name: String },
        NodeCollected { node: String, name: String },
        NodeDraining {
            node: String,
            name: String,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            deadline: Option<u64>,
        },
        NodeDrained { node: String, name: String },
        NodeEnabled { node: String, name: String },
        NodeAbandoned { node: String, name: String },
        AllocCreated { alloc: String, job: JobId, replaces: Option<String> },
        AllocWaiting { alloc: String, job: JobId },
        AllocPlaced { alloc: String, job: JobId, node: String },
        AllocRunning { alloc: String, job: JobId, node: String },
        AllocReady { alloc: String, job: JobId },
        TaskRestarting { alloc: String, job: JobId, task: String, exit: Exit },
        CheckFailing { alloc: String, job: JobId, task: String, check: String, output: String },
        AllocStopping { alloc: String, job: JobId },
        AllocEnded { alloc: String, job: JobId, outcome: Outcome },
        PolicyChanged { name: String, version: u64 },
        Trust(what: TrustHappening),
        Finalised(format: u32),
    }
}
