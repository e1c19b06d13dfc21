//! What can be wrong with a plan.

use berth_model::{
    AllocId, Constraint, DeviceId, DeviceName, Dimension, Domain, Epoch, Format, GroupName, JobId, NodeId, Port,
    PortName, Relation,
};

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A node has promised more than it has.
    #[error("node {node} has promised {used} of {capacity} in {dimension:?}")]
    OverCapacity {
        /// The node.
        node: NodeId,
        /// In what.
        dimension: Dimension,
        /// What it has promised.
        used: u128,
        /// What it has.
        capacity: u64,
    },
    /// Two allocations, or one twice, were given the same port.
    #[error("node {node} has given port {port} to {first} and {second}")]
    PortTwice {
        /// The node.
        node: NodeId,
        /// The port.
        port: Port,
        /// Who has it.
        first: AllocId,
        /// Who was given it as well.
        second: AllocId,
    },
    /// A port has no number, another than was asked for, or a dynamic one outside of the node's range.
    #[error("allocation {alloc} has a wrong number for port {port}")]
    PortWrong {
        /// The allocation.
        alloc: AllocId,
        /// The port.
        port: PortName,
    },
    /// More of a device was given out than there is of it, or a whole one to more than one wish.
    #[error("node {node} has given {taken} thousandths of device {device}")]
    DeviceOverCommitted {
        /// The node.
        node: NodeId,
        /// The device.
        device: DeviceId,
        /// How much was given, in thousandths.
        taken: u64,
    },
    /// A wish for devices was given too few, too many, one twice, or one that its node has not or that does not suit it.
    #[error("allocation {alloc} was given wrong devices for {device}")]
    DeviceWrong {
        /// The allocation.
        alloc: AllocId,
        /// The wish.
        device: DeviceName,
    },
    /// An allocation is placed on a node whose agent does not know leases.
    #[error(
        "allocation {alloc} is fenced and on node {node}, whose agent of protocol {protocol:?} does not know leases"
    )]
    AgentTooOld {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
        /// What its agent speaks.
        protocol: Option<u32>,
    },
    /// A constraint does not hold on the chosen node.
    #[error("allocation {alloc} is on node {node}, of which {constraint:?} does not hold")]
    ConstraintBroken {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
        /// The constraint.
        constraint: Constraint,
    },
    /// A part of the cluster has more of a group than it may have, or the node is in none.
    #[error("allocation {alloc} is on node {node}, where {found} of its group are in one {per} and {allowed} may be")]
    TooManyTogether {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
        /// What the part is of.
        per: Domain,
        /// How many there are.
        found: u64,
        /// How many there may be.
        allowed: u32,
    },
    /// A relation to others that is required does not hold.
    #[error("allocation {alloc} is on node {node}, where {relation:?} does not hold")]
    RelationBroken {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
        /// The relation.
        relation: Relation,
    },
    /// Another allocation must not have this one near.
    #[error("allocation {alloc} is on node {node}, too near to {by}")]
    Shunned {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
        /// The other one.
        by: AllocId,
    },
    /// An allocation has to go for one that is not of higher priority.
    #[error("{victim} has to go for {by}, which is not of higher priority")]
    PriorityInverted {
        /// Who goes.
        victim: AllocId,
        /// For whom.
        by: AllocId,
    },
    /// An allocation has to go whose job does not allow it.
    #[error("{victim} has to go for {by}, and its job is not preemptible")]
    NotPreemptible {
        /// Who goes.
        victim: AllocId,
        /// For whom.
        by: AllocId,
    },
    /// Too many of a group are leaving for others.
    #[error("{leaving} of the group of {victim} are leaving for others, {allowed} may be")]
    GroupPreempted {
        /// One of them.
        victim: AllocId,
        /// How many are.
        leaving: usize,
        /// How many may be.
        allowed: u32,
    },
    /// Too many are leaving for others in the whole cluster.
    #[error("{leaving} allocations are leaving for others, {allowed} may be")]
    TooManyPreempted {
        /// How many are.
        leaving: usize,
        /// How many may be.
        allowed: u32,
    },
    /// An allocation is moved that is no service or not ready, or to where it is, or into another's place.
    #[error("{to} is to take over from {from}, which must not be moved there")]
    MovedWrongly {
        /// Which is moved.
        from: AllocId,
        /// The one that is to take over.
        to: AllocId,
    },
    /// Too many are being moved in the whole cluster.
    #[error("{moving} allocations are being moved, {allowed} may be")]
    TooManyMoved {
        /// How many are.
        moving: usize,
        /// How many may be.
        allowed: u32,
    },
    /// Some of a group that is placed as a whole were placed and others wait.
    #[error("{placed} of {job} {group} were placed and {waiting} wait, though all are placed together or none")]
    GangBroken {
        /// The job.
        job: JobId,
        /// The group.
        group: GroupName,
        /// How many were placed.
        placed: usize,
        /// How many wait for a place.
        waiting: usize,
    },
    /// The chosen node is lost.
    #[error("allocation {alloc} is placed on node {node}, which is lost")]
    NodeLost {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
    },
    /// The disk of the chosen node is full.
    #[error("allocation {alloc} is placed on node {node}, whose disk is full")]
    DiskFull {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
    },
    /// The chosen node is being emptied.
    #[error("allocation {alloc} is placed on node {node}, which is being drained")]
    Draining {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
    },
    /// The chosen node has not the driver.
    #[error("allocation {alloc} is placed on node {node}, which has no driver {driver}")]
    DriverMissing {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
        /// The driver.
        driver: &'static str,
    },
    /// An allocation for one node is on another.
    #[error("allocation {alloc} is on node {node} and not on the one it is for")]
    WrongNode {
        /// The allocation.
        alloc: AllocId,
        /// The node.
        node: NodeId,
    },
    /// Too many of a group are in the course of being replaced.
    #[error("{replacing} of {job} {group} are being replaced at once, {allowed} are allowed")]
    BudgetExceeded {
        /// The job.
        job: JobId,
        /// The group.
        group: GroupName,
        /// How many are.
        replacing: u32,
        /// How many may be.
        allowed: u32,
    },
    /// An allocation was made for which nothing in the ledger tells.
    #[error("allocation {alloc} was made without an entry that tells its cause")]
    NoCause {
        /// The allocation.
        alloc: AllocId,
    },
    /// A commit does not begin with the counters, or has them twice.
    #[error("a commit has {count} meta records, not one at its front")]
    MetaMissing {
        /// How many it has.
        count: usize,
    },
    /// A commit is of another reign.
    #[error("a commit carries epoch {found} in the reign of {expected}")]
    WrongEpoch {
        /// What it carries.
        found: Epoch,
        /// What it should.
        expected: Epoch,
    },
    /// A counter went back.
    #[error("the counter of {counter} went from {before} to {after}")]
    CounterWentBack {
        /// Of what.
        counter: &'static str,
        /// From.
        before: u64,
        /// To.
        after: u64,
    },
    /// The format of what is stored went back: what is there could not be read by those who read the older one.
    #[error("the format went from {before} to {after}")]
    FormatWentBack {
        /// From.
        before: Format,
        /// To.
        after: Format,
    },
    /// An object has an id that its commit's counters have not issued.
    #[error("{what} was never issued")]
    NotIssued {
        /// The id.
        what: String,
    },
    /// A commit has more writes than the store takes.
    #[error("a commit has {count} writes")]
    TooManyMutations {
        /// How many.
        count: usize,
    },
}
