//! Prices for what a mix asks for, and what the room on a node is worth at these prices.

use super::fill::{self, BySteps, DEVICE_BITS, Size};
use super::fixed::{CERTAIN_BITS, ONE_NAT, ln};
use super::mix::{ClassSet, Mix, NodeClass, STEPS, Shape, WHOLE, steps_free};

/// What a whole device is worth that is filled without waste, in nats. It sets the smoothing: differences of a
/// hundredth of a device (one nat) begin to count, smaller ones are weighed against each other.
const DEVICE: i64 = 100 * ONE_NAT;

/// A worth in millionths of a device, as policies weigh it.
const MILLIONTHS: i64 = 1_000_000;

/// At which prices cpu and memory are tried, in twentieths: at 20, what the mean shape asks of them beside a device
/// costs as much as the device, and idle devices beside none of it are worth nothing.
const TRIED: [(i64, i64); 8] = [(0, 0), (0, 4), (2, 0), (2, 4), (8, 0), (8, 4), (20, 0), (0, 20)];
const TWENTIETHS: i64 = 20;

/// From scratch, the smoothing is lowered in these multiples, so that prices find their places from far away.
const HEATS: [i64; 6] = [32, 16, 8, 4, 2, 1];
/// Rounds at each of them.
const ROUNDS_COLD: u32 = 30;
/// Rounds that follow a change.
const ROUNDS_WARM: u32 = 8;
/// The most that one round changes a price by, in nats of the smoothing.
const STEP_MOST: i64 = 2 * ONE_NAT;
/// The part of the imbalance by which a round moves a price.
const STEP: (i64, i64) = (3, 10);

/// Fixed-point bits of a price of cpu or memory.
const RATE_BITS: u32 = 24;
/// Memory is priced in MiB.
const MIB_BITS: u32 = 20;

/// What is free on a node.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// The kind of node.
    pub class: NodeClass,
    /// Millicores.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Thousandths of each device, in any order.
    pub shares: &'a [u16],
}

/// A number for each of the [`TRIED`] prices.
type ByTried<T> = [T; TRIED.len()];

/// The worth of a room, kept so that what a placement takes of it is weighed without going through all its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    class: NodeClass,
    cpu: u64,
    memory: u64,
    /// What all its devices are worth at each price of cpu and memory, in nats.
    devices: ByTried<i64>,
    /// The price that holds in the room.
    at: usize,
    nats: i64,
}

impl Value {
    /// In millionths of a device, at least 0: what is left of devices after all that may still be placed there, with the
    /// cpu and memory that are there.
    pub fn worth(&self) -> i64 {
        self.nats / DEVICE * MILLIONTHS + self.nats % DEVICE * MILLIONTHS / DEVICE
    }
}

/// A shape of the mix with its price.
#[derive(Clone, Copy, Debug)]
struct Priced {
    shape: Shape,
    /// The classes of nodes that its constraints admit.
    classes: ClassSet,
    /// By devices.
    weight: u64,
    /// What a device's share has to be worth for it: high where fewer can be placed than come. In nats.
    price: i64,
}

/// A price for cpu and memory, in nats per millicore and MiB, with [`RATE_BITS`] bits after the point.
#[derive(Clone, Copy, Debug)]
struct Tried {
    cpu: i64,
    memory: i64,
}

impl Tried {
    fn of(self, cpu: u64, memory: u64) -> i64 {
        let cost = i128::from(self.cpu) * i128::from(cpu) + i128::from(self.memory) * i128::from(memory >> MIB_BITS);
        i64::try_from(cost >> RATE_BITS).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
    }
}

/// What the room on a node is worth, at prices that balance a mix with all the room there is.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    shapes: Vec<Priced>,
    tried: Vec<Tried>,
    /// By class and tried price, the worth of a device by its free steps, in nats.
    worths: Vec<Vec<BySteps<i64>>>,
}

impl Prices {
    /// Prices from scratch: a function of the mix, of what each wish of its shapes admits, and of the rooms alone.
    pub fn settle(mix: &Mix, admitted: &[ClassSet], rooms: &[Room<'_>]) -> Prices {
        let mut prices = Prices::default();
        prices.take(mix, admitted, rooms);
        for heat in HEATS {
            (0..ROUNDS_COLD).for_each(|_| prices.round(rooms, heat));
        }
        prices
    }

    /// Goes on from these prices to those of a mix and rooms that have changed a little.
    pub fn follow(&mut self, mix: &Mix, admitted: &[ClassSet], rooms: &[Room<'_>]) {
        self.take(mix, admitted, rooms);
        (0..ROUNDS_WARM).for_each(|_| self.round(rooms, 1));
    }

    /// What the room is worth.
    pub fn value(&self, room: &Room<'_>) -> Value {
        let mut devices = [0; TRIED.len()];
        for (devices, worth) in devices.iter_mut().zip(self.worths_of(room.class)) {
            *devices = room.shares.iter().map(|share| worth[steps_free(*share)]).sum();
        }
        self.cheapest(room.class, room.cpu, room.memory, devices)
    }

    /// What a room is worth that was worth `value` at these prices, when so much cpu and memory are taken and of each of
    /// these devices, of which so many thousandths were free, so many.
    pub fn value_after(&self, value: &Value, cpu: u64, memory: u64, taken: impl Iterator<Item = (u16, u16)>) -> Value {
        let mut devices = value.devices;
        for (free, taken) in taken {
            let (before, after) = (steps_free(free), steps_free(free.saturating_sub(taken)));
            for (devices, worth) in devices.iter_mut().zip(self.worths_of(value.class)) {
                *devices += worth[after] - worth[before];
            }
        }
        self.cheapest(value.class, value.cpu.saturating_sub(cpu), value.memory.saturating_sub(memory), devices)
    }

    /// What a device of the room loses of which `free` thousandths are free when so many more are taken, in nats: for
    /// choosing between devices of the room, whatever else the placement takes there.
    pub fn device_loss(&self, value: &Value, free: u16, taken: u16) -> i64 {
        let worth = |free: u16| self.worths_of(value.class).get(value.at).map_or(0, |worth| worth[steps_free(free)]);
        worth(free) - worth(free.saturating_sub(taken))
    }

    /// The worths of a device of a class of nodes, by tried price. None of a class that no room had.
    fn worths_of(&self, class: NodeClass) -> &[BySteps<i64>] {
        self.worths.get(class.index()).map_or(&[], |worths| &worths[..])
    }

    /// The price of cpu and memory at which the room is worth least, and that worth. It is the dual of filling the
    /// node: each price gives an upper bound of what fits, and the least of them is the one to believe.
    fn cheapest(&self, class: NodeClass, cpu: u64, memory: u64, devices: ByTried<i64>) -> Value {
        let known = self.worths_of(class).len();
        let bounds = self.tried.iter().zip(devices).take(known);
        let bounds = bounds.map(|(tried, devices)| devices.saturating_add(tried.of(cpu, memory)));
        let (at, nats) = bounds.enumerate().min_by_key(|(at, worth)| (*worth, *at)).unwrap_or((0, 0));
        Value { class, cpu, memory, devices, at, nats }
    }

    /// Takes over the mix, with the prices of the shapes that are known already.
    fn take(&mut self, mix: &Mix, admitted: &[ClassSet], rooms: &[Room<'_>]) {
        let known = std::mem::take(&mut self.shapes);
        let price = |shape: &Shape| {
            let at = known.binary_search_by(|priced| priced.shape.cmp(shape)).ok()?;
            known.get(at).map(|priced| priced.price)
        };
        let classes = |shape: &Shape| admitted.get(shape.wish).copied().unwrap_or(ClassSet::ALL);
        let priced = |(shape, weight): (&Shape, u64)| Priced {
            shape: *shape,
            classes: classes(shape),
            weight: weight * u64::from(shape.ask.devices()),
            price: price(shape).unwrap_or_else(|| self.entry(shape, classes(shape))),
        };
        self.shapes = mix.shapes().map(priced).collect();
        self.tried = tried(&self.shapes);
        let classes = rooms.iter().map(|room| room.class.index() + 1).max().unwrap_or(0);
        self.worths.resize(classes.max(self.worths.len()), vec![[0; STEPS + 1]; TRIED.len()]);
    }

    /// The price at which a shape that is new is just worth what it takes at its best place. Any lower, and what comes for
    /// the first time would seem to be what all room is for.
    fn entry(&self, shape: &Shape, classes: ClassSet) -> i64 {
        let (steps, devices) = (shape.ask.steps(), u64::from(shape.ask.devices().max(1)));
        let admitted = self.worths.iter().enumerate().filter(|(class, _)| classes.contains(NodeClass::new(*class)));
        let takes = admitted.flat_map(|(_, worths)| self.tried.iter().zip(worths)).map(|(tried, worth)| {
            let least = (steps..=STEPS).map(|free| worth[free] - worth[free - steps]).min().unwrap_or(0);
            least + tried.of(shape.cpu / devices, shape.memory / devices)
        });
        let size = DEVICE * i64::from(shape.ask.thousandths()) / i64::from(WHOLE);
        takes.min().map_or(0, |least| (size - least).max(0))
    }

    /// One round: fills all room at the present prices, and raises the price of what was placed too often.
    fn round(&mut self, rooms: &[Room<'_>], heat: i64) {
        let supply = self.supply(rooms);
        let mut placed = vec![0u64; self.shapes.len()];
        let total: u64 = self.shapes.iter().map(|priced| priced.weight).sum();
        for (class, supply) in supply.iter().enumerate() {
            for (at, supply) in supply.iter().enumerate() {
                self.fill(class, at, heat, ln(total), supply, &mut placed);
            }
        }
        let wanted = self.wanted(rooms);
        for ((priced, placed), wanted) in self.shapes.iter_mut().zip(placed).zip(wanted) {
            let off = (ln(placed + 1) - ln(wanted + 1)).clamp(-STEP_MOST, STEP_MOST);
            priced.price = (priced.price + off * heat * STEP.0 / STEP.1).max(0);
        }
    }

    /// Devices by class, by the price of cpu and memory that holds on their node, and by free steps.
    fn supply(&self, rooms: &[Room<'_>]) -> Vec<Vec<BySteps<u64>>> {
        let mut supply = vec![vec![[0; STEPS + 1]; self.tried.len()]; self.worths.len()];
        for room in rooms {
            let at = self.value(room).at;
            for share in room.shares {
                supply[room.class.index()][at][steps_free(*share)] += 1 << DEVICE_BITS;
            }
        }
        supply
    }

    /// How often each shape comes until all that is free has been asked for, in 4,096ths and by devices.
    fn wanted(&self, rooms: &[Room<'_>]) -> Vec<u64> {
        let free: u128 = rooms.iter().flat_map(|room| room.shares).map(|share| u128::from(*share)).sum();
        let size = |priced: &Priced| u128::from(priced.weight) * u128::from(priced.shape.ask.thousandths());
        let asked: u128 = self.shapes.iter().map(size).sum();
        let wanted = |priced: &Priced| ((free * u128::from(priced.weight)) << DEVICE_BITS) / asked.max(1);
        self.shapes
            .iter()
            .map(|priced| u64::try_from(wanted(priced)).expect("at most a thousand for each device"))
            .collect()
    }

    /// Fills the devices of one class at one price of cpu and memory, and adds what was placed of each shape.
    fn fill(&mut self, class: usize, at: usize, heat: i64, ln_total: i64, supply: &BySteps<u64>, placed: &mut [u64]) {
        let mut by_size: Vec<Vec<(usize, i64)>> = vec![Vec::new(); STEPS + 1];
        for (shape, priced) in self.shapes.iter().enumerate() {
            if priced.classes.contains(NodeClass::new(class)) {
                let logit = ln(priced.weight) - ln_total + brings(priced, self.tried[at]) / heat;
                by_size[priced.shape.ask.steps()].push((shape, logit));
            }
        }
        let (mut sizes, mut members, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for (steps, shapes) in by_size.into_iter().enumerate().filter(|(_, shapes)| !shapes.is_empty()) {
            let logits: Vec<i64> = shapes.iter().map(|(_, logit)| *logit).collect();
            sizes.push(Size { steps, logit: fill::merge(&logits, &mut shares) });
            members.push(shapes.into_iter().map(|(shape, _)| shape).zip(shares.iter().copied()).collect::<Vec<_>>());
        }
        let mut chances = Vec::new();
        self.worths[class][at] = fill::worths(&sizes, &mut chances).map(|worth| worth * heat);
        if supply.iter().all(|devices| *devices == 0) {
            return;
        }
        for (flow, members) in fill::flows(&sizes, &chances, supply).into_iter().zip(members) {
            for (shape, share) in members {
                placed[shape] += (flow * share) >> CERTAIN_BITS;
            }
        }
    }
}

/// What one device's part of a shape brings, in nats: its size, less its price, less what its cpu and memory cost.
fn brings(priced: &Priced, tried: Tried) -> i64 {
    let devices = u64::from(priced.shape.ask.devices().max(1));
    let size = DEVICE * i64::from(priced.shape.ask.thousandths()) / i64::from(WHOLE);
    size - priced.price - tried.of(priced.shape.cpu / devices, priced.shape.memory / devices)
}

/// The prices to try, relative to what the mix asks for beside a device.
fn tried(shapes: &[Priced]) -> Vec<Tried> {
    let sum = |part: &dyn Fn(&Priced) -> i128| -> i128 { shapes.iter().map(part).sum() };
    let beside = |asked: u64, priced: &Priced| {
        i128::from(asked) * i128::from(priced.weight) / i128::from(priced.shape.ask.devices().max(1))
    };
    let cpu = sum(&|priced| beside(priced.shape.cpu, priced));
    let memory = sum(&|priced| beside(priced.shape.memory >> MIB_BITS, priced));
    let thousandths = sum(&|priced| i128::from(priced.weight) * i128::from(priced.shape.ask.thousandths()));
    let rate = |twentieths: i64, asked: i128| {
        let cost = (i128::from(DEVICE * twentieths / TWENTIETHS) << RATE_BITS) * thousandths / i128::from(WHOLE);
        i64::try_from(cost / asked.max(1)).unwrap_or(i64::MAX)
    };
    TRIED
        .iter()
        .map(|(of_cpu, of_memory)| Tried { cpu: rate(*of_cpu, cpu), memory: rate(*of_memory, memory) })
        .collect()
}
