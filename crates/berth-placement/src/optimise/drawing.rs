//! The problem drawn as a min-cost flow, at given prices.
//!
//! ```text
//!  class ─── stay: what runs there already ──────────► node ──► sink
//!    │                                                  ▲        ▲
//!    ├─────► shape ─── column: as many as fit at all ───┘        │
//!    └─── wait ──────────────────────────────────────────────────┘
//! ```
//!
//! A unit of flow is a unit of a class. Staying is cheaper than coming by the price of a move. All classes of a shape
//! share its columns, and of those only the ones are drawn that may carry flow: whether another would pay is seen from
//! the prices of the flow, by one look at the shape's row of offers (column generation, as in Gilmore and Gomory 1961).

use std::collections::BTreeSet;

use berth_flow::{Arc, ArcId, Budget, Network, NodeId as Vertex, Outcome, certify};

use super::problem::{ClassIndex, DIMENSIONS, NodeIndex, ShapeIndex};
use super::state::{NOWHERE, State};

/// An arc with what it was last told.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    arc: ArcId,
    capacity: i64,
    cost: i64,
}

/// A class in the network.
#[derive(Clone, Debug)]
struct ClassPart {
    vertex: Vertex,
    supply: i64,
    wait: Drawn,
    /// To the shape, if some unit waits or would rather be elsewhere.
    come: Option<Drawn>,
    shape: ShapeIndex,
    /// In order of nodes.
    stays: Vec<(NodeIndex, Drawn)>,
}

/// A shape in the network.
#[derive(Clone, Debug)]
struct ShapePart {
    vertex: Vertex,
    classes: BTreeSet<ClassIndex>,
    /// Where it has columns.
    columns: BTreeSet<NodeIndex>,
}

/// A node in the network.
#[derive(Clone, Debug)]
struct NodePart {
    vertex: Vertex,
    out: Drawn,
    /// In order of shapes.
    columns: Vec<(ShapeIndex, Column)>,
}

/// An arc that is opened as far as the flow asks for it.
#[derive(Clone, Copy, Debug)]
struct Column {
    drawn: Drawn,
    /// How many units may pass.
    pieces: i64,
}

/// How far a column is open at first. The solver fills every arc that has become cheaper than its prices say, and takes
/// back unit by unit what nobody wanted: the less there is, the better.
const AJAR: i64 = 2;

/// What the relaxed problem wants of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wish {
    pub(super) node: NodeIndex,
    pub(super) shape: ShapeIndex,
    pub(super) units: u32,
}

/// Whether units that wait are part of the flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waiting {
    /// They are: it says where to place them.
    Drawn,
    /// Somebody else places them, and has found no place for them. In the flow they would push aside what runs, in every
    /// round elsewhere, as far as prices are worth less than a place: long work that nobody makes use of. Each is counted with
    /// the least that it can cost, to wait or to be anywhere, which keeps the bound true.
    Apart,
}

/// The living network and what stands for what.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    network: Network,
    sink: Vertex,
    supply: i64,
    nodes: Vec<Option<NodePart>>,
    shapes: Vec<Option<ShapePart>>,
    classes: Vec<Option<ClassPart>>,
    waiting: Waiting,
    /// What all that runs would pay for moving.
    all_moving: i128,
    moving: Vec<i64>,
    /// What was changed since it was drawn.
    stale: Stale,
    pub(super) steps: u64,
}

#[derive(Clone, Debug, Default)]
struct Stale {
    nodes: BTreeSet<NodeIndex>,
    classes: BTreeSet<ClassIndex>,
}

/// What the network has no room for is refused at the door of the optimiser.
const BOUNDED: &str = "costs and counts are bounded at the door";

impl Drawing {
    pub(super) fn new() -> Drawing {
        let mut network = Network::new();
        let sink = network.add_node(0).expect(BOUNDED);
        Drawing {
            network,
            sink,
            supply: 0,
            nodes: Vec::new(),
            shapes: Vec::new(),
            classes: Vec::new(),
            waiting: Waiting::Drawn,
            all_moving: 0,
            moving: Vec::new(),
            stale: Stale::default(),
            steps: 0,
        }
    }

    /// The node's prices, capacity or costs have changed.
    pub(super) fn touch_node(&mut self, node: NodeIndex) {
        self.stale.nodes.insert(node);
    }

    /// The shape is another one: what there is of the one before has to go.
    pub(super) fn touch_shape(&mut self, shape: ShapeIndex) {
        let known = self.shapes.get(shape.at()).and_then(Option::as_ref);
        self.stale.nodes.extend(known.into_iter().flat_map(|part| &part.columns));
    }

    /// The class has changed, or where it runs.
    pub(super) fn touch_class(&mut self, class: ClassIndex) {
        self.stale.classes.insert(class);
    }

    pub(super) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// From now on, units that wait are part of the flow or are not.
    pub(super) fn treat_waiting(&mut self, state: &State, waiting: Waiting) {
        if std::mem::replace(&mut self.waiting, waiting) != waiting {
            self.stale.classes.extend(state.class_ids());
        }
    }

    /// Draws what has changed.
    pub(super) fn update(&mut self, state: &State) {
        let Stale { nodes, classes } = std::mem::take(&mut self.stale);
        for node in &nodes {
            self.draw_node(state, *node);
        }
        for class in &classes {
            self.draw_class(state, *class);
        }
        // Only now, since a node that went takes its stays with it.
        for node in &nodes {
            self.price_node(state, *node);
        }
        self.network.set_supply(self.sink, -self.supply).expect(BOUNDED);
    }

    fn draw_node(&mut self, state: &State, id: NodeIndex) {
        grow(&mut self.nodes, id.at());
        let slots = state.nodes[id.at()].as_ref().map(|state| i64::from(state.node.slots.max(state.units)));
        match (slots, self.nodes[id.at()].is_some()) {
            (Some(slots), false) => {
                let vertex = self.network.add_node(0).expect(BOUNDED);
                let out = add(&mut self.network, vertex, self.sink, slots, 0);
                self.nodes[id.at()] = Some(NodePart { vertex, out, columns: Vec::new() });
            }
            (Some(slots), true) => {
                let part = self.nodes[id.at()].as_mut().expect("just looked at");
                tell(&mut self.network, &mut part.out, slots, 0);
            }
            (None, true) => {
                let part = self.nodes[id.at()].take().expect("just looked at");
                for (shape, _) in &part.columns {
                    self.shapes[shape.at()].as_mut().expect("it has a column").columns.remove(&id);
                }
                self.network.remove_node(part.vertex).expect("drawn before");
            }
            (None, false) => {}
        }
    }

    fn draw_class(&mut self, state: &State, id: ClassIndex) {
        grow(&mut self.classes, id.at());
        if self.moving.len() <= id.at() {
            self.moving.resize(id.at() + 1, 0);
        }
        let moving = state.classes[id.at()].as_ref().map_or(0, |c| c.class.moving * i64::from(c.running));
        self.all_moving += i128::from(moving - self.moving[id.at()]);
        self.moving[id.at()] = moving;
        let Some(owner) = &state.classes[id.at()] else {
            self.erase_class(id);
            return;
        };
        let drawn = match self.waiting {
            Waiting::Drawn => owner.class.wanted,
            Waiting::Apart => owner.class.wanted.min(owner.running),
        };
        let (supply, shape) = (i64::from(drawn), owner.class.shape);
        if self.classes[id.at()].as_ref().is_some_and(|part| part.shape != shape) {
            self.erase_class(id);
        }
        if self.classes[id.at()].is_none() {
            let vertex = self.network.add_node(0).expect(BOUNDED);
            let wait = add(&mut self.network, vertex, self.sink, 0, 0);
            self.shape(shape).classes.insert(id);
            self.classes[id.at()] = Some(ClassPart { vertex, supply: 0, wait, come: None, shape, stays: Vec::new() });
        }
        let part = self.classes[id.at()].as_mut().expect("just drawn");
        if part.supply != supply {
            self.network.set_supply(part.vertex, supply).expect(BOUNDED);
            self.supply += supply - part.supply;
            part.supply = supply;
        }
        tell(&mut self.network, &mut part.wait, supply, owner.class.waiting);
        if let Some(come) = part.come.take() {
            self.network.remove_arc(come.arc).expect("drawn before");
        }
        if self.waiting == Waiting::Drawn && owner.waiting() > 0 {
            let to = self.shapes[shape.at()].as_ref().expect("drawn with its classes").vertex;
            part.come = Some(add(&mut self.network, part.vertex, to, supply, 0));
        }
        self.draw_stays(state, id);
    }

    /// Brings the stays in line with the seats; both are in order of nodes.
    fn draw_stays(&mut self, state: &State, id: ClassIndex) {
        let part = self.classes[id.at()].as_mut().expect("the caller has drawn it");
        let mut old = std::mem::take(&mut part.stays).into_iter().peekable();
        let owner = state.class(id);
        for seat in owner.seats.iter().filter(|seat| seat.running > 0) {
            while let Some((gone, drawn)) = old.next_if(|(node, _)| *node < seat.node) {
                remove_stay(&mut self.network, &self.nodes, gone, drawn);
            }
            let cost = stay_cost(state, id, seat.node);
            let mut drawn = match old.next_if(|(node, _)| *node == seat.node) {
                Some((_, drawn)) => drawn,
                None => {
                    let to = self.nodes[seat.node.at()].as_ref().expect("nodes are drawn first").vertex;
                    add(&mut self.network, part.vertex, to, 0, cost)
                }
            };
            tell(&mut self.network, &mut drawn, i64::from(seat.running), cost);
            part.stays.push((seat.node, drawn));
        }
        for (gone, drawn) in old {
            remove_stay(&mut self.network, &self.nodes, gone, drawn);
        }
    }

    fn erase_class(&mut self, id: ClassIndex) {
        if let Some(part) = self.classes[id.at()].take() {
            self.supply -= part.supply;
            self.shapes[part.shape.at()].as_mut().expect("drawn with its classes").classes.remove(&id);
            self.network.remove_node(part.vertex).expect("drawn before");
        }
    }

    fn shape(&mut self, id: ShapeIndex) -> &mut ShapePart {
        grow(&mut self.shapes, id.at());
        let network = &mut self.network;
        self.shapes[id.at()].get_or_insert_with(|| ShapePart {
            vertex: network.add_node(0).expect(BOUNDED),
            classes: BTreeSet::new(),
            columns: BTreeSet::new(),
        })
    }

    /// Tells the arcs at a node what they cost now.
    fn price_node(&mut self, state: &State, id: NodeIndex) {
        let Some(part) = self.nodes[id.at()].as_mut() else { return };
        let capacity = state.capacity(id);
        let (network, shapes) = (&mut self.network, &mut self.shapes);
        part.columns.retain_mut(|(shape, column)| {
            let entry = state.shape(*shape);
            let offer = entry.offers[id.at()];
            // What has become cheaper is drawn anew, if it pays: see `redraw_shape`.
            let stays = offer != NOWHERE && offer >= column.drawn.cost;
            if stays {
                column.pieces = i64::from(entry.shape.least.pieces(&capacity, state.node(id).node.slots));
                tell(network, &mut column.drawn, column.pieces.min(AJAR), offer);
            } else {
                network.remove_arc(column.drawn.arc).expect("drawn before");
                shapes[shape.at()].as_mut().expect("it has a column").columns.remove(&id);
            }
            stays
        });
        for class in &state.node(id).residents {
            let Some(part) = self.classes.get_mut(class.at()).and_then(Option::as_mut) else { continue };
            let Ok(at) = part.stays.binary_search_by_key(&id, |(node, _)| *node) else { continue };
            let drawn = &mut part.stays[at].1;
            let capacity = drawn.capacity;
            tell(&mut self.network, drawn, capacity, stay_cost(state, *class, id));
        }
    }

    /// Solves the drawn problem, drawing columns until no other could make it cheaper. The cost of the relaxed problem
    /// without what capacity brings in; `None` when the steps are used up before.
    pub(super) fn solve(&mut self, state: &State, budget: Budget) -> Option<i128> {
        self.update(state);
        self.draw_first(state);
        let begun = self.steps;
        loop {
            let left = Budget(budget.0.saturating_sub(self.steps - begun));
            if left == Budget(0) {
                return None;
            }
            match self.network.resolve(if budget == Budget::UNLIMITED { budget } else { left }) {
                Outcome::Optimal { cost, steps } => {
                    self.steps += steps;
                    let exits = self.exits();
                    if !(self.draw_columns(state, &exits) || self.open_columns(state) || self.draw_restless(&exits)) {
                        return Some(cost + self.all_moving + self.apart(state));
                    }
                }
                Outcome::Unfinished { steps, .. } => {
                    self.steps += steps;
                    return None;
                }
                Outcome::Infeasible { .. } | Outcome::Unbounded { .. } => {
                    unreachable!("every unit can wait, and no arc leads back")
                }
            }
        }
    }

    /// What those cost at least that are not part of the flow.
    fn apart(&mut self, state: &State) -> i128 {
        if self.waiting == Waiting::Drawn {
            return 0;
        }
        let mut least: Vec<Option<i64>> = vec![None; state.shapes.len()];
        let mut sum = 0;
        for owner in state.classes.iter().flatten().filter(|owner| owner.class.wanted > owner.running) {
            let shape = owner.class.shape;
            let offers = || state.shape(shape).offers.iter().copied().min().unwrap_or(NOWHERE);
            self.steps += if least[shape.at()].is_none() { state.nodes.len() as u64 / 16 } else { 0 };
            let anywhere = *least[shape.at()].get_or_insert_with(offers);
            let units = i128::from(owner.class.wanted - owner.running);
            sum += i128::from(anywhere.min(owner.class.waiting)) * units;
        }
        sum
    }

    /// Gives shapes that have no column some, so that the flow has prices for them.
    fn draw_first(&mut self, state: &State) {
        for id in (0..).map(ShapeIndex).take(self.shapes.len()) {
            let is_bare = |part: &&ShapePart| part.columns.is_empty() && !part.classes.is_empty();
            if self.shapes[id.at()].as_ref().filter(is_bare).is_some() {
                let offers = (0..).zip(&state.shape(id).offers).filter(|(_, offer)| **offer != NOWHERE);
                let ranked: Vec<(i64, NodeIndex)> = offers.map(|(at, offer)| (*offer, NodeIndex(at))).collect();
                self.steps += state.nodes.len() as u64 / 16;
                if !ranked.is_empty() {
                    self.redraw_shape(state, id, ranked);
                }
            }
        }
    }

    /// What a unit costs from each node on.
    fn exits(&self) -> Vec<i64> {
        let end = self.network.price(self.sink).expect("never removed");
        let exit = |part: &NodePart| {
            let flow = self.network.flow(part.out.arc).unwrap_or(0);
            if flow < part.out.capacity { end } else { self.network.price(part.vertex).unwrap_or(end) }
        };
        self.nodes.iter().map(|part| part.as_ref().map_or(end, exit)).collect()
    }

    /// Draws the columns that would make the flow cheaper, the best of each shape first. Whether there were any.
    fn draw_columns(&mut self, state: &State, exits: &[i64]) -> bool {
        let mut drawn = false;
        for id in (0..).map(ShapeIndex).take(self.shapes.len()) {
            let Some(part) = self.shapes[id.at()].as_ref().filter(|part| !part.classes.is_empty()) else { continue };
            let price = self.network.price(part.vertex).expect("never removed");
            let offers = &state.shape(id).offers;
            self.steps += exits.len() as u64 / 16;
            // Those that are drawn and full would push the others off the list of the best, for ever.
            let mut found = cheaper(offers, exits, price);
            found.retain(|node| !part.columns.contains(node));
            if !found.is_empty() {
                let ranked = found.into_iter().map(|node| (offers[node.at()] + exits[node.at()], node)).collect();
                self.redraw_shape(state, id, ranked);
                drawn = true;
            }
        }
        drawn
    }

    /// Draws a shape anew, with the columns that carry flow and the best of these.
    ///
    /// Not only the new columns: the solver fills an arc that is cheaper than its prices say and then takes back what
    /// nobody wanted, unit by unit. A new vertex has no price that could be wrong.
    fn redraw_shape(&mut self, state: &State, id: ShapeIndex, mut cheap: Vec<(i64, NodeIndex)>) {
        const SPARE: usize = 8;
        let part = self.shapes[id.at()].as_ref().expect("the caller has seen it");
        let (vertex, classes, old) = (part.vertex, part.classes.clone(), part.columns.clone());
        let waiting = classes.iter().map(|class| state.class(*class).waiting() as usize).sum::<usize>();
        let most = 2 * waiting + SPARE;
        if cheap.len() > most {
            cheap.select_nth_unstable(most);
            cheap.truncate(most);
        }
        self.network.remove_node(vertex).expect("drawn before");
        let vertex = self.network.add_node(0).expect(BOUNDED);
        let columns: BTreeSet<NodeIndex> = cheap.into_iter().map(|(_, node)| node).chain(old).collect();
        for node in &columns {
            self.draw_column(state, *node, id, vertex);
        }
        for class in &classes {
            let part = self.classes[class.at()].as_mut().expect("a class of the shape");
            if let Some(come) = &mut part.come {
                *come = add(&mut self.network, part.vertex, vertex, come.capacity, 0);
            }
        }
        self.shapes[id.at()] = Some(ShapePart { vertex, classes, columns });
    }

    /// Removes columns without flow when there are many.
    pub(super) fn prune(&mut self) {
        let columns: usize = self.shapes.iter().flatten().map(|part| part.columns.len()).sum();
        if columns <= self.nodes.len() {
            return;
        }
        for (at, part) in (0..).zip(&mut self.nodes) {
            let Some(part) = part else { continue };
            part.columns.retain(|(shape, column)| {
                let is_used = self.network.flow(column.drawn.arc).is_some_and(|flow| flow > 0);
                if !is_used {
                    self.network.remove_arc(column.drawn.arc).expect("drawn before");
                    let part = self.shapes[shape.at()].as_mut().expect("it has a column");
                    part.columns.remove(&NodeIndex(at));
                }
                is_used
            });
        }
    }

    /// Lets those classes come to their shape of which a unit pays more than the shape's price. Whether there were any.
    fn draw_restless(&mut self, exits: &[i64]) -> bool {
        let end = self.network.price(self.sink).expect("never removed");
        let prices: Vec<Option<i64>> =
            self.shapes.iter().map(|part| self.network.price(part.as_ref()?.vertex)).collect();
        let mut found = false;
        for part in self.classes.iter_mut().flatten().filter(|part| part.come.is_none()) {
            let shape = self.shapes[part.shape.at()].as_ref().expect("drawn with its classes");
            let Some(price) = prices[part.shape.at()].filter(|_| !shape.columns.is_empty()) else { continue };
            let pays = |drawn: &Drawn, exit: i64| drawn.cost + exit > price;
            let moves = |(node, drawn): &(NodeIndex, Drawn)| pays(drawn, exits[node.at()]);
            // All of them, since hardly ever one would: the processor need not guess.
            let any_moves = || part.stays.iter().fold(false, |any, stay| any | moves(stay));
            if part.supply > 0 && (pays(&part.wait, end) || any_moves()) {
                let stays = part.stays.iter().any(|stay| moves(stay) && self.network.flow(stay.1.arc) > Some(0));
                if stays || self.network.flow(part.wait.arc) > Some(0) {
                    part.come = Some(add(&mut self.network, part.vertex, shape.vertex, part.supply, 0));
                    found = true;
                }
            }
        }
        found
    }

    /// Opens the columns that are full but could take more. Whether there were any.
    fn open_columns(&mut self, state: &State) -> bool {
        let mut full = BTreeSet::new();
        for (shape, column) in self.nodes.iter_mut().flatten().flat_map(|part| &mut part.columns) {
            let Drawn { arc, capacity, .. } = column.drawn;
            if capacity < column.pieces && self.network.flow(arc) == Some(capacity) {
                column.drawn.capacity = column.pieces.min(4 * capacity);
                full.insert(*shape);
            }
        }
        full.iter().for_each(|shape| self.redraw_shape(state, *shape, Vec::new()));
        !full.is_empty()
    }

    fn column(&self, node: NodeIndex, shape: ShapeIndex) -> Result<usize, usize> {
        let part = self.nodes[node.at()].as_ref().expect("an offer is of a node that is there");
        part.columns.binary_search_by_key(&shape, |(shape, _)| *shape)
    }

    /// As far open as it was, where it was drawn before.
    fn draw_column(&mut self, state: &State, node: NodeIndex, shape: ShapeIndex, from: Vertex) {
        let pieces =
            i64::from(state.shape(shape).shape.least.pieces(&state.capacity(node), state.node(node).node.slots));
        let offer = state.shape(shape).offers[node.at()];
        let at = self.column(node, shape);
        let part = self.nodes[node.at()].as_mut().expect("an offer is of a node that is there");
        match at {
            Ok(at) => {
                let drawn = &mut part.columns[at].1.drawn;
                *drawn = add(&mut self.network, from, part.vertex, drawn.capacity, drawn.cost);
            }
            Err(at) => {
                let drawn = add(&mut self.network, from, part.vertex, pieces.min(AJAR), offer);
                part.columns.insert(at, (shape, Column { drawn, pieces }));
            }
        }
    }

    /// Proves the optimum with code of its own.
    pub(super) fn certify(&self) -> bool {
        certify(&self.network, &self.network.solution()).is_ok_and(|proof| proof.cost == self.network.cost())
    }

    /// What comes to nodes by columns, in order of nodes and shapes.
    pub(super) fn wishes(&self) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for (at, part) in (0..).zip(&self.nodes) {
            for (shape, column) in part.iter().flat_map(|part| &part.columns) {
                let units = self.flow(&column.drawn);
                if units > 0 {
                    wishes.push(Wish { node: NodeIndex(at), shape: *shape, units });
                }
            }
        }
        wishes
    }

    /// What the flow takes of each node, by the demands that prices reckon with.
    pub(super) fn loads(&self, state: &State) -> Vec<[u64; DIMENSIONS]> {
        let mut loads = vec![[0; DIMENSIONS]; self.nodes.len()];
        let mut load = |node: NodeIndex, demand: &[u64; DIMENSIONS], units: u32| {
            for (sum, amount) in loads[node.at()].iter_mut().zip(demand) {
                *sum += amount * u64::from(units);
            }
        };
        for wish in self.wishes() {
            load(wish.node, &state.shape(wish.shape).shape.least.0, wish.units);
        }
        for (at, part) in (0..).zip(&self.classes) {
            for (node, drawn) in part.iter().flat_map(|part| &part.stays) {
                load(*node, &state.class(ClassIndex(at)).class.demand.0, self.flow(drawn));
            }
        }
        loads
    }

    /// The nodes that units leave which run there.
    pub(super) fn left(&self) -> BTreeSet<NodeIndex> {
        let stays = self.classes.iter().flatten().flat_map(|part| &part.stays);
        stays.filter(|(_, drawn)| i64::from(self.flow(drawn)) < drawn.capacity).map(|(node, _)| *node).collect()
    }

    fn flow(&self, drawn: &Drawn) -> u32 {
        let flow = self.network.flow(drawn.arc).unwrap_or(0);
        u32::try_from(flow).expect("no arc carries more than the units of a class")
    }
}

/// The nodes on which a unit of a shape would cost less than its price. Hardly ever there is one: so many are looked at
/// together, without a branch.
fn cheaper(offers: &[i64], exits: &[i64], price: i64) -> Vec<NodeIndex> {
    const TOGETHER: usize = 64;
    // What is offered nowhere costs more than any difference of prices.
    let is_cheap = |(offer, exit): (&i64, &i64)| *offer < price - exit;
    let mut found = Vec::new();
    for (chunk, (offers, exits)) in offers.chunks(TOGETHER).zip(exits.chunks(TOGETHER)).enumerate() {
        if offers.iter().zip(exits).fold(false, |any, pair| any | is_cheap(pair)) {
            let cheap = offers.iter().zip(exits).enumerate().filter(|(_, pair)| is_cheap(*pair));
            let index = |at: usize| NodeIndex(u32::try_from(chunk * TOGETHER + at).expect("indices are small"));
            found.extend(cheap.map(|(at, _)| index(at)));
        }
    }
    found
}

/// What a unit pays for staying, less the move that it saves.
fn stay_cost(state: &State, class: ClassIndex, node: NodeIndex) -> i64 {
    let owner = &state.class(class).class;
    let rates = super::price::rates(&state.prices.of(node), &state.capacity(node));
    state.base(class, node).unwrap_or(0) + super::price::charge(&rates, &owner.demand) - owner.moving
}

fn add(network: &mut Network, tail: Vertex, head: Vertex, capacity: i64, cost: i64) -> Drawn {
    let arc = network.add_arc(Arc { tail, head, lower: 0, capacity, cost }).expect(BOUNDED);
    Drawn { arc, capacity, cost }
}

fn tell(network: &mut Network, drawn: &mut Drawn, capacity: i64, cost: i64) {
    if drawn.cost != cost {
        network.set_cost(drawn.arc, cost).expect(BOUNDED);
    }
    if drawn.capacity != capacity {
        network.set_bounds(drawn.arc, 0, capacity).expect(BOUNDED);
    }
    (drawn.capacity, drawn.cost) = (capacity, cost);
}

/// A stay whose node is gone went with it.
fn remove_stay(network: &mut Network, nodes: &[Option<NodePart>], node: NodeIndex, drawn: Drawn) {
    if nodes.get(node.at()).is_some_and(Option::is_some) {
        network.remove_arc(drawn.arc).expect("drawn before");
    }
}

fn grow<T>(list: &mut Vec<Option<T>>, at: usize) {
    if list.len() <= at {
        list.resize_with(at + 1, || None);
    }
}
