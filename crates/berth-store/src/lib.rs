//! One trait over every store: get, range, bounded atomic transactions with guards, and watch.
//!
//! Keys and values are bytes; what they mean is `berth-record`'s affair.

use std::future::Future;

use berth_model::Revision;

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
    /// It is durable, at this revision.
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

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
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
    /// The changes from that revision on are no longer kept: list anew.
    #[error("changes before revision {} are compacted", .oldest.0)]
    Compacted {
        /// The oldest revision that can be watched from.
        oldest: Revision,
    },
    /// The engine failed.
    #[error("{operation} failed in the store")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A batch of changes of one revision, in order of keys.
pub type Changes = (Revision, Vec<Change>);

/// The store.
pub trait Store: Send + Sync + 'static {
    /// One key, with the revision at which this was true.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<(Option<KeyValue>, Revision), StoreError>> + Send;

    /// The keys from `start` up to but not including `end`, in order, at most `limit`, with the revision at which this was true.
    fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> impl Future<Output = Result<(Vec<KeyValue>, Revision), StoreError>> + Send;

    /// Carries out a transaction, durably.
    fn commit(&self, transaction: Transaction) -> impl Future<Output = Result<Applied, StoreError>> + Send;

    /// Changes of keys that begin with `prefix`, from `from` on, in order, without gaps.
    fn watch(
        &self,
        prefix: &[u8],
        from: Revision,
    ) -> impl Future<Output = Result<tokio::sync::mpsc::Receiver<Result<Changes, StoreError>>, StoreError>> + Send;
}
