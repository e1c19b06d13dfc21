//! Makes arcs obey the rule of reduced costs: by their flow where that can be, and by prices along arcs
//! without a capacity, which no flow can fill.

use std::collections::VecDeque;

use super::layout::{Course, NONE};
use super::search::Search;
use super::{ENDLESS, Network};
use crate::problem::ArcId;

/// Arcs without a capacity whose costs sum up to less than nothing along a cycle.
pub(super) struct NegativeCycle(pub(super) Vec<ArcId>);

impl Network {
    /// Makes these arcs obey. Nodes that have an excess or a deficit by that are added to `unbalanced`.
    pub(super) fn obey(
        &mut self,
        search: &mut Search,
        suspects: &[u32],
        unbalanced: &mut Vec<u32>,
    ) -> Result<(), NegativeCycle> {
        let moved = self.lower_prices(suspects)?;
        moved.iter().for_each(|node| search.note_price(self.nodes[*node as usize].price));
        // The arcs of a leaf come one after the other, and it is looked at as a whole.
        let mut leaf = NONE;
        for id in suspects {
            let tail = self.layout.arcs[*id as usize].tail;
            if tail != leaf || leaf == NONE {
                self.obey_by_flow(*id, unbalanced);
            }
            leaf = if self.layout.leaves.has(tail) { tail } else { NONE };
        }
        for node in moved {
            let (layout, ends) = (&self.layout, self.layout.ends[node as usize]);
            let into = [layout.into.all(ends.into), layout.into.all(ends.leaves)].concat();
            let arcs = layout.out.all(ends.out).iter().copied().chain(into.into_iter().map(|entry| entry.arc));
            for id in arcs.collect::<Vec<_>>() {
                self.obey_by_flow(id, unbalanced);
            }
        }
        Ok(())
    }

    fn obey_by_flow(&mut self, id: u32, unbalanced: &mut Vec<u32>) {
        let Course { tail, head, .. } = self.layout.arcs[id as usize];
        if tail == NONE {
            return;
        }
        if self.layout.leaves.has(tail) {
            self.obey_as_leaf(tail, unbalanced);
            return;
        }
        let (reduced, room) = (self.reduced_cost(id), self.rooms[id as usize]);
        if reduced < 0 && room.up > 0 {
            debug_assert_ne!(room.up, ENDLESS, "prices have seen to these");
            self.push(id, room.up);
        } else if reduced > 0 && room.down > 0 {
            self.push(id, -room.down);
        } else {
            return;
        }
        unbalanced.extend([tail, head]);
    }

    /// Takes flow back from the arcs of a leaf that another arc would serve better. A leaf has no price, so
    /// its arcs are compared with each other.
    fn obey_as_leaf(&mut self, leaf: u32, unbalanced: &mut Vec<u32>) {
        let (layout, out) = (&self.layout, self.layout.ends[leaf as usize].out);
        if layout.out.live(out).is_empty() {
            return;
        }
        let Some(cheapest) = layout.out.open(out).iter().map(|id| self.price_through(*id)).min() else { return };
        let live = layout.out.live(out).iter().copied();
        let dear: Vec<_> = live.filter(|id| self.price_through(*id) > cheapest).collect();
        for id in dear {
            self.push(id, -self.rooms[id as usize].down);
            unbalanced.extend([leaf, self.layout.arcs[id as usize].head]);
        }
    }

    fn reduced_cost(&self, id: u32) -> i64 {
        self.price_through(id) - self.nodes[self.layout.arcs[id as usize].tail as usize].price
    }

    /// Lowers prices until no arc without a capacity has a negative reduced cost: label correcting, first in
    /// first out (Bellman and Ford, in the form of Moore). Returns the nodes whose price changed.
    fn lower_prices(&mut self, suspects: &[u32]) -> Result<Vec<u32>, NegativeCycle> {
        let is_open = |network: &Network, id: u32| {
            let tail = network.layout.arcs[id as usize].tail;
            tail != NONE && network.rooms[id as usize].up == ENDLESS && !network.layout.leaves.has(tail)
        };
        let first = suspects.iter().copied().filter(|id| is_open(self, *id));
        let mut queue: VecDeque<u32> = first.filter(|id| self.reduced_cost(*id) < 0).collect();
        if queue.is_empty() {
            return Ok(Vec::new());
        }
        self.layout.news.tell_all();
        let mut moved = Vec::new();
        let mut by = vec![NONE; self.nodes.len()];
        while let Some(id) = queue.pop_front() {
            if self.reduced_cost(id) >= 0 {
                continue;
            }
            let Course { tail, head, .. } = self.layout.arcs[id as usize];
            if let Some(cycle) = self.cycle(&by, id, head, tail) {
                return Err(NegativeCycle(cycle));
            }
            self.nodes[tail as usize].price = self.price_through(id);
            by[tail as usize] = id;
            moved.push(tail);
            let entering = self.layout.into.all(self.layout.ends[tail as usize].into);
            let entering = entering.iter().map(|entry| entry.arc);
            queue.extend(entering.filter(|id| is_open(self, *id) && self.reduced_cost(*id) < 0));
        }
        moved.sort_unstable();
        moved.dedup();
        Ok(moved)
    }

    /// The cycle that `id` closes, if the price of its head `at` follows from that of its tail.
    fn cycle(&self, by: &[u32], id: u32, mut at: u32, tail: u32) -> Option<Vec<ArcId>> {
        let mut cycle = vec![ArcId(id)];
        while at != tail {
            let next = by[at as usize];
            if next == NONE {
                return None;
            }
            cycle.push(ArcId(next));
            at = self.layout.arcs[next as usize].head;
        }
        Some(cycle)
    }

    /// Prices new nodes by what leaves them, as far as that is priced already and not too far from 0: all their arcs are
    /// suspects, so that any price will do.
    pub(super) fn price_fresh(&mut self, fresh: &[u32]) {
        const UNKNOWN: i64 = i64::MAX / 4;
        const PASSES: u32 = 3;
        let inner: Vec<_> = fresh.iter().copied().filter(|id| !self.layout.leaves.has(*id)).collect();
        for id in &inner {
            self.nodes[*id as usize].price = UNKNOWN;
        }
        for _ in 0..PASSES {
            for id in &inner {
                let out = self.layout.out.open(self.layout.ends[*id as usize].out);
                let price = out.iter().map(|id| self.price_through(*id)).min().unwrap_or(UNKNOWN);
                self.nodes[*id as usize].price = price.min(UNKNOWN);
            }
        }
        for id in &inner {
            if self.nodes[*id as usize].price.abs() > UNKNOWN / 2 {
                self.nodes[*id as usize].price = 0;
            }
        }
    }
}
