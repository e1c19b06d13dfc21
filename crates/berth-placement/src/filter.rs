//! The filters: why a node cannot take an allocation of a class. Tried in the order of [`Filter`]'s variants.

use std::collections::BTreeMap;

use berth_model::{
    Constraint, DeviceKind, Dimension, Driver, Filter, Fingerprint, GroupSpec, JobSpec, Port, PortName, Resources,
    Shortfall,
};

use crate::around::Around;
use crate::board::{Eligibility, Seat};
use crate::constraint::holds;
use crate::device::{self, FULLEST, Given, Rank, Wishes};

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

    /// The drivers of its tasks, by name, with the attributes by which an agent tells of them: `false` says that a driver
    /// is there but does not work.
    fn drivers(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.group.tasks.iter().map(|task| match task.driver {
            Driver::Container(_) => ("container", "driver.container"),
            Driver::Exec => ("exec", "driver.exec"),
        })
    }
}

/// Why a node cannot take an allocation, as it is found: every node of every class is asked, and only what is told is
/// made into a [`Filter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Block<'a> {
    NodeLost,
    DiskFull,
    DriverMissing(&'static str),
    Constraint(&'a Constraint),
    DeviceMissing(&'a DeviceKind),
    PortTaken(Port),
    DynamicPortsExhausted,
    /// One of the dimensions that every node has.
    Exhausted(Space),
    DevicesTaken(&'a DeviceKind),
    /// The rule of this number.
    Rule(usize),
}

/// The dimensions that every node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    Cpu,
    Memory,
    Disk,
    Network,
}

impl Block<'_> {
    pub(crate) fn told(&self, around: &Around<'_>) -> Filter {
        match self {
            Block::NodeLost => Filter::NodeLost,
            Block::DiskFull => Filter::DiskFull,
            Block::DriverMissing(driver) => Filter::DriverMissing((*driver).to_owned()),
            Block::Constraint(constraint) => Filter::Constraint((*constraint).clone()),
            Block::DeviceMissing(kind) => Filter::DeviceMissing((*kind).clone()),
            Block::PortTaken(port) => Filter::PortTaken(*port),
            Block::DynamicPortsExhausted => Filter::DynamicPortsExhausted,
            Block::Exhausted(Space::Cpu) => Filter::Exhausted(Dimension::Cpu),
            Block::Exhausted(Space::Memory) => Filter::Exhausted(Dimension::Memory),
            Block::Exhausted(Space::Disk) => Filter::Exhausted(Dimension::Disk),
            Block::Exhausted(Space::Network) => Filter::Exhausted(Dimension::Network),
            Block::DevicesTaken(kind) => Filter::Exhausted(Dimension::Device((*kind).clone())),
            Block::Rule(rule) => around.filter(*rule),
        }
    }
}

/// What a class makes of machines of one sort, whatever is held on them.
pub(crate) enum Suit<'a> {
    /// They may run it, with devices for these wishes.
    Suits(Wishes<'a>),
    /// The first filter of those that only a change of the machine or the job could lift.
    Unsuited(Block<'a>),
}

impl<'a> Suit<'a> {
    pub(crate) fn of(fingerprint: &Fingerprint, class: Class<'a>) -> Suit<'a> {
        match suited(fingerprint, class) {
            Ok(wishes) => Suit::Suits(wishes),
            Err(block) => Suit::Unsuited(block),
        }
    }
}

/// Whether a node of this kind may run the class at all: its drivers and devices are there and its constraints hold.
/// Says nothing of room.
pub fn admits(fingerprint: &Fingerprint, class: Class<'_>) -> bool {
    suited(fingerprint, class).is_ok()
}

fn suited<'a>(fingerprint: &Fingerprint, class: Class<'a>) -> Result<Wishes<'a>, Block<'a>> {
    let works = |key: &str| fingerprint.attributes.get(key).is_some_and(|value| value != "false");
    if let Some((driver, _)) = class.drivers().find(|(_, key)| !works(key)) {
        return Err(Block::DriverMissing(driver));
    }
    match class.constraints().find(|constraint| !holds(constraint, &fingerprint.attributes)) {
        Some(broken) => Err(Block::Constraint(broken)),
        None => Wishes::of(&fingerprint.devices, class.group).map_err(Block::DeviceMissing),
    }
}

/// The first filter that removes the node, its rules apart; none when the allocation fits now.
pub(crate) fn first<'a>(seat: &Seat, class: Class<'a>, wanted: Resources) -> Option<Block<'a>> {
    place_on(seat, class, &Suit::of(&seat.fingerprint, class), wanted, FULLEST).err()
}

/// The devices that the allocation would be given on the node, in the order of `rank`, or the first filter that removes
/// the node, its rules apart.
pub(crate) fn place_on<'w, 'a>(
    seat: &Seat,
    class: Class<'a>,
    suit: &'w Suit<'a>,
    wanted: Resources,
    rank: Rank<'_>,
) -> Result<Given<'w>, Block<'a>> {
    match (seat.eligibility, suit) {
        (Eligibility::Lost, _) => Err(Block::NodeLost),
        (Eligibility::DiskFull, _) => Err(Block::DiskFull),
        (Eligibility::Ready, Suit::Unsuited(block)) => Err(*block),
        (Eligibility::Ready, Suit::Suits(wishes)) => match no_space(seat, class, wanted) {
            Some(block) => Err(block),
            None => device::choose(seat, wishes, rank).map_err(Block::DevicesTaken),
        },
    }
}

/// The first filter of those that less on the node would lift.
pub(crate) fn no_room<'a>(seat: &Seat, class: Class<'a>, wanted: Resources) -> Option<Block<'a>> {
    if let Some(block) = no_space(seat, class, wanted) {
        return Some(block);
    }
    class.group.devices().next()?;
    let chosen = Wishes::of(&seat.fingerprint.devices, class.group)
        .and_then(|wishes| device::choose(seat, &wishes, FULLEST).map(drop));
    chosen.err().map(Block::DevicesTaken)
}

/// The same, devices apart.
fn no_space<'a>(seat: &Seat, class: Class<'a>, wanted: Resources) -> Option<Block<'a>> {
    no_port(seat, class).or_else(|| exhausted(seat.used + wanted, seat.fingerprint.resources).map(Block::Exhausted))
}

/// What [`choose_ports`] would fail for.
fn no_port<'a>(seat: &Seat, class: Class<'_>) -> Option<Block<'a>> {
    let mut dynamic = 0;
    for spec in class.group.ports() {
        match spec.fixed {
            Some(port) if seat.ports.contains_key(&port) => return Some(Block::PortTaken(port)),
            Some(_) => {}
            None => dynamic += 1,
        }
    }
    if dynamic == 0 {
        return None;
    }
    let own = |port: &Port| class.group.ports().any(|spec| spec.fixed == Some(*port));
    let (first, last) = seat.fingerprint.dynamic_ports;
    let free = (first.0..=last.0).map(Port).filter(|port| !seat.ports.contains_key(port) && !own(port));
    (free.take(dynamic).count() < dynamic).then_some(Block::DynamicPortsExhausted)
}

/// A number for every port of the group: the fixed as asked, the dynamic ones the lowest that are free.
pub(crate) fn choose_ports(seat: &Seat, class: Class<'_>) -> Option<BTreeMap<PortName, Port>> {
    let fixed = class.group.ports().filter_map(|spec| Some((spec.name.clone(), spec.fixed?)));
    let mut chosen: BTreeMap<PortName, Port> = fixed.collect();
    let (first, last) = seat.fingerprint.dynamic_ports;
    let mut candidates = first.0..=last.0;
    for spec in class.group.ports().filter(|spec| spec.fixed.is_none()) {
        let free = candidates
            .by_ref()
            .map(Port)
            .find(|port| !seat.ports.contains_key(port) && !chosen.values().any(|other| other == port));
        chosen.insert(spec.name.clone(), free?);
    }
    Some(chosen)
}

/// The first dimension that would be promised beyond what there is. A machine that has shrunk below its promises takes
/// nothing, not even what wants nothing of it.
fn exhausted(promised: Resources, capacity: Resources) -> Option<Space> {
    if promised.cpu > capacity.cpu {
        Some(Space::Cpu)
    } else if promised.memory > capacity.memory {
        Some(Space::Memory)
    } else if promised.disk > capacity.disk {
        Some(Space::Disk)
    } else if promised.network > capacity.network {
        Some(Space::Network)
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
