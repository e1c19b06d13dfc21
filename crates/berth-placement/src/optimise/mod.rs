//! The optimiser: plain numbers in; an assignment that fits, prices, and a proven lower bound of the cost out.
//!
//! An [`Optimiser`] lives as long as its cluster and takes changes in between. [`Optimiser::place`] places one unit at
//! once by what it costs there and what the prices ask; [`Optimiser::round`] moves the prices, places all that waits,
//! proposes moves of what runs and proves how far from the best all this can be. The account of the model is in the
//! crate's README.
//!
//! Invariant: knows no jobs, no board, no reasons. Whoever calls translates.

mod commit;
mod drawing;
mod improve;
mod price;
mod problem;
mod propose;
mod rearrange;
mod relax;
mod state;
mod sum;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use drawing::{Drawing, Waiting, Wish};
pub use price::NodePrices;
pub use problem::{
    Amounts, Class, ClassIndex, Curve, DIMENSIONS, Gang, Limits, MOST_AMOUNT, MOST_COST, MOST_INDEX, NO_LIMIT, Node,
    NodeIndex, Shape, ShapeIndex,
};
pub use propose::{Move, Proposal};
use relax::{Band, set_prices};
use state::{ClassState, NodeState, ShapeState, State};

/// How much a round may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// How often prices are moved at most.
    pub iterations: u32,
    /// Steps of the flow solver, all together. With fewer than the first flow takes there is no bound.
    pub flow: berth_flow::Budget,
    /// Steps of the search that improves the assignment; a step looks at about one pair of units, or at 16 nodes.
    pub search: u64,
    /// How many proposals to make at most.
    pub proposals: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { iterations: 2, flow: berth_flow::Budget::UNLIMITED, search: 100_000, proposals: 16 }
    }
}

/// One unit of a class on a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Placed {
    /// Which class.
    pub class: ClassIndex,
    /// Where.
    pub node: NodeIndex,
}

/// What a round has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Round {
    /// What was placed. It counts as running from now on.
    pub placed: Vec<Placed>,
    /// What would be better, the best first. Nothing of it is done, and each can be done without the others.
    pub proposals: Vec<Proposal>,
    /// What the assignment costs with what was placed and nothing of what is proposed.
    pub cost: i128,
    /// What every assignment costs at least; `None` when the flow's budget did not suffice. The optimum that proves it
    /// was certified.
    pub bound: Option<i128>,
    /// How often prices were moved.
    pub iterations: u32,
    /// Steps of the flow solver.
    pub flow_steps: u64,
    /// Steps of everything else.
    pub steps: u64,
}

impl Round {
    /// How much more than the best assignment this one costs, at most.
    pub fn regret(&self) -> Option<i128> {
        self.bound.map(|bound| self.cost - bound)
    }
}

/// The cluster as numbers, the living network, and the prices.
#[derive(Clone, Debug)]
pub struct Optimiser {
    state: State,
    drawing: Drawing,
    /// Nodes whose prices are to follow their use.
    stale: BTreeSet<NodeIndex>,
}

impl Optimiser {
    /// An empty cluster where use costs this.
    pub fn new(curve: Curve) -> Optimiser {
        Optimiser { state: State::new(curve), drawing: Drawing::new(), stale: BTreeSet::new() }
    }

    /// A node came or changed.
    pub fn put_node(&mut self, id: NodeIndex, node: Node) {
        assert!(id.0 <= MOST_INDEX && node.capacity.0.iter().all(|amount| *amount <= MOST_AMOUNT), "node out of range");
        grow(&mut self.state.nodes, id.at());
        match &mut self.state.nodes[id.at()] {
            Some(state) => state.node = node,
            entry @ None => {
                let (used, residents) = (Amounts::default(), Vec::new());
                *entry = Some(NodeState { node, used, units: 0, residents });
            }
        }
        self.state.remeasure(id);
        self.stale.insert(id);
    }

    /// A node went, and what ran on it.
    pub fn remove_node(&mut self, id: NodeIndex) {
        for class in self.state.node(id).residents.clone() {
            self.set_running(class, id, 0);
        }
        self.state.nodes[id.at()] = None;
        self.state.prices.set(id, NodePrices::default(), &Curve::flat());
        self.state.remeasure(id);
        self.state.reoffer(id);
        self.stale.remove(&id);
        self.drawing.touch_node(id);
    }

    /// A shape came or changed.
    pub fn put_shape(&mut self, id: ShapeIndex, shape: Shape) {
        let costs = shape.costs.iter().flatten().all(|cost| cost.abs() <= MOST_COST);
        assert!(id.0 <= MOST_INDEX && costs && shape.least.fits(&shape.most), "shape out of range");
        grow(&mut self.state.shapes, id.at());
        self.state.shapes[id.at()] = Some(ShapeState { shape, marginal: Vec::new(), offers: Vec::new() });
        self.state.draw_rows(id);
        let classes = self.state.class_ids().filter(|class| self.state.class(*class).class.shape == id);
        classes.collect::<Vec<_>>().into_iter().for_each(|class| self.state.reckon(class));
        self.drawing.touch_shape(id);
    }

    /// What a unit of the shape costs on a node has changed.
    pub fn set_cost(&mut self, id: ShapeIndex, node: NodeIndex, cost: Option<i64>) {
        assert!(cost.is_none_or(|cost| cost.abs() <= MOST_COST), "cost out of range");
        let shape = self.state.shapes[id.at()].as_mut().expect("a shape that was put");
        if shape.shape.costs.len() <= node.at() {
            shape.shape.costs.resize(node.at() + 1, None);
        }
        shape.shape.costs[node.at()] = cost;
        self.state.remeasure(node);
        let residents = self.state.nodes.get(node.at()).and_then(Option::as_ref).map(|state| state.residents.clone());
        residents.into_iter().flatten().for_each(|class| self.state.reckon(class));
        self.stale.insert(node);
    }

    /// A class came or changed; where its units run stays as it is.
    pub fn put_class(&mut self, id: ClassIndex, class: Class) {
        let costs = [class.waiting, class.moving, class.crowding].iter().all(|cost| (0..=MOST_COST).contains(cost));
        assert!(id.0 <= MOST_INDEX && costs && class.wanted <= MOST_INDEX, "class out of range");
        let shape = &self.state.shape(class.shape).shape;
        assert!(shape.least.fits(&class.demand) && class.demand.fits(&shape.most), "demand outside its shape");
        grow(&mut self.state.classes, id.at());
        let entry = self.state.classes[id.at()].take();
        let seats = entry.as_ref().map(|old| old.seats.clone()).unwrap_or_default();
        if let Some(old) = entry {
            self.state.classes[id.at()] = Some(old);
            seats.iter().for_each(|seat| self.set_running(id, seat.node, 0));
        }
        self.state.classes[id.at()] = Some(ClassState { class, seats: Vec::new(), placed: 0, running: 0 });
        self.state.reckon(id);
        seats.iter().for_each(|seat| self.set_running(id, seat.node, seat.running));
        self.drawing.touch_class(id);
    }

    /// There should be so many units of a class now, and it costs this when one is not placed.
    pub fn set_wanted(&mut self, id: ClassIndex, wanted: u32, waiting: i64) {
        assert!(wanted <= MOST_INDEX && (0..=MOST_COST).contains(&waiting), "count or cost out of range");
        let class = &mut self.state.classes[id.at()].as_mut().expect("a class that was put").class;
        (class.wanted, class.waiting) = (wanted, waiting);
        self.state.reckon(id);
        self.drawing.touch_class(id);
    }

    /// A class went, and what ran of it.
    pub fn remove_class(&mut self, id: ClassIndex) {
        let seats = self.state.class(id).seats.clone();
        seats.iter().for_each(|seat| self.set_running(id, seat.node, 0));
        self.state.classes[id.at()] = None;
        self.state.reckon(id);
        self.drawing.touch_class(id);
    }

    /// So many units of a class run on a node now.
    pub fn set_running(&mut self, class: ClassIndex, node: NodeIndex, running: u32) {
        self.state.set_running(class, node, running);
        self.drawing.touch_class(class);
        self.stale.insert(node);
    }

    /// How many units of a class run on a node.
    pub fn running(&self, class: ClassIndex, node: NodeIndex) -> u32 {
        self.state.class(class).seat(node).map_or(0, |seat| seat.running)
    }

    /// How many units of a class are wanted and run nowhere.
    pub fn waiting(&self, class: ClassIndex) -> u32 {
        self.state.class(class).waiting()
    }

    /// A class, as it was put.
    pub fn class(&self, class: ClassIndex) -> Class {
        self.state.class(class).class
    }

    /// What the whole capacity of a node costs, by dimension.
    pub fn prices(&self, node: NodeIndex) -> NodePrices {
        self.state.prices.of(node)
    }

    /// What the assignment costs now.
    pub fn cost(&mut self) -> i128 {
        self.state.cost()
    }

    /// By how much the cost sinks when one unit is moved and nothing else, the price of the move deducted. `None` where
    /// there is none or no room for it.
    pub fn gain(&mut self, class: ClassIndex, from: NodeIndex, to: NodeIndex) -> Option<i64> {
        self.state.class(class).seat(from).filter(|seat| seat.placed > 0)?;
        let saved = self.state.taking(class, from);
        self.state.take(class, from);
        let added = self.state.fits(class, to).then(|| self.state.adding(class, to));
        self.state.put(class, from);
        Some(saved - added?)
    }

    /// Places one unit at once, on the node where it costs least by now, and says what it costs there. It counts as
    /// running from then on. `None` where there is no room for it; what it costs to wait does not matter here.
    pub fn place(&mut self, class: ClassIndex) -> Option<(NodeIndex, i64)> {
        let (cost, node) = self.state.best(class, None)?;
        let running = self.running(class, node);
        self.set_running(class, node, running + 1);
        Some((node, cost))
    }

    /// Forgets what depends on the past: prices and flow. Two optimisers of equal clusters do the same from here on.
    pub fn rebuild(&mut self) {
        self.drawing = Drawing::new();
        self.stale.clear();
        for node in self.state.node_ids().collect::<Vec<_>>() {
            self.drawing.touch_node(node);
            self.stale.insert(node);
        }
        self.state.class_ids().for_each(|class| self.drawing.touch_class(class));
    }

    /// Moves prices, places what waits, proposes moves.
    pub fn round(&mut self, budget: Budget) -> Round {
        self.work(budget, Waiting::Drawn, |state, wishes| {
            let waited = commit::place(state, wishes);
            improve::improve(state, &waited, budget.search);
            waited
        })
    }

    /// Moves prices and proposes moves, for a caller who places by rules that are not told here: what waits is placed by
    /// proposals alone.
    pub fn review(&mut self, budget: Budget) -> Round {
        self.work(budget, Waiting::Apart, |_, _| BTreeSet::new())
    }

    /// `place` places what waits, by the wishes of the flow, and says of which classes.
    fn work(
        &mut self,
        budget: Budget,
        waiting: Waiting,
        place: impl FnOnce(&mut State, &[Wish]) -> BTreeSet<ClassIndex>,
    ) -> Round {
        let (begun, flow_begun) = (self.state.steps, self.drawing.steps);
        self.follow_use();
        self.drawing.treat_waiting(&self.state, waiting);
        let relaxed = relax::relax(&mut self.state, &mut self.drawing, budget.iterations, budget.flow);
        // What was asked for in this round is no reason for a price in the next.
        self.stale.extend(relaxed.iter().flat_map(|relaxed| &relaxed.moved));
        let waited = place(&mut self.state, &self.drawing.wishes());
        let proposals = propose::propose(&mut self.state, &self.drawing, budget);
        let cost = self.state.cost();
        let placed = self.settle(&waited);
        self.drawing.prune();
        Round {
            placed,
            proposals,
            cost,
            bound: relaxed.as_ref().map(|relaxed| relaxed.bound),
            iterations: relaxed.as_ref().map_or(0, |relaxed| relaxed.iterations),
            flow_steps: self.drawing.steps - flow_begun,
            steps: self.state.steps - begun,
        }
    }

    /// What was placed runs from now on.
    fn settle(&mut self, waited: &BTreeSet<ClassIndex>) -> Vec<Placed> {
        let fresh = improve::fresh(&self.state, waited);
        for (class, node) in &fresh {
            let placed = self.state.class(*class).seat(*node).map_or(0, |seat| seat.placed);
            self.set_running(*class, *node, placed);
        }
        fresh.into_iter().map(|(class, node)| Placed { class, node }).collect()
    }

    /// The prices of a node that has changed begin near what its use costs.
    fn follow_use(&mut self) {
        let band = Band::of(&self.state);
        for node in std::mem::take(&mut self.stale) {
            let prices = band.price(&self.state, node);
            set_prices(&mut self.state, &mut self.drawing, node, prices);
        }
    }
}

fn grow<T>(list: &mut Vec<Option<T>>, at: usize) {
    if list.len() <= at {
        list.resize_with(at + 1, || None);
    }
}
