//! Commands with their outcomes, version 2.

use super::meta::JobId;
use super::trust::TrustOutcome;
use crate::stored::stored;

stored! {
    struct CommandRecord = CommandRecord {
        id: String,
        principal: String,
        namespace: String,
        key: String,
        at: u64,
        digest: u64,
        outcome: CommandOutcome,
    }

    enum CommandOutcome = CommandOutcome {
        JobVersion { job: JobId, version: u64, changed: bool },
        Stopping(job: JobId),
        StoppingAlloc(alloc: String),
        Draining(nodes: Vec<String>),
        Enabled(nodes: Vec<String>),
        Policy { name: String, version: u64, changed: bool },
        Trust(outcome: TrustOutcome),
        Abandoned(nodes: Vec<String>),
        Finalised { format: u32, changed: bool },
    }
}
