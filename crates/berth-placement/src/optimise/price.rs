//! Prices: what the whole capacity of a dimension of a node costs, and so what a unit pays for its share.
//!
//! A price takes the place of the rule that a node must not be too full. Whatever the prices, the cheapest assignment
//! that pays them and is otherwise free costs, less what all capacity brings in, at most as much as the best one that
//! keeps the rule: that is the bound. All that is rounded here is rounded to its disadvantage.

use super::problem::{Amounts, Curve, DIMENSIONS, NodeIndex};

/// The prices of a node: what its whole capacity costs, by dimension.
pub type NodePrices = [i64; DIMENSIONS];

/// The greatest price: every unit is gone long before.
pub(super) const MOST_PRICE: i64 = 1 << 42;

/// Prices per unit of amount, with this many bits behind the point.
const FRACTION: u32 = 40;

/// All prices, and what they bring in.
#[derive(Clone, Debug, Default)]
pub(super) struct Prices {
    of: Vec<NodePrices>,
    /// By node: the least of what use costs minus what it brings in.
    conjugates: Vec<i64>,
    sum: i128,
}

impl Prices {
    pub(super) fn of(&self, node: NodeIndex) -> NodePrices {
        self.of.get(node.at()).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, node: NodeIndex, prices: NodePrices, curve: &Curve) {
        if self.of.len() <= node.at() {
            self.of.resize(node.at() + 1, NodePrices::default());
            self.conjugates.resize(node.at() + 1, 0);
        }
        let conjugate: i64 = prices.iter().map(|price| curve.conjugate(*price)).sum();
        self.sum += i128::from(conjugate) - i128::from(self.conjugates[node.at()]);
        self.conjugates[node.at()] = conjugate;
        self.of[node.at()] = prices;
    }

    /// What is added to the cost of the cheapest assignment that pays the prices, to bound that of all others.
    pub(super) fn conjugate(&self) -> i128 {
        self.sum
    }
}

/// Prices per unit of amount.
pub(super) type Rates = [u128; DIMENSIONS];

/// The rates of a node's prices, rounded down.
pub(super) fn rates(prices: &NodePrices, capacity: &Amounts) -> Rates {
    std::array::from_fn(|at| {
        let price = u128::from(prices[at].unsigned_abs());
        if price == 0 || capacity.0[at] == 0 { 0 } else { (price << FRACTION) / u128::from(capacity.0[at]) }
    })
}

/// What a demand pays at these rates, rounded down.
pub(super) fn charge(rates: &Rates, demand: &Amounts) -> i64 {
    let sum: u128 = rates.iter().zip(&demand.0).map(|(rate, amount)| rate * u128::from(*amount)).sum();
    i64::try_from(sum >> FRACTION).expect("a demand that fits pays no more than the prices")
}

/// Units that would pay for a place on a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bid {
    /// What one pays at most, for all it demands.
    pub(super) value: i64,
    pub(super) demand: Amounts,
    pub(super) units: u32,
}

/// The prices at which what the bidders take of a node is what there is: for one dimension after the other, those of the
/// others given, the least price at which no more is taken than costs at most that (the dual of a fractional
/// knapsack, by the density of its critical item).
pub(super) fn clearing(start: NodePrices, bids: &[Bid], capacity: &Amounts, curve: &Curve) -> NodePrices {
    const PASSES: usize = 3;
    let mut prices = start;
    for _ in 0..PASSES {
        let before = prices;
        for at in 0..DIMENSIONS {
            if capacity.0[at] > 0 {
                prices[at] = clear_one(prices, at, bids, capacity, curve);
            }
        }
        if prices == before {
            break;
        }
    }
    prices
}

fn clear_one(prices: NodePrices, at: usize, bids: &[Bid], capacity: &Amounts, curve: &Curve) -> i64 {
    let mut others = prices;
    others[at] = 0;
    let rates = rates(&others, capacity);
    let whole = i128::from(capacity.0[at]);
    let mut ranked: Vec<(i64, u64, u32)> = Vec::new();
    for bid in bids.iter().filter(|bid| bid.demand.0[at] > 0) {
        let left = bid.value - charge(&rates, &bid.demand);
        if left > 0 {
            // At this price it goes, and is not only indifferent.
            let density = (i128::from(left) + 1) * whole / i128::from(bid.demand.0[at]) + 1;
            let density = i64::try_from(density).unwrap_or(MOST_PRICE).min(MOST_PRICE);
            ranked.push((density, bid.demand.0[at], bid.units));
        }
    }
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    let mut used = 0_u64;
    for (density, demand, units) in ranked {
        for _ in 0..units {
            if density <= curve.slope(used, capacity.0[at]) {
                return curve.slope(used, capacity.0[at]);
            }
            if used + demand > capacity.0[at] {
                return density;
            }
            used += demand;
        }
    }
    curve.slope(used, capacity.0[at])
}
