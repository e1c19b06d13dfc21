//! Causes, wait reasons, filters and failures as they travel.

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AllocId, CommandId, DecisionId, DeviceKind, EventId, GroupName, JobId, JobName, NodeId, NodeName, Number, Time,
};

/// A node, with its name where the cluster still knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeRef {
    /// Its id.
    pub id: NodeId,
    /// Its name; absent when the node has been forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NodeName>,
}

/// What led to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked for it.
    Command {
        /// The command.
        command: CommandId,
    },
    /// It follows from an earlier entry of the ledger.
    Event {
        /// The entry.
        event: EventId,
    },
    /// An agent reported it.
    Report {
        /// Whose node.
        node: NodeRef,
        /// The report's number within the agent's stream.
        serial: Number,
    },
    /// An allocation of higher priority took the place.
    Preemption {
        /// Which.
        by: AllocId,
        /// Of which job.
        job: JobId,
    },
    /// Its node is drained.
    Drain {
        /// Which.
        node: NodeRef,
    },
    /// A time had come.
    Timer {
        /// Which.
        timer: Timer,
        /// When it was due.
        due: Time,
    },
    /// It is to take over on another node, so that everything costs less. Costs are in thousandths of a node's worth.
    Balance {
        /// The node of the one that it takes over from.
        from: NodeRef,
        /// What everything cost before.
        cost: Number,
        /// How much less it costs with all moves of the proposal, less what those cost.
        gain: Number,
    },
}

/// The timers of the decision core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// A node's heartbeat is overdue.
    Heartbeat,
    /// An allocation has been running for `min_ready`.
    MinReady,
    /// The back-off before a failed allocation is placed again has passed.
    Reschedule,
    /// Old objects are collected.
    Collect,
    /// A moved instance should have been ready by then.
    Move,
}

/// Why an allocation is not placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WaitReason {
    /// Not looked at yet.
    Queued,
    /// The cluster has no nodes.
    NoNodes,
    /// Every node was filtered.
    NoNodeFits {
        /// The run of the core that looked.
        decision: DecisionId,
        /// How many nodes each filter removed.
        filtered: Vec<FilterCount>,
        /// The node that lacks least, and what it lacks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<NearestMiss>,
        /// Whether waiting can help.
        verdict: Verdict,
    },
    /// All of the group are placed together, and only some would fit.
    GangIncomplete {
        /// The run of the core that looked.
        decision: DecisionId,
        /// How many would fit.
        fit: u32,
        /// How many wait for a place.
        wanted: u32,
        /// How many nodes each filter removed, with those that fit in place.
        filtered: Vec<FilterCount>,
        /// What the first that does not fit lacks least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nearest: Option<NearestMiss>,
        /// Whether all would fit if the nodes were empty.
        verdict: Verdict,
    },
    /// It fits nowhere, and allocations of lower priority were told to make room for it.
    Preempting {
        /// The run of the core that chose them.
        decision: DecisionId,
        /// Where they are.
        node: NodeRef,
        /// Which.
        victims: Vec<AllocId>,
    },
    /// An earlier instance failed; the next try comes later.
    BackOff {
        /// When.
        until: Time,
        /// The instance that failed.
        failed: AllocId,
    },
}

/// Whether waiting can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It would fit if the nodes were empty.
    Waiting,
    /// No node could ever take it.
    Never,
}

/// How many nodes a filter removed. A node counts at the first filter that removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FilterCount {
    /// Which filter.
    pub filter: Filter,
    /// How many nodes.
    pub nodes: u32,
}

/// Why a node cannot take an allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Filter {
    /// The node is lost.
    NodeLost,
    /// The node's disk is full.
    DiskFull,
    /// The node is being drained, or has been.
    Draining,
    /// The node lacks a driver.
    DriverMissing {
        /// Which.
        driver: String,
    },
    /// A constraint does not hold.
    Constraint {
        /// The attribute's key.
        attribute: String,
        /// The operator, as job files write it: `=`, `!=`, `in`, `not_in`, `exists`, `not_exists`, `<`, `<=`, `>`,
        /// `>=`, `glob`.
        operator: String,
        /// What it is held against; none for `exists` and `not_exists`.
        values: Vec<String>,
    },
    /// The node has too few devices that suit a wish, taken or not.
    DeviceMissing {
        /// Of which kind.
        device: DeviceKind,
    },
    /// A fixed port is taken.
    PortTaken {
        /// Which.
        port: u16,
    },
    /// All dynamic ports are taken.
    DynamicPortsExhausted,
    /// This part of the cluster has as many of the group as it may have.
    AtMost {
        /// How many it may have.
        count: u32,
        /// What the part is of: `node`, `rack`, `zone` or an attribute.
        per: String,
    },
    /// A relation to others, which is required, does not hold in this part of the cluster.
    Relation {
        /// Whether they are sought or shunned.
        sense: Sense,
        /// The job, in the same namespace.
        job: JobName,
        /// Only this group of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupName>,
        /// What the part is of: `node`, `rack`, `zone` or an attribute.
        within: String,
    },
    /// Allocations of another job are in this part of the cluster that must not have the group near.
    Shunned {
        /// That job.
        by: JobId,
    },
    /// Too little of a resource is left.
    Exhausted {
        /// Of which.
        #[serde(flatten)]
        dimension: Dimension,
    },
}

/// Whether others are sought or shunned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sense {
    /// In the same part of the cluster.
    Near,
    /// In another one.
    Apart,
}

/// The dimensions of a node's resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "dimension", rename_all = "snake_case")]
pub enum Dimension {
    /// In thousandths of a core.
    Cpu,
    /// In bytes.
    Memory,
    /// In bytes.
    Disk,
    /// In megabits a second.
    Network,
    /// Devices of one kind, in thousandths of one.
    Device {
        /// Which kind.
        device: DeviceKind,
    },
}

/// The node that lacks least, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NearestMiss {
    /// The node.
    pub node: NodeRef,
    /// What it has too little of.
    #[serde(flatten)]
    pub dimension: Dimension,
    /// What is asked for.
    pub wanted: Number,
    /// What the node has left.
    pub free: Number,
    /// What the node has in all.
    pub capacity: Number,
}

/// Why a task or an allocation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The kind, for programs.
    pub kind: FailureKind,
    /// The sentence for people.
    pub message: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The image could not be found, reached or read.
    Image,
    /// A blob of the image has not the digest it should have.
    ImageDigest,
    /// The disk is full.
    DiskFull,
    /// There is no such command in the task's files.
    NoSuchCommand,
    /// There is no such user in the task's files.
    NoSuchUser,
    /// A fixed port was taken by something that is not ours.
    PortTaken,
    /// The task ended with a status other than 0, or by a signal.
    Exit,
    /// The kernel killed the task for its memory limit.
    OutOfMemory,
    /// The task used more disk than it asked for.
    DiskExceeded,
    /// The task failed a check that restarts it.
    Unhealthy,
    /// The shim was killed; what it kept has been ended.
    ShimLost,
    /// The runtime refused.
    Runtime,
    /// The node was rebooted under the allocation.
    Rebooted,
    /// A device that it was given is not there any more.
    DeviceMissing,
    /// Its lease ran out, or it had none yet.
    Fenced,
}

/// Both directions between two enums without data, one line per variant.
macro_rules! same {
    ($wire:ident, $model:path { $($variant:ident),+ $(,)? }) => {
        impl From<$model> for $wire {
            fn from(value: $model) -> $wire {
                use $model as Model;
                match value { $(Model::$variant => $wire::$variant),+ }
            }
        }
        impl From<$wire> for $model {
            fn from(value: $wire) -> $model {
                use $model as Model;
                match value { $($wire::$variant => Model::$variant),+ }
            }
        }
    };
}
pub(super) use same;

same!(Timer, model::Timer { Heartbeat, MinReady, Reschedule, Collect, Move });
same!(Sense, model::Sense { Near, Apart });
same!(Verdict, model::Verdict { Waiting, Never });
same!(
    FailureKind,
    model::FailureKind {
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
);

impl From<&model::Dimension> for Dimension {
    fn from(dimension: &model::Dimension) -> Dimension {
        match dimension {
            model::Dimension::Cpu => Dimension::Cpu,
            model::Dimension::Memory => Dimension::Memory,
            model::Dimension::Disk => Dimension::Disk,
            model::Dimension::Network => Dimension::Network,
            model::Dimension::Device(kind) => Dimension::Device { device: kind.clone().into() },
        }
    }
}

impl From<model::Failure> for Failure {
    fn from(failure: model::Failure) -> Failure {
        Failure { kind: failure.kind.into(), message: failure.message }
    }
}

impl From<Failure> for model::Failure {
    fn from(failure: Failure) -> model::Failure {
        model::Failure { kind: failure.kind.into(), message: cut(failure.message, model::limits::MESSAGE_BYTES) }
    }
}

/// What is stored has a bound, whatever an agent tells.
pub(super) fn cut(mut message: String, most: usize) -> String {
    const MORE: &str = "…";
    if message.len() > most {
        message.truncate(message.floor_char_boundary(most - MORE.len()));
        message.push_str(MORE);
    }
    message
}

impl From<&model::Filter> for Filter {
    fn from(filter: &model::Filter) -> Filter {
        match filter {
            model::Filter::NodeLost => Filter::NodeLost,
            model::Filter::DiskFull => Filter::DiskFull,
            model::Filter::Draining => Filter::Draining,
            model::Filter::DriverMissing(driver) => Filter::DriverMissing { driver: driver.clone() },
            model::Filter::Constraint(constraint) => {
                let (operator, values) = operator(&constraint.operator);
                Filter::Constraint { attribute: constraint.attribute.clone(), operator: operator.to_owned(), values }
            }
            model::Filter::DeviceMissing(kind) => Filter::DeviceMissing { device: kind.clone().into() },
            model::Filter::AtMost(rule) => Filter::AtMost { count: rule.count, per: rule.per.to_string() },
            model::Filter::Relation(relation) => Filter::Relation {
                sense: relation.sense.into(),
                job: relation.to.job.clone().into(),
                group: relation.to.group.clone().map(GroupName),
                within: relation.within.to_string(),
            },
            model::Filter::Shunned(by) => Filter::Shunned { by: by.clone().into() },
            model::Filter::PortTaken(port) => Filter::PortTaken { port: port.0 },
            model::Filter::DynamicPortsExhausted => Filter::DynamicPortsExhausted,
            model::Filter::Exhausted(dimension) => Filter::Exhausted { dimension: dimension.into() },
        }
    }
}

/// An operator as job files write it, and what it is held against.
pub(super) fn operator(operator: &model::Operator) -> (&'static str, Vec<String>) {
    use model::{Operator, Ordering};
    match operator {
        Operator::Is(value) => ("=", vec![value.clone()]),
        Operator::IsNot(value) => ("!=", vec![value.clone()]),
        Operator::In(values) => ("in", values.clone()),
        Operator::NotIn(values) => ("not_in", values.clone()),
        Operator::Set => ("exists", Vec::new()),
        Operator::Unset => ("not_exists", Vec::new()),
        Operator::Compare(Ordering::Less, value) => ("<", vec![value.clone()]),
        Operator::Compare(Ordering::AtMost, value) => ("<=", vec![value.clone()]),
        Operator::Compare(Ordering::Greater, value) => (">", vec![value.clone()]),
        Operator::Compare(Ordering::AtLeast, value) => (">=", vec![value.clone()]),
        Operator::Glob(pattern) => ("glob", vec![pattern.clone()]),
    }
}
