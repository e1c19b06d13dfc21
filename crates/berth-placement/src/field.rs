//! Every node as a class sees it.
//!
//! A node is looked at by itself: what keeps it out, and what it costs as a number; the terms are named for the chosen
//! one and the runner-up alone. Rules over attributes (a rack, a zone) would change for whole parts of the cluster with
//! every placement. So nodes with the same values of the attributes that the class's rules name are one *cell*, which has
//! a cost and a filter of its own on top: a placement changes its node and a few cells, however many nodes these have.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{CostTerm, Device, Explanation, Filter, Filtered, NodeId, Policy, Resources, Shortfall};

use crate::around::Around;
use crate::board::{Board, Seat, SortId};
use crate::cost::{self, Costs};
use crate::device::{FULLEST, Given};
use crate::filter::{self, Block, Class, Suit};
use crate::outlook::Valued;
use crate::place::Want;

/// Every node as a class sees it.
pub(crate) struct Field<'a> {
    class: Class<'a>,
    policy: Policy,
    pub(crate) wanted: Resources,
    around: Around<'a>,
    keys: Vec<String>,
    /// What the class makes of each sort of machine.
    suits: BTreeMap<SortId, Suit<'a>>,
    /// By node.
    standings: Vec<(NodeId, Standing<'a>)>,
    cells: Vec<Cell>,
    /// The cheapest node of every cell that is open, cell by cell.
    heads: BTreeSet<(i64, NodeId, usize)>,
    /// Nodes that are filtered for themselves.
    filtered: BTreeMap<Block<'a>, u32>,
}

/// How a node looks, its cell apart.
#[derive(Clone, Copy)]
enum Standing<'a> {
    Fits { cost: i64, cell: usize },
    Filtered(Block<'a>),
}

/// Nodes with the same values of all attributes that rules name.
struct Cell {
    values: Vec<Option<String>>,
    cost: i64,
    /// The rule that keeps all of them out.
    broken: Option<usize>,
    /// Those that fit for themselves, by cost and id.
    open: BTreeSet<(i64, NodeId)>,
}

impl Cell {
    fn head(&self) -> Option<(i64, NodeId)> {
        let first = self.open.first().filter(|_| self.broken.is_none());
        first.map(|(cost, node)| (cost + self.cost, *node))
    }
}

impl<'a> Field<'a> {
    pub(crate) fn evaluate(board: &Board, class: Class<'a>, policy: Policy) -> Self {
        let around = Around::of(board, class);
        let mut field = Field {
            class,
            policy,
            wanted: class.group.resources(),
            keys: around.keys(),
            around,
            suits: BTreeMap::new(),
            standings: Vec::with_capacity(board.seats().len()),
            cells: Vec::new(),
            heads: BTreeSet::new(),
            filtered: BTreeMap::new(),
        };
        let mut known = BTreeMap::new();
        // Gathered first: a set that is made of all its members at once takes half the time.
        let mut open: Vec<Vec<(i64, NodeId)>> = Vec::new();
        for (node, seat) in board.seats() {
            field.suits.entry(seat.sort).or_insert_with(|| Suit::of(&seat.fingerprint, class));
            let cell = field.cell_of(seat, &mut known);
            open.resize(field.cells.len(), Vec::new());
            let standing = field.look(board, *node, seat, cell);
            match standing {
                Standing::Fits { cost, cell } => open[cell].push((cost, *node)),
                Standing::Filtered(block) => *field.filtered.entry(block).or_default() += 1,
            }
            field.standings.push((*node, standing));
        }
        for (cell, open) in open.into_iter().enumerate() {
            field.cells[cell].open = open.into_iter().collect();
            field.weigh(cell);
        }
        field
    }

    /// The cell of a node; a new one where it is the first of its kind.
    fn cell_of(&mut self, seat: &Seat, known: &mut BTreeMap<Vec<Option<String>>, usize>) -> usize {
        if self.keys.is_empty() && !self.cells.is_empty() {
            return 0;
        }
        let values: Vec<Option<String>> =
            self.keys.iter().map(|key| seat.fingerprint.attributes.get(key).cloned()).collect();
        *known.entry(values).or_insert_with_key(|values| {
            self.cells.push(Cell { values: values.clone(), cost: 0, broken: None, open: BTreeSet::new() });
            self.cells.len() - 1
        })
    }

    fn look(&self, board: &Board, node: NodeId, seat: &Seat, cell: usize) -> Standing<'a> {
        let value = board.outlook().value(node, seat);
        let given = match (self.devices(seat, value), self.around.broken_on(node)) {
            (Err(block), _) => return Standing::Filtered(block),
            (Ok(_), Some(rule)) => return Standing::Filtered(Block::Rule(rule)),
            (Ok(given), None) => given,
        };
        Standing::Fits { cost: self.costs_of(board, node, seat, value, &given).total(), cell }
    }

    /// What a node costs when these devices are given, its cell and the wish for it apart.
    fn costs_of(&self, board: &Board, node: NodeId, seat: &Seat, value: Valued<'_>, given: &Given<'_>) -> Costs {
        let same = || board.same_group(&self.class.job.id, &self.class.group.name, node);
        let used = seat.used + self.wanted;
        let loss = || value.loss(self.wanted, given);
        let mut costs = cost::of_node(self.policy, used, seat.fingerprint.resources, same, loss);
        let mut rules = Costs::default();
        cost::add_preferences(&self.class.group.rules.preferences, &seat.fingerprint.attributes, &mut rules);
        self.around.costs_on(node, &mut rules);
        cost::add_rules(self.policy, rules, &mut costs);
        costs
    }

    /// What rules over attributes add to the costs of the nodes with these values.
    fn add_costs_in(&self, values: &[Option<String>], costs: &mut Costs) {
        let mut rules = Costs::default();
        self.around.costs_in(&self.keys, values, &mut rules);
        cost::add_rules(self.policy, rules, costs);
    }

    /// The devices of the node that the policy prefers, or what filters the node, its rules apart.
    pub(crate) fn devices(&self, seat: &Seat, value: Valued<'_>) -> Result<Given<'_>, Block<'a>> {
        let suit = &self.suits[&seat.sort];
        match self.policy {
            Policy::Spread | Policy::Pack => filter::place_on(seat, self.class, suit, self.wanted, FULLEST),
            Policy::Fragmentation => {
                let rank = |device: &Device, free: u32, taken: u32| value.device_loss(device, free, taken);
                filter::place_on(seat, self.class, suit, self.wanted, &rank)
            }
        }
    }

    fn place_of(&self, node: NodeId) -> Option<usize> {
        self.standings.binary_search_by_key(&node, |(node, _)| *node).ok()
    }

    fn standing(&self, node: NodeId) -> Option<Standing<'a>> {
        self.place_of(node).map(|at| self.standings[at].1)
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
            let fits = self.fits_on(only);
            return fits.then(|| (only, self.explain(1, Filtered::new(), self.terms(board, only, want), None)));
        }
        let special: BTreeSet<NodeId> = want.avoid.iter().copied().chain(want.leaving).collect();
        let mut ranked: Vec<(i64, NodeId)> = Vec::with_capacity(4);
        for (cost, _, cell) in &self.heads {
            if ranked.get(1).is_some_and(|(second, _)| second <= cost) {
                break;
            }
            let cell = &self.cells[*cell];
            let open = cell.open.iter().filter(|(_, node)| !special.contains(node)).take(2);
            ranked.extend(open.map(|(cost, node)| (cost + cell.cost, *node)));
            ranked.sort_unstable();
            ranked.truncate(2);
        }
        for node in special.into_iter().filter(|node| self.fits_on(*node)) {
            ranked.push((self.costs(board, node, want).total(), node));
        }
        ranked.sort_unstable();
        let (_, node) = *ranked.first()?;
        let runner_up = ranked.get(1).map(|(_, other)| (*other, self.terms(board, *other, want)));
        let considered = u32::try_from(self.standings.len()).unwrap_or(u32::MAX);
        Some((node, self.explain(considered, self.filtered(), self.terms(board, node, want), runner_up)))
    }

    fn explain(
        &self,
        considered: u32,
        filtered: Filtered,
        chosen: Vec<CostTerm>,
        runner_up: Option<(NodeId, Vec<CostTerm>)>,
    ) -> Explanation {
        Explanation { policy: self.policy, considered, filtered, chosen, runner_up }
    }

    fn terms(&self, board: &Board, node: NodeId, want: &Want) -> Vec<CostTerm> {
        self.costs(board, node, want).terms()
    }

    /// All that a node that fits costs `want`.
    fn costs(&self, board: &Board, node: NodeId, want: &Want) -> Costs {
        let (Some(seat), Some(Standing::Fits { cell, .. })) = (board.seats().get(&node), self.standing(node)) else {
            return Costs::default();
        };
        let value = board.outlook().value(node, seat);
        let Ok(given) = self.devices(seat, value) else { return Costs::default() };
        let mut costs = self.costs_of(board, node, seat, value, &given);
        self.add_costs_in(&self.cells[cell].values, &mut costs);
        if want.leaving == Some(node) {
            cost::discount_leaving(self.policy, &mut costs);
        }
        if want.avoid.contains(&node) {
            cost::add_failed_here(self.policy, &mut costs);
        }
        costs
    }

    /// One of the class has taken a place on a node: the node, and what the rules count with it, look otherwise now.
    pub(crate) fn taken(&mut self, board: &Board, node: NodeId) {
        let seat = board.seats().get(&node).expect("a node that was chosen is on the board");
        let first_of_its_kind = self.around.seeks_itself();
        self.around.placed(board, node);
        if first_of_its_kind {
            *self = Field::evaluate(board, self.class, self.policy);
            return;
        }
        let at = self.place_of(node).expect("a node that was chosen is in the field");
        let Standing::Fits { cost, cell } = self.standings[at].1 else {
            unreachable!("a node that was chosen is in the open");
        };
        if let Some((cost, head)) = self.cells[cell].head() {
            self.heads.remove(&(cost, head, cell));
        }
        self.cells[cell].open.remove(&(cost, node));
        let standing = self.look(board, node, seat, cell);
        match standing {
            Standing::Fits { cost, cell } => drop(self.cells[cell].open.insert((cost, node))),
            Standing::Filtered(block) => *self.filtered.entry(block).or_default() += 1,
        }
        self.standings[at].1 = standing;
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

    /// The cheapest node but this one, with what it costs.
    pub(crate) fn cheapest_but(&self, node: NodeId) -> Option<(i64, NodeId)> {
        let of_cell = |(_, _, cell): &(i64, NodeId, usize)| {
            let cell = &self.cells[*cell];
            let (cost, node) = cell.open.iter().find(|(_, other)| *other != node)?;
            Some((cost + cell.cost, *node))
        };
        self.heads.iter().filter_map(of_cell).min()
    }

    pub(crate) fn fits_on(&self, node: NodeId) -> bool {
        match self.standing(node) {
            Some(Standing::Fits { cell, .. }) => self.cells[cell].broken.is_none(),
            Some(Standing::Filtered(_)) | None => false,
        }
    }

    /// Whether there is room for one more anywhere.
    pub(crate) fn has_room(&self) -> bool {
        !self.heads.is_empty()
    }

    /// What keeps the class off a node now.
    pub(crate) fn filter_of(&self, node: NodeId) -> Option<Filter> {
        match self.standing(node)? {
            Standing::Filtered(block) => Some(block.told(&self.around)),
            Standing::Fits { cell, .. } => self.cells[cell].broken.map(|rule| self.around.filter(rule)),
        }
    }

    /// How many nodes each filter removes.
    pub(crate) fn filtered(&self) -> Filtered {
        let own = self.filtered.iter().map(|(block, nodes)| (block.told(&self.around), *nodes));
        let mut filtered: Filtered = own.collect();
        for cell in self.cells.iter().filter(|cell| !cell.open.is_empty()) {
            if let Some(rule) = cell.broken {
                let nodes = u32::try_from(cell.open.len()).unwrap_or(u32::MAX);
                *filtered.entry(self.around.filter(rule)).or_default() += nodes;
            }
        }
        filtered
    }

    /// Of the nodes that only lack room, the one that lacks least.
    pub(crate) fn nearest(&self, board: &Board) -> Option<(NodeId, Shortfall)> {
        let misses = self.standings.iter().filter_map(|(node, standing)| match standing {
            Standing::Filtered(Block::Exhausted(_) | Block::DevicesTaken(_)) => {
                let (lack, shortfall) = filter::shortfall(board.seats().get(node)?, self.class, self.wanted)?;
                Some((lack, *node, shortfall))
            }
            Standing::Filtered(_) | Standing::Fits { .. } => None,
        });
        misses.min_by_key(|(lack, node, _)| (*lack, *node)).map(|(_, node, shortfall)| (node, shortfall))
    }
}
