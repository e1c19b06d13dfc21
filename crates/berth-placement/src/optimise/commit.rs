//! Turns what the relaxed problem wants into an assignment that fits: every unit is checked with its exact demand, what
//! does not fit where it is wanted goes to the next best place, and a search over small changes mends what is left.
//!
//! Only units that were not running before are placed and moved about here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::drawing::Wish;
use super::problem::{Amounts, Class, ClassIndex, Gang, NodeIndex, ShapeIndex};
use super::state::State;

/// Places what waits. `wishes` say where the relaxed problem wants it. The classes that waited.
pub(super) fn place(state: &mut State, wishes: &[Wish]) -> BTreeSet<ClassIndex> {
    let mut wanted: BTreeMap<ShapeIndex, Vec<(NodeIndex, u32)>> = BTreeMap::new();
    for wish in wishes {
        wanted.entry(wish.shape).or_default().push((wish.node, wish.units));
    }
    let order = in_order(state);
    for class in order.iter().copied() {
        let owner = state.class(class);
        let (count, shape, gang) = (owner.waiting(), owner.class.shape, owner.class.gang);
        let mut placed = Vec::new();
        let places = wanted.entry(shape).or_default();
        for _ in 0..count {
            let Some(node) = wished(state, class, places).or_else(|| worth(state, class)) else { break };
            state.put(class, node);
            placed.push(node);
        }
        if gang == Gang::Together && state.class(class).waiting() > 0 {
            placed.into_iter().for_each(|node| state.take(class, node));
        }
    }
    order.into_iter().collect()
}

/// Classes with units that wait: those first that cost most for what they need of the cluster.
fn in_order(state: &State) -> Vec<ClassIndex> {
    let largest = state.nodes.iter().flatten().map(|node| node.node.capacity).reduce(|a, b| a.max(&b));
    let largest = largest.unwrap_or_default();
    let waiting = state.class_ids().filter(|id| state.class(*id).waiting() > 0);
    let mut order: Vec<(Reverse<i128>, ClassIndex)> =
        waiting.map(|id| (Reverse(density(&state.class(id).class, &largest)), id)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, id)| id).collect()
}

/// What it costs that a unit waits, for its greatest share of the largest node.
fn density(class: &Class, largest: &Amounts) -> i128 {
    let shares = class.demand.0.iter().zip(&largest.0).filter(|(_, all)| **all > 0);
    let share = shares.map(|(amount, all)| (u128::from(*amount) << 20) / u128::from(*all)).max().unwrap_or(0);
    (i128::from(class.waiting) << 20) / i128::try_from(share.max(1)).expect("a share is small")
}

/// The next place where the relaxed problem wants a unit of the shape, if the unit fits there.
fn wished(state: &mut State, class: ClassIndex, places: &mut Vec<(NodeIndex, u32)>) -> Option<NodeIndex> {
    state.steps += places.len() as u64;
    let at = places.iter().position(|(node, _)| state.fits(class, *node))?;
    let (node, units) = &mut places[at];
    let node = *node;
    *units -= 1;
    if *units == 0 {
        places.swap_remove(at);
    }
    Some(node)
}

/// The best place for a unit, if that is worth more than waiting.
fn worth(state: &mut State, class: ClassIndex) -> Option<NodeIndex> {
    let (_, node) = state.best(class, None)?;
    (state.adding(class, node) < state.class(class).class.waiting).then_some(node)
}
