//! What goes into the decision core of the cluster and what comes out of it. Here, and not with the core itself, so that
//! it can be written down and read back by those who must not know how decisions are made.

use crate::{
    BuiltIn, CommandRequest, CommandResult, Drift, Epoch, Hello, Millis, Mutation, NodeReport, Order, Revision,
    Snapshot, Timestamp,
};

/// A waiting request of some client, as the driver numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A stream of some agent, as the driver numbers it; never used twice by one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A commit under way, numbered by the core from 1 in the order in which they must be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// What happens to the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody asks for something.
    Command {
        /// To be named in the reply.
        request: RequestId,
        /// What.
        command: Box<CommandRequest>,
    },
    /// An agent opened a stream.
    AgentConnected {
        /// The stream.
        session: SessionId,
        /// What it said first.
        hello: Hello,
    },
    /// An agent reports. Also its heartbeat.
    AgentReport {
        /// The stream.
        session: SessionId,
        /// The report.
        report: NodeReport,
    },
    /// A stream ended.
    AgentDisconnected {
        /// The stream.
        session: SessionId,
    },
    /// A commit is durable.
    Committed {
        /// Which.
        commit: CommitId,
        /// Where in the store.
        revision: Revision,
    },
    /// A commit was not carried out, and none after it will be.
    CommitFailed {
        /// Which.
        commit: CommitId,
        /// Why.
        error: CommitError,
    },
    /// The time last asked for by `WakeAt` has come.
    Woke,
}

/// Why a commit was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// Somebody else wrote: this leader's reign is over.
    Conflict,
    /// The store failed; whether it was carried out is not known.
    Unavailable,
}

/// What the driver has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Carry out in one transaction, guarded by the epoch and by the revision of the commit before.
    /// Several may be under way; they are carried out in order, and none after one that failed.
    Commit {
        /// Its number.
        commit: CommitId,
        /// What to write: at most the store's limits.
        mutations: Vec<Mutation>,
    },
    /// Answer a client. What the answer tells is durable.
    Reply {
        /// Whom.
        request: RequestId,
        /// The answer.
        result: CommandResult,
    },
    /// Send to an agent. What the order rests on is durable.
    Send {
        /// The stream.
        session: SessionId,
        /// The order.
        order: Order,
    },
    /// End an agent's stream: a newer one of the same agent has taken its place, or its name is taken.
    Close {
        /// The stream.
        session: SessionId,
        /// For the agent's log.
        reason: String,
    },
    /// Send `Woke` at this time; replaces any earlier wish.
    WakeAt(Timestamp),
    /// The lead is lost. The core does nothing more; load anew to go on.
    StepDown(StepDown),
}

/// Why the lead was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepDown {
    /// A commit met a conflict.
    Conflict,
    /// A commit failed, with an unknown end.
    StoreFailed,
}

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often an agent is asked to report.
    pub heartbeat: Millis,
    /// How long an agent may be silent before its node counts as lost.
    pub heartbeat_grace: Millis,
    /// How far the clocks of machines may drift: what is fenced is replaced no sooner than that allows.
    pub clock_drift: Drift,
    /// The placement policy until somebody sets one.
    pub policy: BuiltIn,
    /// How many allocations may be on their way out for others of higher priority at once; 0 for none ever.
    pub preempt_max: u32,
    /// How long ended jobs and allocations are kept for questions.
    pub keep_ended: Millis,
    /// How many ended allocations, and how many ended jobs, are kept for questions within that time. What a wanted job
    /// or a node that may come back still depends on is kept beside them.
    pub keep_ended_max: u64,
    /// How many entries of the ledger are kept.
    pub keep_ledger: u64,
    /// How long outcomes of commands are kept.
    pub keep_commands: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            heartbeat: Millis(1000),
            heartbeat_grace: Millis(5000),
            clock_drift: Drift(200),
            policy: BuiltIn::Balanced,
            preempt_max: 10,
            keep_ended: Millis::from_secs(24 * 3600),
            keep_ended_max: 10_000,
            keep_ledger: 20_000,
            keep_commands: Millis::from_secs(24 * 3600),
        }
    }
}

/// What a new leader's core begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// What the operator has set.
    pub settings: Settings,
    /// What the store holds.
    pub snapshot: Snapshot,
    /// The reign: newer than the one that the store holds.
    pub epoch: Epoch,
    /// The time.
    pub now: Timestamp,
}
