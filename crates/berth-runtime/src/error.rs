//! What can go wrong on the agent's side of the runtime, apart from failures of tasks.

use std::io;
use std::path::PathBuf;

use berth_model::{AllocId, Failure, FailureKind, NotReady, Retry, TaskName};

/// An operation of the runtime that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A file or folder could not be used.
    #[error("cannot {operation} {path}")]
    Files {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no shim for the allocation, or it does not answer.
    #[error("allocation {0} has no shim that answers")]
    NoShim(AllocId),
    /// The shim does not answer, though it is there.
    #[error("the shim of allocation {0} does not answer")]
    Late(AllocId),
    /// A shim could not be ended.
    #[error("cannot end the shim of allocation {alloc}")]
    Shim {
        /// Whose shim.
        alloc: AllocId,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The connection to a shim broke.
    #[error("cannot talk to the shim of allocation {alloc}")]
    Talk {
        /// Whose shim.
        alloc: AllocId,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A shim said something that this version does not understand.
    #[error("the shim of allocation {0} spoke out of turn")]
    Protocol(AllocId),
    /// The shim refused.
    #[error("allocation {alloc}, task {task}: {}", failure.message)]
    Refused {
        /// Which allocation.
        alloc: AllocId,
        /// Which task.
        task: TaskName,
        /// Why.
        failure: Failure,
    },
    /// The shim does not take a lease.
    #[error("allocation {alloc}: {}", failure.message)]
    Lease {
        /// Which allocation.
        alloc: AllocId,
        /// Why.
        failure: Failure,
    },
    /// Processes could not be ended, or what held them not be removed.
    #[error("cannot remove the control groups of allocation {alloc}")]
    Cgroups {
        /// Whose.
        alloc: AllocId,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl RuntimeError {
    /// For `map_err`: an operation on a path failed.
    pub(crate) fn files(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { operation, path, source }
    }
}

/// Most characters of a failure's sentence.
const SENTENCE: usize = 1000;

/// A failure with a sentence of bounded length.
pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    let mut message = message.into();
    if let Some((end, _)) = message.char_indices().nth(SENTENCE) {
        message.truncate(end);
    }
    Failure { kind, message }
}

/// For `map_err`: trying again may help.
pub(crate) fn may_pass(failure: Failure) -> NotReady {
    NotReady { failure, retry: Retry::MayHelp }
}

/// For `map_err`: trying again is pointless.
pub(crate) fn stays(failure: Failure) -> NotReady {
    NotReady { failure, retry: Retry::Pointless }
}

/// A failure from an error of the operating system while doing `what`; a full disk is named as such.
pub(crate) fn io_failure(what: impl std::fmt::Display, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure(
            FailureKind::DiskFull,
            format!("cannot {what}: the disk is full; free space on the node and try again"),
        ),
        _ => failure(FailureKind::Runtime, format!("cannot {what}: {error}")),
    }
}
