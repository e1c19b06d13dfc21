//! What could be done about what waits: who holds the resources, and acts that would help.

use berth_model as model;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::reason::{operator, same};
use super::{
    AllocId, Device, DeviceName, Dimension, GroupName, JobId, JobName, NodeNames, NodeRef, Number, PortName, Resources,
    Sense, TaskName, ToWire,
};

/// What there is to tell of an allocation that waits for a place, beside its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Advice {
    /// Who holds what is lacking, on up to three nodes that lack least, nearest first.
    pub held: Vec<Held>,
    /// Up to three acts that would help, the least demanding first. Each was tried: the code that places has placed the
    /// allocation with it on a copy of the cluster.
    pub remedies: Vec<Remedy>,
}

/// What is in the way on one node, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// The node.
    pub node: NodeRef,
    /// Of what there is too little.
    #[serde(flatten)]
    pub scarce: Scarce,
    /// Who holds it, up to five: those who hold most first.
    pub holders: Vec<Holder>,
    /// How many more hold some of it.
    pub more: u32,
}

/// Something of a node that several want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "scarce", rename_all = "snake_case")]
pub enum Scarce {
    /// An amount.
    Amount {
        /// Of what.
        #[serde(flatten)]
        dimension: Dimension,
    },
    /// A port number.
    Port {
        /// Which.
        port: u16,
    },
}

/// Who holds something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// Which allocation.
    pub alloc: AllocId,
    /// Of which job.
    pub job: JobId,
    /// How much of the dimension, in its unit; 1 of a port.
    pub amount: Number,
}

/// An act that would help, complete: nothing is left to choose when it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Remedy {
    /// What to do.
    #[serde(flatten)]
    pub act: Act,
    /// Where the allocation was placed when this was tried; absent for a node that is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRef>,
    /// Who would be made to go for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preempts: Vec<AllocId>,
}

/// Something that somebody can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Act {
    /// Run a job, its own or another's, with this change.
    Change {
        /// Which job.
        job: JobId,
        /// What is changed.
        #[serde(flatten)]
        change: Change,
    },
    /// Run a job that it must be near to and that is nowhere, so that one of its allocations is on the remedy's node.
    Deploy {
        /// Which job.
        job: JobId,
        /// Which group of it has to be there, where it matters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupName>,
    },
    /// Stop these allocations. Those of services are made anew, and wait in turn.
    Stop {
        /// Which.
        allocs: Vec<AllocId>,
    },
    /// Mend a node.
    Repair {
        /// Which.
        broken: NodeRef,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Add nodes.
    AddNodes {
        /// How many.
        count: u32,
        /// What each of them has at least.
        shape: NodeShape,
    },
    /// Set the server's `preempt_max`.
    PreemptMax {
        /// To this.
        preempt_max: u32,
    },
}

/// Why a node takes no work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is lost.
    Lost,
    /// Its disk is full.
    DiskFull,
    /// It is being drained, or has been.
    Draining,
}

same!(Fault, model::Fault { Lost, DiskFull, Draining });

/// What a node has that work is placed by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeShape {
    /// How much.
    pub resources: Resources,
    /// Those attributes alone that the job asks about.
    pub attributes: BTreeMap<String, String>,
    /// The devices, in order of id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// The dynamic ports, first and last.
    pub dynamic_ports: (u16, u16),
}

/// A demand on attributes, as job files write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Constraint {
    /// The attribute's key.
    pub attribute: String,
    /// The operator.
    pub operator: String,
    /// What it is held against; none for `exists` and `not_exists`.
    pub values: Vec<String>,
}

/// A change of one thing of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// It has this priority.
    Priority {
        /// Which.
        priority: u8,
    },
    /// This is not demanded of nodes any more.
    DropConstraint {
        /// By which group; absent: by the job as a whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupName>,
        /// What.
        constraint: Constraint,
    },
    /// A wish for devices does not demand this of them any more.
    DropDeviceConstraint {
        /// Of which group.
        group: GroupName,
        /// Which wish.
        device: DeviceName,
        /// What.
        constraint: Constraint,
    },
    /// A task asks for this much.
    Ask {
        /// Of which group.
        group: GroupName,
        /// Which task.
        task: TaskName,
        /// Of what.
        #[serde(flatten)]
        dimension: Dimension,
        /// How much, in its unit.
        amount: Number,
    },
    /// A wish is for so many whole devices.
    DeviceCount {
        /// Of which group.
        group: GroupName,
        /// Which wish.
        device: DeviceName,
        /// How many.
        count: u32,
    },
    /// A wish is for this share of a device.
    DeviceShare {
        /// Of which group.
        group: GroupName,
        /// Which wish.
        device: DeviceName,
        /// In thousandths.
        thousandths: u16,
    },
    /// A port has another number.
    Port {
        /// Of which group.
        group: GroupName,
        /// Which port.
        port: PortName,
        /// The number; absent: any that is free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u16>,
    },
    /// So many more may be in one part of the cluster.
    AtMost {
        /// Of which group.
        group: GroupName,
        /// What the part is of: `node`, `rack`, `zone` or an attribute.
        per: String,
        /// How many may be there now.
        from: u32,
        /// How many may be there then.
        to: u32,
    },
    /// As many as like may be in one part of the cluster.
    DropAtMost {
        /// Of which group.
        group: GroupName,
        /// What the part is of.
        per: String,
        /// How many may be there now.
        from: u32,
    },
    /// A relation to others is dropped.
    DropRelation {
        /// Of which group.
        group: GroupName,
        /// Whether they are sought or shunned.
        sense: Sense,
        /// The job, in the same namespace.
        to: JobName,
        /// Only this group of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_group: Option<GroupName>,
        /// What the part of the cluster is of.
        within: String,
    },
    /// There are so many allocations of a group.
    Count {
        /// Which group.
        group: GroupName,
        /// How many.
        count: u32,
    },
    /// So many of a group may be under way at once: its `update.max_parallel`.
    MaxParallel {
        /// Which group.
        group: GroupName,
        /// How many.
        count: u32,
    },
}

impl ToWire for model::Advice {
    type Wire = Advice;
    fn to_wire(&self, names: &dyn NodeNames) -> Advice {
        Advice {
            held: self.held.iter().map(|held| held.to_wire(names)).collect(),
            remedies: self.remedies.iter().map(|remedy| remedy.to_wire(names)).collect(),
        }
    }
}

impl ToWire for model::Held {
    type Wire = Held;
    fn to_wire(&self, names: &dyn NodeNames) -> Held {
        let holder = |holder: &model::Holder| Holder {
            alloc: holder.alloc.into(),
            job: holder.job.clone().into(),
            amount: Number(holder.amount),
        };
        let scarce = match &self.scarce {
            model::Scarce::Dimension(dimension) => Scarce::Amount { dimension: dimension.into() },
            model::Scarce::Port(port) => Scarce::Port { port: port.0 },
        };
        Held {
            node: names.node_ref(self.node),
            scarce,
            holders: self.holders.iter().map(holder).collect(),
            more: self.more,
        }
    }
}

impl ToWire for model::Remedy {
    type Wire = Remedy;
    fn to_wire(&self, names: &dyn NodeNames) -> Remedy {
        Remedy {
            act: self.act.to_wire(names),
            node: self.node.map(|node| names.node_ref(node)),
            preempts: self.preempts.iter().copied().map(AllocId).collect(),
        }
    }
}

impl ToWire for model::Act {
    type Wire = Act;
    fn to_wire(&self, names: &dyn NodeNames) -> Act {
        match self {
            model::Act::Change { job, change } => Act::Change { job: job.clone().into(), change: change.into() },
            model::Act::Deploy { job, group } => {
                Act::Deploy { job: job.clone().into(), group: group.clone().map(GroupName) }
            }
            model::Act::Stop(allocs) => Act::Stop { allocs: allocs.iter().copied().map(AllocId).collect() },
            model::Act::Repair { node, fault } => Act::Repair { broken: names.node_ref(*node), fault: (*fault).into() },
            model::Act::AddNodes { count, shape } => Act::AddNodes { count: *count, shape: (&**shape).into() },
            model::Act::PreemptMax(most) => Act::PreemptMax { preempt_max: *most },
        }
    }
}

impl From<&model::NodeShape> for NodeShape {
    fn from(shape: &model::NodeShape) -> NodeShape {
        let (first, last) = shape.dynamic_ports;
        NodeShape {
            resources: shape.resources.into(),
            attributes: shape.attributes.clone(),
            devices: shape.devices.iter().cloned().map(Device::from).collect(),
            dynamic_ports: (first.0, last.0),
        }
    }
}

impl From<&model::Constraint> for Constraint {
    fn from(constraint: &model::Constraint) -> Constraint {
        let (operator, values) = operator(&constraint.operator);
        Constraint { attribute: constraint.attribute.clone(), operator: operator.to_owned(), values }
    }
}

impl From<&model::Change> for Change {
    fn from(change: &model::Change) -> Change {
        match change {
            model::Change::Priority(priority) => Change::Priority { priority: priority.0 },
            model::Change::DropJobConstraint(constraint) => {
                Change::DropConstraint { group: None, constraint: constraint.into() }
            }
            model::Change::Group { group, change } => of_group(GroupName(group.clone()), change),
        }
    }
}

fn of_group(group: GroupName, change: &model::GroupChange) -> Change {
    use model::GroupChange as Of;
    match change {
        Of::DropConstraint(constraint) => Change::DropConstraint { group: Some(group), constraint: constraint.into() },
        Of::DropDeviceConstraint { device, constraint } => {
            Change::DropDeviceConstraint { group, device: DeviceName(device.clone()), constraint: constraint.into() }
        }
        Of::Ask { task, amount } => Change::Ask {
            group,
            task: TaskName(task.clone()),
            dimension: (&amount.dimension()).into(),
            amount: Number(amount.number()),
        },
        Of::Devices { device, amount: model::DeviceAmount::Count(count) } => {
            Change::DeviceCount { group, device: DeviceName(device.clone()), count: *count }
        }
        Of::Devices { device, amount: model::DeviceAmount::Share(share) } => {
            Change::DeviceShare { group, device: DeviceName(device.clone()), thousandths: share.0 }
        }
        Of::Port { port, fixed } => {
            Change::Port { group, port: PortName(port.clone()), number: fixed.map(|port| port.0) }
        }
        Of::AtMost { rule, count } => Change::AtMost { group, per: rule.per.to_string(), from: rule.count, to: *count },
        Of::DropAtMost(rule) => Change::DropAtMost { group, per: rule.per.to_string(), from: rule.count },
        Of::DropRelation(relation) => Change::DropRelation {
            group,
            sense: relation.sense.into(),
            to: relation.to.job.clone().into(),
            to_group: relation.to.group.clone().map(GroupName),
            within: relation.within.to_string(),
        },
        Of::Count(count) => Change::Count { group, count: *count },
        Of::MaxParallel(count) => Change::MaxParallel { group, count: *count },
    }
}
