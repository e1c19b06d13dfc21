//! Every node as a class sees it.
//!
//! All nodes are looked at by themselves once: what keeps one out is counted, what one costs is a number. Of those that
//! fit only the cheapest are remembered, as many as could be chosen: a placement changes the cost of its own node alone, so
//! what was dearer than all of them is dearer than what is left of them. That spares most nodes the working out of their
//! cost. The terms are named for the chosen one and the runner-up alone.
//!
//! Rules over attributes (a rack, a zone) would change for whole parts of the cluster with every placement. So nodes with
//! the same values of the attributes that the class's rules name are one *cell*, which has a cost and a filter of its own
//! on top: a placement changes its node and a few cells, however many nodes these have.

mod look;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use berth_model::{
    CostTerm, Device, DeviceKind, Explanation, Filter, Filtered, NodeId, POOL, Policy, Resources, Shortfall, Term,
    Weights,
};

use crate::around::Around;
use crate::board::{Ask, Board, ByNode, Seat, SortId, Told};
use crate::cost::{self, Costs};
use crate::device::{FULLEST, Given, Wishes};
use crate::filter::{self, Block, Class, Questions};
use crate::place::Want;
use look::Look;

/// Every node as a class sees it.
pub(crate) struct Field<'a> {
    class: Class<'a>,
    policy: &'a Policy,
    pub(crate) wanted: Resources,
    around: Around<'a>,
    keys: Vec<String>,
    /// Its wishes on each sort of machine.
    wishes: BTreeMap<SortId, Wished<'a>>,
    /// How many nodes there are.
    considered: u32,
    /// How many nodes of a cell are remembered.
    most: usize,
    cells: Vec<Cell>,
    /// The cheapest node of every cell that is open, cell by cell.
    heads: BTreeSet<(i64, NodeId, usize)>,
    /// Nodes that are filtered for themselves.
    filtered: BTreeMap<Block<'a>, u32>,
}

/// Wishes on a sort of machine, or the kind of device of which that has too few.
type Wished<'a> = Result<Wishes<'a>, &'a DeviceKind>;

/// Nodes with the same values of all attributes that rules name.
struct Cell {
    values: Vec<Option<String>>,
    cost: i64,
    /// The rule that keeps all of them out.
    broken: Option<usize>,
    /// How many fit for themselves.
    fitting: u32,
    /// The cheapest of those, by cost and id.
    open: BTreeSet<(i64, NodeId)>,
}

impl Cell {
    fn new(values: Vec<Option<String>>) -> Cell {
        Cell { values, cost: 0, broken: None, fitting: 0, open: BTreeSet::new() }
    }

    fn head(&self) -> Option<(i64, NodeId)> {
        let first = self.open.first().filter(|_| self.broken.is_none());
        first.map(|(cost, node)| (cost + self.cost, *node))
    }
}

/// The least of what is offered, at most so many.
struct Least {
    most: usize,
    kept: BinaryHeap<(i64, NodeId)>,
}

impl Least {
    fn new(most: usize) -> Least {
        Least { most, kept: BinaryHeap::new() }
    }

    /// What has to cost less than this to be kept, where nodes come in order of id.
    fn limit(&self) -> Option<i64> {
        self.kept.peek().filter(|_| self.kept.len() == self.most).map(|(cost, _)| *cost)
    }

    fn offer(&mut self, cost: i64, node: NodeId) {
        if self.limit().is_some_and(|limit| cost >= limit) {
            return;
        }
        if self.kept.len() == self.most {
            self.kept.pop();
        }
        self.kept.push((cost, node));
    }
}

/// Nodes beyond those that are placed on of which the cheapest must be known: the runner-up, and those that one may have
/// wishes about.
pub(crate) const SPARE: usize = 2;

/// How many nodes have to be remembered for these.
pub(crate) fn enough_for(wants: &[Want]) -> usize {
    let special = wants.iter().map(|want| want.avoid.len() + usize::from(want.leaving.is_some())).max();
    wants.len() + special.unwrap_or(0) + SPARE
}

impl<'a> Field<'a> {
    /// Looks at all nodes. `most` placements and special wishes may follow, see [`enough_for`].
    pub(crate) fn evaluate(board: &Board, class: Class<'a>, policy: &'a Policy, most: usize) -> Self {
        let around = Around::of(board, class);
        let mut keys = around.keys();
        let pool = POOL.to_owned();
        if !keys.is_empty() && !policy.spec.pools.is_empty() && !keys.contains(&pool) {
            // What rules cost in a cell must not depend on which of its nodes is meant.
            keys.push(pool);
        }
        let mut field = Field {
            class,
            policy,
            wanted: class.group.resources(),
            keys,
            around,
            wishes: BTreeMap::new(),
            considered: u32::try_from(board.seats().len()).unwrap_or(u32::MAX),
            most,
            cells: Vec::new(),
            heads: BTreeSet::new(),
            filtered: BTreeMap::new(),
        };
        for (cell, open) in Look::new(&field, board).run(&mut field).into_iter().enumerate() {
            field.cells[cell].open = open.kept.into_iter().collect();
            field.weigh(cell);
        }
        field
    }

    /// The sort of a node, as far as the class can tell.
    fn sort_of(&self, seat: &Seat) -> SortId {
        // Asked of every node: what is not needed is not read from memory.
        if self.class.group.devices().next().is_none() { SortId::ANY } else { seat.sort }
    }

    /// The devices on a node of the right kind, or what keeps the class off it, its cell apart.
    fn admit<'w>(
        &self,
        board: &Board,
        node: NodeId,
        seat: &Seat,
        wishes: &'w Wished<'a>,
    ) -> Result<Given<'w>, Block<'a>> {
        let given = self.devices_of(board, seat, wishes)?;
        match self.around.broken_on(node) {
            Some(rule) => Err(Block::Rule(rule)),
            None => Ok(given),
        }
    }

    /// The devices of the node that the policy prefers.
    fn devices_of<'w>(&self, board: &Board, seat: &Seat, wishes: &'w Wished<'a>) -> Result<Given<'w>, Block<'a>> {
        let wishes = wishes.as_ref().map_err(|kind| Block::DeviceMissing(kind))?;
        if self.weights_on(seat).of(Term::Fragmentation) == 0 {
            return filter::give(seat, self.class, wishes, self.wanted, FULLEST);
        }
        let value = board.outlook().value(seat);
        let rank = |device: &Device, free: u32, taken: u32| value.device_loss(device, free, taken);
        filter::give(seat, self.class, wishes, self.wanted, &rank)
    }

    /// The weights that hold on a node.
    fn weights_on(&self, seat: &Seat) -> &'a Weights {
        let spec = &self.policy.spec;
        if spec.pools.is_empty() {
            // Asked of every node: what is not needed is not read from memory.
            return &spec.weights;
        }
        spec.weights_in(seat.fingerprint.attributes.get(POOL).map(String::as_str))
    }

    /// The weights that hold on the nodes with these values.
    fn weights_in(&self, values: &[Option<String>]) -> &'a Weights {
        let pool = self.keys.iter().position(|key| key == POOL);
        self.policy.spec.weights_in(pool.and_then(|at| values[at].as_deref()))
    }

    /// What keeps the class off a node, its cell apart.
    fn look(&self, node: NodeId, seat: &Seat) -> Option<Block<'a>> {
        let own = filter::first(seat, self.class, self.wanted);
        own.or_else(|| self.around.broken_on(node).map(Block::Rule))
    }

    /// The values by which cells are told apart.
    fn values_of(&self, seat: &Seat) -> Vec<Option<String>> {
        self.keys.iter().map(|key| seat.fingerprint.attributes.get(key).cloned()).collect()
    }

    /// The cell of a node, if any node fits that is in it.
    fn known_cell(&self, seat: &Seat) -> Option<usize> {
        if self.keys.is_empty() {
            return (!self.cells.is_empty()).then_some(0);
        }
        let values = self.values_of(seat);
        self.cells.iter().position(|cell| cell.values == values)
    }

    /// What a node costs when these devices are given, its cell and the wish for it apart.
    fn costs_of(&self, board: &Board, node: NodeId, seat: &Seat, given: &Given<'_>, same: Option<&ByNode>) -> Costs {
        let same = same.and_then(|on| on.get(&node)).copied().unwrap_or(0);
        let used = seat.used + self.wanted;
        let loss = || board.outlook().value(seat).loss(self.wanted, given);
        let weights = self.weights_on(seat);
        let mut costs = cost::of_node(weights, used, seat.capacity, same, loss);
        let mut rules = Costs::default();
        cost::add_preferences(&self.class.group.rules.preferences, &seat.fingerprint.attributes, &mut rules);
        self.around.costs_on(node, &mut rules);
        cost::add_rules(weights, rules, &mut costs);
        costs
    }

    /// What rules over attributes add to the costs of the nodes with these values.
    fn add_costs_in(&self, values: &[Option<String>], costs: &mut Costs) {
        let mut rules = Costs::default();
        self.around.costs_in(&self.keys, values, &mut rules);
        cost::add_rules(self.weights_in(values), rules, costs);
    }

    /// The devices of a node on which the class fits.
    pub(crate) fn devices(&self, board: &Board, seat: &Seat) -> Given<'_> {
        let given = self.devices_of(board, seat, &self.wishes[&self.sort_of(seat)]);
        given.expect("a node that fits has its devices free")
    }

    /// What a node costs now, its cell and the wish for it apart.
    pub(crate) fn cost_now(&self, board: &Board, node: NodeId) -> i64 {
        let seat = board.seats().get(&node).expect("a node that was chosen is on the board");
        let same = board.group(&self.class.job.id, &self.class.group.name);
        self.costs_of(board, node, seat, &self.devices(board, seat), same).total()
    }

    /// Works out what a cell costs and whether it is open, and remembers its cheapest node.
    fn weigh(&mut self, at: usize) {
        if let Some((cost, node)) = self.cells[at].head() {
            self.heads.remove(&(cost, node, at));
        }
        let mut costs = Costs::default();
        self.add_costs_in(&self.cells[at].values, &mut costs);
        let cell = &mut self.cells[at];
        cell.cost = costs.total();
        cell.broken = self.around.broken_in(&self.keys, &cell.values);
        if let Some((cost, node)) = cell.head() {
            self.heads.insert((cost, node, at));
        }
    }

    /// The cheapest node for `want`, with the reasons. Nodes to avoid are dearer by a penalty, not forbidden.
    pub(crate) fn choose(&self, board: &Board, want: &Want) -> Option<(NodeId, Explanation)> {
        if let Some(only) = want.only {
            let fits = self.fits_on(board, only);
            return fits.then(|| (only, self.explain(1, Filtered::new(), self.terms(board, only, want), None)));
        }
        let special: BTreeSet<NodeId> = want.avoid.iter().copied().chain(want.leaving).collect();
        let mut ranked: Vec<(i64, NodeId)> = Vec::with_capacity(4);
        for (cost, node, cell) in &self.heads {
            if ranked.get(1).is_some_and(|second| *second < (*cost, *node)) {
                break;
            }
            let cell = &self.cells[*cell];
            let open = cell.open.iter().filter(|(_, node)| !special.contains(node)).take(2);
            ranked.extend(open.map(|(cost, node)| (cost + cell.cost, *node)));
            ranked.sort_unstable();
            ranked.truncate(2);
        }
        for node in special.into_iter().filter(|node| self.fits_on(board, *node)) {
            ranked.push((self.costs(board, node, want).total(), node));
        }
        ranked.sort_unstable();
        let (_, node) = *ranked.first()?;
        let runner_up = ranked.get(1).map(|(_, other)| (*other, self.terms(board, *other, want)));
        Some((node, self.explain(self.considered, self.filtered(), self.terms(board, node, want), runner_up)))
    }

    fn explain(
        &self,
        considered: u32,
        filtered: Filtered,
        chosen: Vec<CostTerm>,
        runner_up: Option<(NodeId, Vec<CostTerm>)>,
    ) -> Explanation {
        let Policy { version, spec } = self.policy;
        Explanation { policy: spec.name.clone(), policy_version: *version, considered, filtered, chosen, runner_up }
    }

    fn terms(&self, board: &Board, node: NodeId, want: &Want) -> Vec<CostTerm> {
        self.costs(board, node, want).terms()
    }

    /// All that a node that fits costs `want`.
    fn costs(&self, board: &Board, node: NodeId, want: &Want) -> Costs {
        let Some(seat) = board.seats().get(&node) else { return Costs::default() };
        let same = board.group(&self.class.job.id, &self.class.group.name);
        let weights = self.weights_on(seat);
        let mut costs = self.costs_of(board, node, seat, &self.devices(board, seat), same);
        self.add_costs_in(&self.values_of(seat), &mut costs);
        if want.leaving == Some(node) {
            cost::discount_leaving(weights, &mut costs);
        }
        if want.avoid.contains(&node) {
            cost::add_failed_here(weights, &mut costs);
        }
        costs
    }

    /// One of the class has taken a place on a node that cost `before` until then: the node, and what the rules count
    /// with it, look otherwise now.
    pub(crate) fn taken(&mut self, board: &Board, node: NodeId, before: i64) {
        let seat = board.seats().get(&node).expect("a node that was chosen is on the board");
        let first_of_its_kind = self.around.seeks_itself();
        self.around.placed(board, node);
        if first_of_its_kind {
            *self = Field::evaluate(board, self.class, self.policy, self.most);
            return;
        }
        let cell = self.known_cell(seat).expect("a node that was chosen is in a cell");
        if let Some((cost, head)) = self.cells[cell].head() {
            self.heads.remove(&(cost, head, cell));
        }
        self.cells[cell].open.remove(&(before, node));
        match self.look(node, seat) {
            None => {
                let cost = self.cost_now(board, node);
                self.cells[cell].open.insert((cost, node));
            }
            Some(block) => {
                self.cells[cell].fitting -= 1;
                *self.filtered.entry(block).or_default() += 1;
            }
        }
        if let Some((cost, head)) = self.cells[cell].head() {
            self.heads.insert((cost, head, cell));
        }
        if self.around.counts_itself() && !self.keys.is_empty() {
            let near = |other: &Cell| other.values.iter().zip(&self.cells[cell].values).any(|(a, b)| a == b);
            let touched: Vec<usize> = (0..self.cells.len()).filter(|at| near(&self.cells[*at])).collect();
            for at in touched {
                self.weigh(at);
            }
        }
    }

    /// The cheapest node but this one, with what it costs. The field has to know of two nodes at least.
    pub(crate) fn cheapest_but(&self, node: NodeId) -> Option<(i64, NodeId)> {
        let of_cell = |(_, _, cell): &(i64, NodeId, usize)| {
            let cell = &self.cells[*cell];
            let (cost, node) = cell.open.iter().find(|(_, other)| *other != node)?;
            Some((cost + cell.cost, *node))
        };
        self.heads.iter().filter_map(of_cell).min()
    }

    pub(crate) fn fits_on(&self, board: &Board, node: NodeId) -> bool {
        board.seats().get(&node).is_some() && self.filter_of(board, node).is_none()
    }

    /// Whether there is room for one more anywhere.
    pub(crate) fn has_room(&self) -> bool {
        !self.heads.is_empty()
    }

    /// What keeps the class off a node now.
    pub(crate) fn filter_of(&self, board: &Board, node: NodeId) -> Option<Filter> {
        let seat = board.seats().get(&node)?;
        let own = self.look(node, seat).map(|block| block.told(&self.around));
        own.or_else(|| {
            let rule = self.around.broken_in(&self.keys, &self.values_of(seat))?;
            Some(self.around.filter(rule))
        })
    }

    /// How many nodes each filter removes.
    pub(crate) fn filtered(&self) -> Filtered {
        let own = self.filtered.iter().map(|(block, nodes)| (block.told(&self.around), *nodes));
        let mut filtered: Filtered = own.collect();
        for cell in self.cells.iter().filter(|cell| cell.fitting > 0) {
            if let Some(rule) = cell.broken {
                *filtered.entry(self.around.filter(rule)).or_default() += cell.fitting;
            }
        }
        filtered
    }

    /// Of the nodes that only lack room, the one that lacks least.
    pub(crate) fn nearest(&self, board: &Board) -> Option<(NodeId, Shortfall)> {
        let mut questions = Questions::of(self.class, board.attributes());
        let mut nearest: Option<(u64, NodeId, Shortfall)> = None;
        for (first, row) in board.seats().roll().rows() {
            let least = nearest.as_ref().map(|(least, ..)| *least);
            let told = row.tell(&Ask::of_any(filter::needed_to_lack_less(self.wanted, least)));
            for lane in (0..row.nodes()).filter(|lane| matches!(told[*lane], Told::FITS | Told::LOOK)) {
                let (node, seat) = board.seats().at(first + lane);
                if !questions.admit(first + lane) {
                    continue;
                }
                let wishes = &self.wishes[&self.sort_of(seat)];
                let Err(Block::Exhausted(_) | Block::DevicesTaken(_)) = self.admit(board, node, seat, wishes) else {
                    continue;
                };
                let Some((lack, shortfall)) = filter::shortfall(seat, self.class, self.wanted) else { continue };
                if nearest.as_ref().is_none_or(|(least, ..)| lack < *least) {
                    nearest = Some((lack, node, shortfall));
                }
            }
        }
        nearest.map(|(_, node, shortfall)| (node, shortfall))
    }
}
