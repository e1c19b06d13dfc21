//! Who is where, what each node still has, and for each shape and node what one more unit would cost: dense tables that
//! every change keeps up to date.

use super::price::{self, Prices};
use super::problem::{
    Amounts, Class, ClassIndex, Curve, DIMENSIONS, Limits, NO_LIMIT, Node, NodeIndex, Shape, ShapeIndex,
};
use super::sum::Parts;

/// In a table: not allowed there, or no room.
pub(super) const NOWHERE: i64 = i64::MAX;

/// Units of a class on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seat {
    pub(super) node: NodeIndex,
    /// How many run there, by the caller's word.
    pub(super) running: u32,
    /// How many the assignment has there.
    pub(super) placed: u32,
}

/// A node and what is on it.
#[derive(Clone, Debug)]
pub(super) struct NodeState {
    pub(super) node: Node,
    pub(super) used: Amounts,
    pub(super) units: u32,
    /// The classes with a seat here, in order.
    pub(super) residents: Vec<ClassIndex>,
}

/// A class and where its units are.
#[derive(Clone, Debug)]
pub(super) struct ClassState {
    pub(super) class: Class,
    /// In order of their nodes.
    pub(super) seats: Vec<Seat>,
    pub(super) placed: u32,
    pub(super) running: u32,
}

impl ClassState {
    pub(super) fn seat(&self, node: NodeIndex) -> Option<&Seat> {
        self.seats.binary_search_by_key(&node, |seat| seat.node).ok().map(|at| &self.seats[at])
    }

    pub(super) fn waiting(&self) -> u32 {
        self.class.wanted.saturating_sub(self.placed)
    }
}

/// A shape and its row in each table.
#[derive(Clone, Debug)]
pub(super) struct ShapeState {
    pub(super) shape: Shape,
    /// By node: what one more unit of the most costs; [`NOWHERE`] without room.
    pub(super) marginal: Vec<i64>,
    /// By node: what a unit of the least costs with the node's prices, whether or not there is room now.
    pub(super) offers: Vec<i64>,
}

/// Everything that is known of the cluster.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) curve: Curve,
    pub(super) nodes: Vec<Option<NodeState>>,
    pub(super) shapes: Vec<Option<ShapeState>>,
    pub(super) classes: Vec<Option<ClassState>>,
    pub(super) prices: Prices,
    /// What the use of nodes costs, and where the units of classes are.
    node_costs: Parts,
    class_costs: Parts,
    /// Work: entries of tables that were looked at or changed.
    pub(super) steps: u64,
}

impl State {
    pub(super) fn new(curve: Curve) -> State {
        let (nodes, shapes, classes) = (Vec::new(), Vec::new(), Vec::new());
        let (node_costs, class_costs) = (Parts::default(), Parts::default());
        State { curve, nodes, shapes, classes, prices: Prices::default(), node_costs, class_costs, steps: 0 }
    }

    pub(super) fn node(&self, node: NodeIndex) -> &NodeState {
        self.nodes[node.at()].as_ref().expect("indices inside come from the state")
    }

    pub(super) fn class(&self, class: ClassIndex) -> &ClassState {
        self.classes[class.at()].as_ref().expect("indices inside come from the state")
    }

    pub(super) fn shape(&self, shape: ShapeIndex) -> &ShapeState {
        self.shapes[shape.at()].as_ref().expect("indices inside come from the state")
    }

    pub(super) fn node_ids(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        (0..).zip(&self.nodes).filter(|(_, node)| node.is_some()).map(|(id, _)| NodeIndex(id))
    }

    pub(super) fn class_ids(&self) -> impl Iterator<Item = ClassIndex> + '_ {
        (0..).zip(&self.classes).filter(|(_, class)| class.is_some()).map(|(id, _)| ClassIndex(id))
    }

    /// The capacity that prices reckon with: never less than what runs there already.
    pub(super) fn capacity(&self, node: NodeIndex) -> Amounts {
        let state = self.node(node);
        state.node.capacity.max(&state.used)
    }

    /// What a unit of the class costs on the node by its shape alone.
    pub(super) fn base(&self, class: ClassIndex, node: NodeIndex) -> Option<i64> {
        let shape = self.class(class).class.shape;
        self.shape(shape).shape.costs.get(node.at()).copied().flatten()
    }

    fn use_cost(&self, used: &Amounts, capacity: &Amounts) -> i64 {
        if self.curve.is_flat() {
            return 0;
        }
        (0..DIMENSIONS).map(|at| self.curve.cost(used.0[at], capacity.0[at])).sum()
    }

    /// Whether one more unit of the class may be on the node, by its exact demand.
    pub(super) fn fits(&self, class: ClassIndex, node: NodeIndex) -> bool {
        let (state, owner) = (self.node(node), self.class(class));
        let demand = owner.class.demand;
        self.base(class, node).is_some()
            && state.units < state.node.slots
            && state.used.plus(&demand).fits(&state.node.capacity)
            && self.within_limits(class, node)
    }

    fn within_limits(&self, class: ClassIndex, node: NodeIndex) -> bool {
        let owner = self.class(class);
        let limits = owner.class.limits;
        if limits == Limits::NONE {
            return true;
        }
        let here = self.node(node).node;
        let count = |is_there: &dyn Fn(Node) -> bool| -> u32 {
            let there = owner.seats.iter().filter(|seat| is_there(self.node(seat.node).node));
            there.map(|seat| seat.placed).sum()
        };
        owner.seat(node).map_or(0, |seat| seat.placed) < limits.node
            && (limits.rack == NO_LIMIT || count(&|node| node.rack == here.rack) < limits.rack)
            && (limits.zone == NO_LIMIT || count(&|node| node.zone == here.zone) < limits.zone)
    }

    /// What one more unit of the class on the node costs: what it adds there, less what it saves by staying.
    pub(super) fn adding(&self, class: ClassIndex, node: NodeIndex) -> i64 {
        let seat = self.class(class).seat(node);
        let (running, placed) = seat.map_or((0, 0), |seat| (seat.running, seat.placed));
        let state = self.node(node);
        self.unit_cost(class, node, (running, placed), &state.used)
    }

    /// What is saved when a unit of the class leaves the node.
    pub(super) fn taking(&self, class: ClassIndex, node: NodeIndex) -> i64 {
        let owner = self.class(class);
        let seat = owner.seat(node).expect("a unit that is there");
        let without = self.node(node).used.minus(&owner.class.demand);
        self.unit_cost(class, node, (seat.running, seat.placed - 1), &without)
    }

    fn unit_cost(&self, id: ClassIndex, node: NodeIndex, seat: (u32, u32), used: &Amounts) -> i64 {
        let (class, capacity) = (&self.class(id).class, &self.node(node).node.capacity);
        let with = self.use_cost(&used.plus(&class.demand), capacity);
        let stays = if seat.1 < seat.0 { class.moving } else { 0 };
        let base = self.base(id, node).unwrap_or(0);
        base + with - self.use_cost(used, capacity) + class.crowding * i64::from(seat.1) - stays
    }

    /// Places one more unit.
    pub(super) fn put(&mut self, class: ClassIndex, node: NodeIndex) {
        self.change(class, node, |seat| seat.placed += 1);
    }

    /// Takes one unit away.
    pub(super) fn take(&mut self, class: ClassIndex, node: NodeIndex) {
        self.change(class, node, |seat| seat.placed -= 1);
    }

    /// Says how many run; they are placed as well.
    pub(super) fn set_running(&mut self, class: ClassIndex, node: NodeIndex, running: u32) {
        self.change(class, node, |seat| (seat.running, seat.placed) = (running, running));
    }

    fn change(&mut self, class: ClassIndex, node: NodeIndex, change: impl FnOnce(&mut Seat)) {
        let owner = self.classes[class.at()].as_mut().expect("indices inside come from the state");
        let found = owner.seats.binary_search_by_key(&node, |seat| seat.node);
        let old = found.map_or(Seat { node, running: 0, placed: 0 }, |at| owner.seats[at]);
        let mut new = old;
        change(&mut new);
        owner.placed = owner.placed - old.placed + new.placed;
        owner.running = owner.running - old.running + new.running;
        let is_empty = new.running == 0 && new.placed == 0;
        match found {
            Ok(at) if is_empty => drop(owner.seats.remove(at)),
            Ok(at) => owner.seats[at] = new,
            Err(_) if is_empty => {}
            Err(at) => owner.seats.insert(at, new),
        }
        let demand = owner.class.demand;
        self.class_costs.touch(class.at());
        let state = self.nodes[node.at()].as_mut().expect("indices inside come from the state");
        for at in 0..DIMENSIONS {
            state.used.0[at] =
                state.used.0[at] + demand.0[at] * u64::from(new.placed) - demand.0[at] * u64::from(old.placed);
        }
        state.units = state.units + new.placed - old.placed;
        match (state.residents.binary_search(&class), is_empty) {
            (Ok(at), true) => drop(state.residents.remove(at)),
            (Err(at), false) => state.residents.insert(at, class),
            (Ok(_), false) | (Err(_), true) => {}
        }
        if old.placed != new.placed {
            self.remeasure(node);
        }
    }

    /// Brings the node's column of marginal costs up to date.
    pub(super) fn remeasure(&mut self, node: NodeIndex) {
        self.node_costs.touch(node.at());
        let measure = Measure::of(&self.nodes, &self.curve, node);
        for shape in self.shapes.iter_mut().flatten() {
            let entry = measure.marginal(&shape.shape);
            set(&mut shape.marginal, node, entry);
            self.steps += 1;
        }
    }

    /// Brings the node's column of offers up to date with its prices.
    pub(super) fn reoffer(&mut self, node: NodeIndex) {
        let tariff = self.tariff(node);
        for shape in self.shapes.iter_mut().flatten() {
            let entry = tariff.as_ref().map_or(NOWHERE, |tariff| tariff.offer(&shape.shape));
            set(&mut shape.offers, node, entry);
            self.steps += 1;
        }
    }

    /// Fills the rows of a shape that is new.
    pub(super) fn draw_rows(&mut self, id: ShapeIndex) {
        for node in self.node_ids().collect::<Vec<_>>() {
            let tariff = self.tariff(node);
            let measure = Measure::of(&self.nodes, &self.curve, node);
            let shape = self.shapes[id.at()].as_mut().expect("indices inside come from the state");
            set(&mut shape.marginal, node, measure.marginal(&shape.shape));
            set(&mut shape.offers, node, tariff.as_ref().map_or(NOWHERE, |tariff| tariff.offer(&shape.shape)));
            self.steps += 2;
        }
    }

    fn tariff(&self, node: NodeIndex) -> Option<Tariff> {
        self.nodes[node.at()].as_ref()?;
        let capacity = self.capacity(node);
        Some(Tariff { node, capacity, rates: price::rates(&self.prices.of(node), &capacity) })
    }

    /// The cheapest node for one more unit by what it costs there now or, if that is more, by what the prices ask.
    /// Ties fall to the lower index.
    pub(super) fn best(&mut self, class: ClassIndex, except: Option<NodeIndex>) -> Option<(i64, NodeIndex)> {
        let found = self.scan(class, except);
        self.steps += self.nodes.len() as u64 / 16 + 1;
        let owner = self.class(class);
        let is_exact = owner.class.demand == self.shape(owner.class.shape).shape.most;
        if found.is_some() || is_exact {
            return found;
        }
        self.steps += self.nodes.len() as u64;
        let open = self.node_ids().filter(|node| Some(*node) != except && self.fits(class, *node));
        open.map(|node| (self.adding(class, node), node)).min()
    }

    fn scan(&self, class: ClassIndex, except: Option<NodeIndex>) -> Option<(i64, NodeIndex)> {
        let owner = self.class(class);
        let shape = self.shape(owner.class.shape);
        let spans_nodes = owner.class.limits.rack != NO_LIMIT || owner.class.limits.zone != NO_LIMIT;
        let mut best = None;
        let mut from = 0;
        let take_less = |best: &mut Option<(i64, NodeIndex)>, found: Option<(i64, NodeIndex)>| {
            if let Some(found) = found.filter(|found| best.is_none_or(|best| *found < best)) {
                *best = Some(found);
            }
        };
        let is_allowed = |node: NodeIndex| Some(node) != except && (!spans_nodes || self.within_limits(class, node));
        // Between its seats a class costs what its shape costs.
        let ends = owner.seats.iter().map(|seat| seat.node.at()).chain([shape.marginal.len()]);
        for end in ends {
            let range = from..end.min(shape.marginal.len());
            take_less(&mut best, least(&shape.marginal[range.clone()], &shape.offers[range], from, is_allowed));
            from = end + 1;
        }
        for seat in &owner.seats {
            let here = seat.node;
            let room = shape.marginal.get(here.at()).is_some_and(|cost| *cost != NOWHERE);
            if room && Some(here) != except && self.within_limits(class, here) {
                let asked = shape.offers[here.at()] - shape.marginal[here.at()];
                take_less(&mut best, Some((self.adding(class, here) + asked.max(0), here)));
            }
        }
        best
    }

    /// The class has changed, or what its units cost somewhere.
    pub(super) fn reckon(&mut self, class: ClassIndex) {
        self.class_costs.touch(class.at());
    }

    /// The cost of the assignment.
    pub(super) fn cost(&mut self) -> i128 {
        let (mut nodes, mut classes) = (std::mem::take(&mut self.node_costs), std::mem::take(&mut self.class_costs));
        let sum = nodes.sum(|at| self.node_cost(at)) + classes.sum(|at| self.class_cost(at));
        (self.node_costs, self.class_costs) = (nodes, classes);
        sum
    }

    /// The same, from nothing.
    #[cfg(test)]
    pub(super) fn cost_from_nothing(&self) -> i128 {
        let nodes = (0..self.nodes.len()).map(|at| self.node_cost(at));
        nodes.chain((0..self.classes.len()).map(|at| self.class_cost(at))).map(i128::from).sum()
    }

    fn node_cost(&self, at: usize) -> i64 {
        self.nodes[at].as_ref().map_or(0, |state| self.use_cost(&state.used, &state.node.capacity))
    }

    fn class_cost(&self, at: usize) -> i64 {
        let Some(owner) = &self.classes[at] else { return 0 };
        let costs = &self.shape(owner.class.shape).shape.costs;
        let seats = owner.seats.iter().map(|seat| {
            let (placed, left) = (i64::from(seat.placed), i64::from(seat.running.saturating_sub(seat.placed)));
            let pairs = placed * (placed - 1) / 2;
            let base = costs.get(seat.node.at()).copied().flatten().unwrap_or(0);
            base * placed + owner.class.crowding * pairs + owner.class.moving * left
        });
        seats.sum::<i64>() + owner.class.waiting * i64::from(owner.waiting())
    }
}

/// What one more unit on a node costs.
struct Measure<'a> {
    node: NodeIndex,
    state: Option<&'a NodeState>,
    curve: &'a Curve,
    /// What its use costs now, by dimension.
    now: [i64; DIMENSIONS],
}

impl<'a> Measure<'a> {
    fn of(nodes: &'a [Option<NodeState>], curve: &'a Curve, node: NodeIndex) -> Measure<'a> {
        let state = nodes[node.at()].as_ref();
        let now = |state: &NodeState| -> [i64; DIMENSIONS] {
            std::array::from_fn(|at| curve.cost(state.used.0[at], state.node.capacity.0[at]))
        };
        Measure { node, state, curve, now: state.map(now).unwrap_or_default() }
    }

    fn marginal(&self, shape: &Shape) -> i64 {
        match (self.state, shape.costs.get(self.node.at()).copied().flatten()) {
            (Some(state), Some(base)) if state.units < state.node.slots => {
                let (most, capacity) = (&shape.most, &state.node.capacity);
                let used = state.used.plus(most);
                let more = |at: usize| self.curve.cost(used.0[at], capacity.0[at]) - self.now[at];
                let grows = (0..DIMENSIONS).filter(|at| most.0[*at] > 0 && !self.curve.is_flat());
                if used.fits(capacity) { base + grows.map(more).sum::<i64>() } else { NOWHERE }
            }
            (Some(_) | None, Some(_) | None) => NOWHERE,
        }
    }
}

/// What units pay on a node by its prices.
struct Tariff {
    node: NodeIndex,
    capacity: Amounts,
    rates: price::Rates,
}

impl Tariff {
    fn offer(&self, shape: &Shape) -> i64 {
        match shape.costs.get(self.node.at()).copied().flatten() {
            Some(base) if shape.least.fits(&self.capacity) => base + price::charge(&self.rates, &shape.least),
            Some(_) | None => NOWHERE,
        }
    }
}

/// The least of the greater of two rows, with its index; `from` is that of the first.
fn least(
    marginal: &[i64],
    offers: &[i64],
    from: usize,
    is_allowed: impl Fn(NodeIndex) -> bool,
) -> Option<(i64, NodeIndex)> {
    let mut best: Option<(i64, NodeIndex)> = None;
    let mut bar = NOWHERE;
    for (at, (cost, offer)) in marginal.iter().zip(offers).enumerate() {
        let cost = *cost.max(offer);
        if cost < bar {
            let node = NodeIndex(u32::try_from(from + at).expect("indices are small"));
            if is_allowed(node) {
                (bar, best) = (cost, Some((cost, node)));
            }
        }
    }
    best
}

fn set(row: &mut Vec<i64>, node: NodeIndex, entry: i64) {
    if row.len() <= node.at() {
        row.resize(node.at() + 1, NOWHERE);
    }
    row[node.at()] = entry;
}
