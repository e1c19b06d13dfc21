//! Plans: what a change would do, and what is asked to get one.

use std::collections::BTreeMap;

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::balance::number;
use super::convert::grants_to_wire;
use super::{
    AllocId, DeviceId, DeviceName, Epoch, EventId, GroupName, JobId, NodeNames, NodeRef, Number, PlanId, PortName,
    Resources, ToWire, WaitReason,
};

/// The most bytes of a request for a plan.
pub const PLAN_REQUEST_BYTES: usize = model::limits::JOB_BYTES + (64 << 10);
/// The most texts with which nodes may be named at once.
pub const NODE_SELECTORS: usize = 1_000;
/// The most bytes of a request that names nodes.
pub const NODES_REQUEST_BYTES: usize = 256 << 10;

/// A change to plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PlanRequest {
    /// A job is run.
    Run {
        /// The job file.
        #[schema(value_type = Object)]
        job: serde_json::Value,
    },
    /// A job is stopped.
    Stop {
        /// Which.
        job: JobId,
    },
    /// One allocation is stopped; a service's is replaced.
    StopAlloc {
        /// Which.
        alloc: AllocId,
    },
    /// Nodes are given nothing new, and what is on them moves away.
    Drain {
        /// Ids or names of nodes, or `ATTRIBUTE=VALUE` for every node with it.
        nodes: Vec<String>,
    },
    /// Another policy holds. Nothing that runs is moved by it, but what waits is tried again.
    Policy {
        /// The policy file.
        #[schema(value_type = Object)]
        policy: serde_json::Value,
    },
    /// Nodes fall silent, all at once.
    Lose {
        /// Ids or names of nodes, or `ATTRIBUTE=VALUE` for every node with it, or the value of `node.rack`.
        nodes: Vec<String>,
    },
}

/// What would come of a change, from now until the cluster is at rest again, if every node does what it is told and no
/// task fails. What is under way for other reasons is part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What it does, as a number: two plans that would do the same have the same. Name it when running the job to have
    /// just this done or nothing.
    pub id: PlanId,
    /// The reign in which it was made.
    pub epoch: Epoch,
    /// The last entry of the ledger that it was decided on, commits under way included.
    pub event: EventId,
    /// What is started, replaced, moved and stopped, in order of waves.
    pub changes: Vec<PlannedChange>,
    /// The allocations that would be left waiting, and were not before.
    pub waits: Vec<PlannedWait>,
    /// Groups of which more instances would be missing at once than their update policy allows.
    pub broken_budgets: Vec<BrokenBudget>,
    /// What is promised of the nodes that take work, now.
    pub before: Utilisation,
    /// And when all is done.
    pub after: Utilisation,
    /// Regret now: by how many thousandths of a proven bound everything costs more than that, at most. Absent: no bound
    /// was found in the time there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regret_permille_before: Option<Number>,
    /// And when all is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regret_permille_after: Option<Number>,
    /// How far the plan looks.
    pub end: PlanEnd,
}

/// Something that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedChange {
    /// When: 1 follows at once, each further wave from what the one before leads to.
    pub wave: u32,
    /// What.
    pub kind: PlannedKind,
    /// Of which job.
    pub job: JobId,
    /// Of which group.
    pub group: GroupName,
    /// Which of the group's `count`.
    pub index: u32,
    /// The version that would run, or that is stopped.
    pub version: Number,
    /// The instance that is replaced, moved or stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alloc: Option<AllocId>,
    /// Where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NodeRef>,
    /// Where the new one goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeRef>,
    /// Every port of the new one with its number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<PortName, u16>,
    /// Every wish of the new one for devices with their ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<DeviceName, Vec<DeviceId>>,
}

/// What would happen to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlannedKind {
    /// It starts in a place that is empty.
    Start,
    /// It takes the place of one of another version.
    Replace,
    /// It takes the place of one of the same version, which is stopped or lost.
    Move,
    /// It is stopped, or lost, and nothing takes its place.
    Stop,
}

/// An instance that would be left waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedWait {
    /// Of which job.
    pub job: JobId,
    /// Of which group.
    pub group: GroupName,
    /// Which of the group's `count`.
    pub index: u32,
    /// The version that would run.
    pub version: Number,
    /// The one node it is for, as with system jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<NodeRef>,
    /// The instance whose place it would take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alloc: Option<AllocId>,
    /// Why.
    pub reason: WaitReason,
}

/// A group of which more instances would be missing than it allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrokenBudget {
    /// Of which job.
    pub job: JobId,
    /// Which group.
    pub group: GroupName,
    /// The most that were ready and would be missing at once.
    pub missing: u32,
    /// How many may be: `update.max_parallel`.
    pub allowed: u32,
}

/// What is promised to allocations, of the nodes that take work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Utilisation {
    /// How many nodes.
    pub nodes: u32,
    /// What is promised of them.
    pub used: Resources,
    /// What they have.
    pub capacity: Resources,
}

/// How far a plan looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanEnd {
    /// Until the cluster is at rest.
    AtRest,
    /// It goes on like this; the plan ends here.
    CutShort,
}

impl ToWire for model::Plan {
    type Wire = Plan;
    fn to_wire(&self, names: &dyn NodeNames) -> Plan {
        Plan {
            id: self.id.into(),
            epoch: self.basis.epoch.into(),
            event: self.basis.event.into(),
            changes: self.changes.iter().map(|change| change.to_wire(names)).collect(),
            waits: self.waits.iter().map(|wait| wait.to_wire(names)).collect(),
            broken_budgets: self.broken_budgets.iter().map(BrokenBudget::from).collect(),
            before: self.before.into(),
            after: self.after.into(),
            regret_permille_before: self.regret_before.map(number),
            regret_permille_after: self.regret_after.map(number),
            end: match self.end {
                model::PlanEnd::AtRest => PlanEnd::AtRest,
                model::PlanEnd::CutShort => PlanEnd::CutShort,
            },
        }
    }
}

impl ToWire for model::PlannedChange {
    type Wire = PlannedChange;
    fn to_wire(&self, names: &dyn NodeNames) -> PlannedChange {
        let (kind, source, target) = match &self.what {
            model::Planned::Start(target) => (PlannedKind::Start, None, Some(target)),
            model::Planned::Replace(source, target) => (PlannedKind::Replace, Some(source), Some(target)),
            model::Planned::Move(source, target) => (PlannedKind::Move, Some(source), Some(target)),
            model::Planned::Stop(source) => (PlannedKind::Stop, Some(source), None),
        };
        let ports = target.iter().flat_map(|target| &target.ports);
        PlannedChange {
            wave: self.wave,
            kind,
            job: self.job.clone().into(),
            group: self.group.clone().into(),
            index: self.index,
            version: Number(self.version.0),
            alloc: source.map(|source| source.alloc.into()),
            from: source.map(|source| names.node_ref(source.node)),
            to: target.map(|target| names.node_ref(target.node)),
            ports: ports.map(|(name, port)| (PortName(name.clone()), port.0)).collect(),
            devices: target.map(|target| grants_to_wire(&target.devices)).unwrap_or_default(),
        }
    }
}

impl ToWire for model::PlannedWait {
    type Wire = PlannedWait;
    fn to_wire(&self, names: &dyn NodeNames) -> PlannedWait {
        PlannedWait {
            job: self.job.clone().into(),
            group: self.group.clone().into(),
            index: self.index,
            version: Number(self.version.0),
            bound_to: self.bound_to.map(|node| names.node_ref(node)),
            alloc: self.replaces.map(|source| source.alloc.into()),
            reason: self.reason.to_wire(names),
        }
    }
}

impl From<&model::BrokenBudget> for BrokenBudget {
    fn from(budget: &model::BrokenBudget) -> BrokenBudget {
        let model::BrokenBudget { job, group, missing, allowed } = budget;
        BrokenBudget { job: job.clone().into(), group: group.clone().into(), missing: *missing, allowed: *allowed }
    }
}

impl From<model::Utilisation> for Utilisation {
    fn from(of: model::Utilisation) -> Utilisation {
        Utilisation { nodes: of.nodes, used: of.used.into(), capacity: of.capacity.into() }
    }
}
