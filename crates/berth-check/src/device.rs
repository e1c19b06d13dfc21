//! Devices, counted from the placements themselves: nobody has more than there is, everybody has what was asked for.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{DeviceAmount, DeviceId, Placement};

use crate::constraint::is_met;
use crate::findings::Finding;
use crate::plan::{Granted, NodeView};

/// The sum of what all allocations of a node have of each device.
pub(crate) fn check_shares(view: &NodeView<'_>, findings: &mut Vec<Finding>) {
    let mut given: BTreeMap<&DeviceId, u64> = BTreeMap::new();
    for (alloc, group) in &view.allocs {
        let Some(placement) = alloc.placement() else { continue };
        for wish in group.tasks.iter().flat_map(|task| &task.devices) {
            let thousandths = match wish.amount {
                DeviceAmount::Count(_) => 1000,
                DeviceAmount::Share(share) => u64::from(share.0),
            };
            for id in placement.devices.get(&wish.name).into_iter().flatten() {
                *given.entry(id).or_default() += thousandths;
            }
        }
    }
    for (device, taken) in given {
        if taken > 1000 {
            findings.push(Finding::DeviceOverCommitted { node: view.node.id, device: device.clone(), taken });
        }
    }
}

/// Every wish of a placed allocation against the devices of its node.
pub(crate) fn check_grants(granted: &Granted<'_>, placement: &Placement, findings: &mut Vec<Finding>) {
    let known = &granted.node.fingerprint.devices;
    let wishes = || granted.group.tasks.iter().flat_map(|task| &task.devices);
    for stray in placement.devices.keys().filter(|name| !wishes().any(|wish| wish.name == **name)) {
        findings.push(Finding::DeviceWrong { alloc: granted.alloc.id, device: stray.clone() });
    }
    for wish in wishes() {
        let given = placement.devices.get(&wish.name).map_or(&[][..], Vec::as_slice);
        let different: BTreeSet<&DeviceId> = given.iter().collect();
        let asked = match wish.amount {
            DeviceAmount::Count(count) => u64::from(count),
            DeviceAmount::Share(_) => 1,
        };
        let fitting = different.iter().filter(|id| {
            known.iter().any(|device| {
                device.id == ***id
                    && device.kind == wish.kind
                    && !wish.constraints.iter().any(|constraint| !is_met(constraint, &device.attributes))
            })
        });
        let fitting = fitting.count();
        if fitting != given.len() || fitting as u64 != asked {
            findings.push(Finding::DeviceWrong { alloc: granted.alloc.id, device: wish.name.clone() });
        }
    }
}
