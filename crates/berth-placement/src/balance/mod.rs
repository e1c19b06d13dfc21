//! How far the cluster is from the best that it could be, and which moves would bring it nearer: feeds the
//! [optimiser](crate::optimise) with what changes on the board, and reads what it finds.
//!
//! A [`Balancer`] lives as long as its cluster. Its caller tells it of every node and allocation that changes, and asks
//! for a [round](Balancer::round) from time to time; a round costs as much as has changed since the one before. What it
//! proposes is a wish: the optimiser knows no ports, no single devices and no rules about other jobs, so each proposal
//! is tried on the board, with all filters, before anybody sees it.

mod numbers;
mod shapes;
mod terms;

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{AllocId, Balance, Domain, NodeId, Proposal, Relocation, Weights};

use crate::board::Board;
use crate::filter::Class as Spec;
use crate::optimise::{self, Budget, ClassIndex, NodeIndex, Optimiser};
use numbers::Numbers;
use shapes::Shapes;
use terms::Part;

/// What a round may do. What the flow lacks then it goes on with in the next round. Prices stay where they begin, near what
/// use costs: moving them asks for a second flow, which takes longer than the first one, and the next round takes it all back.
const BUDGET: Budget =
    Budget { iterations: 0, flow: berth_flow::Budget(2_000_000), search: 2_000, proposals: PROPOSALS };

/// How many proposals a round makes at most.
const PROPOSALS: usize = 16;

/// Where an allocation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It waits for a place.
    Waits,
    /// It runs or is about to, and could be elsewhere.
    Runs(NodeId),
    /// It holds room that it cannot be moved away from: it is bound to the node, it goes, or room is kept for it.
    Stays(NodeId),
}

impl Stand {
    fn node(self) -> Option<NodeId> {
        match self {
            Stand::Waits => None,
            Stand::Runs(node) | Stand::Stays(node) => Some(node),
        }
    }
}

/// Allocations that are alike, and whether they can be moved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind<K> {
    class: K,
    stays: bool,
}

/// An allocation as the optimiser has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unit {
    class: ClassIndex,
    node: Option<NodeIndex>,
}

/// The living optimiser, and which of its numbers stand for what.
#[derive(Clone, Debug)]
pub struct Balancer<K> {
    weights: Weights,
    optimiser: Optimiser,
    nodes: Numbers<NodeId>,
    racks: Parts,
    zones: Parts,
    shapes: Shapes,
    classes: Numbers<Kind<K>>,
    units: BTreeMap<AllocId, Unit>,
    /// Who is where, to say whom a move would be about.
    seated: Seated,
}

impl<K: Ord + Clone> Balancer<K> {
    /// For an empty cluster. The weights are those of the whole cluster: of pools with others it knows nothing.
    pub fn new(weights: Weights) -> Balancer<K> {
        Balancer {
            weights,
            optimiser: Optimiser::new(terms::curve(&weights)),
            nodes: Numbers::new(),
            racks: Parts::default(),
            zones: Parts::default(),
            shapes: Shapes::new(),
            classes: Numbers::new(),
            units: BTreeMap::new(),
            seated: Seated::new(),
        }
    }

    /// A node came, changed, or went: it is as the board says.
    pub fn see_node(&mut self, board: &Board, id: NodeId) {
        let Some(seat) = board.seats().get(&id) else { return self.forget_node(id) };
        let number = self.nodes.get(&id).unwrap_or_else(|| self.nodes.give(id));
        let rack = self.racks.of(id, terms::part(seat, Domain::RACK, id));
        let zone = self.zones.of(id, terms::part(seat, Domain::ZONE, id));
        self.optimiser.put_node(NodeIndex(number), terms::node(seat, rack, zone));
        self.shapes.see(seat, NodeIndex(number), &mut self.optimiser);
    }

    fn forget_node(&mut self, id: NodeId) {
        let Some(number) = self.nodes.get(&id) else { return };
        let there = self.units.iter().filter(|(_, unit)| unit.node == Some(NodeIndex(number)));
        let allocs: Vec<AllocId> = there.map(|(alloc, _)| *alloc).collect();
        allocs.into_iter().for_each(|alloc| self.forget(alloc));
        self.optimiser.remove_node(NodeIndex(number));
        self.nodes.take_back(&id);
        self.racks.leave(id);
        self.zones.leave(id);
    }

    /// An allocation came or changed. On a node that is not there it is nowhere, as is one that was forgotten.
    pub fn see(&mut self, board: &Board, alloc: AllocId, class: &K, spec: Spec<'_>, stand: Stand) {
        let node = stand.node().map(|node| self.nodes.get(&node));
        if node == Some(None) {
            return self.forget(alloc);
        }
        let kind = Kind { class: class.clone(), stays: matches!(stand, Stand::Stays(_)) };
        let known = self.classes.get(&kind);
        let class = ClassIndex(known.unwrap_or_else(|| self.begin_class(board, kind, spec)));
        let unit = Unit { class, node: node.flatten().map(NodeIndex) };
        if self.units.get(&alloc) == Some(&unit) {
            return;
        }
        // First the new, so that a class that goes on is not taken away between.
        self.count(class, 1);
        self.forget(alloc);
        self.units.insert(alloc, unit);
        self.seat(alloc, unit, true);
    }

    /// An allocation is of no interest any more.
    pub fn forget(&mut self, alloc: AllocId) {
        let Some(unit) = self.units.remove(&alloc) else { return };
        self.seat(alloc, unit, false);
        self.count(unit.class, -1);
    }

    fn seat(&mut self, alloc: AllocId, unit: Unit, comes: bool) {
        let there = self.seated.entry((unit.class, unit.node)).or_default();
        if comes {
            there.insert(alloc)
        } else {
            there.remove(&alloc)
        };
        let running = u32::try_from(there.len()).expect("fewer than 32 bits tell");
        if running == 0 {
            self.seated.remove(&(unit.class, unit.node));
        }
        if let Some(node) = unit.node {
            self.optimiser.set_running(unit.class, node, running);
        }
    }

    fn begin_class(&mut self, board: &Board, kind: Kind<K>, spec: Spec<'_>) -> u32 {
        let shape = self.shapes.enter(spec, board, &self.nodes, &mut self.optimiser);
        let class = terms::class(spec, shape, &self.weights, kind.stays);
        let number = self.classes.give(kind);
        self.optimiser.put_class(ClassIndex(number), class);
        number
    }

    /// So many more of a class are wanted. One of which none are is gone.
    fn count(&mut self, class: ClassIndex, by: i32) {
        let known = self.optimiser.class(class);
        let wanted = known.wanted.checked_add_signed(by).expect("none goes that did not come");
        if wanted > 0 {
            return self.optimiser.set_wanted(class, wanted, known.waiting);
        }
        self.optimiser.remove_class(class);
        self.shapes.leave(known.shape);
        if let Some(kind) = self.classes.name(class.0).cloned() {
            self.classes.take_back(&kind);
        }
    }

    /// Finds out how far from the best everything is, and what would be better. `allows` is asked of each proposal whether
    /// it can be done by all rules; those that cannot are left out, as are those by which somebody would have to wait: who
    /// goes for whom is not decided by what it costs.
    pub fn round(&mut self, mut allows: impl FnMut(&Proposal) -> bool) -> Balance {
        // Whether there is a place for what waits is for the fast path to say, which knows all filters.
        let round = self.optimiser.review(BUDGET);
        let mut named = BTreeSet::new();
        let sound = round.proposals.iter().filter_map(|found| self.proposal(found, &mut named));
        let proposals = sound.filter(|proposal| allows(proposal)).collect();
        Balance { cost: told(round.cost), bound: round.bound.map(told), proposals }
    }

    /// What it is worth to make one move and no other, less what it costs, in thousandths of a node's worth. None: nothing.
    pub fn gain(&mut self, one: &Relocation) -> Option<i64> {
        let unit = *self.units.get(&one.alloc)?;
        let to = self.nodes.get(&one.to).map(NodeIndex)?;
        let gain = self.optimiser.gain(unit.class, unit.node?, to)?;
        (gain > 0).then(|| told(gain.into()))
    }

    /// `named` are those whom the proposals so far are about.
    fn proposal(&self, found: &optimise::Proposal, named: &mut BTreeSet<AllocId>) -> Option<Proposal> {
        let name = |node: NodeIndex| self.nodes.name(node.0).copied();
        let mut first = |class, node| {
            let there = self.seated.get(&(class, node))?;
            there.iter().copied().find(|alloc| named.insert(*alloc))
        };
        let mut moves = Vec::new();
        for one in &found.moves {
            let (alloc, to) = (first(one.class, Some(one.from))?, one.to?);
            moves.push(Relocation { alloc, from: name(one.from)?, to: name(to)? });
        }
        let mut placed = Vec::new();
        for one in &found.placed {
            placed.push((first(one.class, None)?, name(one.node)?));
        }
        Some(Proposal { moves, placed, gain: told(found.gain.into()) })
    }
}

/// Who of a class is on a node, or waits.
type Seated = BTreeMap<(ClassIndex, Option<NodeIndex>), BTreeSet<AllocId>>;

/// In thousandths, as costs are told.
fn told(cost: i128) -> i64 {
    i64::try_from(cost / i128::from(terms::PER_THOUSANDTH)).unwrap_or(i64::MAX)
}

/// Racks or zones by number, for as long as a node is in them.
#[derive(Clone, Debug)]
struct Parts {
    numbers: Numbers<Part>,
    of: BTreeMap<NodeId, Part>,
    nodes: BTreeMap<Part, u32>,
}

impl Default for Parts {
    fn default() -> Parts {
        Parts { numbers: Numbers::new(), of: BTreeMap::new(), nodes: BTreeMap::new() }
    }
}

impl Parts {
    /// The number of the part that a node is in now.
    fn of(&mut self, node: NodeId, part: Part) -> u32 {
        if self.of.get(&node) != Some(&part) {
            self.leave(node);
            self.of.insert(node, part.clone());
            *self.nodes.entry(part.clone()).or_default() += 1;
        }
        self.numbers.get(&part).unwrap_or_else(|| self.numbers.give(part))
    }

    fn leave(&mut self, node: NodeId) {
        let Some(part) = self.of.remove(&node) else { return };
        match self.nodes.get_mut(&part) {
            Some(nodes) if *nodes > 1 => *nodes -= 1,
            Some(_) | None => {
                self.nodes.remove(&part);
                self.numbers.take_back(&part);
            }
        }
    }
}
