//! The numeric problem: nodes with capacities, shapes with demands and costs, classes of equal units.
//!
//! Nothing here knows what a dimension, a node or a class stands for. Ids are dense numbers that the caller gives, so
//! that the order in which things are told does not matter. Costs are whole numbers of any unit; it should be fine,
//! a thousandth of what matters or less, since the bound loses up to one of it for each placed unit.

/// How many dimensions an amount has. Unused ones are 0 everywhere.
pub const DIMENSIONS: usize = 6;

/// The largest cost that is taken, in the caller's unit.
pub const MOST_COST: i64 = 1 << 36;

/// The largest amount of a dimension.
pub const MOST_AMOUNT: u64 = 1 << 48;

/// The largest index of a node, shape or class.
pub const MOST_INDEX: u32 = 1 << 22;

/// No limit to a number of units.
pub const NO_LIMIT: u32 = u32::MAX;

/// An amount of each dimension, each in its own unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amounts(pub [u64; DIMENSIONS]);

impl Amounts {
    /// Whether each dimension is at most that of `room`.
    pub fn fits(&self, room: &Amounts) -> bool {
        self.0.iter().zip(&room.0).all(|(amount, room)| amount <= room)
    }

    /// The sum.
    pub fn plus(&self, other: &Amounts) -> Amounts {
        Amounts(std::array::from_fn(|at| self.0[at] + other.0[at]))
    }

    /// The difference, and 0 where there is less than that.
    pub fn minus(&self, other: &Amounts) -> Amounts {
        Amounts(std::array::from_fn(|at| self.0[at].saturating_sub(other.0[at])))
    }

    /// The greater of each dimension.
    pub fn max(&self, other: &Amounts) -> Amounts {
        Amounts(std::array::from_fn(|at| self.0[at].max(other.0[at])))
    }

    /// How many times this fits in `room`; `most` where it needs nothing.
    pub fn pieces(&self, room: &Amounts, most: u32) -> u32 {
        let needed = self.0.iter().zip(&room.0).filter(|(amount, _)| **amount > 0);
        let pieces = needed.map(|(amount, room)| room / amount).min();
        pieces.map_or(most, |pieces| u32::try_from(pieces).unwrap_or(most).min(most))
    }
}

/// A node, by its place in dense arrays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeIndex(pub u32);

/// A shape, by its place in dense arrays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShapeIndex(pub u32);

/// A class, by its place in dense arrays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClassIndex(pub u32);

impl NodeIndex {
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

impl ShapeIndex {
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

impl ClassIndex {
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

/// What a node has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// What there is of each dimension.
    pub capacity: Amounts,
    /// How many units it takes at most.
    pub slots: u32,
    /// Its rack.
    pub rack: u32,
    /// Its zone.
    pub zone: u32,
}

/// What classes of similar demand and equal admissibility share.
///
/// A shape is a box: each of its classes demands something between `least` and `most`. The bound reckons with the
/// least, the fast path with the most, and what is placed is checked with the class's own demand, so that a few dozen
/// shapes can stand for many thousand demands without a false bound or a node that is too full.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// What every class of the shape demands at least.
    pub least: Amounts,
    /// What every class of the shape demands at most.
    pub most: Amounts,
    /// By node: what a unit there costs, or `None` where it must not be. Nodes beyond the end are not allowed.
    pub costs: Vec<Option<i64>>,
}

/// Whether some units of a class are worth having without the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gang {
    /// Each unit is worth having.
    Apart,
    /// All units or none.
    Together,
}

/// How many units of a class may be in one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// On one node.
    pub node: u32,
    /// In one rack.
    pub rack: u32,
    /// In one zone.
    pub zone: u32,
}

impl Limits {
    /// As many as fit.
    pub const NONE: Limits = Limits { node: NO_LIMIT, rack: NO_LIMIT, zone: NO_LIMIT };
}

/// Units that are alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Class {
    /// Where they may be, and at what cost.
    pub shape: ShapeIndex,
    /// What each demands, exactly.
    pub demand: Amounts,
    /// How many there should be.
    pub wanted: u32,
    /// What it costs that one is not placed.
    pub waiting: i64,
    /// What it costs that one leaves the node where it runs.
    pub moving: i64,
    /// What it costs, for each pair of them, to be on the same node.
    pub crowding: i64,
    /// How many may be in one place.
    pub limits: Limits,
    /// Whether they are worth having one by one.
    pub gang: Gang,
}

/// What it costs to use a part of a dimension of a node, as corners of a convex line that begins at nothing: the use,
/// in thousandths of the capacity, and what it costs to be used so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Curve(pub(super) Vec<(u32, i64)>);

impl Curve {
    /// Use costs nothing.
    pub fn flat() -> Curve {
        Curve(vec![(0, 0), (1_000, 0)])
    }

    /// A line through these corners, from 0 thousandths at no cost to 1,000.
    ///
    /// `None` where it does not begin and end there, or is not convex, or sinks.
    pub fn new(corners: &[(u32, i64)]) -> Option<Curve> {
        let ends = corners.first() == Some(&(0, 0)) && corners.last().is_some_and(|(at, _)| *at == 1_000);
        let rises = corners.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let small = corners.last().is_some_and(|(_, cost)| *cost <= MOST_COST);
        let slopes: Vec<(i128, i128)> = corners
            .windows(2)
            .map(|p| (i128::from(p[1].1 - p[0].1), i128::from(p[1].0) - i128::from(p[0].0)))
            .collect();
        let convex = slopes.windows(2).all(|pair| pair[0].0 * pair[1].1 <= pair[1].0 * pair[0].1);
        (ends && rises && small && convex).then(|| Curve(corners.to_vec()))
    }

    pub(super) fn is_flat(&self) -> bool {
        self.0.iter().all(|(_, cost)| *cost == 0)
    }

    /// What it costs to use so much of a capacity, rounded up.
    pub(super) fn cost(&self, used: u64, capacity: u64) -> i64 {
        let last = self.0[self.0.len() - 1].1;
        if used >= capacity {
            return if used == 0 { 0 } else { last };
        }
        let used = used * 1_000;
        for pair in self.0.windows(2) {
            let ((from, low), (to, high)) = (pair[0], pair[1]);
            if used <= u64::from(to) * capacity {
                let (part, width) = (used - u64::from(from) * capacity, u64::from(to - from) * capacity);
                return low + share(high.abs_diff(low), part, width);
            }
        }
        last
    }

    /// The slope just above this use, per whole capacity; that of the last piece where all is used.
    pub(super) fn slope(&self, used: u64, capacity: u64) -> i64 {
        let used = used.min(capacity) * 1_000;
        let above = self.0.windows(2).find(|pair| used < u64::from(pair[1].0) * capacity);
        let piece = above.unwrap_or(&self.0[self.0.len() - 2..]);
        (piece[1].1 - piece[0].1) * 1_000 / i64::from(piece[1].0 - piece[0].0)
    }

    /// The least, over all uses, of what the use costs minus what this price of the whole capacity brings in, rounded
    /// down.
    pub(super) fn conjugate(&self, price: i64) -> i64 {
        let at = |(use_, cost): &(u32, i64)| {
            let brought = (i128::from(price) * i128::from(*use_) + 999) / 1_000;
            *cost - i64::try_from(brought).expect("no more than the price")
        };
        self.0.iter().map(at).min().unwrap_or(0)
    }

    /// As the conjugate, for use beyond what is used already, and without what that costs.
    pub(super) fn credit(&self, used: u64, capacity: u64, price: i64) -> i64 {
        if capacity == 0 || price == 0 {
            return 0;
        }
        let (all, now) = (i128::from(capacity), self.cost(used, capacity));
        let at = |(corner, cost): &(u32, i64)| {
            let beyond = i128::from(*corner) * all - i128::from(used) * 1_000;
            let brought = (i128::from(price) * beyond + all * 1_000 - 1) / (all * 1_000);
            (beyond > 0).then(|| *cost - now - i64::try_from(brought).expect("no more than the price"))
        };
        self.0.iter().filter_map(at).min().unwrap_or(0).min(0)
    }
}

/// A part of a width's share of an amount, rounded up.
fn share(amount: u64, part: u64, width: u64) -> i64 {
    // Mostly all of it is small, and a division of 64 bits is several times as fast.
    let share = match amount.checked_mul(part) {
        Some(product) => product.div_ceil(width),
        None => u64::try_from((u128::from(amount) * u128::from(part)).div_ceil(u128::from(width))).expect("a part"),
    };
    i64::try_from(share).expect("no more than the amount")
}
