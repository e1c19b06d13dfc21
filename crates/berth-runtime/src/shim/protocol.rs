//! What an agent and a shim say to each other: length-prefixed JSON with a version in every message.
//!
//! Wire types, apart from the model's: an agent of tomorrow talks to a shim of today. File
//! descriptors (of `exec`) travel beside the message that names them.
//!
//! An agent asks in the newest version that it speaks. A shim answers in the version that it was asked in, or refuses in
//! its own newest, which the agent then asks in again, if it speaks it.

use std::collections::BTreeMap;
use std::io;

use berth_model::{Exit, ExitKind, Failure, FailureKind, Kill, ShimTask, ShimTaskState, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::NEXT;

/// The newest version that this program speaks.
pub(crate) const NEWEST: u32 = 1 + NEXT;
/// The oldest.
pub(crate) const OLDEST: u32 = 1;

/// Whether this program speaks a version.
pub(crate) const fn speaks(version: u32) -> bool {
    OLDEST <= version && version <= NEWEST
}

/// The version in which to ask again, when what was asked in one version was refused in another.
pub(crate) fn ask_again_in(asked: u32, refused: u32) -> Option<u32> {
    (refused != asked && speaks(refused)).then_some(refused)
}

/// Bytes of the longest message. A message is a 32-bit little-endian length and that many bytes of JSON.
pub(crate) const LONGEST: usize = 256 << 10;

/// From agent to shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The sender's version.
    pub version: u32,
    /// Repeated by the answer.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What an agent asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Who are you, and how are your tasks? From now on, say what happens to them.
    Hello,
    /// Start a run of a task. A run that was already asked for is not started again.
    Start {
        /// Which task.
        task: String,
        /// Which run.
        run: u32,
    },
    /// Let the tasks run until then. Refused when an earlier lease has ended.
    Lease {
        /// Milliseconds of `CLOCK_BOOTTIME`, as text.
        #[serde(with = "text")]
        until: u64,
    },
    /// Send a signal.
    Signal {
        /// To which task.
        task: String,
        /// To which run; another is left alone.
        run: u32,
        /// What.
        kill: KillWire,
    },
    /// Run a command beside a task. The connection is the session: when it closes, the command is killed.
    Exec {
        /// Beside which task.
        task: String,
        /// What.
        command: Vec<String>,
        /// Added to the task's environment.
        env: BTreeMap<String, String>,
        /// Whether on a terminal, and its size in columns and rows.
        terminal: Option<(u16, u16)>,
    },
    /// End. Refused while a task runs.
    Shutdown,
}

/// How a task is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KillWire {
    /// This signal to the main process.
    Ask(u8),
    /// `SIGKILL` to every process.
    Force,
}

impl KillWire {
    /// `default` is what the task is asked by when nobody has said.
    pub(crate) fn new(kill: Kill, default: impl FnOnce() -> u8) -> Self {
        match kill {
            Kill::Ask(signal) => Self::Ask(signal.unwrap_or_else(default)),
            Kill::Force => Self::Force,
        }
    }
}

/// From shim to agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// The sender's version.
    pub version: u32,
    /// What is said.
    pub say: Say,
}

/// What a shim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Say {
    /// To `Hello`.
    Welcome {
        /// Which request.
        id: u64,
        /// The shim's pid.
        pid: u32,
        /// Its tasks: the newest run of each that had one.
        tasks: BTreeMap<String, TaskWire>,
    },
    /// To `Start`, `Lease`, `Signal`, `Shutdown`.
    Done {
        /// Which request.
        id: u64,
    },
    /// To `Exec`: it runs. Its descriptors come with this: the terminal, or stdin, stdout and stderr.
    Attached {
        /// Which request.
        id: u64,
        /// Its pid.
        pid: u32,
    },
    /// The command of `Exec` ended.
    ExecEnded {
        /// How.
        exit: ExitWire,
    },
    /// To any request: no.
    Refused {
        /// Which request.
        id: u64,
        /// Why.
        failure: FailureWire,
    },
    /// Unasked: something happened to a task.
    Task {
        /// Which.
        task: String,
        /// How it is now.
        state: TaskWire,
    },
}

/// The newest run of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskWire {
    /// Which run.
    pub run: u32,
    /// Where it stands.
    pub state: StateWire,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateWire {
    /// Being made.
    Starting,
    /// Runs.
    Running {
        /// Its pid.
        pid: u32,
        /// Milliseconds since the epoch, as text.
        #[serde(with = "text")]
        started: u64,
    },
    /// Ended.
    Exited {
        /// Milliseconds since the epoch, as text.
        #[serde(with = "text")]
        at: u64,
        /// How.
        how: ExitWire,
    },
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExitWire {
    /// By itself.
    Status(u8),
    /// By a signal.
    Signal(u8),
    /// For its memory limit.
    OutOfMemory,
    /// It never ran.
    Failure(FailureWire),
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailureWire {
    /// For programs.
    pub kind: KindWire,
    /// For people.
    pub message: String,
}

/// Kinds of failure that a shim knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KindWire {
    /// See [`FailureKind::DiskFull`].
    DiskFull,
    /// See [`FailureKind::NoSuchCommand`].
    NoSuchCommand,
    /// See [`FailureKind::NoSuchUser`].
    NoSuchUser,
    /// See [`FailureKind::PortTaken`].
    PortTaken,
    /// See [`FailureKind::Runtime`].
    Runtime,
    /// See [`FailureKind::Fenced`].
    Fenced,
}

impl From<Failure> for FailureWire {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::DiskFull => KindWire::DiskFull,
            FailureKind::NoSuchCommand => KindWire::NoSuchCommand,
            FailureKind::NoSuchUser => KindWire::NoSuchUser,
            FailureKind::PortTaken => KindWire::PortTaken,
            FailureKind::Fenced => KindWire::Fenced,
            // The rest are not the shim's to tell.
            FailureKind::Image
            | FailureKind::ImageDigest
            | FailureKind::Exit
            | FailureKind::OutOfMemory
            | FailureKind::DiskExceeded
            | FailureKind::Unhealthy
            | FailureKind::ShimLost
            | FailureKind::Runtime
            | FailureKind::Rebooted
            | FailureKind::DeviceMissing => KindWire::Runtime,
        };
        Self { kind, message: failure.message }
    }
}

impl From<FailureWire> for Failure {
    fn from(wire: FailureWire) -> Self {
        let kind = match wire.kind {
            KindWire::DiskFull => FailureKind::DiskFull,
            KindWire::NoSuchCommand => FailureKind::NoSuchCommand,
            KindWire::NoSuchUser => FailureKind::NoSuchUser,
            KindWire::PortTaken => FailureKind::PortTaken,
            KindWire::Runtime => FailureKind::Runtime,
            KindWire::Fenced => FailureKind::Fenced,
        };
        crate::error::failure(kind, wire.message)
    }
}

impl From<ExitWire> for ExitKind {
    fn from(wire: ExitWire) -> Self {
        match wire {
            ExitWire::Status(status) => Self::Status(status),
            ExitWire::Signal(signal) => Self::Signal(signal),
            ExitWire::OutOfMemory => Self::OutOfMemory,
            ExitWire::Failure(failure) => Self::Failure(failure.into()),
        }
    }
}

impl From<TaskWire> for ShimTask {
    fn from(wire: TaskWire) -> Self {
        let state = match wire.state {
            StateWire::Starting => ShimTaskState::Starting,
            StateWire::Running { pid, started } => ShimTaskState::Running { pid, started: Timestamp(started) },
            StateWire::Exited { at, how } => ShimTaskState::Exited(Exit { at: Timestamp(at), how: how.into() }),
        };
        Self { run: wire.run, state }
    }
}

/// A message with its length before it.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a message of {length} bytes")));
    }
    let length = u32::try_from(length).expect("LONGEST fits into 32 bits");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Takes the first whole message off the front of `buffer`; none while it is not whole.
pub(crate) fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

/// 64-bit numbers travel as text: not every reader of JSON keeps all their digits.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
