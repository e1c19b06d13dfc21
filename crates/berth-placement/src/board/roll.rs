//! What a look at all nodes asks of each of them first, two bytes a dimension, node after node: how much is free, and how
//! full it is. Both are rounded, so that the answers are *surely*, *surely not* or *look closely*; what follows from them is
//! exact. Sixty-four nodes are asked at once by loops without branches, which compilers turn into vector instructions.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use berth_model::{Preemptible, Priority, Resources};

use super::Eligibility;
use super::attributes::Place;
use super::seats::{Seat, Standing};
use crate::cost::share;

/// Nodes that are asked at once.
pub(crate) const LANES: usize = 64;
/// The dimensions of [`Resources`].
const DIMENSIONS: usize = 4;

/// A number for each node of a row.
pub(crate) type Lanes = [i16; LANES];

/// How many parts of a thousandth fullness is told in.
const PARTS: u64 = 16;

/// Fuller than full is not told apart.
const MOST_FULL: u32 = i16::MAX as u32;
/// In which parts it is told how many times less a node has than the largest one.
const SCALE: u64 = 1 << 12;

/// Significant bits of an amount, the first one apart.
const MANTISSA: u32 = 9;
/// Less than nothing is free: more is promised than there is.
const OVER: i16 = -1;

/// An amount in 15 bits: a larger one never has a smaller code.
fn code(amount: u64) -> i16 {
    let code = match amount.checked_ilog2() {
        Some(top) if top > MANTISSA => {
            let shift = top - MANTISSA;
            (u64::from(shift) << MANTISSA) + (amount >> shift)
        }
        Some(_) | None => amount,
    };
    i16::try_from(code).expect("64 bits have codes below 2^15")
}

/// Whether no smaller amount has the same code.
fn is_least_of_its_code(amount: u64) -> bool {
    amount == 0 || amount.trailing_zeros() >= amount.ilog2().saturating_sub(MANTISSA)
}

/// `part` of `whole` in sixteenths of a thousandth, rounded down.
fn fullness(part: u64, whole: u64) -> i16 {
    i16::try_from(share(part, whole.max(1), 1_000 * PARTS)).unwrap_or(i16::MAX)
}

/// What is looked for: so much of each dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    wanted: Resources,
    /// Up to which code there is surely too little, and from which on there is surely enough.
    too_little: [i16; DIMENSIONS],
    enough: [i16; DIMENSIONS],
}

impl Ask {
    pub(crate) fn of(wanted: Resources) -> Ask {
        let amounts = wanted.dimensions();
        let enough = amounts.map(|amount| if is_least_of_its_code(amount) { code(amount) } else { code(amount) + 1 });
        Ask { wanted, too_little: amounts.map(|amount| code(amount) - 1), enough }
    }

    /// As [`Ask::of`], but of what nothing is wanted there is always enough, also where more is promised than there is.
    pub(crate) fn of_any(wanted: Resources) -> Ask {
        let mut ask = Ask::of(wanted);
        for (at, _) in wanted.dimensions().into_iter().enumerate().filter(|(_, amount)| *amount == 0) {
            (ask.too_little[at], ask.enough[at]) = (i16::MIN, i16::MIN);
        }
        ask
    }
}

/// What a row says of a node: [`Told::LACKS`] of the first dimension of which there is too little.
#[derive(Debug)]
pub(crate) struct Told;

impl Told {
    /// There is enough of everything.
    pub(crate) const FITS: i16 = 0;
    /// It takes a closer look to tell.
    pub(crate) const LOOK: i16 = 1;
    /// Too little of the dimensions in turn, from this on.
    pub(crate) const LACKS: i16 = 2;
    /// Beyond the dimensions: the node is not asked at all.
    pub(crate) const OUT: i16 = Told::LACKS + DIMENSIONS as i16;
}

/// For each dimension, an amount or a fraction of each node.
type Table<T> = [[T; LANES]; DIMENSIONS];

/// Sixty-four nodes.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// How many of the lanes are nodes.
    nodes: usize,
    /// How many of them are out of service.
    out: u32,
    is_out: [bool; LANES],
    free: Table<i16>,
    full: Table<i16>,
    /// At least as much as any of them has of each dimension.
    most: Resources,
    /// How many times less than that each has, in [`SCALE`]ths.
    scale: Table<u16>,
    /// What would be free if the largest of those went who go for a higher priority than this: the largest of each
    /// dimension of all of this priority or a lower one.
    with_one_gone: BTreeMap<Priority, Table<i16>>,
    /// Of each node, who goes first for a higher priority, and who next: the lowest priority, of it the youngest.
    next_to_go: [[Option<Standing>; 2]; LANES],
    /// What would be free if the first of those went.
    with_first_gone: Table<i16>,
}

/// Who has to go from a node at least before there may be enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Going {
    /// Whoever goes first.
    First,
    /// Another one, or others with the first.
    Another,
    /// Two.
    Two,
}

impl Row {
    fn new() -> Row {
        Row {
            nodes: 0,
            out: 0,
            is_out: [false; LANES],
            free: [[OVER; LANES]; DIMENSIONS],
            full: [[i16::MAX; LANES]; DIMENSIONS],
            most: Resources::default(),
            scale: [[0; LANES]; DIMENSIONS],
            with_one_gone: BTreeMap::new(),
            next_to_go: [[None; 2]; LANES],
            with_first_gone: [[OVER; LANES]; DIMENSIONS],
        }
    }

    /// The node in a lane is as its seat says.
    fn set(&mut self, lane: usize, seat: &Seat) {
        self.nodes = self.nodes.max(lane + 1);
        let is_out = seat.eligibility != Eligibility::Ready;
        self.out = self.out + u32::from(is_out) - u32::from(self.is_out[lane]);
        self.is_out[lane] = is_out;
        put(&mut self.free, lane, left(seat.capacity, seat.used));
        let both = seat.used.dimensions().into_iter().zip(seat.capacity.dimensions());
        for (at, (used, capacity)) in both.enumerate() {
            self.full[at][lane] = fullness(used, capacity);
        }
        self.set_scale(lane, seat.capacity);
        self.set_yield(lane, seat);
    }

    fn set_scale(&mut self, lane: usize, capacity: Resources) {
        let both = self.most.dimensions().into_iter().zip(capacity.dimensions());
        for (at, (most, capacity)) in both.enumerate() {
            self.scale[at][lane] = u16::try_from(share(most, capacity.max(1), SCALE)).unwrap_or(u16::MAX);
        }
    }

    fn set_yield(&mut self, lane: usize, seat: &Seat) {
        let yielding = || seat.levels().iter().filter(|level| level.youngest.preemptible == Preemptible::Yes);
        let [first, second] = next_to_go(seat);
        self.next_to_go[lane] = [first, second].map(|next| next.map(|(standing, _)| standing));
        let with_first_gone = first.map(|(_, held)| left(seat.capacity + held, seat.used));
        put(&mut self.with_first_gone, lane, with_first_gone.unwrap_or([OVER; DIMENSIONS]));
        for level in yielding().map(|level| level.youngest.priority) {
            if !self.with_one_gone.contains_key(&level) {
                // On the other nodes nobody of this priority goes.
                let below = self.with_one_gone.range(..level).next_back().map(|(_, table)| *table);
                self.with_one_gone.insert(level, below.unwrap_or([[OVER; LANES]; DIMENSIONS]));
            }
        }
        for (priority, table) in &mut self.with_one_gone {
            let largest = yielding().filter(|level| level.youngest.priority <= *priority).map(|level| level.largest);
            let codes = match largest.reduce(Resources::max_of_each) {
                Some(largest) => left(seat.capacity + largest, seat.used),
                None => [OVER; DIMENSIONS],
            };
            put(table, lane, codes);
        }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Whether some of its nodes are out of service.
    pub(crate) fn has_out(&self) -> bool {
        self.out > 0
    }

    /// What there is to say of each node; those that are out of service are [`Told::OUT`].
    pub(crate) fn tell(&self, ask: &Ask) -> Lanes {
        let mut told = tell(&self.free, ask);
        if self.out > 0 || self.nodes < LANES {
            let is_node = |lane: usize| lane < self.nodes && !self.is_out[lane];
            told.iter_mut().enumerate().filter(|(lane, _)| !is_node(*lane)).for_each(|(_, told)| *told = Told::OUT);
        }
        told
    }

    /// The lanes of those nodes on which there may be enough when one goes for this priority, whether or not they are in
    /// service, and who that may be.
    pub(crate) fn may_have_with_one_gone(&self, ask: &Ask, priority: Priority) -> impl Iterator<Item = (usize, Going)> {
        let may = |told: i16| matches!(told, Told::FITS | Told::LOOK);
        let table = self.with_one_gone.range(..priority).next_back().map(|(_, table)| table);
        let told = table.map(|table| (tell(table, ask), tell(&self.with_first_gone, ask)));
        told.into_iter().flat_map(move |(with_one_gone, with_first_gone)| {
            let lanes = (0..LANES).filter(move |lane| may(with_one_gone[*lane]));
            lanes.map(move |lane| (lane, if may(with_first_gone[lane]) { Going::First } else { Going::Another }))
        })
    }

    /// How full at least the fullest dimension of each node is with what is asked for, in sixteenths of a thousandth.
    pub(crate) fn fullest(&self, ask: &Ask) -> Lanes {
        let both = ask.wanted.dimensions().into_iter().zip(self.most.dimensions());
        let mut of_most = [0u32; DIMENSIONS];
        both.zip(&mut of_most).for_each(|((wanted, most), part)| *part = fullness(wanted, most).unsigned_abs().into());
        let mut fullest = [0; LANES];
        for ((full, scale), of_most) in self.full.iter().zip(&self.scale).zip(of_most) {
            for ((full, scale), fullest) in full.iter().zip(scale).zip(&mut fullest) {
                let more = ((of_most * u32::from(*scale)) >> SCALE.ilog2()).min(MOST_FULL);
                *fullest = full.saturating_add(more as i16).max(*fullest);
            }
        }
        fullest
    }
}

/// Who goes first from a node for a higher priority and who next, with what they hold.
fn next_to_go(seat: &Seat) -> [Option<(Standing, Resources)>; 2] {
    let order = |(standing, _): (Standing, Resources)| (standing.priority, Reverse(standing.since));
    let mut next = [None; 2];
    let yielding = seat.standing().filter(|(_, standing, _)| standing.preemptible == Preemptible::Yes);
    for own in yielding.map(|(_, standing, held)| (standing, held)) {
        let [first, second] = next;
        if first.is_none_or(|first| order(own) < order(first)) {
            next = [Some(own), first];
        } else if second.is_none_or(|second| order(own) < order(second)) {
            next = [first, Some(own)];
        }
    }
    next
}

/// What is left of an amount, as codes.
fn left(of: Resources, used: Resources) -> [i16; DIMENSIONS] {
    let (of, used) = (of.dimensions(), used.dimensions());
    std::array::from_fn(|at| of[at].checked_sub(used[at]).map_or(OVER, code))
}

fn put(table: &mut Table<i16>, lane: usize, codes: [i16; DIMENSIONS]) {
    table.iter_mut().zip(codes).for_each(|(lanes, code)| lanes[lane] = code);
}

/// What there is to say where so much is free.
fn tell(free: &Table<i16>, ask: &Ask) -> Lanes {
    let mut told = [Told::FITS; LANES];
    // The first dimension has the last word.
    for at in (0..DIMENSIONS).rev() {
        let lacking = Told::LACKS + at as i16;
        for (free, told) in free[at].iter().zip(&mut told) {
            let unsure = if *free < ask.enough[at] { Told::LOOK } else { *told };
            *told = if *free <= ask.too_little[at] { lacking } else { unsure };
        }
    }
    told
}

/// From so many thousandths on, as rows tell fullness.
pub(crate) fn fullness_of(thousandths: u64) -> i16 {
    i16::try_from(thousandths.saturating_mul(PARTS)).unwrap_or(i16::MAX)
}

/// All nodes, row by row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roll {
    rows: Vec<Arc<Row>>,
}

impl Roll {
    /// Each row, with the place of its first node.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Place, &Row)> {
        self.rows.iter().enumerate().map(|(number, row)| (number * LANES, &**row))
    }

    /// Who goes first for a higher priority from the node at `place`, and who next: the lowest priority, of it the youngest.
    pub(crate) fn next_to_go(&self, place: Place) -> [Option<Standing>; 2] {
        self.rows[place / LANES].next_to_go[place % LANES]
    }

    /// Something has changed about the node at `place`.
    pub(super) fn set(&mut self, place: Place, seats: &[Arc<Seat>]) {
        while self.rows.len() <= place / LANES {
            self.rows.push(Arc::new(Row::new()));
        }
        let (row, capacity) = (Arc::make_mut(&mut self.rows[place / LANES]), seats[place].capacity);
        if !capacity.fits_in(&row.most) {
            row.most = row.most.max_of_each(capacity);
            let first = place / LANES * LANES;
            (0..row.nodes).zip(&seats[first..]).for_each(|(lane, seat)| row.set_scale(lane, seat.capacity));
        }
        row.set(place % LANES, &seats[place]);
    }

    /// From `place` on, other nodes stand there than before.
    pub(super) fn set_from(&mut self, place: Place, seats: &[Arc<Seat>]) {
        self.rows.truncate(place / LANES);
        (place / LANES * LANES..seats.len()).for_each(|place| self.set(place, seats));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_amount_has_a_code() {
        assert!(code(u64::MAX) < i16::MAX);
    }

    proptest! {
        #[test]
        fn codes_rise_with_amounts(a in 0..u64::MAX, bits in 0..64u32, by in 0..3_000u64) {
            let a = a >> bits;
            let b = a.saturating_add(by);
            prop_assert!(code(a) <= code(b));
            if is_least_of_its_code(b) && a < b {
                prop_assert!(code(a) < code(b));
            }
        }
    }
}
