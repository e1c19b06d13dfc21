//! Counters, epochs, causes and failures, version 2.

use berth_model as model;

use crate::error::Problem;
use crate::stored::{Stored, stored};

stored! {
    struct Meta = Meta {
        // Told by the version of the record itself.
        #[serde(skip)]
        format: Unwritten,
        incarnation: u32,
        epoch: Epoch,
        allocs: u64,
        nodes: u64,
        commands: u64,
        decisions: u64,
        events: u64,
    }

    struct Epoch = Epoch { incarnation: u32, counter: u64 }

    struct JobId = JobId { namespace: String, name: String }

    enum Cause = Cause {
        Command(id: String),
        Event(id: String),
        Report { node: String, serial: u64 },
        Preemption { by: String, job: JobId },
        Drain { node: String },
        Timer { timer: Timer, due: u64 },
        Balance { from: String, cost: i64, gain: i64 },
    }

    enum Timer = Timer { Heartbeat, MinReady, Reschedule, Collect, Move }

    struct Failure = Failure { kind: FailureKind, message: String }

    enum FailureKind = FailureKind {
        Image,
        ImageDigest,
        DiskFull,
        NoSuchCommand,
        NoSuchUser,
        PortTaken,
        Exit,
        OutOfMemory,
        DiskExceeded,
        Unhealthy,
        ShimLost,
        Runtime,
        Rebooted,
        DeviceMissing,
        Fenced,
    }
}

/// In place of the store's format, which is the version of the counters' record.
#[derive(Default)]
pub(crate) struct Unwritten;

impl Stored<model::Format> for Unwritten {
    fn store(_: &model::Format) -> Self {
        Unwritten
    }
    fn load(self) -> Result<model::Format, Problem> {
        Ok(model::Format::FIRST)
    }
}
