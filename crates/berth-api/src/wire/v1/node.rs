//! Nodes as users see them, and the fingerprint as agents send it.

use std::collections::BTreeMap;

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reason::same;
use super::{Cause, NodeId, NodeName, Number, Time};

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// The operator's name for it.
    pub name: NodeName,
    /// Where its ports are reached.
    pub address: String,
    /// Where it stands.
    pub state: NodeState,
    /// What is wrong with it, as its agent said last; none of it is news of a node that is lost.
    #[serde(default)]
    pub conditions: Vec<NodeCondition>,
    /// What may be given to allocations.
    pub resources: Resources,
    /// What allocations hold of it.
    pub used: Resources,
    /// How many allocations hold a part of it.
    pub allocs: u32,
    /// The dynamic ports.
    pub dynamic_ports: PortRange,
    /// What the agent found out.
    pub attributes: BTreeMap<String, String>,
    /// The version of the agent's program.
    pub agent_version: String,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NodeState {
    /// Heard of within the heartbeat's grace.
    Ready {
        /// Since when.
        since: Time,
    },
    /// Silent for longer than the grace.
    Lost {
        /// Since when.
        since: Time,
        /// What told.
        cause: Cause,
    },
}

/// Something that is wrong with a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeCondition {
    /// What.
    pub kind: NodeConditionKind,
    /// Since when, as the server's clock tells.
    pub since: Time,
}

/// What can be wrong with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeConditionKind {
    /// The disk of its data folder has no more than its reserve left: what runs goes on, nothing new is placed there.
    DiskFull,
}

same!(NodeConditionKind, model::NodeCondition { DiskFull });

/// A vector of resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resources {
    /// Processor time in thousandths of a core.
    pub cpu_millis: Number,
    /// Memory in bytes.
    pub memory_bytes: Number,
    /// Disk in bytes.
    pub disk_bytes: Number,
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// What an agent found out about its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fingerprint {
    /// The operator's name for it.
    pub name: NodeName,
    /// Where its ports are reached.
    pub address: String,
    /// What may be given to allocations.
    pub resources: Resources,
    /// What the agent found out.
    pub attributes: BTreeMap<String, String>,
    /// The dynamic ports.
    pub dynamic_ports: PortRange,
    /// The version of the agent's program.
    pub agent_version: String,
}

impl From<model::Resources> for Resources {
    fn from(resources: model::Resources) -> Resources {
        Resources {
            cpu_millis: Number(resources.cpu.0),
            memory_bytes: resources.memory.into(),
            disk_bytes: resources.disk.into(),
        }
    }
}

impl From<Resources> for model::Resources {
    fn from(resources: Resources) -> model::Resources {
        model::Resources {
            cpu: model::CpuMillis(resources.cpu_millis.0),
            memory: resources.memory_bytes.into(),
            disk: resources.disk_bytes.into(),
        }
    }
}

impl From<model::Fingerprint> for Fingerprint {
    fn from(fingerprint: model::Fingerprint) -> Fingerprint {
        let (first, last) = fingerprint.dynamic_ports;
        Fingerprint {
            name: fingerprint.name.into(),
            address: fingerprint.address,
            resources: fingerprint.resources.into(),
            attributes: fingerprint.attributes,
            dynamic_ports: PortRange { first: first.0, last: last.0 },
            agent_version: fingerprint.agent_version,
        }
    }
}

impl From<Fingerprint> for model::Fingerprint {
    fn from(fingerprint: Fingerprint) -> model::Fingerprint {
        let PortRange { first, last } = fingerprint.dynamic_ports;
        model::Fingerprint {
            name: fingerprint.name.into(),
            address: fingerprint.address,
            resources: fingerprint.resources.into(),
            attributes: fingerprint.attributes,
            dynamic_ports: (model::Port(first), model::Port(last)),
            agent_version: fingerprint.agent_version,
        }
    }
}
