//! Nodes as users see them, and the fingerprint as agents send it.

use std::collections::BTreeMap;

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reason::same;
use super::{Cause, DeviceId, DeviceKind, NodeId, NodeName, Number, Time};

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
    /// Whether it is being emptied, or has been; absent while it takes work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// What may be given to allocations.
    pub resources: Resources,
    /// What allocations hold of it.
    pub used: Resources,
    /// How many allocations hold a part of it.
    pub allocs: u32,
    /// Its devices, and how much of each allocations hold.
    #[serde(default)]
    pub devices: Vec<NodeDevice>,
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

/// The emptying of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drain {
    /// Since when.
    pub since: Time,
    /// The command that asked last.
    pub cause: Cause,
    /// When what is still there is stopped; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// Since when nothing is left on the node, as its agent has confirmed; absent: something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Time>,
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
    /// Network bandwidth in megabits a second; 18446744073709551615 of a node whose link has no known speed.
    #[serde(default)]
    pub network_mbits: Number,
}

/// A device of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// Unique within the node.
    pub id: DeviceId,
    /// What tells it from others of its kind.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The device files that a task needs to use it.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// A device, and how much of it allocations hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeDevice {
    /// The device.
    #[serde(flatten)]
    pub device: Device,
    /// How much allocations hold, in thousandths.
    pub used_thousandths: u32,
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
    /// What else may be given to allocations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
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
            network_mbits: Number(resources.network.0),
        }
    }
}

impl From<Resources> for model::Resources {
    fn from(resources: Resources) -> model::Resources {
        model::Resources {
            cpu: model::CpuMillis(resources.cpu_millis.0),
            memory: resources.memory_bytes.into(),
            disk: resources.disk_bytes.into(),
            network: model::Mbits(resources.network_mbits.0),
        }
    }
}

impl From<model::Device> for Device {
    fn from(device: model::Device) -> Device {
        let model::Device { kind, id, attributes, paths } = device;
        Device { kind: kind.into(), id: id.into(), attributes, paths }
    }
}

impl From<Device> for model::Device {
    fn from(device: Device) -> model::Device {
        let Device { kind, id, attributes, paths } = device;
        model::Device { kind: kind.into(), id: id.into(), attributes, paths }
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
            devices: fingerprint.devices.into_iter().map(Device::from).collect(),
            dynamic_ports: PortRange { first: first.0, last: last.0 },
            agent_version: fingerprint.agent_version,
        }
    }
}

impl From<Fingerprint> for model::Fingerprint {
    fn from(fingerprint: Fingerprint) -> model::Fingerprint {
        let PortRange { first, last } = fingerprint.dynamic_ports;
        let mut devices: Vec<model::Device> = fingerprint.devices.into_iter().map(model::Device::from).collect();
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        model::Fingerprint {
            name: fingerprint.name.into(),
            address: fingerprint.address,
            resources: fingerprint.resources.into(),
            attributes: fingerprint.attributes,
            devices,
            dynamic_ports: (model::Port(first), model::Port(last)),
            agent_version: fingerprint.agent_version,
        }
    }
}
