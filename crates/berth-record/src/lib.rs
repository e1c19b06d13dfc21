//! What is stored: versioned encodings of the domain types, and the keys that they stand under.
//!
//! Every value is JSON of the form `{"v":2,"record":{…}}`, in which the version is the [`Format`](berth_model::Format)
//! of the store when it was written. It is the version of the counters' record, which an operator raises once no server
//! of the release before is to read the store any more; until then a newer release writes as the older one does, what it
//! has added left out. A version has serde types (`v2/`),
//! apart from the domain types: a field can be renamed there without breaking a disk, and a new field
//! breaks the build here until somebody has thought about it. Golden files of every version stay readable
//! by a test. This crate reads and writes bytes in memory; where they are kept is not its affair.

mod codec;
mod error;
pub mod journal;
pub mod key;
mod remembered;
mod snapshot;
mod stored;
mod v2;

pub use codec::{NEWEST, Write, decode, decode_epoch, decode_removal, encode, encode_commit, encode_epoch};
pub use error::{Problem, RecordError};
pub use key::{EPOCH_KEY, META_KEY};
pub use remembered::{decode_remembered, encode_remembered};
pub use snapshot::{LoadError, Loaded, SnapshotBuilder};
