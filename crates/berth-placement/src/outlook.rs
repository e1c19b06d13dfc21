//! What a board expects to be asked for, and what its room is worth therefore: turns seats and classes into the numbers
//! of [`fit`](crate::fit), kind of device by kind of device.
//!
//! Nodes are told apart by the attributes of their devices; constraints on anything else are left to the filters. A
//! group that wishes for several kinds is priced for each of them.

use std::collections::BTreeMap;

use berth_model::{Constraint, Device, DeviceAmount, DeviceKind, DeviceSpec, GroupSpec, Resources};

use crate::board::{Seat, Seats};
use crate::constraint::holds;
use crate::device::Given;
use crate::fit::{Ask, ClassSet, Mix, NodeClass, Prices, Room, Shape, Value};

/// Prices follow the board after so many placements: less than one placement in a hundred waits for them.
const FOLLOW: u32 = 128;

/// The most different constraints on devices that are told apart; others count as none.
const WISHES_MOST: usize = 1_024;

/// By kind of device, what is expected and what it makes of prices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    markets: Vec<Market>,
}

/// One kind of device.
#[derive(Clone, Debug)]
struct Market {
    kind: DeviceKind,
    mix: Mix,
    /// Different constraints on devices, by number.
    wishes: Vec<Vec<Constraint>>,
    /// Different attributes of devices, by class.
    attributes: Vec<BTreeMap<String, String>>,
    prices: Option<Prices>,
    /// How much was expected when prices were last made from scratch.
    settled: u64,
    /// Placements since prices followed the board.
    placed: u32,
}

/// What a node has of one kind of device. Its worth is worked out when its room or the prices change, and not for each
/// allocation that looks for a place.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    /// The number of its market.
    market: usize,
    class: NodeClass,
    /// What it is worth. None while there are no prices.
    value: Option<Value>,
}

impl Outlook {
    /// A node has these devices now.
    pub(crate) fn see(&mut self, seat: &mut Seat) {
        let mut stocks: Vec<Stock> = Vec::new();
        for device in &seat.fingerprint.devices {
            let market = self.market(&device.kind);
            let class = self.markets[market].class(device);
            if stocks.iter().all(|stock| stock.market != market) {
                stocks.push(Stock { market, class, value: None });
            }
        }
        seat.stocks = stocks;
        self.weigh(seat);
    }

    /// Something else is held on a node now.
    pub(crate) fn weigh(&self, seat: &mut Seat) {
        let mut stocks = std::mem::take(&mut seat.stocks);
        stocks.iter_mut().for_each(|stock| stock.value = stock.weighed(&self.markets, seat));
        seat.stocks = stocks;
    }

    /// So many allocations of the group are expected, in proportion to what else is.
    pub(crate) fn expect(&mut self, group: &GroupSpec, weight: u64) {
        for spec in group.devices() {
            let market = self.market(&spec.kind);
            let market = &mut self.markets[market];
            let shape = market.shape(group, spec);
            market.mix.add(shape, weight);
        }
    }

    /// Before a placement: has the prices follow the board, when enough has changed.
    pub(crate) fn follow(&mut self, seats: &mut Seats) {
        let mut changed = false;
        for (number, market) in self.markets.iter_mut().enumerate() {
            let Some(change) = market.due() else { continue };
            let of_kind = |seat: &Seat| {
                let stock = seat.stocks.iter().find(|stock| stock.market == number)?;
                Some(Free::of(stock.class, &market.kind, seat))
            };
            let free: Vec<Free> = seats.values().filter_map(of_kind).collect();
            let rooms: Vec<Room<'_>> = free.iter().map(Free::room).collect();
            market.follow(change, &rooms);
            changed = true;
        }
        if changed {
            seats.weigh(|seat| self.weigh(seat));
        }
    }

    /// What the node's room is worth.
    pub(crate) fn value<'a>(&'a self, seat: &'a Seat) -> Valued<'a> {
        Valued { seat, markets: &self.markets }
    }

    /// What the room of a node is worth, whatever it was when it was last weighed, in millionths of a device.
    pub(crate) fn worth(&self, seat: &Seat) -> i64 {
        let worth = |stock: &Stock| stock.weighed(&self.markets, seat).map_or(0, |value| value.worth());
        seat.stocks.iter().map(worth).sum()
    }

    /// The number of the market of a kind; a new one for a kind that is new.
    fn market(&mut self, kind: &DeviceKind) -> usize {
        let known = self.markets.iter().position(|market| market.kind == *kind);
        known.unwrap_or_else(|| {
            self.markets.push(Market::of(kind.clone()));
            self.markets.len() - 1
        })
    }
}

/// The worth of a node's room, kind of device by kind of device.
#[derive(Clone, Copy)]
pub(crate) struct Valued<'a> {
    seat: &'a Seat,
    markets: &'a [Market],
}

impl<'a> Valued<'a> {
    fn kinds(self) -> impl Iterator<Item = (&'a DeviceKind, &'a Prices, &'a Value)> {
        self.seat.stocks.iter().filter_map(move |stock| {
            let market = &self.markets[stock.market];
            Some((&market.kind, market.prices.as_ref()?, stock.value.as_ref()?))
        })
    }

    /// What is lost when these resources and devices are taken, in millionths of a device.
    pub(crate) fn loss(self, taken: Resources, given: &Given<'_>) -> i64 {
        let loss = |(kind, prices, value): (&DeviceKind, &Prices, &Value)| {
            let devices = &self.seat.fingerprint.devices;
            let of_kind = given.taken(self.seat).filter(|(at, ..)| devices[*at].kind == *kind);
            let taken_of = of_kind.map(|(_, free, taken)| (thousandths(free), thousandths(taken)));
            value.worth() - prices.value_after(value, taken.cpu.0, taken.memory.0, taken_of).worth()
        };
        self.kinds().map(loss).sum()
    }

    /// How much is lost of a device of the node when so much of it is taken: for choosing among its devices.
    pub(crate) fn device_loss(self, device: &Device, free: u32, taken: u32) -> i64 {
        let of_kind = self.kinds().find(|(kind, ..)| **kind == device.kind);
        of_kind.map_or(0, |(_, prices, value)| prices.device_loss(value, thousandths(free), thousandths(taken)))
    }
}

impl Stock {
    /// What it is worth on the seat as that is.
    fn weighed(&self, markets: &[Market], seat: &Seat) -> Option<Value> {
        let market = &markets[self.market];
        let prices = market.prices.as_ref()?;
        Some(prices.value(&Free::of(self.class, &market.kind, seat).room()))
    }
}

/// How prices change: from scratch, or from where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Anew,
    Followed,
}

impl Market {
    fn of(kind: DeviceKind) -> Market {
        Market {
            kind,
            mix: Mix::default(),
            wishes: Vec::new(),
            attributes: Vec::new(),
            prices: None,
            settled: 0,
            placed: 0,
        }
    }

    /// The class of nodes with a device like this one.
    fn class(&mut self, device: &Device) -> NodeClass {
        let known = self.attributes.iter().position(|attributes| *attributes == device.attributes);
        let class = known.unwrap_or(self.attributes.len().min(ClassSet::MOST - 1));
        if class == self.attributes.len() {
            self.attributes.push(device.attributes.clone());
        }
        NodeClass::new(class)
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

    /// Counts a placement, and says whether prices have to change and how. From scratch at first and whenever twice as
    /// much is expected as then: a mix that is being learned is another one.
    fn due(&mut self) -> Option<Change> {
        let another = self.prices.is_none() || self.mix.total() >= 2 * self.settled.max(1);
        self.placed += 1;
        if !another && self.placed < FOLLOW {
            return None;
        }
        self.placed = 0;
        Some(if another { Change::Anew } else { Change::Followed })
    }

    fn follow(&mut self, change: Change, rooms: &[Room<'_>]) {
        let admitted = self.admitted();
        match (&mut self.prices, change) {
            (Some(prices), Change::Followed) => prices.follow(&self.mix, &admitted, rooms),
            (prices, _) => {
                *prices = Some(Prices::settle(&self.mix, &admitted, rooms));
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
    fn of(class: NodeClass, kind: &DeviceKind, seat: &Seat) -> Free {
        let devices = seat.fingerprint.devices.iter().zip(&seat.devices).filter(|(device, _)| device.kind == *kind);
        let shares = devices.map(|(_, taken)| thousandths(1_000u32.saturating_sub(*taken))).collect();
        Free { class, resources: seat.free(), shares }
    }

    fn room(&self) -> Room<'_> {
        let Resources { cpu, memory, .. } = self.resources;
        Room { class: self.class, cpu: cpu.0, memory: memory.0, shares: &self.shares }
    }
}

/// Of one device: at most a thousand.
fn thousandths(of: u32) -> u16 {
    u16::try_from(of).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use berth_model::testkit::{Machine, Spec, batch, machine};
    use berth_model::{AllocId, BuiltIn, DecisionId, Incarnation, NodeId};

    use super::*;
    use crate::{Board, Class, Eligibility, Want, place};

    const LIFE: Incarnation = Incarnation(1);

    /// A node with one device more with every time that it is told of.
    fn node(number: u64, times: u64) -> Machine {
        let model = if number.is_multiple_of(3) { "scarce" } else { "common" };
        let devices = (0..2 + times % 3).map(|at| format!("gpu-{at}"));
        devices.fold(machine(&format!("n{number}")).cpu(16_000), |node, id| node.device("gpu", &id, model))
    }

    fn specs() -> [Spec; 5] {
        let share = |of| batch("share").cpu(500).device_share("gpu", "gpu", of);
        let scarce = batch("scarce").cpu(2_000).devices("gpu", "gpu", 1).device_model("scarce");
        [share(470), share(320), share(810), batch("whole").cpu(3_000).devices("gpu", "gpu", 2), scarce]
    }

    /// Every value that is kept is the one that a look at the seat makes.
    fn assert_true(board: &Board) {
        let outlook = board.outlook();
        for (node, seat) in board.seats().iter() {
            for stock in &seat.stocks {
                let market = &outlook.markets[stock.market];
                let room = Free::of(stock.class, &market.kind, seat);
                let afresh = market.prices.as_ref().map(|prices| prices.value(&room.room()));
                assert_eq!(stock.value, afresh, "{node}");
            }
        }
    }

    #[test]
    fn values_that_are_kept_are_those_made_afresh() {
        let (mut board, specs) = (Board::default(), specs());
        (1..=9).for_each(|at| board.put_node(NodeId::new(LIFE, at), &node(at, 0).0, Eligibility::Ready));
        let (mut placed, mut state) = (Vec::new(), 1u64);
        for step in 1..=600 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let drawn = state >> 40;
            match drawn % 8 {
                0 => board.put_node(NodeId::new(LIFE, 1 + drawn % 9), &node(1 + drawn % 9, step).0, Eligibility::Ready),
                1 if step % 5 == 0 => board.remove_node(NodeId::new(LIFE, 1 + drawn % 9)),
                1..=3 => {
                    placed.pop().map(|alloc| board.release(alloc));
                }
                _ => {
                    let spec = &specs[usize::try_from(drawn / 8 % 5).expect("below 5")].0;
                    let class = Class { job: spec, group: &spec.groups[0] };
                    board.expect(class, 1);
                    let alloc = AllocId::new(LIFE, step);
                    let want = Want { alloc, only: None, avoid: Vec::new(), leaving: None };
                    place(&mut board, class, &[want], &BuiltIn::Fragmentation.policy(), DecisionId::new(LIFE, step));
                    placed.push(alloc);
                }
            }
            assert_true(&board);
        }
        let stocks = board.seats().values().flat_map(|seat| &seat.stocks);
        let valued = stocks.filter(|stock| stock.value.is_some()).count();
        assert!(valued > 5, "{valued}");
    }
}
