//! One trait over every store: get, range, bounded atomic transactions with guards, and watch.
//!
//! Keys and values are bytes; what they mean is `berth-record`'s affair, and who may write is the
//! affair of whoever puts guards into its transactions. Three backends: [`Memory`], for tests and for
//! clusters that need not outlive their process, [`Embedded`], one file on this machine, and [`Etcd`], which
//! outlives machines. All pass the conformance cases of `berth-model`'s `testkit`; the first two share the code
//! that decides what a transaction does (`transaction.rs`) and what a watcher sees (`feed.rs`).

mod embedded;
mod error;
mod etcd;
mod feed;
mod memory;
#[cfg(feature = "testkit")]
pub mod testkit;
mod transaction;

use std::future::Future;

use berth_model::Revision;

pub use embedded::Embedded;
pub use error::{OpenError, StoreError};
pub use etcd::{Etcd, EtcdError, EtcdOptions, Leader, Mandate, Server};
pub use feed::{HISTORY_BYTES, HISTORY_REVISIONS, WATCHER_BACKLOG, WATCHERS};
pub use memory::Memory;

/// Operations of a transaction, at most; guards count too. etcd's default, held on every backend.
pub const MAX_OPERATIONS: usize = 128;
/// Bytes of a transaction, at most: keys and values together. etcd's default, held on every backend.
pub const MAX_BYTES: usize = 1_500_000;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The revision that wrote it.
    pub modified: Revision,
}

/// A condition under which a transaction is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key was last written at this revision.
    ModifiedAt(Vec<u8>, Revision),
    /// The key has this value.
    ValueIs(Vec<u8>, Vec<u8>),
    /// There is no such key.
    Absent(Vec<u8>),
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Set a key.
    Put(Vec<u8>, Vec<u8>),
    /// Remove a key; removing what is not there is no error.
    Delete(Vec<u8>),
}

impl Operation {
    /// The key that it writes.
    pub fn key(&self) -> &[u8] {
        match self {
            Operation::Put(key, _) | Operation::Delete(key) => key,
        }
    }

    /// The bytes of its key and value.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Operation::Put(key, value) => key.len() + value.len(),
            Operation::Delete(key) => key.len(),
        }
    }
}

/// All of the operations, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All must hold.
    pub guards: Vec<Guard>,
    /// Carried out in order; a key is written at most once.
    pub operations: Vec<Operation>,
}

/// What came of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is durable, at this revision. A transaction that changes nothing (it has no operations, or
    /// only removes what is not there) takes no revision of its own: it is told the newest one.
    At(Revision),
    /// A guard did not hold; nothing was changed.
    Refused,
}

/// A change, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key was set.
    Put(KeyValue),
    /// A key was removed.
    Delete {
        /// The key.
        key: Vec<u8>,
        /// At which revision.
        revision: Revision,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &[u8] {
        match self {
            Change::Put(row) => &row.key,
            Change::Delete { key, .. } => key,
        }
    }
}

/// A batch of changes of one revision, in order of keys.
pub type Changes = (Revision, Vec<Change>);

/// Refuses to tell how things were at a revision, where only the newest state is known.
pub(crate) fn only_newest(at: Option<Revision>, newest: Revision) -> Result<(), StoreError> {
    match at {
        Some(at) if at != newest => Err(StoreError::Compacted { oldest: newest }),
        Some(_) | None => Ok(()),
    }
}

/// What a watch hands out. It ends after an error, and when the store is closed.
pub type Watch = tokio::sync::mpsc::Receiver<Result<Changes, StoreError>>;

/// The store. An empty one is at revision 0; the first change is revision 1. A later change has a later revision,
/// and there may be revisions that change nothing here.
pub trait Store: Send + Sync + 'static {
    /// One key, with the newest revision of the store at which this was true.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<(Option<KeyValue>, Revision), StoreError>> + Send;

    /// The keys from `start` up to but not including `end`, in order, at most `limit`, as they were at revision `at`,
    /// or are now; with that revision. [`StoreError::Compacted`] where it is no longer known how they were: a backend
    /// may know no other state than the newest. A listing asks for its further pages as they were at its first one's
    /// revision.
    fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        at: Option<Revision>,
    ) -> impl Future<Output = Result<(Vec<KeyValue>, Revision), StoreError>> + Send;

    /// Carries out a transaction, durably.
    ///
    /// Transactions are carried out in the order of the calls, whenever their futures are polled, so
    /// that a caller can have several under way. A call that would be one too many is answered with
    /// [`StoreError::Busy`] and changes nothing; that, like one over a limit, does not hold up those called
    /// after it. A caller whose transactions build on each other has fewer under way than the store lets
    /// wait. After [`StoreError::Engine`] nothing more is carried out. Dropping the future does not take the
    /// transaction back.
    fn commit(&self, transaction: Transaction) -> impl Future<Output = Result<Applied, StoreError>> + Send + use<Self>;

    /// Changes of keys that begin with `prefix`, from revision `from` on, in order, without gaps.
    ///
    /// Revisions that change no such key are left out. [`StoreError::Compacted`] where `from` is older
    /// than the history that is kept. No commit waits for a watcher: one that falls more than [`WATCHER_BACKLOG`]
    /// batches behind may be told `Compacted` after what it has been sent, and then ends: it lists anew.
    fn watch(&self, prefix: &[u8], from: Revision) -> impl Future<Output = Result<Watch, StoreError>> + Send;
}
