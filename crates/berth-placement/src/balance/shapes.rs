//! Shapes: which classes share where they may be, what that costs, and how much they need.
//!
//! Each shape is a row over all nodes, so there may be only so many. While there are few, the demands of a shape are
//! equal, and the bound is as tight as it gets; then they are within a factor of two of each other, at last in what nodes
//! run out of first alone; and when there are too many even so, demands are anything, and in the end what nodes a class may
//! be on is anything too. The bound stays true all the way: a box is reckoned with its least, and a node that is allowed too
//! often only makes things cheaper. But where the least is nothing, a unit seems to be welcome everywhere for nothing: the
//! flow then moves whoever is dear where it is, and the bound is worth little.

use std::collections::BTreeMap;

use berth_model::{Constraint, NodeId, Preference};

use super::numbers::Numbers;
use super::terms::{self, PER_THOUSANDTH};
use crate::board::{Board, Seat};
use crate::constraint::holds;
use crate::cost;
use crate::filter::{self, Class as Spec};
use crate::optimise::{Amounts, DIMENSIONS, MOST_AMOUNT, NodeIndex, Optimiser, Shape, ShapeIndex};

/// Up to so many shapes, demands are told apart exactly; then by powers of two; then so in cpu, memory and devices; then not
/// at all.
const EXACT: usize = 16;
const BOXED: usize = 48;
const COARSE: usize = 112;
/// Up to so many, classes are told apart by what they ask of nodes.
const MOST: usize = 128;

/// What classes of one shape have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    asks: Asks,
    least: [u64; DIMENSIONS],
    most: [u64; DIMENSIONS],
}

/// What is asked of a node's attributes, and liked about them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Asks {
    drivers: Vec<&'static str>,
    constraints: Vec<Constraint>,
    preferences: Vec<Preference>,
}

impl Asks {
    fn of(spec: Spec<'_>) -> Asks {
        let mut drivers: Vec<_> = spec.drivers().map(|(_, attribute)| attribute).collect();
        drivers.sort_unstable();
        drivers.dedup();
        let implied = spec.group.agent_protocol().map(Constraint::agent_protocol);
        let constraints = spec.constraints().cloned().chain(implied).collect();
        Asks { drivers, constraints, preferences: spec.group.rules.preferences.clone() }
    }

    /// What a unit costs on a node by what its group likes; none where it must not be.
    fn cost(&self, seat: &Seat) -> Option<i64> {
        let attributes = &seat.fingerprint.attributes;
        let works = |key: &&str| filter::works(attributes.get(*key).map(String::as_str));
        let suited = self.drivers.iter().all(works) && self.constraints.iter().all(|it| holds(it, attributes));
        (suited && filter::out_of_service(seat).is_none()).then(|| self.liked(seat))
    }

    fn liked(&self, seat: &Seat) -> i64 {
        let mut costs = cost::Costs::default();
        cost::add_preferences(&self.preferences, &seat.fingerprint.attributes, &mut costs);
        costs.total() * PER_THOUSANDTH
    }
}

/// The shapes that there are, and how many classes have each.
#[derive(Clone, Debug)]
pub(super) struct Shapes {
    numbers: Numbers<Key>,
    classes: BTreeMap<u32, u32>,
}

impl Shapes {
    pub(super) fn new() -> Shapes {
        Shapes { numbers: Numbers::new(), classes: BTreeMap::new() }
    }

    /// The shape of one more class.
    pub(super) fn enter(
        &mut self,
        spec: Spec<'_>,
        board: &Board,
        nodes: &Numbers<NodeId>,
        optimiser: &mut Optimiser,
    ) -> ShapeIndex {
        let keys = keys(spec);
        let known = keys.iter().find_map(|(_, key)| self.numbers.get(key));
        let number = known.unwrap_or_else(|| {
            let key = self.tightest(keys);
            self.numbers.get(&key).unwrap_or_else(|| self.draw(key, board, nodes, optimiser))
        });
        *self.classes.entry(number).or_default() += 1;
        ShapeIndex(number)
    }

    /// The tightest that there is room for; for the last there always is.
    fn tightest(&mut self, keys: [(usize, Key); 5]) -> Key {
        if self.numbers.len() >= EXACT {
            self.forget_one();
        }
        let room = |(most, _): &(usize, Key)| self.numbers.len() < *most;
        keys.into_iter().find(room).map(|(_, key)| key).expect("the last may be one more than any number")
    }

    /// Gives up a shape that no class has any more.
    fn forget_one(&mut self) {
        let idle = self.numbers.iter().find(|(_, number)| !self.classes.contains_key(number));
        if let Some((key, _)) = idle {
            let key = key.clone();
            self.numbers.take_back(&key);
        }
    }

    fn draw(&mut self, key: Key, board: &Board, nodes: &Numbers<NodeId>, optimiser: &mut Optimiser) -> u32 {
        let mut costs = Vec::new();
        for (id, seat) in board.seats().iter() {
            let Some(at) = nodes.get(id).map(|node| node as usize) else { continue };
            costs.resize(costs.len().max(at + 1), None);
            costs[at] = key.asks.cost(seat);
        }
        let shape = Shape { least: Amounts(key.least), most: Amounts(key.most), costs };
        let number = self.numbers.give(key);
        optimiser.put_shape(ShapeIndex(number), shape);
        number
    }

    /// A class went.
    pub(super) fn leave(&mut self, shape: ShapeIndex) {
        match self.classes.get_mut(&shape.0) {
            Some(classes) if *classes > 1 => *classes -= 1,
            Some(_) | None => drop(self.classes.remove(&shape.0)),
        }
    }

    /// A node came or changed.
    pub(super) fn see(&self, seat: &Seat, node: NodeIndex, optimiser: &mut Optimiser) {
        for (key, number) in self.numbers.iter() {
            optimiser.set_cost(ShapeIndex(number), node, key.asks.cost(seat));
        }
    }
}

/// What a class's shape may be, the tightest first, with the number of shapes up to which it may be so.
fn keys(spec: Spec<'_>) -> [(usize, Key); 5] {
    let (asks, demand) = (Asks::of(spec), terms::demand(spec).0);
    let below = demand.map(|amount| if amount == 0 { 0 } else { 1 << amount.ilog2() });
    let above = below.map(|least| if least == 0 { 0 } else { (2 * least - 1).min(MOST_AMOUNT) });
    let (none, all) = ([0; DIMENSIONS], [MOST_AMOUNT; DIMENSIONS]);
    let scarce =
        |of: [u64; DIMENSIONS], others: u64| std::array::from_fn(|at| if terms::SCARCE[at] { of[at] } else { others });
    [
        (EXACT, Key { asks: asks.clone(), least: demand, most: demand }),
        (BOXED, Key { asks: asks.clone(), least: below, most: above }),
        (COARSE, Key { asks: asks.clone(), least: scarce(below, 0), most: scarce(above, MOST_AMOUNT) }),
        (MOST, Key { asks, least: none, most: all }),
        (usize::MAX, Key { asks: Asks::default(), least: none, most: all }),
    ]
}
