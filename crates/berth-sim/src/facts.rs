//! What was ever true, as far as the invariants need it: independent of the store, of which each state is only
//! the newest, and written by other code than the cores.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use berth_model::{
    AgentKey, AllocId, CommandId, CommandOutcome, DeviceId, Epoch, EventId, NodeId, Port, Resources, TaskName,
};

use crate::store::CommandKey;
use crate::world::MachineId;

/// What an allocation holds of its node.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(crate) node: NodeId,
    pub(crate) resources: Resources,
    pub(crate) ports: Vec<Port>,
    /// In thousandths of each.
    pub(crate) devices: Vec<(DeviceId, u64)>,
}

/// History.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Allocations that were ever made.
    pub(crate) allocs: u64,
    /// Of these, those that were to take over from others for the sake of balance.
    pub(crate) moves: u64,
    /// Which.
    pub(crate) made: BTreeSet<AllocId>,
    /// Entries of the ledger that were ever written.
    pub(crate) entries: BTreeSet<EventId>,
    /// Where an allocation was ever placed.
    pub(crate) placed: BTreeMap<AllocId, NodeId>,
    /// What is held now, as the store tells.
    pub(crate) holdings: BTreeMap<AllocId, Holding>,
    /// The sum of it, node by node.
    pub(crate) used: BTreeMap<NodeId, Resources>,
    /// The ports of it.
    pub(crate) ports: BTreeMap<(NodeId, Port), AllocId>,
    /// The devices of it, in thousandths of each.
    pub(crate) devices: BTreeMap<(NodeId, DeviceId), u64>,
    /// Every command that was ever durable.
    pub(crate) commands: BTreeMap<CommandKey, (CommandId, CommandOutcome)>,
    /// The ids of these commands.
    pub(crate) command_ids: BTreeSet<CommandId>,
    /// The node that an agent is.
    pub(crate) nodes: BTreeMap<AgentKey, NodeId>,
    /// All nodes that ever were: a machine that was forgotten comes back as another one.
    pub(crate) nodes_made: BTreeSet<NodeId>,
    /// Lost nodes on which something is still held: the commits of which server's epoch have passed over it, and how
    /// many.
    pub(crate) lost: BTreeMap<NodeId, (Epoch, u32)>,
    /// Since when, and in whose epoch, nodes are lost on which something is held that was given time.
    pub(crate) lost_since: BTreeMap<NodeId, (Epoch, u64)>,
    /// The newest epoch in the store, and since when.
    pub(crate) epoch_since: (Epoch, u64),
    /// How often a machine was cut off on which something fenced ran.
    pub(crate) cut_off_fenced: u64,
    /// On which machine an allocation ran.
    pub(crate) ran_on: BTreeMap<AllocId, MachineId>,
    /// When the newest runs of a task began, by the machine's clock.
    pub(crate) starts: BTreeMap<(AllocId, TaskName), VecDeque<u64>>,
}
