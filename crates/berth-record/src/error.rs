//! What can be wrong with a stored record. Every error names the record and what to do.

use berth_model::Format;

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A newer Berth wrote it.
    #[error(
        "record `{key}` has version {found} and this program knows versions up to {known}: run the newer program that wrote it"
    )]
    Newer {
        /// Its key.
        key: String,
        /// Its version.
        found: Format,
        /// The newest version known here.
        known: Format,
    },
    /// It is not what its key says.
    #[error("record `{key}` is damaged: restore the data folder from a backup, or run the program that wrote it")]
    Damaged {
        /// Its key.
        key: String,
        /// What is wrong.
        #[source]
        problem: Problem,
    },
    /// No record has such a key.
    #[error(
        "key `{key}` is of no kind that this program knows: run the newer program that wrote it, or restore a backup"
    )]
    UnknownKey {
        /// The key.
        key: String,
    },
}

/// What is wrong with a damaged record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not JSON, or not of the form of its version.
    #[error("not of the expected form: {0}")]
    Form(String),
    /// A name or id in it breaks the rules of names and ids.
    #[error(transparent)]
    Name(#[from] berth_model::ParseError),
    /// It has a version that never was.
    #[error("there is no version {0}")]
    NoSuchVersion(Format),
    /// It would belong under another key.
    #[error("it belongs under `{0}`")]
    Misplaced(String),
    /// A map in it has a key twice.
    #[error("a map has an entry twice")]
    DoubleEntry,
    /// There are records, but not this one.
    #[error("it is missing: the state was moved elsewhere with `berth store`, or is damaged")]
    Missing,
}
