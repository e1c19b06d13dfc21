//! What a tunnel between a user and an agent is for.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AllocId, TaskName};

/// Names a tunnel. Made by the server, from randomness: who knows it may serve the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct TunnelId(pub String);

impl std::fmt::Display for TunnelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wanted of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TunnelKind {
    /// Log lines. The agent sends [`super::LogRecord`]s, one a line, and ends its request. It is sent [`LOGS_OVER`]
    /// when nothing more will be written, and the end when nobody reads any more.
    Logs(LogsRequest),
    /// A process beside a task. Both sides send [`super::Frame`]s.
    Exec(ExecRequest),
}

/// Bytes of a stream of HTTP/2 that wait for whoever reads it; whoever sends more waits.
pub const STREAM_WINDOW: u32 = 64 << 10;

/// Bytes of all streams of a connection that wait. The HTTP library takes a peer whose small pieces pile up for an
/// attacker, and allows for overhead of half of this: so much that a stream's window, filled with pieces of one byte
/// each by a task whose user has stopped reading, stays below it.
pub const CONNECTION_WINDOW: u32 = 8 << 20;

/// What an agent that sends log lines is sent when the allocation has ended: it sends what is left, and ends.
pub const LOGS_OVER: Bytes = Bytes::from_static(b"over\n");

/// Which log lines are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogsRequest {
    /// Of which allocation.
    pub alloc: AllocId,
    /// Of which task.
    pub task: TaskName,
    /// What it wrote where.
    #[serde(default)]
    pub streams: LogStreams,
    /// How far back to begin.
    #[serde(default)]
    pub from: LogsFrom,
    /// Whether to go on as more is written, until the allocation has ended and all of it was sent.
    #[serde(default)]
    pub follow: bool,
}

/// Which of a task's outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogStreams {
    /// Standard output and standard error, in the order in which they were read.
    #[default]
    Both,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How far back log lines begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LogsFrom {
    /// The oldest line that is kept.
    #[default]
    Oldest,
    /// The last lines.
    Last {
        /// How many.
        lines: u32,
    },
}

/// Which process is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecRequest {
    /// Beside a task of which allocation.
    pub alloc: AllocId,
    /// Of which task.
    pub task: TaskName,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The size of the user's terminal; absent when the process gets pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}
