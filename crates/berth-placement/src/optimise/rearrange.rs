//! The best arrangement of a few nodes: who of those there, and of those who wait, is where.
//!
//! Branch and bound over the units in turn. What is still to come is bounded by prices of these few nodes, found by a
//! short subgradient search, so that a branch ends as soon as what is left cannot pay for itself.

use std::cmp::Reverse;

use super::price::{self, NodePrices, Rates};
use super::problem::{Amounts, ClassIndex, DIMENSIONS, Gang, Limits, NodeIndex};
use super::state::State;

/// Which units may be moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Movable {
    /// Those that were not running before.
    Fresh,
    /// All. Those that run pay for it.
    All,
}

/// A unit more or less of a class on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) class: ClassIndex,
    pub(super) node: NodeIndex,
    /// Units more, or (negative) less.
    pub(super) by: i64,
}

/// Classes that wait and are tried, at most.
const GUESTS: usize = 12;
/// Units of a class that wait and are tried, at most.
const UNITS: u32 = 4;
/// What it costs to take a unit of a gang away: more than anything gains.
const NEVER: i64 = 1 << 44;

/// The units of a class that may be moved.
struct Item {
    class: ClassIndex,
    units: u32,
    demand: Amounts,
    waiting: i64,
    moving: i64,
    crowding: i64,
    limit: u32,
    /// By node: what one there costs of itself; `None` where it must not be.
    base: Vec<Option<i64>>,
    /// By node: how many run there.
    running: Vec<u32>,
    /// By node: how many stay in any case.
    fixed: Vec<u32>,
    /// By node: how many there are now beyond those.
    now: Vec<u32>,
}

/// The nodes, the units, and where the search is.
struct Search<'a> {
    state: &'a State,
    capacities: Vec<Amounts>,
    slots: Vec<u32>,
    items: Vec<Item>,
    prices: Vec<NodePrices>,
    /// By item: the least that it and all after it cost at these prices.
    rest: Vec<i64>,
    used: Vec<Amounts>,
    units: Vec<u32>,
    /// By item and node: how many there are in this branch.
    counts: Vec<Vec<u32>>,
    best: Option<Vec<Vec<u32>>>,
    bar: i64,
    steps: u64,
}

/// Rearranges the nodes if that gains. The gain and what has changed; the work is at most about `steps`.
pub(super) fn rearrange(
    state: &mut State,
    nodes: &[NodeIndex],
    movable: Movable,
    steps: u64,
) -> Option<(i64, Vec<Change>)> {
    let mut search = Search::new(state, nodes, movable);
    if search.items.is_empty() {
        return None;
    }
    let before = search.now();
    search.bar = before;
    search.steps = steps;
    search.set_prices();
    search.branch(0, 0, 0, 0);
    let (left, best, bar) = (search.steps, search.best.take(), search.bar);
    let items: Vec<(ClassIndex, Vec<u32>)> = search.items.into_iter().map(|item| (item.class, item.now)).collect();
    state.steps += steps - left;
    let best = best?;
    let mut changes = Vec::new();
    for ((class, now), new) in items.into_iter().zip(best) {
        for (node, (now, new)) in nodes.iter().zip(now.into_iter().zip(new)) {
            if now != new {
                changes.push(Change { class, node: *node, by: i64::from(new) - i64::from(now) });
            }
        }
    }
    apply(state, &changes);
    Some((before - bar, changes))
}

/// First everybody leaves, then everybody comes.
pub(super) fn apply(state: &mut State, changes: &[Change]) {
    for change in changes {
        (change.by..0).for_each(|_| state.take(change.class, change.node));
    }
    for change in changes {
        (0..change.by).for_each(|_| state.put(change.class, change.node));
    }
}

impl<'a> Search<'a> {
    fn new(state: &'a State, nodes: &[NodeIndex], movable: Movable) -> Search<'a> {
        let at = |node: &NodeIndex| state.node(*node);
        let mut search = Search {
            state,
            capacities: nodes.iter().map(|node| at(node).node.capacity).collect(),
            slots: nodes.iter().map(|node| at(node).node.slots).collect(),
            items: Vec::new(),
            prices: vec![NodePrices::default(); nodes.len()],
            rest: Vec::new(),
            used: nodes.iter().map(|node| at(node).used).collect(),
            units: nodes.iter().map(|node| at(node).units).collect(),
            counts: Vec::new(),
            best: None,
            bar: 0,
            steps: 0,
        };
        // What has no room as it is stays as it is.
        if search.used.iter().zip(&search.capacities).any(|(used, capacity)| !used.fits(capacity)) {
            return search;
        }
        let mut residents: Vec<ClassIndex> = nodes.iter().flat_map(|node| at(node).residents.clone()).collect();
        residents.sort_unstable();
        residents.dedup();
        for class in residents {
            search.add(class, nodes, movable);
        }
        for class in guests(state, &search) {
            search.add(class, nodes, movable);
        }
        search.items.sort_by_cached_key(|item| (Reverse(worth(item, &search.capacities)), item.class));
        for item in &search.items {
            for (node, count) in item.now.iter().enumerate() {
                search.units[node] -= count;
                (0..*count).for_each(|_| search.used[node] = search.used[node].minus(&item.demand));
            }
        }
        search.counts = search.items.iter().map(|_| vec![0; nodes.len()]).collect();
        search
    }

    fn add(&mut self, id: ClassIndex, nodes: &[NodeIndex], movable: Movable) {
        let owner = self.state.class(id);
        let class = &owner.class;
        let spans_nodes = Limits { node: class.limits.node, ..Limits::NONE } != class.limits;
        if spans_nodes || self.items.iter().any(|item| item.class == id) {
            return;
        }
        let seats: Vec<(u32, u32)> =
            nodes.iter().map(|n| owner.seat(*n).map_or((0, 0), |seat| (seat.running, seat.placed))).collect();
        let fixed = |(running, placed): &(u32, u32)| match movable {
            Movable::Fresh => *running.min(placed),
            Movable::All => 0,
        };
        let fixed: Vec<u32> = seats.iter().map(fixed).collect();
        let now: Vec<u32> = seats.iter().zip(&fixed).map(|((_, placed), fixed)| placed - fixed).collect();
        let (waits, waiting) = match class.gang {
            Gang::Apart => (owner.waiting().min(UNITS), class.waiting),
            Gang::Together => (0, NEVER),
        };
        let units = waits + now.iter().sum::<u32>();
        if units > 0 {
            self.items.push(Item {
                class: id,
                units,
                demand: class.demand,
                waiting,
                moving: class.moving,
                crowding: class.crowding,
                limit: class.limits.node,
                base: nodes.iter().map(|node| self.state.base(id, *node)).collect(),
                running: seats.iter().map(|(running, _)| *running).collect(),
                fixed,
                now,
            });
        }
    }

    fn use_cost(&self, node: usize, used: &Amounts) -> i64 {
        let curve = &self.state.curve;
        if curve.is_flat() {
            return 0;
        }
        (0..DIMENSIONS).map(|at| curve.cost(used.0[at], self.capacities[node].0[at])).sum()
    }

    /// What all the units cost where they are now.
    fn now(&self) -> i64 {
        let mut cost = 0;
        let mut used = self.used.clone();
        for item in &self.items {
            cost += item.waiting * i64::from(item.units - item.now.iter().sum::<u32>());
            for (node, count) in item.now.iter().enumerate() {
                for before in 0..*count {
                    cost += item.own(node, item.fixed[node] + before);
                    used[node] = used[node].plus(&item.demand);
                }
            }
        }
        let more = |(node, used): (usize, &Amounts)| self.use_cost(node, used) - self.use_cost(node, &self.used[node]);
        cost + used.iter().enumerate().map(more).sum::<i64>()
    }

    /// Prices that bound from below what the units cost, by a subgradient search.
    fn set_prices(&mut self) {
        const ROUNDS: i64 = 24;
        let mut prices = self.prices.clone();
        let mut best = i64::MIN;
        let scale = self.items.iter().map(|item| item.waiting.min(1 << 40)).max().unwrap_or(0);
        for round in 0..ROUNDS {
            let (rest, loads) = self.relaxed(&prices);
            let bound = rest.first().copied().unwrap_or(0).saturating_add(self.credit(&prices));
            if bound > best {
                best = bound;
                self.prices.clone_from(&prices);
                self.rest = rest;
            }
            for (node, load) in loads.iter().enumerate() {
                for at in (0..DIMENSIONS).filter(|at| self.capacities[node].0[*at] > 0) {
                    let (all, left) =
                        (self.capacities[node].0[at], self.capacities[node].0[at] - self.used[node].0[at]);
                    let excess = (i128::from(*load.0.get(at).expect("a dimension")) - i128::from(left)) * 1_024;
                    let step = excess * i128::from(scale) / i128::from(all) / i128::from(1_024 * (2 + round));
                    let price = i128::from(prices[node][at]) + step;
                    prices[node][at] = i64::try_from(price.clamp(0, 1 << 42)).expect("clamped");
                }
            }
        }
    }

    /// By item, what it and all after it cost at least at these prices; and what they take of each node then.
    fn relaxed(&self, prices: &[NodePrices]) -> (Vec<i64>, Vec<Amounts>) {
        let rates: Vec<Rates> = prices.iter().zip(&self.capacities).map(|(p, c)| price::rates(p, c)).collect();
        let mut loads = vec![Amounts::default(); prices.len()];
        let mut rest = vec![0; self.items.len() + 1];
        for (at, item) in self.items.iter().enumerate().rev() {
            let mut offers: Vec<(i64, usize)> = Vec::new();
            for (node, base) in item.base.iter().enumerate() {
                let base = base.or((item.running[node] > 0).then_some(0));
                if let Some(base) = base.filter(|_| item.demand.fits(&self.capacities[node])) {
                    let stays = if item.running[node] > item.fixed[node] { item.moving } else { 0 };
                    offers.push((base + price::charge(&rates[node], &item.demand) - stays, node));
                }
            }
            let cheapest = offers.into_iter().min().filter(|(cost, _)| *cost < item.waiting);
            if let Some((_, node)) = cheapest {
                (0..item.units).for_each(|_| loads[node] = loads[node].plus(&item.demand));
            }
            let each = cheapest.map_or(item.waiting, |(cost, _)| cost);
            rest[at] = rest[at + 1] + each * i64::from(item.units);
        }
        (rest, loads)
    }

    /// The least, over all further use of the nodes, of what it costs minus what it brings in.
    fn credit(&self, prices: &[NodePrices]) -> i64 {
        let node = |(node, prices): (usize, &NodePrices)| -> i64 {
            let (used, capacity) = (&self.used[node], &self.capacities[node]);
            let part = |at: usize| self.state.curve.credit(used.0[at], capacity.0[at], prices[at]);
            (0..DIMENSIONS).map(part).sum()
        };
        prices.iter().enumerate().map(node).sum()
    }

    /// Tries all places for the rest of an item, from `option` on, and then for the items after it.
    fn branch(&mut self, item: usize, done: u32, option: usize, cost: i64) {
        if self.steps == 0 {
            return;
        }
        self.steps -= 1;
        let Some(entry) = self.items.get(item) else {
            if cost < self.bar {
                self.bar = cost;
                self.best = Some(self.counts.clone());
            }
            return;
        };
        if done == entry.units {
            return self.branch(item + 1, 0, 0, cost);
        }
        let each = (self.rest[item] - self.rest[item + 1]) / i64::from(entry.units);
        let to_come = self.rest[item + 1] + each * i64::from(entry.units - done);
        if cost + to_come + self.credit(&self.prices) >= self.bar {
            return;
        }
        for node in option..self.capacities.len() {
            if let Some(more) = self.enter(item, node) {
                self.branch(item, done + 1, node, cost + more);
                self.leave(item, node);
            }
        }
        let entry = &self.items[item];
        // The last option: all that are left of it wait.
        let waits = entry.waiting.saturating_mul(i64::from(entry.units - done));
        self.branch(item + 1, 0, 0, cost.saturating_add(waits));
    }

    fn enter(&mut self, item: usize, node: usize) -> Option<i64> {
        let (entry, count) = (&self.items[item], self.counts[item][node]);
        let there = entry.fixed[node] + count;
        let stays = there < entry.running[node];
        let used = self.used[node].plus(&entry.demand);
        let allowed = stays || entry.base[node].is_some();
        if !allowed
            || there >= entry.limit
            || self.units[node] >= self.slots[node]
            || !used.fits(&self.capacities[node])
        {
            return None;
        }
        let more = entry.own(node, there) + self.use_cost(node, &used) - self.use_cost(node, &self.used[node]);
        self.used[node] = used;
        self.units[node] += 1;
        self.counts[item][node] += 1;
        Some(more)
    }

    fn leave(&mut self, item: usize, node: usize) {
        self.used[node] = self.used[node].minus(&self.items[item].demand);
        self.units[node] -= 1;
        self.counts[item][node] -= 1;
    }
}

impl Item {
    /// What one more costs on a node besides its use, if so many are there.
    fn own(&self, node: usize, there: u32) -> i64 {
        let stays = if there < self.running[node] { self.moving } else { 0 };
        self.base[node].unwrap_or(0) + self.crowding * i64::from(there) - stays
    }
}

/// What it costs that a unit waits, for its greatest share of the nodes.
fn worth(item: &Item, capacities: &[Amounts]) -> i128 {
    let all = capacities.iter().fold(Amounts::default(), |sum, capacity| sum.plus(capacity));
    let shares = item.demand.0.iter().zip(&all.0).filter(|(_, all)| **all > 0);
    let share = shares.map(|(amount, all)| (u128::from(*amount) << 20) / u128::from(*all)).max().unwrap_or(0);
    (i128::from(item.waiting) << 20) / i128::try_from(share.max(1)).expect("a share is small")
}

/// Classes that wait and could be on one of the nodes, those with the most to lose first.
fn guests(state: &State, search: &Search<'_>) -> Vec<ClassIndex> {
    let waits = |id: &ClassIndex| {
        let owner = state.class(*id);
        owner.waiting() > 0 && search.capacities.iter().any(|capacity| owner.class.demand.fits(capacity))
    };
    let mut guests: Vec<(Reverse<i64>, ClassIndex)> =
        state.class_ids().filter(waits).map(|id| (Reverse(state.class(id).class.waiting), id)).collect();
    guests.sort_unstable();
    guests.truncate(GUESTS);
    guests.into_iter().map(|(_, id)| id).collect()
}
