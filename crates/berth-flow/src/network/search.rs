//! Shortest paths by reduced cost, from one node with an excess to any with a deficit.
//!
//! Dijkstra's algorithm from both ends: forward from the excess and, once that has done some work, backward
//! from a deficit too, so that two searches stop at a hub between them instead of one crossing the plateau of
//! equal prices behind it. Nodes at the present distance wait in queues, first in first out, and a hub's
//! arcs are looked at by chunks in turn with the others; only nodes further away go through a heap.
//!
//! Leaves, the nodes that nothing enters, are passed through in one hop, from an arc that carries flow to
//! each other arc of the leaf: they need no label and no price, and they are most of a scheduler's nodes. A hop
//! that is too long is left out unseen, as long as what was remembered of it says so. Between a node that one end has settled
//! and one that the other has, both may have left it out though the path through it is the shortest: before a path between the
//! two is taken, those are looked at.
//!
//! A search reads the network and changes nothing but its own labels and what it remembers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Inner;
use super::bits::Bits;
use super::layout::{Course, Ends, Layout, NONE};
use super::lists::Entry;
use super::passes::{Hop, Pass};
use super::slacks::{Memo, Slacks};

/// What a search knows of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    /// The distance, if this is the label of the present search.
    pub(super) dist: i64,
    /// Which search set it.
    stamp: u32,
    /// The arc by which it was reached.
    via: u32,
    /// If a leaf was passed through, the leaf's other arc.
    by: u32,
}

impl Label {
    /// Of a node that no search has met.
    pub(super) const NEVER: Label = Label { dist: 0, stamp: 0, via: NONE, by: NONE };
}

/// What waits for its turn at one distance.
#[derive(Clone, Debug, Default)]
struct Queue<T> {
    entries: Vec<T>,
    /// The first that was not taken.
    next: usize,
}

impl<T: Copy> Queue<T> {
    fn clear(&mut self) {
        self.entries.clear();
        self.next = 0;
    }

    fn push(&mut self, entry: T) {
        self.entries.push(entry);
    }

    /// What was not taken.
    fn rest(&self) -> &[T] {
        &self.entries[self.next..]
    }

    fn pop(&mut self) -> Option<T> {
        let entry = *self.entries.get(self.next)?;
        self.next += 1;
        Some(entry)
    }
}

/// A node, and how many of its arcs to and from inner nodes were looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Visit {
    node: u32,
    done: usize,
}

/// One end's share of a search.
#[derive(Clone, Debug, Default)]
struct Front {
    /// No node that is not settled yet is nearer than this.
    level: i64,
    /// Nodes at that distance whose arcs to and from inner nodes are next.
    inner: Queue<Visit>,
    /// Nodes at that distance whose arcs from leaves are next.
    leaves: Queue<Pass>,
    /// Whether leaves have the next turn.
    is_leaves_turn: bool,
    /// Nodes further away, and nodes whose next leaves are: then with what was seen of them, else with 0.
    heap: BinaryHeap<Reverse<(i64, u32, u32)>>,
    /// All nodes with a label.
    labelled: Vec<u32>,
    /// Arcs looked at.
    steps: u64,
}

/// Whose turn it is at one distance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    /// Arcs from leaves come when there is nothing else: forward, they are many, and what they lead to is
    /// seldom nearer than what inner nodes lead to.
    InnerFirst,
    /// Both in turn: backward, a deficit's own leaves are the way to everything else.
    InTurn,
}

/// What is next at one end.
enum Turn {
    /// A node's arcs to and from inner nodes.
    Inner(Visit),
    /// A node's arcs from leaves.
    Leaves(Pass),
}

/// The shortest path that a search has seen.
#[derive(Clone, Copy, Debug, Default)]
struct Best {
    length: i64,
    /// The node where its halves meet, or where it ends.
    node: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    /// The forward search alone came to a deficit.
    #[default]
    Forward,
    /// The two searches met.
    Met,
}

impl Best {
    const NONE: Best = Best { length: i64::MAX, node: NONE, kind: Kind::Forward };

    fn improve(&mut self, length: i64, node: u32, kind: Kind) {
        if length < self.length {
            *self = Best { length, node, kind };
        }
    }
}

/// Whether a search runs from both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Ways {
    #[default]
    Forward,
    Both,
    /// The backward search has nothing left.
    Exhausted,
}

/// The labels and queues, kept from search to search.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    stamp: u32,
    forward: Front,
    backward: Front,
    /// The backward labels; the forward ones are in the nodes.
    backs: Vec<Label>,
    best: Best,
    ways: Ways,
    slacks: Slacks,
    /// The nodes that have a deficit.
    pub(super) missing: Bits,
    /// The price furthest from 0 that was ever set, without its sign.
    pub(super) extreme: i64,
    /// Work of all searches.
    pub(super) steps: u64,
}

/// How a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A shortest path.
    Path,
    /// Nothing with a deficit can be reached: what is labelled is a cut.
    Nothing,
}

/// How a path uses an arc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// More flow.
    Along,
    /// Less flow.
    Against,
}

/// A search from one end alone stops for the other end's after so many arcs.
const ALONE: u64 = 400;

/// Steps forward for one backward. Measured where slots are scarce, from one to thirty: `docs/benchmarks.md`.
const FORWARD_SHARE: u64 = 3;

/// So many arcs of a node are looked at before the other nodes at its distance have their turn.
const CHUNK: usize = 64;
/// The slack of a leaf through which there is no hop.
const NO_HOP: i64 = 1 << 61;

/// The next arcs of two lists, of which `done` were looked at.
fn chunk<'a>(out: &'a [u32], into: &'a [Entry], done: usize) -> (&'a [u32], &'a [Entry]) {
    let (from, to) = (done, done + CHUNK);
    let of_out = &out[from.min(out.len())..to.min(out.len())];
    let (from, to) = (from.saturating_sub(out.len()), to.saturating_sub(out.len()));
    (of_out, &into[from.min(into.len())..to.min(into.len())])
}

impl Front {
    fn start(&mut self) {
        self.level = 0;
        self.inner.clear();
        self.leaves.clear();
        self.heap.clear();
        self.labelled.clear();
        self.steps = 0;
    }

    fn put(&mut self, node: u32, dist: i64) {
        if dist == self.level {
            self.inner.push(Visit { node, done: 0 });
        } else {
            self.heap.push(Reverse((dist, node, 0)));
        }
    }

    /// What is next at the present level.
    fn turn(&mut self, order: Order) -> Option<Turn> {
        self.is_leaves_turn = order == Order::InTurn && !self.is_leaves_turn;
        let mut inner = || self.inner.pop().map(Turn::Inner);
        let mut leaves = || self.leaves.pop().map(Turn::Leaves);
        if self.is_leaves_turn { leaves().or_else(inner) } else { inner().or_else(leaves) }
    }

    /// Notes that arcs to and from inner nodes were looked at; the others' turn comes, or the leaves'.
    fn looked_at_inner(&mut self, node: u32, done: usize, count: usize, leaves: &[Entry]) {
        self.steps += count as u64;
        if count == CHUNK {
            self.inner.push(Visit { node, done: done + CHUNK });
        } else if !leaves.is_empty() {
            self.leaves.push(Pass::first(node));
        }
    }

    /// Goes on with a pass later: here if it is not at the end, and else where the slack of what it has left
    /// out is not too much any more. The node is at the distance `dist`.
    fn put_off(&mut self, pass: Pass, is_at_end: bool, dist: i64, best: &Best) {
        if !is_at_end {
            self.leaves.push(pass);
            return;
        }
        let then = dist.saturating_add(pass.rest);
        if then < best.length {
            let seen = u32::try_from(self.level - dist + 1).unwrap_or(u32::MAX);
            self.heap.push(Reverse((then, pass.node, seen)));
        }
    }

    fn has_nothing_here(&self) -> bool {
        self.inner.entries.is_empty() && self.leaves.entries.is_empty()
    }

    /// Goes on to the next distance at which there is a node; `false` if there is none.
    fn rise(&mut self, dist_of: impl Fn(u32) -> i64) -> bool {
        self.inner.clear();
        self.leaves.clear();
        while let Some(Reverse((dist, node, seen))) = self.heap.peek().copied() {
            if !self.has_nothing_here() && dist > self.level {
                break;
            }
            self.heap.pop();
            if seen > 0 {
                self.level = dist;
                self.leaves.push(Pass { seen: i64::from(seen), ..Pass::first(node) });
            } else if dist_of(node) == dist {
                self.level = dist;
                self.inner.push(Visit { node, done: 0 });
            }
        }
        !self.has_nothing_here()
    }
}

impl Search {
    fn begin(&mut self, nodes: &mut [Inner]) {
        if self.stamp == u32::MAX {
            self.stamp = 0;
            nodes.iter_mut().for_each(|node| node.label = Label::NEVER);
            self.backs.fill(Label::NEVER);
        }
        self.stamp += 1;
        if self.backs.len() < nodes.len() {
            self.backs.resize(nodes.len() + nodes.len() / 16, Label::NEVER);
        }
        self.forward.start();
        self.backward.start();
        self.best = Best::NONE;
        self.ways = Ways::Forward;
    }

    /// Learns what has become of leaves since the last search.
    pub(super) fn hear(&mut self, layout: &mut Layout, largest_cost: i64) {
        if self.slacks.is_worn_out() {
            layout.news.tell_all();
        }
        if layout.hear() {
            self.slacks = Slacks::new(largest_cost);
        }
    }

    /// A shortest path from `source` to a node with a deficit; from `deficit` a backward search may start.
    pub(super) fn path(
        &mut self,
        layout: &mut Layout,
        nodes: &mut [Inner],
        source: u32,
        deficit: Option<u32>,
    ) -> Found {
        self.begin(nodes);
        self.start_forward(layout, nodes, source);
        let found = loop {
            if self.is_settled() && (self.is_closed() || self.close(layout, nodes)) {
                break Found::Path;
            }
            if self.ways == Ways::Forward
                && self.forward.steps > ALONE
                && let Some(deficit) = deficit
            {
                self.ways = Ways::Both;
                self.start_backward(&[deficit]);
            }
            if self.ways == Ways::Both && self.backward.steps * FORWARD_SHARE < self.forward.steps {
                if !self.go_backward(layout, nodes, Through::Leaves) {
                    self.ways = Ways::Exhausted;
                    self.backward.level = i64::MAX;
                }
            } else if !self.go_forward(layout, nodes) {
                break if self.best.node == NONE { Found::Nothing } else { Found::Path };
            }
        };
        self.steps += self.forward.steps + self.backward.steps;
        found
    }

    /// Whether no shorter path can be found.
    fn is_settled(&self) -> bool {
        let behind = match self.best.kind {
            Kind::Forward => 0,
            Kind::Met => self.backward.level,
        };
        self.forward.level.saturating_add(behind) >= self.best.length
    }

    /// Whether one search alone has seen all that could be shorter: whatever it has left out for later is no nearer than its
    /// level.
    fn is_closed(&self) -> bool {
        self.best.kind == Kind::Forward || self.forward.level.max(self.backward.level) >= self.best.length
    }

    /// Looks at the hops that both searches have left out for later: one between two settled nodes may be part of a
    /// shorter path, although it is too long for either end. Returns whether the best path still is one that both found:
    /// what the forward search alone has found is settled by that search alone.
    fn close(&mut self, layout: &mut Layout, nodes: &mut [Inner]) -> bool {
        let waiting = self.forward.leaves.rest().iter().map(|pass| (pass.node, pass.seen));
        let put_off = self.forward.heap.iter().filter_map(|Reverse((then, node, seen))| {
            let may_help = *seen > 0 && *then < self.best.length;
            may_help.then_some((*node, i64::from(*seen)))
        });
        let mut passes: Vec<_> = waiting.chain(put_off).collect();
        passes.sort_unstable();
        for (node, seen) in passes {
            let mut pass = Pass { seen, ..Pass::first(node) };
            while !self.hops_forward(layout, nodes, &mut pass, self.best.length - 1) {}
        }
        self.best.kind == Kind::Met
    }

    fn start_forward(&mut self, layout: &Layout, nodes: &mut [Inner], source: u32) {
        if !layout.leaves.has(source) {
            nodes[source as usize].label = Label { stamp: self.stamp, ..Label::NEVER };
            self.forward.labelled.push(source);
            self.forward.inner.push(Visit { node: source, done: 0 });
            return;
        }
        let open = layout.out.open(layout.ends[source as usize].out);
        let through = |id: &u32| {
            let arc = &layout.arcs[*id as usize];
            arc.cost + nodes[arc.head as usize].price
        };
        let price = open.iter().map(through).min().unwrap_or(0);
        for id in open {
            let arc = &layout.arcs[*id as usize];
            self.reach_forward(nodes, arc.head, arc.cost - price, *id, NONE);
        }
        self.forward.steps += open.len() as u64;
    }

    fn start_backward(&mut self, deficits: &[u32]) {
        for node in deficits {
            self.backs[*node as usize] = Label { stamp: self.stamp, ..Label::NEVER };
            self.backward.inner.push(Visit { node: *node, done: 0 });
            self.backward.labelled.push(*node);
        }
    }

    /// One step of the forward search; `false` if there is nothing left.
    fn go_forward(&mut self, layout: &mut Layout, nodes: &mut [Inner]) -> bool {
        match self.forward.turn(Order::InnerFirst) {
            Some(Turn::Inner(Visit { node, done })) => self.expand_forward(layout, nodes, node, done),
            Some(Turn::Leaves(pass)) => self.pass_forward(layout, nodes, pass),
            None => return self.forward.rise(|node| nodes[node as usize].label.dist),
        }
        true
    }

    /// One step of the backward search; `false` if there is nothing left.
    fn go_backward(&mut self, layout: &mut Layout, nodes: &[Inner], through: Through) -> bool {
        match self.backward.turn(Order::InTurn) {
            Some(Turn::Inner(Visit { node, done })) => self.expand_backward(layout, nodes, node, done, through),
            Some(Turn::Leaves(pass)) => self.pass_backward(layout, nodes, pass),
            None => {
                let backs = &self.backs;
                return self.backward.rise(|node| backs[node as usize].dist);
            }
        }
        true
    }

    fn expand_forward(&mut self, layout: &Layout, nodes: &mut [Inner], from: u32, done: usize) {
        let Ends { out, leaves, into } = layout.ends[from as usize];
        let (out, into) = chunk(layout.out.open(out), layout.into.live(into), done);
        let base = nodes[from as usize].label.dist - nodes[from as usize].price;
        for id in out {
            let arc = &layout.arcs[*id as usize];
            self.reach_forward(nodes, arc.head, base + arc.cost, *id, NONE);
        }
        for Entry { arc: id, .. } in into {
            let arc = &layout.arcs[*id as usize];
            self.reach_forward(nodes, arc.tail, base - arc.cost, *id, NONE);
        }
        self.forward.looked_at_inner(from, done, out.len() + into.len(), layout.into.live(leaves));
    }

    /// From a node to which leaves send flow on to where else they could send it.
    fn pass_forward(&mut self, layout: &mut Layout, nodes: &mut [Inner], mut pass: Pass) {
        let is_at_end = self.hops_forward(layout, nodes, &mut pass, self.forward.level);
        let dist = nodes[pass.node as usize].label.dist;
        self.forward.put_off(pass, is_at_end, dist, &self.best);
    }

    /// The next hops of a pass that lead no further than this. Returns whether these were the last.
    fn hops_forward(&mut self, layout: &mut Layout, nodes: &mut [Inner], pass: &mut Pass, furthest: i64) -> bool {
        let from = pass.node;
        let leaves = layout.ends[from as usize].leaves;
        let places = layout.into.live_places(leaves);
        let Inner { price, label: Label { dist, .. } } = nodes[from as usize];
        let slacks = &self.slacks;
        let bound = |memo| slacks.bound_forward(memo, price);
        let (mut hops, passed) = pass.gather(layout, places.clone(), furthest - dist, bound);
        hops.each(|hop| hop.next = layout.first_of_leaf(hop.arc));
        for Hop { arc, place, next, .. } in hops {
            let slack = self.hop_forward(layout, nodes, from, arc, next);
            // What is between its bounds can be passed both ways.
            if layout.into.is_full_place(leaves, place) {
                layout.into.remember(place, self.slacks.memo_forward(slack, price));
            }
        }
        self.forward.steps += passed;
        pass.done == places.len()
    }

    /// Labels where the leaf of this arc could send flow instead. Returns the least that is added to the
    /// distance.
    fn hop_forward(&mut self, layout: &Layout, nodes: &mut [Inner], from: u32, id: u32, first: u32) -> i64 {
        let Inner { price, label: Label { dist, .. } } = nodes[from as usize];
        let base = dist - price - layout.arcs[id as usize].cost;
        let (mut others, mut nearest) = (0, dist + NO_HOP);
        layout.each_of_leaf(id, first, |other, arc| {
            others += 1;
            if layout.open.has(other) && other != id {
                nearest = nearest.min(base + arc.cost + nodes[arc.head as usize].price);
                self.reach_forward(nodes, arc.head, base + arc.cost, other, id);
            }
        });
        self.forward.steps += others;
        nearest - dist
    }

    /// Labels a node at the distance `base` plus its price.
    fn reach_forward(&mut self, nodes: &mut [Inner], id: u32, base: i64, via: u32, by: u32) {
        let node = &mut nodes[id as usize];
        let dist = base + node.price;
        if dist >= self.best.length {
            return;
        }
        let seen = node.label.stamp == self.stamp;
        if seen && node.label.dist <= dist {
            return;
        }
        node.label = Label { dist, stamp: self.stamp, via, by };
        if !seen {
            self.forward.labelled.push(id);
        }
        if self.missing.has(id) {
            self.best.improve(dist, id, Kind::Forward);
        }
        if self.ways != Ways::Forward {
            let back = self.backs[id as usize];
            if back.stamp == self.stamp {
                self.best.improve(dist + back.dist, id, Kind::Met);
            }
        }
        self.forward.put(id, dist);
    }

    fn expand_backward(&mut self, layout: &Layout, nodes: &[Inner], from: u32, done: usize, through: Through) {
        let Ends { out, leaves, into } = layout.ends[from as usize];
        let (out, into) = chunk(layout.out.live(out), layout.into.open(into), done);
        let base = self.backs[from as usize].dist + nodes[from as usize].price;
        for id in out {
            let arc = &layout.arcs[*id as usize];
            self.reach_backward(nodes, arc.head, base - arc.cost, *id, NONE);
        }
        for Entry { arc: id, .. } in into {
            let arc = &layout.arcs[*id as usize];
            self.reach_backward(nodes, arc.tail, base + arc.cost, *id, NONE);
        }
        let entries = match through {
            Through::Leaves => layout.into.open(leaves),
            Through::InnerNodes => &[],
        };
        self.backward.looked_at_inner(from, done, out.len() + into.len(), entries);
    }

    /// From a node to which leaves could send flow back to where they send it.
    fn pass_backward(&mut self, layout: &mut Layout, nodes: &[Inner], mut pass: Pass) {
        let from = pass.node;
        let leaves = layout.ends[from as usize].leaves;
        let places = layout.into.open_places(leaves);
        let dist = self.backs[from as usize].dist;
        let slacks = &self.slacks;
        let bound = |memo| slacks.bound_backward(memo);
        let (mut hops, passed) = pass.gather(layout, places.clone(), self.backward.level - dist, bound);
        hops.each(|hop| hop.next = layout.arcs[hop.arc as usize].tail);
        hops.each(|hop| hop.next = layout.sole[hop.next as usize]);
        hops.each(|hop| hop.course = layout.arcs.get(hop.next as usize).copied().unwrap_or(Course::REMOVED));
        self.backward.steps += hops.count as u64 + passed;
        for hop in hops {
            let memo = self.hop_backward(layout, nodes, from, &hop);
            if layout.into.is_empty_place(leaves, hop.place) {
                layout.into.remember(hop.place, memo);
            }
        }
        self.backward.put_off(pass, pass.done == places.len(), dist, &self.best);
    }

    /// Labels where the leaf of this arc sends flow now. Returns what to remember of it.
    fn hop_backward(&mut self, layout: &Layout, nodes: &[Inner], from: u32, hop: &Hop) -> Memo {
        let Hop { arc: id, next, course: Course { tail, head, cost }, .. } = *hop;
        let dist = self.backs[from as usize].dist;
        let base = dist + nodes[from as usize].price + layout.arcs[id as usize].cost;
        if tail == NONE {
            for other in layout.live_of_leaf(id).iter().filter(|other| **other != id) {
                let arc = &layout.arcs[*other as usize];
                self.reach_backward(nodes, arc.head, base - arc.cost, *other, id);
            }
            return Memo::default();
        }
        // From an arc to itself there is no path.
        if next != id {
            self.reach_backward(nodes, head, base - cost, next, id);
        }
        self.slacks.memo_backward(base - cost - nodes[head as usize].price - dist, head)
    }

    /// Labels a node at the distance `base` without its price.
    fn reach_backward(&mut self, nodes: &[Inner], id: u32, base: i64, via: u32, by: u32) {
        let node = &nodes[id as usize];
        let dist = base - node.price;
        if dist >= self.best.length {
            return;
        }
        let back = &mut self.backs[id as usize];
        let seen = back.stamp == self.stamp;
        if seen && back.dist <= dist {
            return;
        }
        *back = Label { dist, stamp: self.stamp, via, by };
        if !seen {
            self.backward.labelled.push(id);
        }
        if node.label.stamp == self.stamp {
            self.best.improve(dist + node.label.dist, id, Kind::Met);
        }
        self.backward.put(id, dist);
    }

    /// Keeps in mind how far from 0 a price was set.
    pub(super) fn note_price(&mut self, price: i64) {
        self.extreme = self.extreme.max(price.abs());
    }

    /// Changes prices so that the path that was found costs nothing and no residual arc less than that.
    pub(super) fn reprice(&mut self, nodes: &mut [Inner]) {
        let ahead = match self.best.kind {
            Kind::Forward => self.best.length,
            Kind::Met => self.forward.level.min(self.best.length),
        };
        let behind = self.best.length - ahead;
        if ahead > 0 {
            for id in &self.forward.labelled {
                let node = &mut nodes[*id as usize];
                let by = (ahead - node.label.dist).max(0);
                node.price += by;
                self.slacks.rise(*id, by);
                self.extreme = self.extreme.max(node.price);
            }
        }
        if behind > 0 {
            self.slacks.fall(behind);
            for id in &self.backward.labelled {
                let node = &mut nodes[*id as usize];
                node.price -= (behind - self.backs[*id as usize].dist).max(0);
                self.extreme = self.extreme.max(-node.price);
            }
        }
    }

    /// The arcs of the path that was found, and whether each is used along or against its direction. Returns
    /// where the path ends.
    pub(super) fn trace(&self, nodes: &[Inner], arcs: &[Course], mut visit: impl FnMut(u32, Way)) -> u32 {
        let mut at = self.best.node;
        loop {
            let Label { via, by, .. } = nodes[at as usize].label;
            if via == NONE {
                break;
            }
            let arc = &arcs[via as usize];
            if by != NONE {
                visit(via, Way::Along);
                visit(by, Way::Against);
                at = arcs[by as usize].head;
            } else if arc.head == at {
                visit(via, Way::Along);
                at = arc.tail;
                if nodes[at as usize].label.stamp != self.stamp {
                    // The source is a leaf.
                    break;
                }
            } else {
                visit(via, Way::Against);
                at = arc.head;
            }
        }
        at = self.best.node;
        while self.best.kind == Kind::Met && self.backs[at as usize].via != NONE {
            let Label { via, by, .. } = self.backs[at as usize];
            let arc = &arcs[via as usize];
            if by != NONE {
                visit(via, Way::Against);
                visit(by, Way::Along);
                at = arcs[by as usize].head;
            } else if arc.tail == at {
                visit(via, Way::Along);
                at = arc.head;
            } else {
                visit(via, Way::Against);
                at = arc.tail;
            }
        }
        at
    }

    /// The inner nodes that the forward search has reached.
    pub(super) fn reached(&self) -> &[u32] {
        &self.forward.labelled
    }

    /// The inner nodes from which there is a path to `deficit`.
    pub(super) fn reaching(&mut self, layout: &mut Layout, nodes: &mut [Inner], deficit: u32) -> &[u32] {
        self.begin(nodes);
        self.start_backward(&[deficit]);
        while self.go_backward(layout, nodes, Through::Leaves) {}
        self.steps += self.backward.steps;
        &self.backward.labelled
    }

    /// Raises every inner node's price by its distance to the nearest node with a deficit, while no leaf
    /// carries flow; afterwards each that has a path to one has a path that costs nothing.
    pub(super) fn price_all(&mut self, layout: &mut Layout, nodes: &mut [Inner], deficits: &[u32]) {
        self.begin(nodes);
        self.start_backward(deficits);
        while self.go_backward(layout, nodes, Through::InnerNodes) {}
        self.steps += self.backward.steps;
        let farthest = self.backward.level;
        for (node, back) in nodes.iter_mut().zip(&self.backs) {
            node.price += if back.stamp == self.stamp { back.dist } else { farthest };
        }
    }
}

/// What a backward search passes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Through {
    Leaves,
    /// No leaf carries flow, so no path enters one.
    InnerNodes,
}
