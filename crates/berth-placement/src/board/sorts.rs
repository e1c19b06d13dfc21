//! Nodes that no wish for devices can tell apart but by what is held there: a class compares its wishes with each sort once.

use std::collections::BTreeMap;

use berth_model::{Device, DeviceKind};

/// The number of a sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortId(u64);

impl SortId {
    /// The sort that all nodes are of to a class that wants no devices.
    pub(crate) const ANY: SortId = SortId(0);
}

/// What wishes ask of devices, device by device: the kind and the attributes.
type Sort = Vec<(DeviceKind, BTreeMap<String, String>)>;

/// The sorts of all nodes, each with how many are of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorts {
    known: BTreeMap<Sort, (SortId, u32)>,
    last: u64,
}

impl Sorts {
    /// A node more has these devices.
    pub(super) fn enter(&mut self, devices: &[Device]) -> SortId {
        let (sort, nodes) = self.known.entry(sort(devices)).or_insert_with(|| {
            self.last += 1;
            (SortId(self.last), 0)
        });
        *nodes += 1;
        *sort
    }

    /// A node less has these devices.
    pub(super) fn leave(&mut self, devices: &[Device]) {
        let sort = sort(devices);
        let Some((_, nodes)) = self.known.get_mut(&sort) else { return };
        *nodes -= 1;
        if *nodes == 0 {
            self.known.remove(&sort);
        }
    }
}

fn sort(devices: &[Device]) -> Sort {
    devices.iter().map(|device| (device.kind.clone(), device.attributes.clone())).collect()
}
