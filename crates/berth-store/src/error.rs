//! What can go wrong: with a transaction or a watch of an open store, and with opening one.

use std::path::PathBuf;

use berth_model::Revision;

use crate::{EtcdError, MAX_BYTES, MAX_OPERATIONS};

/// What can go wrong with an open store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The transaction is over a limit.
    #[error(
        "transaction of {operations} operations and {bytes} bytes is over the limit of {MAX_OPERATIONS} operations and {MAX_BYTES} bytes"
    )]
    TooLarge {
        /// Its guards and operations.
        operations: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// A transaction writes one key twice.
    #[error("transaction writes a key twice")]
    DuplicateKey,
    /// A key has no bytes.
    #[error("a key of the transaction is empty")]
    EmptyKey,
    /// Too many transactions wait. Nothing was changed; try again when one of them is done.
    #[error("too many transactions wait for the store")]
    Busy,
    /// There are as many watchers as may be.
    #[error("too many watchers of the store")]
    TooManyWatchers,
    /// The changes from that revision on, or the state at it, are no longer kept: list anew.
    #[error("what was before revision {} is compacted", .oldest.0)]
    Compacted {
        /// The oldest revision that can be watched from, as far as is known.
        oldest: Revision,
    },
    /// The engine failed. Whether the transaction was carried out is not known.
    #[error("{operation} failed in the store")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The store was closed, or has closed itself because its engine failed: open it again.
    #[error("the store is closed")]
    Closed,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder or file could not be made or prepared.
    #[error("cannot {operation} {}", .path.display())]
    Prepare {
        /// What was being done.
        operation: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else has it open.
    #[error("store {} is in use by another process: stop that one first, or name another data folder", .path.display())]
    InUse {
        /// Its file.
        path: PathBuf,
    },
    /// It was written by a newer Berth.
    #[error("store {} has format {found} and this program knows formats up to {known}: run the newer program that wrote it", .path.display())]
    NewerFormat {
        /// Its file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format known here.
        known: u64,
    },
    /// The file is a database, but of something else.
    #[error("{} is not a store of Berth: name another data folder", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read as a store.
    #[error("store {} is damaged: put a backup in its place, or move it away to begin with an empty cluster", .path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Damage,
    },
    /// The engine could not open it.
    #[error("cannot open store {}", .path.display())]
    Engine {
        /// Its file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<redb::Error>,
    },
    /// An etcd does not answer, or not as it should.
    #[error("cannot open the store in the etcd at {members}: see that most of its members run and let this server in")]
    Etcd {
        /// Its members.
        members: String,
        /// Why.
        #[source]
        source: EtcdError,
    },
    /// The system refused a thread.
    #[error("cannot start a thread for store {}", .path.display())]
    Thread {
        /// Its file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// What is wrong with a damaged store.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The engine says so.
    #[error("the engine cannot read it")]
    Engine(#[source] Box<redb::Error>),
    /// The engine gave up on it.
    #[error("the engine gave up on it: {0}")]
    EnginePanic(String),
    /// The engine found pages that are not as they were written.
    #[error("its checksums do not hold")]
    Checksums,
    /// A table or a key of ours that every store has is not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
}
