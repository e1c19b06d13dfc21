//! Moves of what runs already, each with what it gains. Nothing of it is done: the caller decides.
//!
//! Looked at are the nodes that the relaxed problem wants running units to leave, and those where it wants what waits.

use std::collections::BTreeMap;

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

/// Proposals that gain, each judged as if those before it were done.
pub(super) fn propose(state: &mut State, drawing: &Drawing, budget: Budget) -> Vec<Proposal> {
    let found = improve::rethink(state, drawing.left(), budget.proposals, budget.search);
    for (_, changes) in found.iter().rev() {
        let back: Vec<Change> = changes.iter().map(|change| Change { by: -change.by, ..*change }).collect();
        apply(state, &back);
    }
    found.into_iter().map(|(gain, changes)| proposal(gain, &changes)).collect()
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
