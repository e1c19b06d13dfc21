//! What comes into the decision core and what goes out of it.

use berth_model::{CommandRequest, CommandResult, Hello, Mutation, NodeReport, Order, Revision, Timestamp};

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
