//! What comes into the loop from requests and streams.

use berth_control::{Planner, SessionId};
use berth_model::{
    Advice, AllocId, Balance, CommandRequest, CommandResult, Hello, NodeReport, Refusal, Timestamp, WaitReason,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::DropGuard;

use crate::agents::Outbox;

/// Inputs that may wait for the loop.
pub const QUEUED_INPUTS: usize = 4096;

/// Where the answer to a command goes.
pub type Reply = oneshot::Sender<CommandResult>;

/// What comes into the loop.
#[derive(Debug)]
pub enum Input {
    /// Somebody asks for something.
    Command {
        /// What.
        command: Box<CommandRequest>,
        /// For the answer.
        reply: Reply,
    },
    /// Somebody asks why an allocation waits.
    WaitReason {
        /// Which.
        alloc: AllocId,
        /// For the answer.
        reply: oneshot::Sender<Option<WaitReason>>,
    },
    /// Somebody asks what could be done about an allocation that waits.
    Advice {
        /// Which.
        alloc: AllocId,
        /// For the answer.
        reply: oneshot::Sender<Option<Advice>>,
    },
    /// Somebody asks how far from the best everything is.
    Balance {
        /// For the answer: when the optimiser last looked, and what it found out.
        reply: oneshot::Sender<Option<(Timestamp, Balance)>>,
    },
    /// Somebody wants to plan on the state as it is.
    Planner {
        /// For the state.
        reply: oneshot::Sender<Planner>,
    },
    /// An agent has said hello on a new stream.
    Connected {
        /// The stream.
        session: SessionId,
        /// What it said.
        hello: Hello,
        /// How to answer.
        outbox: Outbox,
        /// Ends the stream when dropped.
        guard: DropGuard,
    },
    /// An agent reports.
    Report {
        /// The stream.
        session: SessionId,
        /// The report.
        report: NodeReport,
        /// Lets the stream's next report in when dropped.
        turn: OwnedSemaphorePermit,
    },
    /// A stream ended.
    Disconnected {
        /// The stream.
        session: SessionId,
    },
}

impl Input {
    /// What becomes of an input while there is no core: a command is refused, for the reason that there is none, a question stays without an answer, a
    /// stream ends.
    pub fn turn_away(self, refusal: &Refusal) {
        match self {
            // Whoever asked may have gone away since.
            Input::Command { reply, .. } => drop(reply.send(Err(refusal.clone()))),
            Input::WaitReason { reply, .. } => drop(reply),
            Input::Advice { reply, .. } => drop(reply),
            Input::Balance { reply } => drop(reply),
            Input::Planner { reply } => drop(reply),
            Input::Connected { guard, .. } => drop(guard),
            Input::Report { .. } | Input::Disconnected { .. } => {}
        }
    }
}

/// Where requests and streams put what comes in.
#[derive(Clone, Debug)]
pub struct Inputs(pub mpsc::Sender<Input>);

impl Inputs {
    /// Hands in a command and waits for what comes of it.
    pub async fn command(&self, command: CommandRequest) -> CommandResult {
        let (reply, answer) = oneshot::channel();
        let input = Input::Command { command: Box::new(command), reply };
        match self.0.try_send(input) {
            Ok(()) => answer.await.unwrap_or(Err(Refusal::NotLeader)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Refusal::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Refusal::NotLeader),
        }
    }

    /// Why an allocation waits, with the numbers of this moment. None: nobody leads, or it does not wait.
    pub async fn wait_reason(&self, alloc: AllocId) -> Option<WaitReason> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Input::WaitReason { alloc, reply }).await.ok()?;
        answer.await.ok().flatten()
    }

    /// What could be done about an allocation that waits. None: nobody leads, or it does not wait for a place.
    pub async fn advice(&self, alloc: AllocId) -> Option<Advice> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Input::Advice { alloc, reply }).await.ok()?;
        answer.await.ok().flatten()
    }

    /// What the optimiser last found out, and when. None: nobody leads, or it has not looked yet.
    pub async fn balance(&self) -> Option<(Timestamp, Balance)> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Input::Balance { reply }).await.ok()?;
        answer.await.ok().flatten()
    }

    /// The state as it is, to plan on. None: nobody leads.
    pub async fn planner(&self) -> Option<Planner> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Input::Planner { reply }).await.ok()?;
        answer.await.ok()
    }

    /// Hands in what an agent's stream brought; waits while the loop is busy.
    pub async fn stream(&self, input: Input) -> Result<(), LoopEnded> {
        self.0.send(input).await.map_err(|_| LoopEnded)
    }
}

/// The loop has ended.
#[derive(Clone, Copy, Debug)]
pub struct LoopEnded;
