//! What can keep an agent from working.

use std::io;
use std::path::PathBuf;

use berth_model::NodeName;

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
    /// The key or the certificate of this agent.
    #[error("cannot use the agent's own certificate")]
    Credentials(#[source] berth_secrets::CredentialsError),
    /// What asks the checks of tasks cannot be set up.
    #[error("cannot set up what asks the checks of tasks")]
    Prober(#[source] reqwest::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] berth_secrets::TlsError),
    /// The agent has no certificate, and nothing to get one with.
    #[error(
        "this agent has not joined the cluster yet: make a token with `berth token create --role agent --node {node}`, and \
         name the file with it as `join_token_file`"
    )]
    NoJoinToken {
        /// Its node.
        node: NodeName,
    },
    /// The cluster did not let the agent in.
    #[error("this agent could not join the cluster")]
    Join(#[source] berth_api::client::ClientError),
    /// No new certificate was given.
    #[error("no new certificate was given")]
    Renew(#[source] berth_api::client::ClientError),
    /// What was given is no certificate.
    #[error("the server's answer holds no certificates; is it of another version?")]
    NotCertified,
    /// A certificate is not good at this time.
    #[error("the certificate that was given is not good at this time: this clock or the server's is wrong")]
    Clocks,
    /// The runtime did not open.
    #[error("cannot open the container runtime's folders")]
    Runtime(#[source] Box<dyn std::error::Error + Send + Sync>),
}
