//! Starting again: without flow and prices, and without any trace of history.

use super::layout::{Course, Layout, NONE};
use super::{Left, Network, Pending, REMOVED};
use crate::solution::{Budget, Outcome};

impl Network {
    /// Solves from scratch: forgets flow and prices.
    pub fn solve(&mut self, budget: Budget) -> Outcome {
        if self.pending.left != Left::Nothing {
            self.forget();
        }
        self.resolve(budget)
    }

    /// Solves from scratch as if this network had been made from what it declares now, in the order of ids:
    /// networks that declare the same under the same ids then have the same flow, whatever their history.
    /// Also gives memory back that changes have left unused.
    pub fn solve_canonically(&mut self, budget: Budget) -> Outcome {
        // In this order: lists keep traces of the flow that they were made with.
        self.forget();
        self.lay_out();
        self.resolve(budget)
    }

    pub(super) fn forget(&mut self) {
        for (excess, supply) in self.excesses.iter_mut().zip(&self.supplies) {
            *excess = if *supply == REMOVED { 0 } else { *supply };
        }
        self.nodes.iter_mut().for_each(|node| node.price = 0);
        self.layout.news.tell_all();
        for id in ids(self.rooms.len()) {
            if !self.is_arc(id) {
                continue;
            }
            let declared = self.declared(id);
            let flow = 0.clamp(declared.lower, declared.capacity);
            self.shift(id, flow - self.flow_of(id));
            self.excesses[declared.tail.index()] -= flow;
            self.excesses[declared.head.index()] += flow;
        }
        self.pending = Pending::default();
    }

    /// Lists all arcs anew, in the order of ids.
    fn lay_out(&mut self) {
        let old = std::mem::take(&mut self.layout);
        let declared = |(id, arc): (u32, &Course)| (arc.tail != NONE).then(|| (arc.tail, arc.head, self.lower(id)));
        let mut layout = Layout::default();
        layout.news.tell_all();
        layout.lay_out(&self.supplies, ids(self.rooms.len()).zip(&old.arcs).map(declared));
        self.layout = layout;
        for (id, course) in ids(self.rooms.len()).zip(old.arcs).filter(|(_, course)| course.tail != NONE) {
            self.layout.link(id, course);
            self.layout.refill(id, self.rooms[id as usize].fill());
        }
        self.free_nodes.sort_unstable_by(|a, b| b.cmp(a));
        self.free_arcs.sort_unstable_by(|a, b| b.cmp(a));
    }
}

/// The first so many ids.
pub(super) fn ids(count: usize) -> std::ops::Range<u32> {
    0..u32::try_from(count).expect("ids have 31 bits")
}
