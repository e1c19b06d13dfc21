//! Starting again: without flow and prices, and without any trace of history.

use super::changes::first_flow;
use super::layout::Layout;
use super::{ENDLESS, Left, Network, Pending, REMOVED};
use crate::problem::Arc;
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
        self.free_nodes.sort_unstable_by(|a, b| b.cmp(a));
        self.free_arcs.sort_unstable_by(|a, b| b.cmp(a));
        self.forget_last_arcs();
        self.lay_out();
        self.resolve(budget)
    }

    /// Takes back the numbers after that of the last arc.
    fn forget_last_arcs(&mut self) {
        let last = ids(self.rooms.len()).rev().zip(&self.free_arcs).take_while(|(id, free)| id == *free).count();
        self.free_arcs.drain(..last);
        let left = self.rooms.len() - last;
        self.rooms.truncate(left);
        self.lowers.truncate(left);
        self.layout.arcs.truncate(left);
    }

    pub(super) fn forget(&mut self) {
        self.list_arcs();
        for (excess, supply) in self.excesses.iter_mut().zip(&self.supplies) {
            *excess = if *supply == REMOVED { 0 } else { *supply };
        }
        self.nodes.iter_mut().for_each(|node| node.price = 0);
        // As if all arcs were at their lower bounds, which most of them are to be.
        for room in self.rooms.iter_mut().filter(|room| room.down > 0) {
            if room.up != ENDLESS {
                room.up += room.down;
            }
            room.down = 0;
        }
        self.layout.empty();
        self.cost = 0;
        for id in ids(self.lowers.len()) {
            if self.lower(id) == 0 {
                continue;
            }
            let Arc { tail, head, lower, capacity, cost } = self.declared(id);
            let flow = first_flow(lower, capacity);
            self.cost += i128::from(cost) * i128::from(lower);
            self.shift(id, flow - lower);
            self.excesses[tail.index()] -= flow;
            self.excesses[head.index()] += flow;
        }
        self.pending = Pending::default();
    }

    /// Lists the arcs that have come since arcs were listed last; where those are most of all arcs, all anew.
    pub(crate) fn list_arcs(&mut self) {
        let unlisted = self.layout.unlisted();
        if unlisted.len() > self.rooms.len() / 2 {
            self.lay_out();
            return;
        }
        for id in unlisted {
            self.layout.make_room(id);
            self.layout.link(id, self.rooms[id as usize].fill());
        }
    }

    /// Lists all arcs anew, in the order of ids.
    fn lay_out(&mut self) {
        // The old lists go first: there is no room for both.
        let arcs = std::mem::take(&mut self.layout).arcs;
        self.layout = Layout::of(arcs, &self.lowers, &self.supplies);
        for id in ids(self.rooms.len()) {
            self.layout.link(id, self.rooms[id as usize].fill());
        }
    }
}

/// The first so many ids.
pub(super) fn ids(count: usize) -> std::ops::Range<u32> {
    0..u32::try_from(count).expect("ids have 31 bits")
}
