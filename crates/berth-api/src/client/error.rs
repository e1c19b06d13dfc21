//! What can go wrong between a client and its server.

use crate::wire::v1 as wire;

/// Why a call came to nothing. Each names the server or the operation, and what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("cannot use `{addr}` as a server's address: {problem}; expected the form http://127.0.0.1:4600")]
    Address {
        /// What was given.
        addr: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The token cannot travel.
    #[error("cannot use the token: it is empty, or has spaces or unprintable characters; set BERTH_TOKEN")]
    Token,
    /// The client's own set-up failed.
    #[error("cannot set up a client of {addr}")]
    Setup {
        /// The server.
        addr: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No connection.
    #[error("cannot reach the server at {addr}: is it running? set BERTH_ADDR if it listens elsewhere")]
    Unreachable {
        /// The server.
        addr: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server's certificate is not believed.
    #[error("cannot trust the server at {addr}: {problem}")]
    Untrusted {
        /// The server.
        addr: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// No answer in time.
    #[error("cannot {operation}: no answer from the server at {addr} in time; try again")]
    Timeout {
        /// What was being done.
        operation: &'static str,
        /// The server.
        addr: String,
    },
    /// The connection broke.
    #[error("cannot {operation}: the connection to the server at {addr} broke")]
    Broken {
        /// What was being done.
        operation: &'static str,
        /// The server.
        addr: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server said no.
    #[error("cannot {operation}: {error}")]
    Refused {
        /// What was being done.
        operation: &'static str,
        /// The server's reasons.
        error: Box<wire::ErrorInfo>,
    },
    /// What answers is not Berth.
    #[error("cannot {operation}: what answers at {addr} with status {status} is not Berth; check BERTH_ADDR")]
    NotBerth {
        /// What was being done.
        operation: &'static str,
        /// The address.
        addr: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not understood.
    #[error("cannot {operation}: the answer is not understood; is the server of another version?")]
    Decode {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An answer is longer than answers are.
    #[error("cannot {operation}: the answer is over the limit of {limit} bytes")]
    TooLong {
        /// What was being done.
        operation: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A line of a stream is not understood.
    #[error("cannot {operation}: the stream is not understood")]
    Line {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: wire::LineError,
    },
    /// A frame of a stream is not understood, or cannot be sent.
    #[error("cannot {operation}: the stream is not understood")]
    Frame {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: wire::FrameError,
    },
    /// A message of the agent's stream is not understood.
    #[error("cannot {operation}: a message is not understood")]
    Message {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: wire::MessageError,
    },
    /// The other side has ended the stream.
    #[error("cannot {operation}: the server at {addr} has ended the stream")]
    Ended {
        /// What was being done.
        operation: &'static str,
        /// The server.
        addr: String,
    },
}

impl ClientError {
    /// The server's reasons, where it is the server that said no.
    pub fn refusal(&self) -> Option<&wire::ErrorInfo> {
        match self {
            ClientError::Refused { error, .. } => Some(error),
            ClientError::Address { .. }
            | ClientError::Token
            | ClientError::Setup { .. }
            | ClientError::Unreachable { .. }
            | ClientError::Untrusted { .. }
            | ClientError::Timeout { .. }
            | ClientError::Broken { .. }
            | ClientError::NotBerth { .. }
            | ClientError::Decode { .. }
            | ClientError::TooLong { .. }
            | ClientError::Line { .. }
            | ClientError::Frame { .. }
            | ClientError::Message { .. }
            | ClientError::Ended { .. } => None,
        }
    }

    /// Where the server is that leads, where only that one can do it.
    pub fn leader(&self) -> Option<&str> {
        self.refusal()?.leader.as_deref()
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Refused { error, .. } => error.kind.is_transient(),
            ClientError::Unreachable { .. }
            | ClientError::Timeout { .. }
            | ClientError::Broken { .. }
            | ClientError::Ended { .. } => true,
            ClientError::Address { .. }
            | ClientError::Token
            | ClientError::Setup { .. }
            | ClientError::Untrusted { .. }
            | ClientError::NotBerth { .. }
            | ClientError::Decode { .. }
            | ClientError::TooLong { .. }
            | ClientError::Line { .. }
            | ClientError::Frame { .. }
            | ClientError::Message { .. } => false,
        }
    }
}
