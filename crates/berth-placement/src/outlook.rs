//! What a board expects to be asked for, and what its room is worth therefore: turns seats and classes into the numbers
//! of [`fit`](crate::fit), kind of device by kind of device.
//!
//! Nodes are told apart by the attributes of their devices; constraints on anything else are left to the filters. A
//! group that wishes for several kinds is priced for each of them.

use std::collections::BTreeMap;

use berth_model::{
    Constraint, Device, DeviceAmount, DeviceGrants, DeviceKind, DeviceSpec, GroupSpec, NodeId, Resources,
};

use crate::board::{Seat, Seats};
use crate::constraint::holds;
use crate::fit::{Ask, ClassSet, Mix, NodeClass, Prices, Room, Shape, Value};

/// Prices follow the board after so many placements: less than one placement in a hundred waits for them.
const FOLLOW: u32 = 128;

/// The most different constraints on devices that are told apart; others count as none.
const WISHES_MOST: usize = 1_024;

/// By kind of device, what is expected and what it makes of prices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    kinds: BTreeMap<DeviceKind, Market>,
}

/// One kind of device.
#[derive(Clone, Debug, Default)]
struct Market {
    mix: Mix,
    /// Different constraints on devices, by number.
    wishes: Vec<Vec<Constraint>>,
    /// Different attributes of devices, by class.
    attributes: Vec<BTreeMap<String, String>>,
    classes: BTreeMap<NodeId, NodeClass>,
    prices: Option<Prices>,
    /// How much was expected when prices were last made from scratch.
    settled: u64,
    /// Placements since prices followed the board.
    placed: u32,
}

impl Outlook {
    /// A node has these devices now.
    pub(crate) fn see(&mut self, node: NodeId, devices: &[Device]) {
        self.forget(node);
        for device in devices {
            self.kinds.entry(device.kind.clone()).or_default().see(node, device);
        }
    }

    /// A node is gone.
    pub(crate) fn forget(&mut self, node: NodeId) {
        for market in self.kinds.values_mut() {
            market.classes.remove(&node);
        }
    }

    /// So many allocations of the group are expected, in proportion to what else is.
    pub(crate) fn expect(&mut self, group: &GroupSpec, weight: u64) {
        for spec in group.devices() {
            let market = self.kinds.entry(spec.kind.clone()).or_default();
            let shape = market.shape(group, spec);
            market.mix.add(shape, weight);
        }
    }

    /// Before a placement: has the prices follow the board, when enough has changed.
    pub(crate) fn follow(&mut self, seats: &Seats) {
        for (kind, market) in &mut self.kinds {
            market.follow(kind, seats);
        }
    }

    /// What the node's room is worth.
    pub(crate) fn value<'a>(&'a self, node: NodeId, seat: &'a Seat) -> Valued<'a> {
        let value = |(kind, market): (&'a DeviceKind, &'a Market)| {
            let (prices, class) = (market.prices.as_ref()?, *market.classes.get(&node)?);
            let free = Free { class, resources: seat.free(), shares: shares(seat, kind, |_| 0) };
            Some(ValuedKind { kind, prices, value: prices.value(&free.room()), class })
        };
        Valued { seat, kinds: self.kinds.iter().filter_map(value).collect() }
    }
}

/// The worth of a node's room, kind of device by kind of device.
pub(crate) struct Valued<'a> {
    seat: &'a Seat,
    kinds: Vec<ValuedKind<'a>>,
}

struct ValuedKind<'a> {
    kind: &'a DeviceKind,
    prices: &'a Prices,
    value: Value<'a>,
    class: NodeClass,
}

impl Valued<'_> {
    /// What is lost when the group takes these resources and devices, in millionths of a device.
    pub(crate) fn loss(&self, taken: Resources, group: &GroupSpec, grants: &DeviceGrants) -> i64 {
        let loss = |kind: &ValuedKind<'_>| {
            let given = |device: &Device| granted(group, grants, device);
            let resources = self.seat.free() - taken;
            let after = Free { class: kind.class, resources, shares: shares(self.seat, kind.kind, given) };
            kind.value.worth() - kind.prices.value(&after.room()).worth()
        };
        self.kinds.iter().map(loss).sum()
    }

    /// How much is lost of a device of the node when so much of it is taken: for choosing among its devices.
    pub(crate) fn device_loss(&self, device: &Device, free: u32, taken: u32) -> i64 {
        let thousandths = |of: u32| u16::try_from(of).unwrap_or(u16::MAX);
        let kind = self.kinds.iter().find(|kind| *kind.kind == device.kind);
        kind.map_or(0, |kind| kind.value.device_loss(thousandths(free), thousandths(taken)))
    }
}

impl Market {
    fn see(&mut self, node: NodeId, device: &Device) {
        let known = self.attributes.iter().position(|attributes| *attributes == device.attributes);
        let class = known.unwrap_or(self.attributes.len().min(ClassSet::MOST - 1));
        if class == self.attributes.len() {
            self.attributes.push(device.attributes.clone());
        }
        self.classes.entry(node).or_insert(NodeClass::new(class));
    }

    fn shape(&mut self, group: &GroupSpec, spec: &DeviceSpec) -> Shape {
        let known = self.wishes.iter().position(|wish| *wish == spec.constraints);
        let wish = known.unwrap_or(self.wishes.len());
        if known.is_none() && wish < WISHES_MOST {
            self.wishes.push(spec.constraints.clone());
        }
        let ask = match spec.amount {
            DeviceAmount::Share(share) => Ask::Share(share.0),
            DeviceAmount::Count(count) => Ask::Whole(u16::try_from(count).unwrap_or(u16::MAX)),
        };
        let resources = group.resources();
        Shape { cpu: resources.cpu.0, memory: resources.memory.0, ask, wish }
    }

    /// Which classes each wish admits.
    fn admitted(&self) -> Vec<ClassSet> {
        let admits = |wish: &Vec<Constraint>| {
            let suited = |attributes: &&BTreeMap<String, String>| wish.iter().all(|one| holds(one, attributes));
            let classes = self.attributes.iter().enumerate().filter(|(_, attributes)| suited(attributes));
            ClassSet::of(classes.map(|(class, _)| NodeClass::new(class)))
        };
        self.wishes.iter().map(admits).collect()
    }

    /// From scratch at first and whenever twice as much is expected as then: a mix that is being learned is another one.
    fn follow(&mut self, kind: &DeviceKind, seats: &Seats) {
        let another = self.prices.is_none() || self.mix.total() >= 2 * self.settled.max(1);
        self.placed += 1;
        if !another && self.placed < FOLLOW {
            return;
        }
        self.placed = 0;
        let free = |(node, class): (&NodeId, &NodeClass)| {
            let seat = seats.get(node)?;
            Some(Free { class: *class, resources: seat.free(), shares: shares(seat, kind, |_| 0) })
        };
        let free: Vec<Free> = self.classes.iter().filter_map(free).collect();
        let rooms: Vec<Room<'_>> = free.iter().map(Free::room).collect();
        let admitted = self.admitted();
        match &mut self.prices {
            Some(prices) if !another => prices.follow(&self.mix, &admitted, &rooms),
            _ => {
                self.prices = Some(Prices::settle(&self.mix, &admitted, &rooms));
                self.settled = self.mix.total();
            }
        }
    }
}

/// What is free on a node of one kind of device.
struct Free {
    class: NodeClass,
    resources: Resources,
    shares: Vec<u16>,
}

impl Free {
    fn room(&self) -> Room<'_> {
        let Resources { cpu, memory, .. } = self.resources;
        Room { class: self.class, cpu: cpu.0, memory: memory.0, shares: &self.shares }
    }
}

/// What is left of each device of a kind when so much more of it is given.
fn shares(seat: &Seat, kind: &DeviceKind, given: impl Fn(&Device) -> u32) -> Vec<u16> {
    let devices = seat.fingerprint.devices.iter().zip(&seat.devices).filter(|(device, _)| device.kind == *kind);
    let left = |(device, taken): (&Device, &u32)| {
        let left = 1_000u32.saturating_sub(*taken).saturating_sub(given(device));
        u16::try_from(left).expect("at most a whole device")
    };
    devices.map(left).collect()
}

/// How much of a device a group is given.
fn granted(group: &GroupSpec, grants: &DeviceGrants, device: &Device) -> u32 {
    let given = |spec: &DeviceSpec| {
        let ids = grants.get(&spec.name).into_iter().flatten();
        let times = ids.filter(|id| **id == device.id).count();
        u32::from(spec.amount.of_each().0) * u32::try_from(times).unwrap_or(0)
    };
    group.devices().map(given).sum()
}
