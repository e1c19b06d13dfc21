//! Shapes that have nothing of a cluster. In each, `churn` random arcs get another cost.

use berth_flow::{Arc, Instance, NodeId};

use crate::random::Random;
use crate::{Keys, Pair};

/// A problem that grows.
struct Draft {
    random: Random,
    instance: Instance,
    greatest_cost: u64,
}

impl Draft {
    fn new(keys: &mut Keys, nodes: u64) -> Draft {
        let supplies = vec![0; nodes as usize];
        let random = Random::new(keys.take("seed", 1));
        let greatest_cost = keys.take("cost", 10_000).max(1);
        Draft { random, instance: Instance { supplies, arcs: Vec::new() }, greatest_cost }
    }

    fn node(&mut self, first: u64, count: u64) -> u64 {
        first + self.random.below(count)
    }

    /// With a random cost.
    fn arc(&mut self, tail: u64, head: u64, capacity: u64) {
        let cost = self.random.between(1, self.greatest_cost);
        self.arc_at(tail, head, capacity, cost);
    }

    fn arc_at(&mut self, tail: u64, head: u64, capacity: u64, cost: u64) {
        let (tail, head) = (NodeId(tail as u32), NodeId(head as u32));
        self.instance.arcs.push(Arc { tail, head, lower: 0, capacity: capacity as i64, cost: cost as i64 });
    }

    /// Units from one node to another.
    fn demand(&mut self, from: u64, to: u64, units: u64) {
        self.instance.supplies[from as usize] += units as i64;
        self.instance.supplies[to as usize] -= units as i64;
    }

    fn pair(mut self, keys: &mut Keys) -> Pair {
        let churn = keys.take("churn", 100) as usize;
        let mut changed = self.instance.clone();
        for at in self.random.sample(churn, changed.arcs.len()) {
            changed.arcs[at].cost = self.random.between(1, self.greatest_cost) as i64;
        }
        Pair { base: self.instance, changed }
    }
}

/// As NETGEN does (Klingman, Napier, Stutz, 1974): chains of arcs from sources to sinks that carry all supplies,
/// dear as any, and random arcs on top. Keys: `nodes`, `arcs`, `sources` (and as many sinks), `supply`, `capacity`.
pub fn netgen(keys: &mut Keys) -> Pair {
    let nodes = keys.take("nodes", 8192).max(4);
    let arcs = keys.take("arcs", 8 * nodes);
    let ends = keys.take("sources", nodes / 16).clamp(1, nodes / 4);
    let supply = keys.take("supply", 1000 * ends);
    let capacity = keys.take("capacity", 1000).max(1);
    let mut draft = Draft::new(keys, nodes);
    let (sink_0, middle_0, middles) = (ends, 2 * ends, nodes - 2 * ends);
    for source in 0..ends {
        let units = supply / ends + u64::from(source < supply % ends);
        draft.demand(source, sink_0 + source, units);
        // A chain over its share of the nodes between.
        let share = middles / ends;
        let mut at = source;
        for step in 0..share {
            let next = middle_0 + source * share + step;
            draft.arc(at, next, units.max(1));
            at = next;
        }
        draft.arc(at, sink_0 + source, units.max(1));
    }
    while (draft.instance.arcs.len() as u64) < arcs {
        let (tail, head) = (draft.node(0, nodes), draft.node(0, nodes));
        // Nothing enters a source, nothing leaves a sink.
        if tail != head && !(sink_0..middle_0).contains(&tail) && head >= sink_0 {
            let most = draft.random.between(1, capacity);
            draft.arc(tail, head, most);
        }
    }
    draft.pair(keys)
}

/// A grid from left to right: every node leads on to its right, upper and lower neighbours. A dear arc from end to
/// end makes up for what does not fit. Keys: `width`, `height`, `supply` (of a row), `capacity`.
pub fn grid(keys: &mut Keys) -> Pair {
    let (width, height) = (keys.take("width", 256).max(2), keys.take("height", 64).max(1));
    let (supply, capacity) = (keys.take("supply", 500), keys.take("capacity", 1000).max(1));
    let mut draft = Draft::new(keys, width * height);
    let at = |column, row| column * height + row;
    for column in 0..width {
        for row in 0..height {
            let neighbours = [
                (column + 1 < width).then(|| at(column + 1, row)),
                (row + 1 < height).then(|| at(column, row + 1)),
                row.checked_sub(1).map(|row| at(column, row)),
            ];
            for neighbour in neighbours.into_iter().flatten() {
                let most = draft.random.between(1, capacity);
                draft.arc(at(column, row), neighbour, most);
            }
        }
    }
    for row in 0..height {
        let to = at(width - 1, draft.random.below(height));
        draft.demand(row, to, supply);
        draft.arc_at(row, to, supply, draft.greatest_cost * width);
    }
    draft.pair(keys)
}

/// As many of one kind as of the other, one for one. Keys: `size` (of a side), `degree`.
pub fn assignment(keys: &mut Keys) -> Pair {
    let size = keys.take("size", 20_000).max(1);
    let degree = keys.take("degree", 8).max(1);
    let mut draft = Draft::new(keys, 2 * size);
    let partners = draft.random.sample(size as usize, size as usize);
    for (left, partner) in (0..).zip(partners) {
        draft.demand(left, size + left, 1);
        // One assignment there is for sure.
        draft.arc(left, size + partner as u64, 1);
        for _ in 1..degree {
            let right = draft.node(size, size);
            draft.arc(left, right, 1);
        }
    }
    draft.pair(keys)
}

/// One node with `arcs` arcs, half of them from those who want something and half to those who have it, and one
/// way past it for each. Keys: `arcs`, `util` (who want, per cent of who have).
pub fn hub(keys: &mut Keys) -> Pair {
    let half = keys.take("arcs", 200_000).max(2) / 2;
    let util = keys.take("util", 90).clamp(1, 100);
    let mut draft = Draft::new(keys, 2 + 2 * half);
    let (hub, sink, want_0, have_0) = (0, 1, 2, 2 + half);
    for at in 0..half {
        draft.arc(want_0 + at, hub, 1);
        draft.arc(hub, have_0 + at, 1);
        let past = draft.node(have_0, half);
        draft.arc(want_0 + at, past, 1);
        draft.arc_at(have_0 + at, sink, 1, 0);
        if draft.random.below(100) < util {
            draft.demand(want_0 + at, sink, 1);
        }
    }
    draft.pair(keys)
}
