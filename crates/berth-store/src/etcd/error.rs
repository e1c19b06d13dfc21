//! What can go wrong with an etcd.

use std::path::PathBuf;

use berth_model::Revision;

use crate::StoreError;

/// What can go wrong with an etcd.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// A file with a certificate, a key or a password.
    #[error("cannot read {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file with the password holds no text.
    #[error("{} holds no password: expected UTF-8 text", .path.display())]
    Password {
        /// Which.
        path: PathBuf,
    },
    /// No member of it is named.
    #[error("no member of the etcd is named")]
    NoMembers,
    /// It answered that it does not do it, or not at all.
    #[error("etcd did not {operation}: {message}")]
    Refused {
        /// What it was asked.
        operation: &'static str,
        /// What it said, or what its connection did.
        message: String,
    },
    /// It did not answer in time.
    #[error("etcd did not {operation} within {seconds} seconds")]
    Late {
        /// What it was asked.
        operation: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Its space is used up.
    #[error(
        "etcd has used up its space and takes no more: compacting and defragmenting it has not helped. Raise its \
         --quota-backend-bytes, then `etcdctl alarm disarm`"
    )]
    Full,
    /// An answer has more bytes than are taken.
    #[error("an answer of etcd is too long")]
    TooLong,
    /// The state of that revision is no longer kept.
    #[error("etcd has compacted what was asked for")]
    Compacted,
}

impl EtcdError {
    /// What an answer of etcd means.
    pub(super) fn refused(operation: &'static str, source: etcd_client::Error) -> EtcdError {
        let message = match source {
            etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
            other => other.to_string(),
        };
        match message.as_str() {
            // Of our client's own, before it has read more than the head.
            long if long.contains("message length too large") => EtcdError::TooLong,
            "etcdserver: mvcc: database space exceeded" => EtcdError::Full,
            "etcdserver: mvcc: required revision has been compacted" => EtcdError::Compacted,
            _ => EtcdError::Refused { operation, message },
        }
    }

    /// The same for whoever used the store.
    pub(super) fn of_store(self, operation: &'static str, asked: Revision) -> StoreError {
        match self {
            EtcdError::Compacted => StoreError::Compacted { oldest: Revision(asked.0 + 1) },
            other => StoreError::Engine { operation, source: std::sync::Arc::new(other) },
        }
    }
}
