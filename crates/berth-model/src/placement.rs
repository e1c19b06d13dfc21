//! What a placement decision says: the node, the ports, the devices, and the reasons, complete.

use std::collections::BTreeMap;

use crate::{DecisionId, DeviceGrants, DeviceKind, NodeId, PolicyName, PolicyVersion, Port, PortName};

/// Where an allocation was placed, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// The node.
    pub node: NodeId,
    /// Every port of the group with its number.
    pub ports: BTreeMap<PortName, Port>,
    /// Every wish of the group for devices with what it was given.
    pub devices: DeviceGrants,
    /// The run of the core that chose.
    pub decision: DecisionId,
    /// Why there.
    pub explanation: Explanation,
}

/// Why a node was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// The policy that weighed the terms.
    pub policy: PolicyName,
    /// Its version.
    pub policy_version: PolicyVersion,
    /// Nodes looked at.
    pub considered: u32,
    /// How many nodes each filter removed; a node counts at the first filter that removes it.
    pub filtered: Filtered,
    /// The cost of the chosen node. The lowest sum wins; ties fall to the lower node id.
    pub chosen: Vec<CostTerm>,
    /// The next best node and its cost.
    pub runner_up: Option<(NodeId, Vec<CostTerm>)>,
}

/// One named part of a node's cost: the term's value, times its weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CostTerm {
    /// Which term.
    pub term: Term,
    /// Its value here.
    pub cost: i64,
}

/// The named terms. Each has a value, which a policy's weight multiplies; the sum is what a node costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// How full the node would be in its fullest dimension. Unit: thousandths of the node; range: 0 to 1,000. After the
    /// "least allocated" score of Kubernetes' scheduler, with the dominant share of DRF (NSDI 2011) in place of a mean.
    Utilisation,
    /// How many allocations of the same group the node holds already. Unit: allocations; range: from 0, without those that
    /// this one replaces. After Nomad's job anti-affinity.
    SameGroup,
    /// What the node's room loses of its worth for what is expected to be asked for. Unit: millionths of a device; range:
    /// from a little below 0 to the devices of the node. After FGD (USENIX ATC 2023), with prices of our own:
    /// `berth_placement::fit`.
    Fragmentation,
    /// Where the group's last allocation failed or was lost. Unit: 1 for such a node; range: 0 to 1. After the penalty for
    /// rescheduling on the same node of Nomad.
    FailedHere,
    /// What the group prefers of a node and this one has not. Unit: thousandths of a node, the weights that the job gives;
    /// range: 0 to the sum of the weights. After the node affinity of Kubernetes' scheduler.
    Preference,
    /// Others that the group likes to be near to and that are not in this part of the cluster. Unit and range as for
    /// preferences. After the pod affinity of Kubernetes' scheduler.
    Affinity,
    /// Others that the group likes to be apart from and that are in this part of the cluster. Unit and range as for
    /// preferences.
    AntiAffinity,
    /// How much of what it should have of the group this part of the cluster would have with one more. Unit: the rule's
    /// weight for all that it should have; range: 0 to ten times the weight. After the spread block of Nomad; taking the
    /// least filled part each time is D'Hondt's way of sharing out seats.
    Spread,
    /// How much of the node would be free in its fullest dimension. Unit: thousandths of the node; range: 0 to 1,000. After
    /// the "most allocated" score of Kubernetes' scheduler and best fit in bin packing.
    Emptiness,
}

impl Term {
    /// All of them.
    pub const ALL: [Term; 9] = [
        Term::Utilisation,
        Term::SameGroup,
        Term::Fragmentation,
        Term::FailedHere,
        Term::Preference,
        Term::Affinity,
        Term::AntiAffinity,
        Term::Spread,
        Term::Emptiness,
    ];
}

/// How many nodes each filter removed.
pub type Filtered = BTreeMap<Filter, u32>;

/// Why a node cannot take an allocation. The order is that in which filters are tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// The node is lost.
    NodeLost,
    /// The node's disk is full.
    DiskFull,
    /// The node is being emptied, or has been.
    Draining,
    /// This driver (`container`, `exec`) is missing on the node.
    DriverMissing(String),
    /// This constraint does not hold.
    Constraint(crate::Constraint),
    /// The node has too few devices of this kind of which the wish's constraints hold, taken or not.
    DeviceMissing(DeviceKind),
    /// A fixed port is taken.
    PortTaken(Port),
    /// All dynamic ports are taken.
    DynamicPortsExhausted,
    /// Too little of this dimension is left.
    Exhausted(Dimension),
    /// This part of the cluster has as many of the group as it may have.
    AtMost(crate::AtMost),
    /// This relation to others, which is required, does not hold in this part of the cluster.
    Relation(crate::Relation),
    /// Allocations of this job are in this part of the cluster, and must not have the group near.
    Shunned(crate::JobId),
}

/// The dimensions of a node's resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// In thousandths of a core.
    Cpu,
    /// In bytes.
    Memory,
    /// In bytes.
    Disk,
    /// In megabits a second.
    Network,
    /// Devices of this kind, in thousandths of one: only those count of which the wish's constraints hold.
    Device(DeviceKind),
}

/// A dimension in which something does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shortfall {
    /// Which.
    pub dimension: Dimension,
    /// What is asked for.
    pub wanted: u64,
    /// What the node has left.
    pub free: u64,
    /// What the node has in all.
    pub capacity: u64,
}
