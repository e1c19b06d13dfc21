//! What could be done about an allocation that waits: complete acts, nothing left to choose when one is carried out.

use std::collections::BTreeMap;

use crate::{
    AllocId, AtMost, Bytes, Constraint, CpuMillis, Device, DeviceAmount, DeviceName, Dimension, GroupName, GroupSpec,
    JobId, JobSpec, Mbits, NodeId, Port, PortName, Priority, Relation, Resources, TaskName, TaskSpec,
};

/// What there is to tell of an allocation that waits, beside its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// Who holds what is lacking, on the nodes that lack least, nearest first.
    pub held: Vec<Held>,
    /// What would make it run, the least demanding first; at most three.
    pub remedies: Vec<Remedy>,
}

/// What is in the way on one node, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The node.
    pub node: NodeId,
    /// Of what there is too little.
    pub scarce: Scarce,
    /// Who holds it: those who hold most first.
    pub holders: Vec<Holder>,
    /// How many more hold some of it.
    pub more: u32,
}

/// Something of a node that several want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// An amount.
    Dimension(Dimension),
    /// A port number.
    Port(Port),
}

/// Who holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which allocation.
    pub alloc: AllocId,
    /// Of which job.
    pub job: JobId,
    /// How much of the dimension, in its unit; 1 of a port.
    pub amount: u64,
}

/// An act after which an allocation that waits was placed, by the code that places, on a copy of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// What to do.
    pub act: Act,
    /// Where the allocation was placed. None: on a node that the act adds.
    pub node: Option<NodeId>,
    /// Who would be made to go for it.
    pub preempts: Vec<AllocId>,
}

/// Something that somebody can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Run a job, its own or another's, with this change.
    Change {
        /// Which job.
        job: JobId,
        /// What is changed.
        change: Change,
    },
    /// Run a job that it must be near to and that is nowhere, so that one of its allocations is where the remedy says.
    Deploy {
        /// Which job.
        job: JobId,
        /// Which group of it has to be there, where it matters.
        group: Option<GroupName>,
    },
    /// Stop these. Those of services are made anew, and wait in turn.
    Stop(Vec<AllocId>),
    /// Mend a node.
    Repair {
        /// Which.
        node: NodeId,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Add so many nodes of a shape.
    AddNodes {
        /// How many.
        count: u32,
        /// What each of them has at least.
        shape: Box<NodeShape>,
    },
    /// Let so many allocations of the cluster be on their way out for others at once.
    PreemptMax(u32),
}

/// Why a node takes no work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is lost.
    Lost,
    /// Its disk is full.
    DiskFull,
    /// It is being emptied, or has been.
    Draining,
}

/// What a node has that work is placed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShape {
    /// How much.
    pub resources: Resources,
    /// Those attributes alone that the job asks about.
    pub attributes: BTreeMap<String, String>,
    /// The devices, in order of id.
    pub devices: Vec<Device>,
    /// The dynamic ports, first and last.
    pub dynamic_ports: (Port, Port),
}

/// An amount of one of the dimensions that every task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Processor time.
    Cpu(CpuMillis),
    /// Memory.
    Memory(Bytes),
    /// Disk.
    Disk(Bytes),
    /// Bandwidth.
    Network(Mbits),
}

impl Amount {
    /// Of which dimension.
    pub fn dimension(self) -> Dimension {
        match self {
            Amount::Cpu(_) => Dimension::Cpu,
            Amount::Memory(_) => Dimension::Memory,
            Amount::Disk(_) => Dimension::Disk,
            Amount::Network(_) => Dimension::Network,
        }
    }

    /// The number alone, in the unit of its dimension.
    pub fn number(self) -> u64 {
        match self {
            Amount::Cpu(CpuMillis(number)) | Amount::Network(Mbits(number)) => number,
            Amount::Memory(Bytes(number)) | Amount::Disk(Bytes(number)) => number,
        }
    }

    /// What `resources` has of the same dimension.
    pub fn of(self, resources: Resources) -> u64 {
        match self {
            Amount::Cpu(_) => resources.cpu.0,
            Amount::Memory(_) => resources.memory.0,
            Amount::Disk(_) => resources.disk.0,
            Amount::Network(_) => resources.network.0,
        }
    }

    /// As much of the same dimension.
    #[must_use]
    pub fn with(self, number: u64) -> Amount {
        match self {
            Amount::Cpu(_) => Amount::Cpu(CpuMillis(number)),
            Amount::Memory(_) => Amount::Memory(Bytes(number)),
            Amount::Disk(_) => Amount::Disk(Bytes(number)),
            Amount::Network(_) => Amount::Network(Mbits(number)),
        }
    }

    fn put_into(self, resources: &mut Resources) {
        match self {
            Amount::Cpu(cpu) => resources.cpu = cpu,
            Amount::Memory(memory) => resources.memory = memory,
            Amount::Disk(disk) => resources.disk = disk,
            Amount::Network(network) => resources.network = network,
        }
    }
}

/// A change of one thing of a specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The job has this priority.
    Priority(Priority),
    /// The job as a whole does not demand this of nodes any more.
    DropJobConstraint(Constraint),
    /// Something of a group.
    Group {
        /// Which group.
        group: GroupName,
        /// What of it.
        change: GroupChange,
    },
}

/// A change of one thing of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupChange {
    /// It does not demand this of nodes any more.
    DropConstraint(Constraint),
    /// A wish for devices does not demand this of them any more.
    DropDeviceConstraint {
        /// Which wish.
        device: DeviceName,
        /// What is dropped.
        constraint: Constraint,
    },
    /// A task asks for this much.
    Ask {
        /// Which task.
        task: TaskName,
        /// How much of what.
        amount: Amount,
    },
    /// A wish is for this much of devices.
    Devices {
        /// Which wish.
        device: DeviceName,
        /// How much.
        amount: DeviceAmount,
    },
    /// A port has this number, or any.
    Port {
        /// Which.
        port: PortName,
        /// The number; none for any that is free.
        fixed: Option<Port>,
    },
    /// So many more may be in one part of the cluster.
    AtMost {
        /// What holds now.
        rule: AtMost,
        /// How many may be there instead.
        count: u32,
    },
    /// As many as like may be in one part of the cluster.
    DropAtMost(AtMost),
    /// It is not placed by this relation any more.
    DropRelation(Relation),
    /// There are so many allocations of it.
    Count(u32),
    /// So many of them may be under way at once, in replacements and for others of higher priority.
    MaxParallel(u32),
}

impl Change {
    /// Changes a specification so. One that has nothing of what is changed stays as it is.
    pub fn apply(&self, spec: &mut JobSpec) {
        match self {
            Change::Priority(priority) => spec.priority = *priority,
            Change::DropJobConstraint(constraint) => spec.constraints.retain(|known| known != constraint),
            Change::Group { group, change } => {
                if let Some(group) = spec.groups.iter_mut().find(|known| known.name == *group) {
                    change.apply(group);
                }
            }
        }
    }
}

impl GroupChange {
    fn apply(&self, group: &mut GroupSpec) {
        match self {
            GroupChange::DropConstraint(constraint) => group.constraints.retain(|known| known != constraint),
            GroupChange::DropDeviceConstraint { device, constraint } => {
                for wish in devices(group).filter(|wish| wish.name == *device) {
                    wish.constraints.retain(|known| known != constraint);
                }
            }
            GroupChange::Ask { task, amount } => {
                for task in group.tasks.iter_mut().filter(|known| known.name == *task) {
                    amount.put_into(&mut task.resources);
                }
            }
            GroupChange::Devices { device, amount } => {
                for wish in devices(group).filter(|wish| wish.name == *device) {
                    wish.amount = *amount;
                }
            }
            GroupChange::Port { port, fixed } => {
                for spec in group.tasks.iter_mut().flat_map(|task| &mut task.ports).filter(|spec| spec.name == *port) {
                    spec.fixed = *fixed;
                }
            }
            GroupChange::AtMost { rule, count } => {
                for known in group.rules.at_most.iter_mut().filter(|known| *known == rule) {
                    known.count = *count;
                }
            }
            GroupChange::DropAtMost(rule) => group.rules.at_most.retain(|known| known != rule),
            GroupChange::DropRelation(relation) => group.rules.relations.retain(|known| known != relation),
            GroupChange::Count(count) => group.count = *count,
            GroupChange::MaxParallel(count) => group.update.max_parallel = *count,
        }
    }
}

fn devices(group: &mut GroupSpec) -> impl Iterator<Item = &mut crate::DeviceSpec> {
    group.tasks.iter_mut().flat_map(|task: &mut TaskSpec| &mut task.devices)
}
