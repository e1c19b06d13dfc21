//! Moves prices until what the flow wants fits, and keeps those with the best bound.
//!
//! One iteration solves the drawn flow, and lets each node that is wanted by more than it holds (or asks for more than
//! anybody pays) clear its market by itself: every unit there bids what its next best place costs more. That is
//! coordinate ascent on the Lagrangian dual with exact steps, in the manner of an auction (Bertsekas 1988). Where it jams
//! a price is raised by a share of itself.

use std::collections::BTreeMap;

use berth_flow::Budget;

use super::drawing::Drawing;
use super::price::{self, Bid, MOST_PRICE, NodePrices};
use super::problem::{DIMENSIONS, NodeIndex, ShapeIndex};
use super::state::{NOWHERE, State};

/// What the prices have proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Relaxed {
    /// No assignment costs less than this.
    pub(super) bound: i128,
    /// How often prices were moved.
    pub(super) iterations: u32,
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

/// What bidders compare a node with.
struct Market {
    /// By shape: the cheapest offers, with or without room.
    offers: Vec<Option<Elsewhere>>,
    /// By shape: the cheapest nodes with room.
    open: Vec<Option<Elsewhere>>,
    /// By shape: those that wait, as what it costs that they do and how many, dearest first.
    pending: BTreeMap<ShapeIndex, Vec<(i64, u32)>>,
}

/// Of the units of a shape that wait, bids are made for so many different costs of waiting.
const GRADES: usize = 8;

impl Market {
    fn new(state: &mut State) -> Market {
        let mut pending: BTreeMap<ShapeIndex, BTreeMap<i64, u32>> = BTreeMap::new();
        for id in state.class_ids() {
            let owner = state.class(id);
            if owner.waiting() > 0 {
                *pending.entry(owner.class.shape).or_default().entry(owner.class.waiting).or_default() +=
                    owner.waiting();
            }
        }
        let graded = |costs: BTreeMap<i64, u32>| costs.into_iter().rev().take(GRADES).collect();
        let pending = pending.into_iter().map(|(shape, costs)| (shape, graded(costs))).collect();
        state.steps += (state.shapes.len() * state.nodes.len()) as u64 / 16;
        let rows = || state.shapes.iter().map(Option::as_ref);
        let offers = rows().map(|s| s.map(|s| Elsewhere::of(s.offers.iter().copied()))).collect();
        let dearer = |(cost, offer): (&i64, &i64)| *cost.max(offer);
        let open = rows().map(|s| s.map(|s| Elsewhere::of(s.marginal.iter().zip(&s.offers).map(dearer)))).collect();
        Market { offers, open, pending }
    }

    /// Everyone who would pay for a place on the node.
    fn bids(&self, state: &State, node: NodeIndex) -> Vec<Bid> {
        let mut bids = Vec::new();
        for id in &state.node(node).residents {
            let owner = state.class(*id);
            let class = &owner.class;
            let units = owner.seat(node).map_or(0, |seat| seat.placed);
            let elsewhere = self.offers[class.shape.at()].as_ref().map_or(NOWHERE, |shape| shape.than(node));
            let here = state.base(*id, node).unwrap_or(0) - class.moving;
            bids.push(Bid { value: class.waiting.min(elsewhere) - here, demand: class.demand, units });
        }
        let capacity = state.capacity(node);
        for (shape, grades) in &self.pending {
            let entry = &state.shape(*shape).shape;
            let Some(here) = entry.costs.get(node.at()).copied().flatten() else { continue };
            let mut pieces = entry.least.pieces(&capacity, state.node(node).node.slots);
            let elsewhere = self.open[shape.at()].as_ref().map_or(NOWHERE, |shape| shape.than(node));
            for (waiting, units) in grades {
                let units = pieces.min(*units);
                pieces -= units;
                bids.push(Bid { value: (*waiting).min(elsewhere) - here, demand: entry.least, units });
            }
        }
        bids
    }
}

/// What a node's market looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Balance {
    /// More is wanted of this dimension than there is.
    Wanted(usize),
    /// The price is above what the use costs, and not all is used.
    Slack,
    Clear,
}

fn balance(state: &State, node: NodeIndex, load: &[u64; DIMENSIONS]) -> Balance {
    let (capacity, prices) = (state.capacity(node), state.prices.of(node));
    let over = |at: &usize| load[*at] > capacity.0[*at];
    let worst = (0..DIMENSIONS).filter(over).max_by_key(|at| {
        let excess = u128::from(load[*at] - capacity.0[*at]) << 32;
        (excess / u128::from(capacity.0[*at].max(1)), std::cmp::Reverse(*at))
    });
    if let Some(at) = worst {
        return Balance::Wanted(at);
    }
    let slack = |at: usize| load[at] < capacity.0[at] && prices[at] > state.curve.slope(load[at], capacity.0[at]);
    if (0..DIMENSIONS).any(slack) { Balance::Slack } else { Balance::Clear }
}

/// Moves prices, at most so many times. `None` when not even one flow is solved within the budget.
pub(super) fn relax(state: &mut State, drawing: &mut Drawing, iterations: u32, budget: Budget) -> Option<Relaxed> {
    let begun = drawing.steps;
    let left = |drawing: &Drawing| match budget {
        Budget::UNLIMITED => budget,
        Budget(steps) => Budget(steps.saturating_sub(drawing.steps - begun)),
    };
    let mut best = drawing.solve(state, left(drawing))? + state.prices.conjugate();
    // What the prices were when the bound was best, where they are others now.
    let mut undo: BTreeMap<NodeIndex, NodePrices> = BTreeMap::new();
    let mut done = 0;
    while done < iterations {
        let moved = reprice(state, drawing);
        if moved.is_empty() {
            break;
        }
        done += 1;
        for (node, old) in moved {
            undo.entry(node).or_insert(old);
        }
        let Some(cost) = drawing.solve(state, left(drawing)) else { break };
        let bound = cost + state.prices.conjugate();
        if bound >= best {
            best = bound;
            undo.clear();
        }
    }
    for (node, old) in &undo {
        set_prices(state, drawing, *node, *old);
    }
    if !undo.is_empty() {
        drawing.solve(state, Budget::UNLIMITED);
    }
    Some(Relaxed { bound: best, iterations: done })
}

/// Lets every node that is not clear clear its market. Those whose prices moved, with their old prices.
fn reprice(state: &mut State, drawing: &mut Drawing) -> Vec<(NodeIndex, NodePrices)> {
    let loads = drawing.loads(state);
    let market = Market::new(state);
    let mut moved = Vec::new();
    let nodes: Vec<NodeIndex> = state.node_ids().collect();
    for node in nodes {
        let load = loads.get(node.at()).copied().unwrap_or_default();
        let balance = balance(state, node, &load);
        if balance == Balance::Clear {
            continue;
        }
        let old = state.prices.of(node);
        let bids = market.bids(state, node);
        let mut new = price::clearing(old, &bids, &state.capacity(node), &state.curve);
        if let (Balance::Wanted(at), true) = (balance, new == old) {
            new[at] = raised(old[at], &bids);
        }
        state.steps += bids.len() as u64;
        if new != old {
            set_prices(state, drawing, node, new);
            moved.push((node, old));
        }
    }
    moved
}

/// A price that makes a difference to some bidder.
fn raised(price: i64, bids: &[Bid]) -> i64 {
    let least = bids.iter().map(|bid| bid.value).filter(|value| *value > 0).min().unwrap_or(0);
    (price + price / 8 + least / 8 + 1).min(MOST_PRICE)
}

/// Gives a node other prices.
pub(super) fn set_prices(state: &mut State, drawing: &mut Drawing, node: NodeIndex, prices: NodePrices) {
    state.prices.set(node, prices, &state.curve);
    state.reoffer(node);
    drawing.touch_node(node);
}

/// What use costs at the margin.
pub(super) fn natural(state: &State, node: NodeIndex) -> NodePrices {
    let (capacity, used) = (state.capacity(node), state.node(node).used);
    std::array::from_fn(|at| if capacity.0[at] == 0 { 0 } else { state.curve.slope(used.0[at], capacity.0[at]) })
}
