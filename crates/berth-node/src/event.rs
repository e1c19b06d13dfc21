//! What comes into the node core and what goes out of it.

use std::collections::BTreeSet;

use berth_model::{
    AllocId, BootTime, Bytes, CheckName, Desired, DesiredAlloc, Epoch, Kill, Millis, NodeCondition, NodeId, NodeReport,
    NotReady, Port, Probe, Progress, Remembered, ShimTask, TaskName, Timestamp,
};

/// What happens to the node core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server welcomed this agent.
    Welcome {
        /// The leader's epoch.
        epoch: Epoch,
        /// This node's id.
        node: NodeId,
        /// Report at least this often.
        heartbeat: Millis,
    },
    /// The stream to the server ended. Work goes on.
    Disconnected,
    /// The server says what should be.
    Desired(Desired),
    /// The server has answered a report: the leases of these allocations begin anew.
    Leased {
        /// When that report was sent.
        since: BootTime,
        /// Which.
        allocs: Vec<AllocId>,
    },
    /// How far the preparation of an allocation is.
    Progress {
        /// Which.
        alloc: AllocId,
        /// How far.
        progress: Progress,
    },
    /// Folder, images and shim of an allocation are ready, or cannot be made so.
    Prepared {
        /// Which.
        alloc: AllocId,
        /// How it went.
        result: Result<(), NotReady>,
    },
    /// A shim says something of a task.
    Task {
        /// Which allocation.
        alloc: AllocId,
        /// Which task.
        task: TaskName,
        /// What.
        shim: ShimTask,
    },
    /// The shim of an allocation died. Its processes are still there until `Remove` or `EndOrphans`.
    ShimLost {
        /// Which allocation.
        alloc: AllocId,
    },
    /// `EndOrphans` is done: no process of the allocation is left, and a new shim can be made by `Prepare`.
    OrphansEnded {
        /// Which allocation.
        alloc: AllocId,
    },
    /// `Remove` is done.
    Removed {
        /// Which allocation.
        alloc: AllocId,
    },
    /// What a task holds on the disk was measured.
    DiskUsed {
        /// The run in which that was found.
        run: RunningTask,
        /// What it has written and not removed.
        used: Bytes,
    },
    /// What is left of the disk of the data folder was measured.
    DiskFree {
        /// What may still be written.
        free: Bytes,
        /// Below this the disk counts as full.
        reserve: Bytes,
    },
    /// The answer to a question of a check.
    Answered {
        /// Of which allocation.
        alloc: AllocId,
        /// Of which task.
        task: TaskName,
        /// The number of the run that was asked.
        run: u32,
        /// Of which check.
        check: CheckName,
        /// What was said, or what is wrong.
        answer: Result<String, String>,
    },
    /// The ledger could not be written. None of these effects was begun; they are given back in order, all that
    /// the driver still had.
    NotRemembered(Vec<Effect>),
    /// The time last asked for by `WakeAt` has come.
    Woke,
}

/// A run of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningTask {
    /// Of which allocation.
    pub alloc: AllocId,
    /// Which task.
    pub task: TaskName,
    /// The number of the run.
    pub run: u32,
}

/// A question of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of which allocation.
    pub alloc: AllocId,
    /// Of which task.
    pub task: TaskName,
    /// The number of the run that is asked.
    pub run: u32,
    /// The pid of its main process.
    pub pid: u32,
    /// Of which check.
    pub check: CheckName,
    /// What is asked.
    pub probe: Probe,
    /// The number of the port that is asked, where one is.
    pub port: Option<Port>,
    /// What is not answered by then has failed.
    pub timeout: Millis,
}

/// What the agent's driver has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write to the ledger, durably, before any later effect is begun.
    Remember(Box<Remembered>),
    /// Write to the ledger, durably, before any later effect is begun: the highest epoch heard of. A server that
    /// welcomes with a lower one is not answered; the driver should close its stream and say so in its log.
    RememberEpoch(Epoch),
    /// Remove from the ledger.
    Forget(AllocId),
    /// Make folder, images and shim ready, from whatever an earlier try left; answered by `Prepared`.
    Prepare(Box<DesiredAlloc>),
    /// Tell the shim until when the allocation may run. It ends it then, whoever else is there.
    Lease {
        /// Which.
        alloc: AllocId,
        /// Until when.
        until: BootTime,
    },
    /// Start a run of a task; answered by `Task`. Asked for twice under one number after a restart of the
    /// agent; the shim begins a run only once.
    Start {
        /// Which allocation.
        alloc: AllocId,
        /// Which task.
        task: TaskName,
        /// The number of the run.
        run: u32,
    },
    /// Ask a question, beside all other work; answered by `Answered`, in time or not.
    Ask(Box<Question>),
    /// Send a signal to a task's main process, or to all of its processes.
    Signal {
        /// Which allocation.
        alloc: AllocId,
        /// Which task.
        task: TaskName,
        /// The run that is meant; a newer one is left alone.
        run: u32,
        /// What.
        signal: Kill,
    },
    /// End what a killed shim left; answered by `OrphansEnded`.
    EndOrphans(AllocId),
    /// End the shim and free what the allocation held (mounts, cgroups); its logs are kept. A `Prepare` that is
    /// under way is called off. Also asked for where nothing is left to free. Answered by `Removed`.
    Remove(AllocId),
    /// Remove the allocation's folder with its logs: the server has forgotten it.
    Purge(AllocId),
    /// Send to the server, if connected.
    Report(NodeReport),
    /// Send the last report that was sent once more, with this serial, if there was one. A sign of life that
    /// promises nothing new, for as long as the ledger cannot be written.
    ReportAgain {
        /// Counts on from the reports.
        serial: u64,
        /// What is wrong with the machine now: that is no promise, and may be why the ledger fails.
        conditions: BTreeSet<NodeCondition>,
    },
    /// Send `Woke` at this time; replaces any earlier wish.
    WakeAt(Timestamp),
}
