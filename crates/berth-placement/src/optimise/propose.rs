//! Moves of what runs already, each with what it gains. Nothing of it is done: the caller decides.
//!
//! Looked at are the nodes that the relaxed problem wants running units to leave, and those where it wants what waits.
//! What was found on nodes that hang together is one proposal: a unit may have been moved twice. So no two proposals
//! share a node, and each can be done without the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::drawing::Drawing;
use super::improve;
use super::problem::{ClassIndex, NodeIndex};
use super::rearrange::{Change, apply};
use super::state::State;
use super::{Budget, Placed};

/// A placed unit that leaves its node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// Of this class.
    pub class: ClassIndex,
    /// Where it is.
    pub from: NodeIndex,
    /// Where it goes; `None`: it waits, in favour of what is placed instead.
    pub to: Option<NodeIndex>,
}

/// Moves that belong together, and units that waited and are placed when they are done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// What moves.
    pub moves: Vec<Move>,
    /// What is placed then.
    pub placed: Vec<Placed>,
    /// By how much the cost sinks, the price of the moves deducted.
    pub gain: i64,
}

/// Proposals that gain, the best first.
pub(super) fn propose(state: &mut State, drawing: &Drawing, budget: Budget) -> Vec<Proposal> {
    let found = improve::rethink(state, drawing.left(), budget.proposals, budget.search);
    for (_, changes) in found.iter().rev() {
        let back: Vec<Change> = changes.iter().map(|change| Change { by: -change.by, ..*change }).collect();
        apply(state, &back);
    }
    let mut regions: Vec<Region> = Vec::new();
    for (gain, changes) in found {
        let mut joined = Region::of(gain, &changes);
        let (near, far) = regions.into_iter().partition(|region| !region.nodes.is_disjoint(&joined.nodes));
        regions = far;
        let near: Vec<Region> = near;
        near.into_iter().for_each(|region| joined.join(region));
        regions.push(joined);
    }
    regions.sort_by_key(|region| (Reverse(region.gain), region.nodes.first().copied()));
    regions.iter().map(|region| proposal(region.gain, &region.changes())).collect()
}

/// Nodes between which units move, and to and from no others.
struct Region {
    nodes: BTreeSet<NodeIndex>,
    gain: i64,
    by: BTreeMap<(ClassIndex, NodeIndex), i64>,
}

impl Region {
    fn of(gain: i64, changes: &[Change]) -> Region {
        let nodes = changes.iter().map(|change| change.node).collect();
        let by = changes.iter().map(|change| ((change.class, change.node), change.by)).collect();
        Region { nodes, gain, by }
    }

    fn join(&mut self, other: Region) {
        self.nodes.extend(other.nodes);
        self.gain += other.gain;
        for (at, by) in other.by {
            *self.by.entry(at).or_default() += by;
        }
    }

    fn changes(&self) -> Vec<Change> {
        let changed = self.by.iter().filter(|(_, by)| **by != 0);
        changed.map(|((class, node), by)| Change { class: *class, node: *node, by: *by }).collect()
    }
}

/// Pairs the units that leave with those that come.
fn proposal(gain: i64, changes: &[Change]) -> Proposal {
    let mut ends: BTreeMap<ClassIndex, (Vec<NodeIndex>, Vec<NodeIndex>)> = BTreeMap::new();
    for change in changes {
        let (from, to) = ends.entry(change.class).or_default();
        (change.by..0).for_each(|_| from.push(change.node));
        (0..change.by).for_each(|_| to.push(change.node));
    }
    let mut proposal = Proposal { moves: Vec::new(), placed: Vec::new(), gain };
    for (class, (from, to)) in ends {
        let rest = to.iter().skip(from.len());
        proposal.placed.extend(rest.map(|node| Placed { class, node: *node }));
        let to = to.iter().copied().map(Some).chain(std::iter::repeat(None));
        proposal.moves.extend(from.iter().zip(to).map(|(from, to)| Move { class, from: *from, to }));
    }
    proposal
}
