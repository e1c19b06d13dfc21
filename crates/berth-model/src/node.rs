//! Nodes: what an agent says of its machine, and where the cluster sees it.

use std::collections::BTreeMap;

use crate::{AgentKey, Cause, Device, NodeId, NodeName, Port, Resources, Timestamp};

/// The attribute that says which version of the stream with the server a node's agent and the server keep to: what a
/// release adds to what agents are asked for has a higher one. The server sets it.
pub const AGENT_PROTOCOL_ATTRIBUTE: &str = "agent.protocol";

/// What an agent found out about its machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The operator's name for it.
    pub name: NodeName,
    /// Where its ports are reached.
    pub address: String,
    /// What may be given to allocations: the machine's own, less what is reserved for the system.
    pub resources: Resources,
    /// `kernel.name`, `kernel.version`, `cpu.arch`, `cgroup.version`, `driver.container`, `label.…` and so on.
    pub attributes: BTreeMap<String, String>,
    /// What else may be given to allocations, in order of id.
    pub devices: Vec<Device>,
    /// The dynamic ports, first and last.
    pub dynamic_ports: (Port, Port),
    /// The version of the agent's program.
    pub agent_version: String,
}

/// A node as the cluster holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Issued at its first registration.
    pub id: NodeId,
    /// The agent's own key.
    pub agent: AgentKey,
    /// What the agent said last.
    pub fingerprint: Fingerprint,
    /// Where it stands.
    pub state: NodeState,
    /// What is wrong with it, as its agent said last, and since when.
    pub conditions: BTreeMap<NodeCondition, Timestamp>,
    /// Whether it is being emptied, or has been.
    pub drain: Option<Drain>,
}

/// The emptying of a node: nothing new is placed on it, and what is on it moves away. It lasts until somebody enables the
/// node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Drain {
    /// Since when.
    pub since: Timestamp,
    /// When it was asked for the last time. What was set then counts from there.
    pub asked: Timestamp,
    /// The command that asked last.
    pub cause: Cause,
    /// When what is still there is stopped, whatever becomes of it; none: it may take as long as it likes.
    pub deadline: Option<Timestamp>,
    /// When its agent had confirmed that nothing is left; none: something is.
    pub done: Option<Timestamp>,
}

impl Drain {
    /// Whether the time of what is on the node is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl Node {
    /// Whether it is heard of.
    pub fn is_eligible(&self) -> bool {
        match self.state {
            NodeState::Ready { .. } => true,
            NodeState::Lost { .. } => false,
        }
    }

    /// Whether new allocations may be placed here.
    pub fn takes_work(&self) -> bool {
        self.is_eligible() && self.drain.is_none() && !self.conditions.contains_key(&NodeCondition::DiskFull)
    }
}

/// What can be wrong with a machine that its agent can still tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeCondition {
    /// The disk of its data folder has no more than its reserve left. What runs goes on, nothing new is placed here.
    DiskFull,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Heard of within the heartbeat's grace.
    Ready {
        /// Since when.
        since: Timestamp,
    },
    /// Silent for longer than the grace. Its work is placed elsewhere; should it come back, what it
    /// still runs is told to stop.
    Lost {
        /// Since when.
        since: Timestamp,
        /// What told.
        cause: Cause,
    },
}
