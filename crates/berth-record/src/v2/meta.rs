//! Counters, epochs, causes and failures, version 2.

use crate::stored::stored;

stored! {
    struct Meta = Meta {
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
        ShimLost,
        Runtime,
        Rebooted,
        DeviceMissing,
        Fenced,
    }
}
