//! Exit statuses, as `berth --help` documents them.

use std::fmt;
use std::process::ExitCode;

use berth_api::client::ClientError;
use berth_api::wire::v1::ErrorKind;

/// Why a command ended otherwise than well, for a script to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Wrong usage or wrong input.
    Usage = 2,
    /// No such object.
    NotFound = 3,
    /// What was asked for has not come about: it cannot be placed, has failed, takes too long, or has no solution.
    NotReached = 4,
    /// The cluster does not answer.
    Unreachable = 5,
    /// Not allowed.
    NotAllowed = 6,
}

/// A message with its exit status.
#[derive(Debug)]
pub struct Failed {
    /// The status.
    pub status: Status,
    /// What happened, where, what to do.
    pub message: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

/// An error with this status.
pub fn failed(status: Status, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failed { status, message: message.into() })
}

/// The status for an error: its own where it has one, and 1 otherwise.
pub fn code(error: &anyhow::Error) -> ExitCode {
    let own = error.downcast_ref::<Failed>().map(|failed| failed.status);
    let status = own.or_else(|| error.downcast_ref::<ClientError>().and_then(of_client));
    status.map_or(ExitCode::FAILURE, |status| ExitCode::from(status as u8))
}

fn of_client(error: &ClientError) -> Option<Status> {
    let Some(refusal) = error.refusal() else {
        return match error {
            ClientError::Address { .. } | ClientError::Token => Some(Status::Usage),
            _ if error.is_transient() => Some(Status::Unreachable),
            _ => None,
        };
    };
    match refusal.kind {
        ErrorKind::NotFound => Some(Status::NotFound),
        ErrorKind::Unauthorized | ErrorKind::Forbidden => Some(Status::NotAllowed),
        ErrorKind::BadRequest
        | ErrorKind::Invalid
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::MethodNotAllowed => Some(Status::Usage),
        ErrorKind::Unavailable
        | ErrorKind::NotLeader
        | ErrorKind::Overloaded
        | ErrorKind::RequestTimeout
        | ErrorKind::AgentTimeout => Some(Status::Unreachable),
        ErrorKind::PlanChanged => Some(Status::NotReached),
        ErrorKind::Conflict | ErrorKind::Internal => None,
    }
}
