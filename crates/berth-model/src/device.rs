//! Devices: things of a node that are given out whole or in shares, and what tasks ask for.

use std::collections::BTreeMap;

use crate::{Constraint, DeviceId, DeviceKind, DeviceName, Thousandths};

/// One device of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// Unique within the node, whatever the kind.
    pub id: DeviceId,
    /// What tells it from others of its kind: `model`, `memory_mib`.
    pub attributes: BTreeMap<String, String>,
    /// The device files that a task needs to use it, as the node names them: `/dev/nvidia0`.
    pub paths: Vec<String>,
}

/// A task's wish for devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceSpec {
    /// Unique within the group.
    pub name: DeviceName,
    /// What kind of device.
    pub kind: DeviceKind,
    /// How many, or how much of one.
    pub amount: DeviceAmount,
    /// What must hold of the attributes of every device that is given.
    pub constraints: Vec<Constraint>,
}

/// How much of devices is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceAmount {
    /// So many whole ones, each of them for this task alone; at least 1.
    Count(u32),
    /// A part of a single one, which others may share: 1 to 999.
    Share(Thousandths),
}

impl DeviceAmount {
    /// On how many devices.
    pub fn devices(self) -> usize {
        match self {
            DeviceAmount::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            DeviceAmount::Share(_) => 1,
        }
    }

    /// How much of each of them.
    pub fn of_each(self) -> Thousandths {
        match self {
            DeviceAmount::Count(_) => Thousandths::WHOLE,
            DeviceAmount::Share(share) => share,
        }
    }
}

/// Which devices each wish of a group was given.
pub type DeviceGrants = BTreeMap<DeviceName, Vec<DeviceId>>;
