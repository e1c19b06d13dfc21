//! What the journal holds of events and of effects, version 1: over version 2 of records, whose types it uses.

use std::collections::{BTreeMap, BTreeSet};

use berth_model as model;
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::stored::{Stored, stored};
use crate::v2::alloc::TaskStatus;
use crate::v2::command::CommandOutcome;
use crate::v2::job::JobSpec;
use crate::v2::meta::{Epoch, JobId};
use crate::v2::node::{Fingerprint, NodeCondition};
use crate::v2::policy::{BuiltIn, PolicySpec};
use crate::v2::remembered::Ended;
use crate::v2::trust::{JoinRefusal, TrustCommand};

stored! {
    struct Hello = Hello { agent: String, fingerprint: Fingerprint }

    struct CommandRequest = CommandRequest {
        principal: String,
        namespace: String,
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<String>,
        command: Command,
    }

    enum Command = Command {
        Run(spec: Box<JobSpec>),
        Stop(job: JobId),
        StopAlloc(alloc: String),
        Drain { nodes: Vec<String>, deadline: Option<u64> },
        Enable(nodes: Vec<String>),
        SetPolicy { spec: Box<PolicySpec>, after: Option<u64> },
        Trust(command: TrustCommand),
        Abandon(nodes: Vec<String>),
        Finalise(format: u32),
    }

    struct ObservedAlloc = ObservedAlloc { id: String, phase: Phase, tasks: BTreeMap<String, TaskStatus> }

    enum Phase = Phase { Preparing(progress: Progress), Starting, Running, Stopping, Ended(ended: Ended) }

    struct Progress = Progress { done: u64, total: u64 }

    struct NodeReport = NodeReport {
        serial: u64,
        digest: String,
        conditions: Vec<NodeCondition>,
        allocs: Vec<ObservedAlloc>,
    }

    enum Refusal = Refusal {
        NotAuthorized { needed: String },
        NoSuchJob(job: JobId),
        NoSuchAlloc(alloc: String),
        NoSuchNode(node: String),
        KeyReused { command: String },
        Invalid { place: String, problem: String, remedy: String },
        PlanChanged { plan: String, now: String },
        PolicyChanged { version: u64 },
        Join(why: JoinRefusal),
        NoSuchMember(node: String),
        NoSuchAuthority(authority: String),
        AuthorityChanged { signs: Option<String> },
        NotLeader,
        StoreUnavailable,
        Overloaded,
    }
}

impl<M, S: Stored<M>> Stored<Box<M>> for Box<S> {
    fn store(value: &Box<M>) -> Self {
        Box::new(S::store(value))
    }
    fn load(self) -> Result<Box<M>, Problem> {
        Ok(Box::new((*self).load()?))
    }
}

impl<M: Ord, S: Stored<M>> Stored<BTreeSet<M>> for Vec<S> {
    fn store(value: &BTreeSet<M>) -> Self {
        value.iter().map(S::store).collect()
    }
    fn load(self) -> Result<BTreeSet<M>, Problem> {
        self.into_iter().map(S::load).collect()
    }
}

impl Stored<model::PlanId> for String {
    fn store(value: &model::PlanId) -> Self {
        value.to_string()
    }
    fn load(self) -> Result<model::PlanId, Problem> {
        self.parse().map_err(|error: model::ParseError| Problem::Form(error.to_string()))
    }
}

impl Stored<model::Digest> for String {
    fn store(value: &model::Digest) -> Self {
        format!("{:032x}", value.0)
    }
    fn load(self) -> Result<model::Digest, Problem> {
        let digest = u128::from_str_radix(&self, 16).map_err(|error| Problem::Form(error.to_string()))?;
        Ok(model::Digest(digest))
    }
}

/// An event. The macro's types are those of the domain; these are the core's own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Event {
    Command {
        request: u64,
        command: Box<CommandRequest>,
    },
    Connected {
        session: u64,
        hello: Hello,
    },
    Report {
        session: u64,
        report: NodeReport,
    },
    /// What the last report of this stream in this segment said, with another number.
    SameReport {
        session: u64,
        serial: u64,
    },
    Disconnected {
        session: u64,
    },
    Committed {
        commit: u64,
        revision: u64,
    },
    CommitFailed {
        commit: u64,
        error: CommitError,
    },
    Woke,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommitError {
    Conflict,
    Unavailable,
}

/// What an operator has set.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    heartbeat: u64,
    heartbeat_grace: u64,
    #[serde(default = "usual_drift", skip_serializing_if = "is_usual_drift")]
    clock_drift: u32,
    policy: BuiltIn,
    preempt_max: u32,
    keep_ended: u64,
    keep_ended_max: u64,
    keep_ledger: u64,
    keep_commands: u64,
}

/// What held before it could be set.
fn usual_drift() -> u32 {
    200
}

fn is_usual_drift(drift: &u32) -> bool {
    *drift == usual_drift()
}

impl Stored<model::control::Settings> for Settings {
    fn store(value: &model::control::Settings) -> Self {
        let model::control::Settings {
            heartbeat,
            heartbeat_grace,
            clock_drift,
            policy,
            preempt_max,
            keep_ended,
            keep_ended_max,
            keep_ledger,
            keep_commands,
        } = value;
        Settings {
            heartbeat: heartbeat.0,
            heartbeat_grace: heartbeat_grace.0,
            clock_drift: clock_drift.0,
            policy: BuiltIn::store(policy),
            preempt_max: *preempt_max,
            keep_ended: keep_ended.0,
            keep_ended_max: *keep_ended_max,
            keep_ledger: *keep_ledger,
            keep_commands: keep_commands.0,
        }
    }
    fn load(self) -> Result<model::control::Settings, Problem> {
        Ok(model::control::Settings {
            heartbeat: model::Millis(self.heartbeat),
            heartbeat_grace: model::Millis(self.heartbeat_grace),
            clock_drift: model::Drift(self.clock_drift),
            policy: self.policy.load()?,
            preempt_max: self.preempt_max,
            keep_ended: model::Millis(self.keep_ended),
            keep_ended_max: self.keep_ended_max,
            keep_ledger: self.keep_ledger,
            keep_commands: model::Millis(self.keep_commands),
        })
    }
}

/// An effect that is no commit, as far as it is compared.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    Reply {
        request: u64,
        result: Result<CommandOutcome, Refusal>,
    },
    Welcome {
        session: u64,
        epoch: Epoch,
        node: String,
        heartbeat: u64,
    },
    /// The digest covers the allocations.
    Desired {
        session: u64,
        epoch: Epoch,
        digest: String,
    },
    Lease {
        session: u64,
        serial: u64,
        allocs: Vec<String>,
    },
    Close {
        session: u64,
        reason: String,
    },
    WakeAt(u64),
    StepDown(CommitError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) program: String,
    pub(crate) settings: Settings,
    pub(crate) epoch: Epoch,
    pub(crate) now: u64,
}

/// What an effect was: its kind, how many bytes it has, and their digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark(pub(crate) String, pub(crate) u64, pub(crate) String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Line {
    Head(Box<Head>),
    Record { key: String, value: String },
    Begun { effects: Vec<Mark> },
    Step { now: u64, event: Event, effects: Vec<Mark> },
}
