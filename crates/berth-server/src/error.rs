//! Why a server does not start, or ends.

use std::net::SocketAddr;
use std::path::PathBuf;

use berth_record::RecordError;

/// Why a server does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A file or folder of the data folder.
    #[error("cannot {operation} {}", .path.display())]
    Folder {
        /// What was being done.
        operation: &'static str,
        /// With which.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The token file has no token.
    #[error("{} holds no token: expected 16 or more printable characters; remove it and a new one is made", .path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The address is taken, or not of this machine.
    #[error("cannot listen at {addr}: is another server running? choose another address with --bind")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The store does not open.
    #[error("cannot open the store")]
    Open(#[source] berth_store::OpenError),
    /// The store fails.
    #[error("cannot {operation}")]
    Store {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: berth_store::StoreError,
    },
    /// What is stored cannot be read.
    #[error("cannot read what is stored")]
    Load(#[source] berth_record::LoadError),
    /// What another server has stored cannot be read.
    #[error("cannot read what another server has stored")]
    Record(#[source] RecordError),
    /// What was written before the lead was taken has not arrived.
    #[error("not everything that was stored before has arrived within {seconds} seconds")]
    Behind {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The epoch that is stored cannot be read.
    #[error("cannot read the stored epoch")]
    Epoch(#[source] RecordError),
    /// Others took the lead, again and again.
    #[error("cannot take the lead: others took it {attempts} times; is another server running on this store?")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// There is nothing to move.
    #[error("there is no state to move: nobody has led there yet, or it was moved already")]
    NoState,
    /// The new place is taken.
    #[error(
        "there is a state already where this one is to be moved: name another data folder or --etcd-prefix; nothing was changed"
    )]
    HasState,
    /// A server leads.
    #[error("a server leads, at {leader}: stop all servers first; nothing was changed")]
    InUse {
        /// Which.
        leader: String,
    },
    /// Somebody wrote while the state was moved.
    #[error("somebody else wrote while the state was moved; it is where it was: stop all servers, and try again")]
    Interfered,
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] berth_secrets::TlsError),
    /// The server could not join.
    #[error("this server could not join the cluster")]
    Join(#[source] berth_api::client::ClientError),
    /// The sealing key that came with joining is of no use.
    #[error("cannot keep the sealing key that came with joining")]
    SealingKey(#[source] crate::trust::SealingKeyError),
    /// The servers keep their sealing key elsewhere.
    #[error("the cluster's servers have their sealing key from elsewhere: name the same place here, and no join token")]
    NoSealingKey,
    /// This server's own key.
    #[error("cannot make a key")]
    Credentials(#[source] berth_secrets::CredentialsError),
    /// The loop around the core panicked.
    #[error("the decision loop has failed; what was acknowledged is stored")]
    Driver(#[source] tokio::task::JoinError),
}

impl ServerError {
    /// Whether a newer release has written what cannot be read here. Nothing that a server could wait for would change that.
    pub(crate) fn is_of_a_newer_release(&self) -> bool {
        let is_newer = |error: &RecordError| matches!(error, RecordError::Newer { .. });
        match self {
            ServerError::Load(load) => load.first.iter().any(is_newer),
            ServerError::Record(error) | ServerError::Epoch(error) => is_newer(error),
            _ => false,
        }
    }
}
