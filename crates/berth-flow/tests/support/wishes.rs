//! Random changes of whatever a network has, and the network with a model of what it should be.

use berth_flow::{Arc, ArcId, Change, Instance, Network, NodeId, Outcome, Problem};
use proptest::prelude::*;
use proptest::sample::Index;

use super::check;
use super::kept::Kept;
use super::simple::truth;
use super::strategies::{SMALL, any_arc};

/// A change of whatever there is when its turn comes.
#[derive(Clone, Debug)]
pub enum Wish {
    AddNode,
    RemoveNode(Index),
    /// A supply grows, and another shrinks by as much.
    Move(Index, Index, i64),
    /// A supply grows, and the balance is lost until another change of this kind.
    Add(Index, i64),
    AddArc(Index, Index, Arc),
    RemoveArc(Index),
    SetBounds(Index, Arc),
    SetCost(Index, i64),
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let place = any::<Index>;
    let arc = || any_arc(SMALL, 1).prop_map(|(arc, _)| arc);
    prop_oneof![
        2 => Just(Wish::AddNode),
        1 => place().prop_map(Wish::RemoveNode),
        4 => (place(), place(), 1_i64..4).prop_map(|(from, to, amount)| Wish::Move(from, to, amount)),
        1 => (place(), -1_i64..2).prop_map(|(at, amount)| Wish::Add(at, amount)),
        6 => (place(), place(), arc()).prop_map(|(tail, head, arc)| Wish::AddArc(tail, head, arc)),
        3 => place().prop_map(Wish::RemoveArc),
        4 => (place(), arc()).prop_map(|(at, arc)| Wish::SetBounds(at, arc)),
        4 => (place(), -9_i64..20).prop_map(|(at, cost)| Wish::SetCost(at, cost)),
    ]
}

/// Wishes by batches, between which there may be solves.
pub fn any_batches() -> impl Strategy<Value = Vec<Vec<Wish>>> {
    prop::collection::vec(prop::collection::vec(any_wish(), 0..8), 1..12)
}

/// What a wish comes to: nothing where there is nothing to change.
fn changes(kept: &Kept, wish: &Wish) -> Vec<Change> {
    let nodes: Vec<(NodeId, i64)> = kept.nodes().collect();
    let arcs: Vec<ArcId> = kept.arcs().map(|(id, _)| id).collect();
    let node = |place: &Index| (!nodes.is_empty()).then(|| *place.get(&nodes));
    let at = |place: &Index| (!arcs.is_empty()).then(|| *place.get(&arcs));
    let add = |(node, supply): (NodeId, i64), amount: i64| Change::SetSupply { node, supply: supply + amount };
    match wish {
        Wish::AddNode => vec![Change::AddNode { supply: 0 }],
        Wish::RemoveNode(place) => node(place).map_or(Vec::new(), |(node, supply)| remove(kept, node, supply)),
        Wish::Move(from, to, amount) => match (node(from), node(to)) {
            (Some(from), Some(to)) if from != to => vec![add(from, *amount), add(to, -amount)],
            _ => Vec::new(),
        },
        Wish::Add(place, amount) => node(place).map(|node| add(node, *amount)).into_iter().collect(),
        Wish::AddArc(tail, head, arc) => match (node(tail), node(head)) {
            (Some((tail, _)), Some((head, _))) => vec![Change::AddArc(Arc { tail, head, ..*arc })],
            _ => Vec::new(),
        },
        Wish::RemoveArc(place) => at(place).map(|arc| Change::RemoveArc { arc }).into_iter().collect(),
        Wish::SetBounds(place, Arc { lower, capacity, .. }) => {
            let (lower, capacity) = (*lower, *capacity);
            at(place).map(|arc| Change::SetBounds { arc, lower, capacity }).into_iter().collect()
        }
        Wish::SetCost(place, cost) => at(place).map(|arc| Change::SetCost { arc, cost: *cost }).into_iter().collect(),
    }
}

/// A node goes after its arcs, and another one takes its supply over.
pub fn remove(kept: &Kept, node: NodeId, supply: i64) -> Vec<Change> {
    let touches = |arc: &Arc| arc.tail == node || arc.head == node;
    let arcs = kept.arcs().filter(|(_, arc)| touches(arc)).map(|(arc, _)| Change::RemoveArc { arc });
    let heir = kept.nodes().find(|(other, _)| *other != node);
    let inherits = heir.map(|(node, own)| Change::SetSupply { node, supply: own + supply });
    arcs.chain(inherits).chain([Change::RemoveNode { node }]).collect()
}

/// A network, and what it should be.
pub struct Pair {
    /// The network.
    pub network: Network,
    /// What it should declare.
    pub kept: Kept,
}

impl Pair {
    /// Before any solve.
    pub fn new(instance: &Instance) -> Pair {
        Pair { network: Network::from_instance(instance).unwrap(), kept: Kept::new(instance) }
    }

    /// Makes these come true in both.
    pub fn apply(&mut self, wishes: &[Wish]) {
        for wish in wishes {
            for change in changes(&self.kept, wish) {
                self.network.apply(&change).unwrap();
                self.kept.apply(change);
            }
        }
    }

    /// The problem is what it should be, ids included, and the outcome is right for it.
    pub fn check(&self, outcome: &Outcome) -> Result<(), TestCaseError> {
        prop_assert!(self.network.nodes().eq(self.kept.nodes()));
        prop_assert!(self.network.arcs().eq(self.kept.arcs()));
        let solution = self.network.solution();
        check(&self.kept, outcome, &solution, &truth(&self.kept.instance())).map_err(TestCaseError::fail)?;
        for (arc, _) in self.kept.arcs() {
            prop_assert_eq!(self.network.flow(arc), Some(solution.flows[arc.0 as usize]));
        }
        for (node, _) in self.kept.nodes() {
            prop_assert_eq!(self.network.price(node), Some(solution.prices[node.0 as usize]));
        }
        if let Outcome::Optimal { cost, .. } = outcome {
            prop_assert_eq!(self.network.cost(), *cost);
        }
        Ok(())
    }
}
