//! Moves prices until what the flow wants fits, and keeps those with the best bound.
//!
//! One iteration solves the drawn flow, and lets each node that is wanted by more than it holds clear its market by
//! itself: every unit there bids what its next best place costs more. That is
//! coordinate ascent on the Lagrangian dual with exact steps, in the manner of an auction (Bertsekas 1988). Where it jams
//! a price is raised by a share of itself.

use std::collections::{BTreeMap, BTreeSet};

use berth_flow::Budget;

use super::drawing::{Drawing, Waiting};
use super::price::{self, Bid, MOST_PRICE, NodePrices};
use super::problem::{Class, DIMENSIONS, NodeIndex, ShapeIndex};
use super::state::{NOWHERE, State};

/// What the prices have proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Relaxed {
    /// No assignment costs less than this.
    pub(super) bound: i128,
    /// How often prices were moved.
    pub(super) iterations: u32,
    /// The nodes whose prices were moved.
    pub(super) moved: BTreeSet<NodeIndex>,
}

/// What else a unit of a shape could do: the two cheapest nodes.
#[derive(Clone, Copy, Debug)]
struct Elsewhere {
    best: (i64, NodeIndex),
    second: i64,
}

impl Elsewhere {
    fn of(row: impl Iterator<Item = i64>) -> Elsewhere {
        let mut elsewhere = Elsewhere { best: (NOWHERE, NodeIndex(0)), second: NOWHERE };
        for (at, cost) in (0..).zip(row) {
            if cost < elsewhere.best.0 {
                elsewhere.second = elsewhere.best.0;
                elsewhere.best = (cost, NodeIndex(at));
            } else if cost < elsewhere.second {
                elsewhere.second = cost;
            }
        }
        elsewhere
    }

    fn than(&self, node: NodeIndex) -> i64 {
        if self.best.1 == node { self.second } else { self.best.0 }
    }
}

/// What bidders compare a node with, looked up when it is asked for.
struct Market {
    /// By shape: the cheapest offers, with or without room.
    offers: Vec<Option<Elsewhere>>,
    /// By shape: the cheapest nodes with room.
    open: Vec<Option<Elsewhere>>,
    /// By shape: those that wait, as what it costs that they do and how many, dearest first.
    pending: BTreeMap<ShapeIndex, Vec<(i64, u32)>>,
    steps: u64,
}

/// Of the units of a shape that wait, bids are made for so many different costs of waiting.
const GRADES: usize = 8;

impl Market {
    fn new(state: &State, waiting: Waiting) -> Market {
        let mut pending: BTreeMap<ShapeIndex, BTreeMap<i64, u32>> = BTreeMap::new();
        for id in state.class_ids().filter(|_| waiting == Waiting::Drawn) {
            let owner = state.class(id);
            if owner.waiting() > 0 {
                *pending.entry(owner.class.shape).or_default().entry(owner.class.waiting).or_default() +=
                    owner.waiting();
            }
        }
        let graded = |costs: BTreeMap<i64, u32>| costs.into_iter().rev().take(GRADES).collect();
        let pending = pending.into_iter().map(|(shape, costs)| (shape, graded(costs))).collect();
        let none = vec![None; state.shapes.len()];
        Market { offers: none.clone(), open: none, pending, steps: 0 }
    }

    fn offered(&mut self, state: &State, shape: ShapeIndex, node: NodeIndex) -> i64 {
        let look = || Elsewhere::of(state.shape(shape).offers.iter().copied());
        self.steps += if self.offers[shape.at()].is_none() { state.nodes.len() as u64 / 16 } else { 0 };
        self.offers[shape.at()].get_or_insert_with(look).than(node)
    }

    fn open(&mut self, state: &State, shape: ShapeIndex, node: NodeIndex) -> i64 {
        let entry = state.shape(shape);
        let dearer = |(cost, offer): (&i64, &i64)| *cost.max(offer);
        let look = || Elsewhere::of(entry.marginal.iter().zip(&entry.offers).map(dearer));
        self.steps += if self.open[shape.at()].is_none() { state.nodes.len() as u64 / 16 } else { 0 };
        self.open[shape.at()].get_or_insert_with(look).than(node)
    }

    /// Everyone who would pay for a place on the node.
    fn bids(&mut self, state: &State, node: NodeIndex) -> Vec<Bid> {
        let mut bids = Vec::new();
        for id in &state.node(node).residents {
            let owner = state.class(*id);
            let class = &owner.class;
            let units = owner.seat(node).map_or(0, |seat| seat.placed);
            let elsewhere = self.offered(state, class.shape, node);
            let here = state.base(*id, node).unwrap_or(0) - class.moving;
            bids.push(Bid { value: class.waiting.min(elsewhere) - here, demand: class.demand, units });
        }
        let capacity = state.capacity(node);
        let pending = std::mem::take(&mut self.pending);
        for (shape, grades) in &pending {
            let entry = &state.shape(*shape).shape;
            let Some(here) = entry.costs.get(node.at()).copied().flatten() else { continue };
            let mut pieces = entry.least.pieces(&capacity, state.node(node).node.slots);
            let elsewhere = self.open(state, *shape, node);
            for (waiting, units) in grades {
                let units = pieces.min(*units);
                pieces -= units;
                bids.push(Bid { value: (*waiting).min(elsewhere) - here, demand: entry.least, units });
            }
        }
        self.pending = pending;
        bids
    }
}

/// The dimension of which most is wanted beyond what there is.
fn wanted(state: &State, node: NodeIndex, load: &[u64; DIMENSIONS]) -> Option<usize> {
    let capacity = state.capacity(node);
    let over = |at: &usize| load[*at] > capacity.0[*at];
    (0..DIMENSIONS).filter(over).max_by_key(|at| {
        let excess = u128::from(load[*at] - capacity.0[*at]) << 32;
        (excess / u128::from(capacity.0[*at].max(1)), std::cmp::Reverse(*at))
    })
}

/// Moves prices, at most so many times. `None` when not even one flow is solved within the budget.
pub(super) fn relax(state: &mut State, drawing: &mut Drawing, iterations: u32, budget: Budget) -> Option<Relaxed> {
    let end = drawing.steps.saturating_add(budget.0);
    let left =
        |drawing: &Drawing| Budget(if budget == Budget::UNLIMITED { budget.0 } else { end - drawing.steps.min(end) });
    let cost = drawing.solve(state, left(drawing))?;
    let mut relaxed = Relaxed { bound: proven(state, drawing, cost), iterations: 0, moved: BTreeSet::new() };
    while relaxed.iterations < iterations {
        let moved = reprice(state, drawing);
        if moved.is_empty() {
            break;
        }
        relaxed.iterations += 1;
        relaxed.moved.extend(moved);
        let Some(cost) = drawing.solve(state, left(drawing)) else { break };
        if cost + state.prices.conjugate() > relaxed.bound {
            relaxed.bound = proven(state, drawing, cost);
        }
    }
    Some(relaxed)
}

/// The bound that a solved flow gives, once code of its own has proved the flow's optimum.
fn proven(state: &State, drawing: &Drawing, cost: i128) -> i128 {
    assert!(drawing.certify(), "the flow solver's optimum is refuted");
    cost + state.prices.conjugate()
}

/// Lets every node that too much is wanted of clear its market. Those whose prices moved.
fn reprice(state: &mut State, drawing: &mut Drawing) -> Vec<NodeIndex> {
    let loads = drawing.loads(state);
    let mut market = Market::new(state, drawing.waiting());
    let mut moved = Vec::new();
    let nodes: Vec<NodeIndex> = state.node_ids().collect();
    for node in nodes {
        let load = loads.get(node.at()).copied().unwrap_or_default();
        let Some(worst) = wanted(state, node, &load) else { continue };
        let old = state.prices.of(node);
        let bids = market.bids(state, node);
        let mut new = price::clearing(old, &bids, &state.capacity(node), &state.curve);
        if new[worst] <= old[worst] {
            new[worst] = raised(old[worst], &bids);
        }
        state.steps += bids.len() as u64;
        if new != old {
            set_prices(state, drawing, node, new);
            moved.push(node);
        }
    }
    state.steps += market.steps;
    moved
}

/// A price that makes a difference to some bidder.
fn raised(price: i64, bids: &[Bid]) -> i64 {
    let least = bids.iter().map(|bid| bid.value).filter(|value| *value > 0).min().unwrap_or(0);
    (price + price / 64 + least / 8 + 1).min(MOST_PRICE)
}

/// Gives a node other prices.
pub(super) fn set_prices(state: &mut State, drawing: &mut Drawing, node: NodeIndex, prices: NodePrices) {
    state.prices.set(node, prices, &state.curve);
    state.reoffer(node);
    drawing.touch_node(node);
}

/// How far the prices of nodes may be apart so that almost nobody wants to move.
///
/// Where every node had the price of its own use, all units of the fuller nodes would want the emptier ones at once, and
/// the flow would move thousands only to learn that the price there has to rise. So a node's price begins at what its
/// use costs, but no further from the mean than moves are worth: nearly everybody stays, and the bound is good at once.
pub(super) struct Band {
    /// Per unit of amount, with [`FRACTION`] bits behind the point.
    means: [i128; DIMENSIONS],
    widths: [i128; DIMENSIONS],
}

const FRACTION: u32 = 40;

impl Band {
    pub(super) fn of(state: &State) -> Band {
        let (mut prices, mut amounts) = ([0_i128; DIMENSIONS], [0_i128; DIMENSIONS]);
        for node in state.node_ids() {
            let (natural, capacity) = (natural(state, node), state.capacity(node));
            for at in 0..DIMENSIONS {
                prices[at] += i128::from(natural[at]);
                amounts[at] += i128::from(capacity.0[at]);
            }
        }
        let means = std::array::from_fn(|at| (prices[at] << FRACTION) / amounts[at].max(1));
        Band { means, widths: std::array::from_fn(|at| width(state, at)) }
    }

    /// The price that a node begins with.
    pub(super) fn price(&self, state: &State, node: NodeIndex) -> NodePrices {
        let (natural, capacity) = (natural(state, node), state.capacity(node));
        std::array::from_fn(|at| {
            let whole = |rate: i128| {
                // Nothing that runs makes the band as wide as prices go, and then the product may be too large.
                let price = rate.max(0).checked_mul(i128::from(capacity.0[at])).map(|price| price >> FRACTION);
                price.and_then(|price| i64::try_from(price).ok()).unwrap_or(MOST_PRICE).min(MOST_PRICE)
            };
            natural[at].clamp(whole(self.means[at] - self.widths[at]), whole(self.means[at] + self.widths[at]))
        })
    }
}

/// So far from the mean that of sixteen classes fifteen would rather stay, if every dimension was so far.
fn width(state: &State, at: usize) -> i128 {
    let running = state.classes.iter().flatten().filter(|owner| owner.running > 0 && owner.class.demand.0[at] > 0);
    let each = |class: &Class| {
        let dimensions = class.demand.0.iter().filter(|amount| **amount > 0).count();
        let apart = 2 * i128::from(class.demand.0[at]) * i128::try_from(dimensions).expect("a few");
        (i128::from(class.moving) << FRACTION) / apart
    };
    let mut worth: Vec<i128> = running.map(|owner| each(&owner.class)).collect();
    if worth.is_empty() {
        return i128::from(MOST_PRICE) << FRACTION;
    }
    let rank = worth.len() / 16;
    *worth.select_nth_unstable(rank).1
}

/// What use costs at the margin.
fn natural(state: &State, node: NodeIndex) -> NodePrices {
    let (capacity, used) = (state.capacity(node), state.node(node).used);
    std::array::from_fn(|at| if capacity.0[at] == 0 { 0 } else { state.curve.slope(used.0[at], capacity.0[at]) })
}
