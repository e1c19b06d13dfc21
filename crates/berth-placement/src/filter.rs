//! The filters: why a node cannot take an allocation of a class. Tried in the order of [`Filter`]'s variants.

use std::collections::BTreeMap;

use berth_model::{
    Bytes, Constraint, CpuMillis, DeviceKind, Dimension, Driver, Filter, Fingerprint, GroupSpec, JobSpec, Mbits, Port,
    PortName, Resources, Shortfall,
};

use crate::around::Around;
use crate::board::{Attributes, Column, Eligibility, Place, Seat};
use crate::constraint::{holds, suits};
use crate::cost;
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
    pub(crate) fn constraints(self) -> impl Iterator<Item = &'a Constraint> {
        self.job.constraints.iter().chain(self.group.constraints.iter())
    }

    /// The drivers of its tasks, by name, with the attributes by which an agent tells of them: `false` says that a driver
    /// is there but does not work.
    pub(crate) fn drivers(self) -> impl Iterator<Item = (&'static str, &'static str)> {
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
    Draining,
    DriverMissing(&'static str),
    Constraint(&'a Constraint),
    /// The agent speaks no such version, which has what the group asks of it.
    AgentProtocol(u32),
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
            Block::Draining => Filter::Draining,
            Block::DriverMissing(driver) => Filter::DriverMissing((*driver).to_owned()),
            Block::Constraint(constraint) => Filter::Constraint((*constraint).clone()),
            Block::AgentProtocol(least) => Filter::Constraint(Constraint::agent_protocol(*least)),
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

/// Whether a node of this kind may run the class at all: its drivers and devices are there and its constraints hold.
/// Says nothing of room.
pub fn admits(fingerprint: &Fingerprint, class: Class<'_>) -> bool {
    unsuited(fingerprint, class).is_none()
}

/// Whether an attribute that tells of a driver says that it works.
pub(crate) fn works(value: Option<&str>) -> bool {
    value.is_some_and(|value| value != "false")
}

/// The first filter of those that only a change of the machine or the job could lift.
fn unsuited<'a>(fingerprint: &Fingerprint, class: Class<'a>) -> Option<Block<'a>> {
    let value = |key: &str| fingerprint.attributes.get(key).map(String::as_str);
    if let Some((driver, _)) = class.drivers().find(|(_, key)| !works(value(key))) {
        return Some(Block::DriverMissing(driver));
    }
    let broken = class.constraints().find(|constraint| !holds(constraint, &fingerprint.attributes));
    let too_old = |least: &u32| !holds(&Constraint::agent_protocol(*least), &fingerprint.attributes);
    broken
        .map(Block::Constraint)
        .or_else(|| class.group.agent_protocol().filter(too_old).map(Block::AgentProtocol))
        .or_else(|| Wishes::of(&fingerprint.devices, class.group).err().map(Block::DeviceMissing))
}

/// What a class asks of the attributes of nodes, judged once for every value that some node has: says of a node in a look
/// or two what [`unsuited`] reads texts for.
pub(crate) struct Questions<'a, 'b> {
    open: Vec<Question<'a, 'b>>,
}

/// One that some node does not answer as it should.
struct Question<'a, 'b> {
    block: Block<'a>,
    /// None: no node has the attribute, and that is wrong.
    column: Option<&'b Column>,
    /// By the number of the value.
    verdicts: Vec<bool>,
    /// How many nodes it has kept out.
    kept_out: u32,
}

impl<'a, 'b> Questions<'a, 'b> {
    pub(crate) fn of(class: Class<'a>, attributes: &'b Attributes) -> Self {
        let mut open = Vec::new();
        let mut ask = |block, key: &str, judge: &dyn Fn(Option<&str>) -> bool| {
            let column = attributes.column(key);
            let verdicts = column.map_or_else(|| vec![judge(None)], |column| column.judged(judge));
            if verdicts.contains(&false) {
                open.push(Question { block, column, verdicts, kept_out: 0 });
            }
        };
        for (driver, key) in class.drivers() {
            ask(Block::DriverMissing(driver), key, &works);
        }
        for constraint in class.constraints() {
            ask(Block::Constraint(constraint), &constraint.attribute, &|value| suits(&constraint.operator, value));
        }
        if let Some(least) = class.group.agent_protocol() {
            let Constraint { attribute, operator } = Constraint::agent_protocol(least);
            ask(Block::AgentProtocol(least), &attribute, &|value| suits(&operator, value));
        }
        Questions { open }
    }

    /// Whether every node answers all of them.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether the node at `place` answers all of them. Where it does not, the first one counts it.
    pub(crate) fn admit(&mut self, place: Place) -> bool {
        let wrong = |question: &&mut Question<'_, '_>| {
            let number = question.column.map_or(0, |column| column.at(place));
            !question.verdicts[number as usize]
        };
        match self.open.iter_mut().find(wrong) {
            Some(question) => {
                question.kept_out += 1;
                false
            }
            None => true,
        }
    }

    /// How many nodes each of them kept out.
    pub(crate) fn kept_out(self) -> impl Iterator<Item = (Block<'a>, u32)> {
        self.open.into_iter().map(|question| (question.block, question.kept_out)).filter(|(_, nodes)| *nodes > 0)
    }
}

/// The first filter that removes the node, its rules apart; none when the allocation fits now.
pub(crate) fn first<'a>(seat: &Seat, class: Class<'a>, wanted: Resources) -> Option<Block<'a>> {
    out_of_service(seat).or_else(|| unsuited(&seat.fingerprint, class)).or_else(|| no_room(seat, class, wanted))
}

/// The filter of a node that takes nothing at all.
pub(crate) fn out_of_service<'a>(seat: &Seat) -> Option<Block<'a>> {
    match seat.eligibility {
        Eligibility::Ready => None,
        Eligibility::Lost => Some(Block::NodeLost),
        Eligibility::DiskFull => Some(Block::DiskFull),
        Eligibility::Draining => Some(Block::Draining),
    }
}

/// The first filter of those that less on the node would lift.
pub(crate) fn no_room<'a>(seat: &Seat, class: Class<'a>, wanted: Resources) -> Option<Block<'a>> {
    let wishes = match Wishes::of(&seat.fingerprint.devices, class.group) {
        Ok(wishes) => wishes,
        Err(kind) => return Some(Block::DevicesTaken(kind)),
    };
    give(seat, class, &wishes, wanted, FULLEST).err()
}

/// The devices that an allocation would be given, in the order of `rank`, or the first filter that less on the node would
/// lift.
pub(crate) fn give<'w, 'a>(
    seat: &Seat,
    class: Class<'a>,
    wishes: &'w Wishes<'a>,
    wanted: Resources,
    rank: Rank<'_>,
) -> Result<Given<'w>, Block<'a>> {
    if let Some(block) = no_port(seat, class) {
        return Err(block);
    }
    if let Some(space) = exhausted(seat.used + wanted, seat.capacity) {
        return Err(Block::Exhausted(space));
    }
    device::choose(seat, wishes, rank).map_err(Block::DevicesTaken)
}

/// What [`choose_ports`] would fail for.
pub(crate) fn no_port<'a>(seat: &Seat, class: Class<'_>) -> Option<Block<'a>> {
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
pub(crate) fn exhausted(promised: Resources, capacity: Resources) -> Option<Space> {
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

/// What a node has to have free so that [`shortfall`] may find less than `least`, or anything where that is none.
pub(crate) fn needed_to_lack_less(wanted: Resources, least: Option<u64>) -> Resources {
    let Some(least) = least else { return Resources::default() };
    let missing = |wanted: u64| wanted.saturating_sub(cost::share(wanted, 1_000_000, least)).saturating_sub(1);
    Resources {
        cpu: CpuMillis(missing(wanted.cpu.0)),
        memory: Bytes(missing(wanted.memory.0)),
        disk: Bytes(missing(wanted.disk.0)),
        network: Mbits(missing(wanted.network.0)),
    }
}

/// The dimension in which the node lacks most, with how much of the wish is lacking in millionths.
pub(crate) fn shortfall(seat: &Seat, class: Class<'_>, wanted: Resources) -> Option<(u64, Shortfall)> {
    let (free, capacity) = (seat.free(), seat.capacity);
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
        let lack = cost::share(wanted - free, wanted, 1_000_000);
        if worst.as_ref().is_none_or(|(most, _)| lack > *most) {
            worst = Some((lack, Shortfall { dimension, wanted, free, capacity }));
        }
    }
    worst
}
