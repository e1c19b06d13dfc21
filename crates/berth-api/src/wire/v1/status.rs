//! The cluster at a glance.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AllocCounts, Balance, Epoch, EventId, Number, Time};

/// The cluster at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the server's program.
    pub version: String,
    /// The server's clock.
    pub now: Time,
    /// When this server's process began.
    pub started: Time,
    /// The leader's reign.
    pub epoch: Epoch,
    /// Where the server that leads is reached; absent while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The format in which all is written that is stored. A release writes one that the release before reads, until
    /// somebody finalises it.
    #[serde(default)]
    pub format: u32,
    /// The servers that share the store, as this one has seen some seconds ago; none while it cannot see them.
    #[serde(default)]
    pub servers: Vec<Server>,
    /// Nodes that are ready.
    pub nodes_ready: u32,
    /// Nodes that are lost.
    pub nodes_lost: u32,
    /// Agents with an open stream to this server.
    pub agents_connected: u32,
    /// Jobs that are wanted.
    pub jobs_active: u32,
    /// Jobs that are stopping.
    pub jobs_stopping: u32,
    /// Jobs that have ended and are still remembered.
    pub jobs_ended: u32,
    /// Allocations by where they stand.
    pub allocs: AllocCounts,
    /// Entries of the ledger that are kept.
    pub events: Number,
    /// The newest entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<EventId>,
    /// How far from the best everything is. Absent while nobody leads, and before the leader's first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Server {
    /// Where it is reached.
    pub address: String,
    /// The newest format that it reads and writes.
    pub newest_format: u32,
}

/// Who leads, as one server knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leader {
    /// Where the server that leads is reached; absent while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Whether it is the one that answers.
    pub here: bool,
}
