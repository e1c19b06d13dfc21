//! What can keep an agent from working.

use std::io;
use std::path::PathBuf;

/// An agent could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file of the data folder.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// `create`, `read` or `write`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ledger of this agent.
    #[error("cannot {operation} the agent's ledger {}", path.display())]
    Ledger {
        /// `open`, `read` or `write`.
        operation: &'static str,
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The machine could not be looked at.
    #[error("cannot find out {what} of this machine")]
    Fingerprint {
        /// What was looked for.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's address or the token cannot be used.
    #[error("cannot use the server's address or the token")]
    Server(#[source] berth_api::client::ClientError),
    /// The runtime did not open.
    #[error("cannot open the container runtime's folders")]
    Runtime(#[source] Box<dyn std::error::Error + Send + Sync>),
}
