//! The filters: why a node cannot take an allocation of a class. Tried in the order of [`Filter`]'s variants.

use std::collections::BTreeMap;

use berth_model::{
    Constraint, Dimension, Driver, Filter, Fingerprint, GroupSpec, JobSpec, Port, PortName, Resources, Shortfall,
};

use crate::board::{Eligibility, Seat};
use crate::constraint::holds;
use crate::device;

/// What all allocations of one job version and group have in common.
#[derive(Clone, Copy, Debug)]
pub struct Class<'a> {
    /// The job, for its constraints.
    pub job: &'a JobSpec,
    /// The group.
    pub group: &'a GroupSpec,
}

impl<'a> Class<'a> {
    fn constraints(self) -> impl Iterator<Item = &'a Constraint> {
        self.job.constraints.iter().chain(self.group.constraints.iter())
    }

    fn drivers(self) -> impl Iterator<Item = &'static str> {
        self.group.tasks.iter().map(|task| match task.driver {
            Driver::Container(_) => "container",
            Driver::Exec => "exec",
        })
    }
}

/// Whether a node of this kind may run the class at all: its drivers and devices are there and its constraints hold.
/// Says nothing of room.
pub fn admits(fingerprint: &Fingerprint, class: Class<'_>) -> bool {
    unsuited(fingerprint, class).is_none()
}

/// The first filter of those that only a change of the machine or the job could lift.
fn unsuited(fingerprint: &Fingerprint, class: Class<'_>) -> Option<Filter> {
    let missing = class.drivers().find(|driver| !has_driver(fingerprint, driver));
    if let Some(driver) = missing {
        return Some(Filter::DriverMissing(driver.to_owned()));
    }
    let broken = class.constraints().find(|constraint| !holds(constraint, &fingerprint.attributes));
    let broken = broken.map(|constraint| Filter::Constraint(constraint.clone()));
    broken.or_else(|| device::missing(&fingerprint.devices, class.group))
}

/// An agent tells of a driver by the attribute `driver.NAME`; `false` says that it is there but does not work.
fn has_driver(fingerprint: &Fingerprint, driver: &str) -> bool {
    fingerprint.attributes.get(&format!("driver.{driver}")).is_some_and(|value| value != "false")
}

/// The first filter that removes the node; none when the allocation fits now.
pub(crate) fn first(seat: &Seat, class: Class<'_>, wanted: Resources) -> Option<Filter> {
    match seat.eligibility {
        Eligibility::Ready => {}
        Eligibility::Lost => return Some(Filter::NodeLost),
        Eligibility::DiskFull => return Some(Filter::DiskFull),
    }
    if let Some(filter) = unsuited(&seat.fingerprint, class) {
        return Some(filter);
    }
    if let Err(filter) = choose_ports(seat, class) {
        return Some(filter);
    }
    let exhausted = exhausted(seat.used + wanted, seat.fingerprint.resources).map(Filter::Exhausted);
    exhausted.or_else(|| device::choose(seat, class.group).err())
}

/// A number for every port of the group: the fixed as asked, the dynamic ones the lowest that are free.
pub(crate) fn choose_ports(seat: &Seat, class: Class<'_>) -> Result<BTreeMap<PortName, Port>, Filter> {
    let mut chosen = BTreeMap::new();
    for spec in class.group.ports() {
        let Some(port) = spec.fixed else { continue };
        if seat.ports.contains_key(&port) || chosen.values().any(|other| *other == port) {
            return Err(Filter::PortTaken(port));
        }
        chosen.insert(spec.name.clone(), port);
    }
    let (first, last) = seat.fingerprint.dynamic_ports;
    let mut candidates = first.0..=last.0;
    for spec in class.group.ports().filter(|spec| spec.fixed.is_none()) {
        let free = candidates
            .by_ref()
            .map(Port)
            .find(|port| !seat.ports.contains_key(port) && !chosen.values().any(|other| other == port));
        chosen.insert(spec.name.clone(), free.ok_or(Filter::DynamicPortsExhausted)?);
    }
    Ok(chosen)
}

/// The first dimension that would be promised beyond what there is. A machine that has shrunk below its promises takes
/// nothing, not even what wants nothing of it.
fn exhausted(promised: Resources, capacity: Resources) -> Option<Dimension> {
    if promised.cpu > capacity.cpu {
        Some(Dimension::Cpu)
    } else if promised.memory > capacity.memory {
        Some(Dimension::Memory)
    } else if promised.disk > capacity.disk {
        Some(Dimension::Disk)
    } else if promised.network > capacity.network {
        Some(Dimension::Network)
    } else {
        None
    }
}

/// The dimension in which the node lacks most, with how much of the wish is lacking in millionths.
pub(crate) fn shortfall(seat: &Seat, class: Class<'_>, wanted: Resources) -> Option<(u64, Shortfall)> {
    let (free, capacity) = (seat.free(), seat.fingerprint.resources);
    let dimensions = [
        (Dimension::Cpu, wanted.cpu.0, free.cpu.0, capacity.cpu.0),
        (Dimension::Memory, wanted.memory.0, free.memory.0, capacity.memory.0),
        (Dimension::Disk, wanted.disk.0, free.disk.0, capacity.disk.0),
        (Dimension::Network, wanted.network.0, free.network.0, capacity.network.0),
    ];
    let mut worst = device::shortfall(seat, class.group);
    for (dimension, wanted, free, capacity) in dimensions {
        if wanted <= free {
            continue;
        }
        let millionths = u128::from(wanted - free) * 1_000_000 / u128::from(wanted);
        let lack = u64::try_from(millionths).expect("at most a million");
        if worst.as_ref().is_none_or(|(most, _)| lack > *most) {
            worst = Some((lack, Shortfall { dimension, wanted, free, capacity }));
        }
    }
    worst
}
