//! The living network: its arcs and nodes, its flow and its prices.
//!
//! Between changes every arc that can take more flow has a reduced cost of at least 0, and every arc whose
//! flow can shrink one of at most 0. A change may leave nodes with an excess or a deficit, and arcs that
//! break this rule; a solve mends both and never starts from nothing unless asked to.

mod bits;
mod changes;
mod layout;
mod lists;
mod passes;
mod patience;
mod prices;
mod rebuild;
mod route;
mod scale;
mod search;
mod slacks;

use crate::change::Change;
use crate::problem::{Arc, ArcId, NodeId, Problem, UNLIMITED};
use crate::solution::Solution;
use layout::{Course, Layout, NONE};
use lists::Fill;
use search::{Label, Search};

pub use changes::Applied;

/// What is left of an arc for more flow when it has no limit.
const ENDLESS: i64 = i64::MAX;

/// A node that was removed.
const REMOVED: i64 = i64::MIN;

/// What a search reads and writes of a node that is not a leaf; half a cache line.
#[derive(Clone, Copy, Debug)]
struct Inner {
    /// What a unit more of supply here would cost.
    price: i64,
    /// The label of the forward search.
    label: Label,
}

/// What an arc's flow can still do.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// How much it can grow; [`ENDLESS`] without a limit.
    up: i64,
    /// How much it can shrink, to the lower bound.
    down: i64,
}

impl Room {
    fn fill(self) -> Fill {
        match (self.down, self.up) {
            (0, 0) => Fill::Fixed,
            (0, _) => Fill::Empty,
            (_, 0) => Fill::Full,
            _ => Fill::Between,
        }
    }
}

/// A min-cost flow network that changes in place, with its flow.
#[derive(Clone, Debug, Default)]
pub struct Network {
    layout: Layout,
    nodes: Vec<Inner>,
    /// Supply and inflow without outflow: units that wait to leave, or (negative) that are missing.
    excesses: Vec<i64>,
    /// What each node was declared to supply; [`REMOVED`] where there is no node.
    supplies: Vec<i64>,
    /// The sum of the supplies that are not negative.
    supplied: i64,
    free_nodes: Vec<u32>,
    rooms: Vec<Room>,
    /// The lower bounds; empty while all are 0.
    lowers: Vec<i64>,
    free_arcs: Vec<u32>,
    /// The sum of cost times flow.
    cost: i128,
    /// Sums and maxima that keep later arithmetic from overflowing.
    limits: changes::Limits,
    /// The changes since it was taken last, if it is kept.
    journal: Option<Vec<Change>>,
    pending: Pending,
    search: Search,
    /// The work of the last solve from scratch, in steps.
    steps_from_scratch: u64,
}

/// What the next solve must look at.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// What the last solve has left.
    left: Left,
    /// Nodes that have no price yet.
    fresh: Vec<u32>,
    /// Arcs that may break the rule of reduced costs.
    suspects: Vec<u32>,
    /// Nodes that may have an excess or a deficit.
    unbalanced: Vec<u32>,
}

/// A solve from scratch looks at everything.
impl Pending {
    fn is_kept(&self) -> bool {
        self.left == Left::Repairable
    }

    fn add_fresh(&mut self, node: u32) {
        if self.is_kept() {
            self.fresh.push(node);
        }
    }

    fn add_suspects(&mut self, arcs: impl IntoIterator<Item = u32>) {
        if self.is_kept() {
            self.suspects.extend(arcs);
        }
    }

    fn add_unbalanced(&mut self, nodes: impl IntoIterator<Item = u32>) {
        if self.is_kept() {
            self.unbalanced.extend(nodes);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Left {
    /// There was none.
    #[default]
    Nothing,
    /// Flow and prices that can be repaired.
    Repairable,
    /// Prices on the way to a cycle that gains for ever.
    Unsettled,
}

impl Network {
    /// An empty network.
    pub fn new() -> Network {
        Network::default()
    }

    /// The flow of an arc; `None` where there is no such arc.
    pub fn flow(&self, arc: ArcId) -> Option<i64> {
        self.is_arc(arc.0).then(|| self.flow_of(arc.0))
    }

    /// What an arc was declared to be; `None` where there is no such arc.
    pub fn arc(&self, arc: ArcId) -> Option<Arc> {
        self.is_arc(arc.0).then(|| self.declared(arc.0))
    }

    /// The price of a node, as of the last solve: what a unit more of supply there would cost, up to a constant common
    /// to all nodes that paths join. `None` where there is no such node.
    pub fn price(&self, node: NodeId) -> Option<i64> {
        self.is_node(node.0).then(|| self.price_of(node.0))
    }

    /// The sum of cost times flow over all arcs.
    pub fn cost(&self) -> i128 {
        self.cost
    }

    /// All flows and prices.
    pub fn solution(&self) -> Solution {
        let flow = |id: u32| self.flow(ArcId(id)).unwrap_or(0);
        let price = |id: u32| self.price(NodeId(id)).unwrap_or(0);
        Solution {
            flows: (0..).take(self.rooms.len()).map(flow).collect(),
            prices: (0..).take(self.nodes.len()).map(price).collect(),
        }
    }

    /// All flows and prices of a network that is not needed any more: its memory is given back before flows take theirs.
    pub fn into_solution(self) -> Solution {
        let price = |id: u32| self.price(NodeId(id)).unwrap_or(0);
        let prices = (0..).take(self.nodes.len()).map(price).collect();
        let Network { rooms, lowers, layout, search, .. } = self;
        drop((layout, search));
        let lowers = lowers.into_iter().chain(std::iter::repeat(0));
        // Where there is no arc, both are 0.
        Solution { flows: rooms.iter().zip(lowers).map(|(room, lower)| lower + room.down).collect(), prices }
    }

    fn node_count(&self) -> usize {
        self.nodes.len() - self.free_nodes.len()
    }

    fn arc_count(&self) -> usize {
        self.rooms.len() - self.free_arcs.len()
    }

    fn is_node(&self, node: u32) -> bool {
        self.supplies.get(node as usize).is_some_and(|supply| *supply != REMOVED)
    }

    fn is_arc(&self, arc: u32) -> bool {
        self.layout.arcs.get(arc as usize).is_some_and(|course| course.tail != NONE)
    }

    fn lower(&self, arc: u32) -> i64 {
        self.lowers.get(arc as usize).copied().unwrap_or(0)
    }

    fn flow_of(&self, arc: u32) -> i64 {
        self.lower(arc) + self.rooms[arc as usize].down
    }

    fn declared(&self, id: u32) -> Arc {
        let (course, room, lower) = (&self.layout.arcs[id as usize], &self.rooms[id as usize], self.lower(id));
        let capacity = if room.up == ENDLESS { UNLIMITED } else { lower + room.down + room.up };
        Arc { tail: NodeId(course.tail), head: NodeId(course.head), lower, capacity, cost: course.cost }
    }

    /// A leaf's price is not kept: it follows from its arcs.
    fn price_of(&self, node: u32) -> i64 {
        let layout = &self.layout;
        if !layout.leaves.has(node) {
            return self.nodes[node as usize].price;
        }
        let out = layout.ends[node as usize].out;
        let through = |id: &u32| self.price_through(*id);
        let cheapest = layout.out.open(out).iter().map(through).min();
        cheapest.or(layout.out.live(out).iter().map(through).max()).unwrap_or(0)
    }

    /// What a unit at the tail of an arc costs if it takes that arc.
    fn price_through(&self, id: u32) -> i64 {
        let course = &self.layout.arcs[id as usize];
        course.cost + self.nodes[course.head as usize].price
    }

    /// Changes an arc's flow, and nothing of its nodes.
    fn shift(&mut self, id: u32, by: i64) {
        let room = &mut self.rooms[id as usize];
        self.cost += i128::from(self.layout.arcs[id as usize].cost) * i128::from(by);
        room.down += by;
        if room.up != ENDLESS {
            room.up -= by;
        }
        self.layout.refill(id, room.fill());
    }

    /// Changes an arc's flow and what its nodes have too much or too little.
    fn push(&mut self, id: u32, by: i64) {
        self.shift(id, by);
        let Course { tail, head, .. } = self.layout.arcs[id as usize];
        self.layout.tell(tail);
        self.excesses[tail as usize] -= by;
        self.excesses[head as usize] += by;
    }
}

impl Problem for Network {
    fn nodes(&self) -> impl Iterator<Item = (NodeId, i64)> {
        let nodes = (0..).map(NodeId).zip(self.supplies.iter().copied());
        nodes.filter(|(_, supply)| *supply != REMOVED)
    }

    fn arcs(&self) -> impl Iterator<Item = (ArcId, Arc)> {
        let ids = (0..).zip(&self.layout.arcs).filter(|(_, arc)| arc.tail != NONE);
        ids.map(|(id, _)| (ArcId(id), self.declared(id)))
    }
}
