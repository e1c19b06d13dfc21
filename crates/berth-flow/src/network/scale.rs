//! Cost scaling: solves from scratch what successive shortest paths are slow at.
//!
//! A flow is *ε-optimal* when no residual arc has a reduced cost below −ε. Each phase divides ε, breaks the
//! flow where the new ε demands it, and repairs it by pushes along arcs of negative reduced cost and by
//! raising the prices of nodes that have none; from time to time all prices are raised at once by the
//! distance to a deficit. With costs multiplied by the number of nodes, a 1-optimal flow is optimal.
//!
//! Source: Goldberg, *An efficient implementation of a scaling minimum-cost flow algorithm*, J. Algorithms 22
//! (1997). Prices have the opposite sign there.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

use super::bits::Bits;
use super::layout::{Course, NONE};
use super::rebuild::ids;
use super::{ENDLESS, Network, Room};
use crate::problem::NodeId;

/// By how much a phase divides ε.
const DIVISOR: i64 = 12;

/// What a scaled price may at most become.
const MOST_SCALED: i128 = 1 << 61;

/// The residual network while it is scaled: the arcs of each node in a fixed order, and prices of scaled costs.
struct Scaled<'a> {
    arcs: &'a [Course],
    rooms: &'a mut [Room],
    excesses: &'a mut [i64],
    /// The arcs at each node, those that enter it turned round.
    around: Vec<Side>,
    /// Which of these can be used: small enough to be near, where the rooms are not.
    residual: Bits,
    /// Where each node's arcs begin, and where the last one's end.
    starts: Vec<u32>,
    /// The arc at which each node goes on.
    currents: Vec<u32>,
    prices: Vec<i64>,
    factor: i64,
    epsilon: i64,
    active: VecDeque<u32>,
    /// Arcs looked at.
    steps: u64,
}

/// A residual arc seen from one end.
#[derive(Clone, Copy)]
struct Side {
    /// Twice the arc's number, and one more if it enters here.
    entry: u32,
    to: u32,
    /// Scaled.
    cost: i64,
}

impl Side {
    const NONE: Side = Side { entry: NONE, to: NONE, cost: 0 };
}

impl Network {
    /// Whether [`Network::scale`] can be used: no arc is without a limit, and scaled prices cannot overflow.
    pub(super) fn can_be_scaled(&self) -> bool {
        let live = self.rooms.iter().zip(&self.layout.arcs).filter(|(_, arc)| arc.tail != NONE);
        let is_limited = live.clone().all(|(room, _)| room.up != ENDLESS);
        let most = live.map(|(_, arc)| arc.cost.unsigned_abs()).max().unwrap_or(0);
        let nodes = self.node_count() as i128 + 1;
        is_limited && i128::from(most) * nodes * nodes * 4 < MOST_SCALED
    }

    /// Routes all excess at least cost, and counts the steps in `steps`.
    ///
    /// # Errors
    /// Nodes with more excess than can leave them; flow and prices are of no use then.
    pub(super) fn scale(&mut self, steps: &mut u64) -> Result<(), Vec<NodeId>> {
        let factor = i64::try_from(self.node_count()).expect("nodes are counted by 31 bits") + 1;
        let costs = self.layout.arcs.iter().filter(|arc| arc.tail != NONE).map(|arc| arc.cost.abs());
        let mut scaled = Scaled::new(&self.layout.arcs, &mut self.rooms, &mut self.excesses, factor);
        scaled.epsilon = costs.max().unwrap_or(0) * factor;
        let mut outcome = Ok(());
        while scaled.epsilon > 1 && outcome.is_ok() {
            scaled.epsilon = (scaled.epsilon / DIVISOR).max(1);
            outcome = scaled.refine();
        }
        *steps += scaled.steps;
        let prices = outcome.map(|()| scaled.unscaled());
        self.recount();
        let prices = prices?;
        for (node, price) in self.nodes.iter_mut().zip(prices) {
            node.price = price;
        }
        Ok(())
    }

    /// Lists all arcs by their flow, and sums up the cost.
    fn recount(&mut self) {
        self.cost = 0;
        for id in ids(self.rooms.len()).filter(|id| self.is_arc(*id)).collect::<Vec<_>>() {
            self.layout.refill(id, self.rooms[id as usize].fill());
            self.cost += i128::from(self.layout.arcs[id as usize].cost) * i128::from(self.flow_of(id));
        }
    }
}

impl<'a> Scaled<'a> {
    fn new(arcs: &'a [Course], rooms: &'a mut [Room], excesses: &'a mut [i64], factor: i64) -> Scaled<'a> {
        let nodes = excesses.len();
        let live = || ids(arcs.len()).zip(arcs).filter(|(_, arc)| arc.tail != NONE);
        let mut starts = vec![0_u32; nodes + 1];
        for (_, arc) in live() {
            starts[arc.tail as usize + 1] += 1;
            starts[arc.head as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut around = vec![Side::NONE; starts[nodes] as usize];
        let mut currents = starts[..nodes].to_vec();
        for (id, arc) in live() {
            let cost = arc.cost * factor;
            let out = Side { entry: id << 1, to: arc.head, cost };
            let back = Side { entry: id << 1 | 1, to: arc.tail, cost: -cost };
            for (node, side) in [(arc.tail, out), (arc.head, back)] {
                around[currents[node as usize] as usize] = side;
                currents[node as usize] += 1;
            }
        }
        currents.copy_from_slice(&starts[..nodes]);
        let (prices, active, residual) = (vec![0; nodes], VecDeque::new(), Bits::default());
        let mut scaled = Scaled {
            arcs,
            rooms,
            excesses,
            around,
            residual,
            starts,
            currents,
            prices,
            factor,
            epsilon: 0,
            active,
            steps: 0,
        };
        live().for_each(|(id, _)| scaled.note_room(id));
        scaled
    }

    /// Notes in which directions an arc can be used.
    fn note_room(&mut self, id: u32) {
        let Room { up, down } = self.rooms[id as usize];
        for (entry, room) in [(id << 1, up), (id << 1 | 1, down)] {
            if room > 0 { self.residual.insert(entry) } else { self.residual.remove(entry) }
        }
    }

    /// Sends so much from one node to another along an arc, or as much as that has room for. Returns how much.
    fn push(&mut self, from: u32, to: u32, entry: u32, most: i64) -> i64 {
        let room = &mut self.rooms[(entry >> 1) as usize];
        let (less, more) = if entry & 1 == 0 { (&mut room.up, &mut room.down) } else { (&mut room.down, &mut room.up) };
        let amount = most.min(*less);
        *less -= amount;
        *more += amount;
        self.note_room(entry >> 1);
        self.excesses[from as usize] -= amount;
        self.excesses[to as usize] += amount;
        amount
    }

    /// Makes the flow optimal to within ε.
    fn refine(&mut self) -> Result<(), Vec<NodeId>> {
        for id in ids(self.arcs.len()) {
            let arc = self.arcs[id as usize];
            if arc.tail == NONE {
                continue;
            }
            let reduced = arc.cost * self.factor + self.prices[arc.head as usize] - self.prices[arc.tail as usize];
            let (from, to, entry) =
                if reduced < 0 { (arc.tail, arc.head, id << 1) } else { (arc.head, arc.tail, id << 1 | 1) };
            if reduced != 0 && self.residual.has(entry) {
                self.push(from, to, entry, i64::MAX);
            }
        }
        let nodes = self.excesses.len();
        self.raise_all()?;
        self.active = ids(nodes).filter(|node| self.excesses[*node as usize] > 0).collect();
        let mut relabels = 0;
        while let Some(node) = self.active.pop_front() {
            relabels += self.discharge(node);
            if relabels > nodes / 2 {
                relabels = 0;
                self.raise_all()?;
            }
        }
        Ok(())
    }

    /// Sends all of a node's excess on. Returns how often its price was raised.
    fn discharge(&mut self, node: u32) -> usize {
        let mut relabels = 0;
        let (start, end) = (self.starts[node as usize], self.starts[node as usize + 1]);
        while self.excesses[node as usize] > 0 {
            let began = self.currents[node as usize];
            let mut least = self.push_along(node, began..end);
            if self.excesses[node as usize] == 0 {
                break;
            }
            // What was passed earlier leads nowhere at this price either.
            for at in start..began {
                least = least.min(self.through(node, self.around[at as usize]));
            }
            self.steps += u64::from(began - start);
            self.currents[node as usize] = start;
            relabels += 1;
            if least == i64::MAX || relabels > self.prices.len() {
                // It is cut off, alone or with others: raising all prices shows it.
                self.active.push_back(node);
                return self.prices.len();
            }
            self.prices[node as usize] = least + self.epsilon;
        }
        relabels
    }

    /// Pushes along these of a node's arcs until nothing is left. Returns the least price of the ways that are left.
    fn push_along(&mut self, node: u32, range: Range<u32>) -> i64 {
        let mut least = i64::MAX;
        for at in range {
            self.steps += 1;
            let side = self.around[at as usize];
            let through = self.through(node, side);
            if through >= self.prices[node as usize] {
                least = least.min(through);
                continue;
            }
            let was = self.excesses[side.to as usize];
            let amount = self.push(node, side.to, side.entry, self.excesses[node as usize]);
            if was <= 0 && was + amount > 0 {
                self.active.push_back(side.to);
            }
            if self.excesses[node as usize] == 0 {
                self.currents[node as usize] = at;
                break;
            }
        }
        least
    }

    /// What a unit at a node costs that goes this way; more than anything where it cannot.
    fn through(&self, node: u32, side: Side) -> i64 {
        let is_way = self.residual.has(side.entry) && side.to != node;
        if is_way { side.cost + self.prices[side.to as usize] } else { i64::MAX }
    }

    /// Raises all prices by the distance to a deficit, in units of ε. If some excess has no path to one, the nodes
    /// without a path are a cut.
    fn raise_all(&mut self) -> Result<(), Vec<NodeId>> {
        let nodes = self.excesses.len();
        const FAR: i64 = i64::MAX;
        let mut dists = vec![FAR; nodes];
        let mut left = self.excesses.iter().filter(|excess| **excess > 0).count();
        let mut level = VecDeque::new();
        let mut heap = BinaryHeap::new();
        for node in ids(nodes).filter(|node| self.excesses[*node as usize] < 0) {
            dists[node as usize] = 0;
            level.push_back(node);
        }
        let mut dist = 0;
        while left > 0 {
            let Some(node) = level.pop_front() else {
                let Some(Reverse((next, node))) = heap.pop() else { break };
                if dists[node as usize] == next {
                    dist = next;
                    level.push_back(node);
                }
                continue;
            };
            if dists[node as usize] < dist {
                continue;
            }
            if self.excesses[node as usize] > 0 {
                left -= 1;
            }
            let (start, end) = (self.starts[node as usize], self.starts[node as usize + 1]);
            self.steps += u64::from(end - start);
            for at in start..end {
                // Against the arc: from where it leads here.
                let Side { entry, to: from, cost } = self.around[at as usize];
                if !self.residual.has(entry ^ 1) {
                    continue;
                }
                let reduced = self.prices[node as usize] - cost - self.prices[from as usize];
                let length = if reduced < 0 { 0 } else { reduced / self.epsilon + 1 };
                let through = dist + length;
                if through < dists[from as usize] {
                    dists[from as usize] = through;
                    if length == 0 { level.push_back(from) } else { heap.push(Reverse((through, from))) }
                }
            }
        }
        if left > 0 {
            let is_cut_off = |node: &u32| dists[*node as usize] == FAR;
            return Err(ids(nodes).filter(is_cut_off).map(NodeId).collect());
        }
        for (price, own) in self.prices.iter_mut().zip(&dists) {
            *price += own.min(&dist) * self.epsilon;
        }
        self.currents.copy_from_slice(&self.starts[..nodes]);
        Ok(())
    }

    /// Prices of the costs as they are: those that were found, corrected where they were rounded.
    fn unscaled(&mut self) -> Vec<i64> {
        let mut prices: Vec<i64> = self.prices.iter().map(|price| price.div_euclid(self.factor)).collect();
        let mut queue: VecDeque<u32> = ids(prices.len()).collect();
        let mut waits = vec![true; prices.len()];
        while let Some(node) = queue.pop_front() {
            waits[node as usize] = false;
            for at in self.starts[node as usize]..self.starts[node as usize + 1] {
                let Side { entry, to: from, cost } = self.around[at as usize];
                let through = prices[node as usize] - cost / self.factor;
                if self.residual.has(entry ^ 1) && through < prices[from as usize] {
                    prices[from as usize] = through;
                    if !std::mem::replace(&mut waits[from as usize], true) {
                        queue.push_back(from);
                    }
                }
            }
        }
        prices
    }
}

#[cfg(test)]
mod tests {
    use crate::problem::{Arc, Instance};
    use crate::solution::{Budget, Outcome};
    use crate::{Network, NodeId, certify, certify_cut};

    /// Some instance with limits everywhere, another for each seed; parallel arcs and loops included.
    fn instance(seed: u64) -> Instance {
        let mut state = seed;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let nodes = 2 + below(30);
        let mut supplies = vec![0; nodes as usize];
        for _ in 0..below(20) {
            let amount = below(5) as i64;
            supplies[below(nodes) as usize] += amount;
            supplies[below(nodes) as usize] -= amount;
        }
        let mut node = || NodeId(below(nodes) as u32);
        let ends: Vec<_> = (0..nodes * 5).map(|_| (node(), node())).collect();
        let arc = |(tail, head)| {
            let lower = below(4) as i64 - 2;
            Arc { tail, head, lower, capacity: lower + below(9) as i64, cost: below(200) as i64 - 60 }
        };
        Instance { supplies, arcs: ends.into_iter().map(arc).collect() }
    }

    #[test]
    fn scaling_and_paths_agree() {
        for seed in 0..2000 {
            let instance = instance(seed);
            let mut by_paths = Network::from_instance(&instance).unwrap();
            let mut by_scaling = by_paths.clone();
            assert!(by_scaling.can_be_scaled());
            match (by_paths.solve(Budget::UNLIMITED), by_scaling.scale(&mut 0)) {
                (Outcome::Optimal { cost, .. }, Ok(())) => {
                    let certificate = certify(&instance, &by_scaling.solution()).unwrap();
                    assert_eq!((certificate.cost, by_scaling.cost()), (cost, cost), "seed {seed}");
                }
                (Outcome::Infeasible { .. }, Err(cut)) => drop(certify_cut(&instance, &cut).unwrap()),
                (outcome, scaled) => panic!("seed {seed}: {outcome:?}, but {scaled:?}"),
            }
        }
    }
}
