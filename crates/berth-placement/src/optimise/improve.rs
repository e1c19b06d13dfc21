//! A search over small changes of the assignment. Every change is judged by its exact cost and kept only if it gains.

use std::collections::BTreeSet;

use super::problem::{ClassIndex, NodeIndex};
use super::rearrange::{Change, Movable, rearrange};
use super::state::{NOWHERE, State};

/// Steps for the arrangement of one group of nodes.
const STEPS: u64 = 20_000;
/// Steps for a group of a small cluster whose arrangement was cut short.
const MORE_STEPS: u64 = 8 * STEPS;
/// Up to so many nodes are tried in all twos, threes and fours; of more, each with a few others.
const FEW: usize = 8;
/// So many are rearranged together at most.
const MOST: usize = 4;
/// With how many others a node is tried, of many.
const OTHERS: usize = 2;
/// For a class that waits, so many nodes are tried.
const DOORS: usize = 4;

/// Improves where the units of these classes are that were not running before, until nothing gains or the steps are
/// used up.
pub(super) fn improve(state: &mut State, placed: &BTreeSet<ClassIndex>, steps: u64) {
    let end = state.steps.saturating_add(steps);
    let mut gained = true;
    while gained && state.steps < end {
        gained = relocate(state, placed, end);
        let hot = hot(state, fresh(state, placed).into_iter().map(|(_, node)| node));
        for group in groups(&hot) {
            if state.steps >= end {
                return;
            }
            gained |= rearrange(state, group.nodes(), Movable::Fresh, STEPS.min(end - state.steps)).is_some();
        }
    }
}

/// Changes of all that runs that gain, each with its gain, tried where `restless` units are. They are made.
pub(super) fn rethink(
    state: &mut State,
    restless: BTreeSet<NodeIndex>,
    most: usize,
    steps: u64,
) -> Vec<(i64, Vec<Change>)> {
    let end = state.steps.saturating_add(steps);
    let mut found = Vec::new();
    let groups = groups(&hot(state, restless.into_iter()));
    let cut_short = rethink_groups(state, &groups, STEPS, end, most, &mut found);
    // A small cluster has no other nodes to look at: what is left of the steps goes deeper.
    if state.nodes.len() <= FEW {
        rethink_groups(state, &cut_short, MORE_STEPS, end, most, &mut found);
    }
    found
}

/// Rearranges groups until none gains. Gives those whose last arrangement took all the steps that `each` may.
fn rethink_groups(
    state: &mut State,
    groups: &[Group],
    each: u64,
    end: u64,
    most: usize,
    found: &mut Vec<(i64, Vec<Change>)>,
) -> Vec<Group> {
    loop {
        let mut gained = false;
        let mut cut_short = Vec::new();
        for group in groups {
            if state.steps >= end || found.len() >= most {
                return Vec::new();
            }
            let begun = state.steps;
            let change = rearrange(state, group.nodes(), Movable::All, each.min(end - state.steps));
            if state.steps - begun >= each {
                cut_short.push(*group);
            }
            gained |= change.is_some();
            found.extend(change);
        }
        if !gained {
            return cut_short;
        }
    }
}

/// The units of these classes that were not running before.
pub(super) fn fresh(state: &State, placed: &BTreeSet<ClassIndex>) -> Vec<(ClassIndex, NodeIndex)> {
    let mut fresh = Vec::new();
    for id in placed {
        for seat in &state.class(*id).seats {
            (seat.running..seat.placed).for_each(|_| fresh.push((*id, seat.node)));
        }
    }
    fresh
}

/// These nodes, and those that the prices say are the cheapest for what waits.
fn hot(state: &mut State, nodes: impl Iterator<Item = NodeIndex>) -> Vec<NodeIndex> {
    if state.nodes.len() <= FEW {
        return state.node_ids().collect();
    }
    let mut hot: BTreeSet<NodeIndex> = nodes.collect();
    let waiting = state.class_ids().filter(|id| state.class(*id).waiting() > 0);
    let shapes: BTreeSet<_> = waiting.map(|id| state.class(id).class.shape).collect();
    for shape in shapes {
        let offers = (0..).zip(&state.shape(shape).offers).filter(|(_, offer)| **offer != NOWHERE);
        let mut nodes: Vec<(i64, NodeIndex)> = offers.map(|(at, offer)| (*offer, NodeIndex(at))).collect();
        if nodes.len() > DOORS {
            nodes.select_nth_unstable(DOORS);
            nodes.truncate(DOORS);
        }
        hot.extend(nodes.into_iter().map(|(_, node)| node));
        state.steps += state.nodes.len() as u64 / 16;
    }
    hot.into_iter().collect()
}

/// Nodes that are rearranged together.
#[derive(Clone, Copy)]
struct Group {
    nodes: [NodeIndex; MOST],
    count: usize,
}

impl Group {
    const NONE: Group = Group { nodes: [NodeIndex(0); MOST], count: 0 };

    fn with(mut self, node: NodeIndex) -> Group {
        self.nodes[self.count] = node;
        self.count += 1;
        self
    }

    fn nodes(&self) -> &[NodeIndex] {
        &self.nodes[..self.count]
    }
}

/// Which nodes are rearranged together: of few, all twos, threes and fours; of many, each with the next ones.
fn groups(hot: &[NodeIndex]) -> Vec<Group> {
    if hot.len() < 2 {
        return vec![hot.iter().fold(Group::NONE, |group, node| group.with(*node))];
    }
    if hot.len() <= FEW {
        return (2..=MOST).flat_map(|size| subsets(Group::NONE, hot, size)).collect();
    }
    let pairs = hot.iter().enumerate().flat_map(|(at, one)| {
        let others = hot[at + 1..].iter().take(OTHERS);
        others.map(move |other| Group::NONE.with(*one).with(*other))
    });
    pairs.collect()
}

/// The group with all subsets of this size.
fn subsets(group: Group, of: &[NodeIndex], size: usize) -> Vec<Group> {
    if size == 0 {
        return vec![group];
    }
    let with = |(at, first): (usize, &NodeIndex)| subsets(group.with(*first), &of[at + 1..], size - 1);
    of.iter().enumerate().flat_map(with).collect()
}

/// Moves single units to where they cost less.
fn relocate(state: &mut State, placed: &BTreeSet<ClassIndex>, end: u64) -> bool {
    let mut gained = false;
    for (class, from) in fresh(state, placed) {
        if state.steps >= end {
            break;
        }
        let saved = state.taking(class, from);
        state.take(class, from);
        let to = state.best(class, None).map(|(_, to)| to).filter(|to| state.adding(class, *to) < saved);
        gained |= to.is_some();
        state.put(class, to.unwrap_or(from));
    }
    gained
}
