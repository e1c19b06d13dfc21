//! Bytes as changes and solves of one network, held against a model that keeps what is declared and nothing else. Every
//! answer is certified and compared with that of a new network.

use std::collections::BTreeMap;

use berth_flow::{
    Applied, Arc, ArcId, Budget, Change, ChangeError, Instance, Network, NodeId, Outcome, Problem, UNLIMITED, certify,
    certify_cut, certify_cycle,
};

/// More make a run slow and nothing new.
const MOST_NODES: usize = 24;
const MOST_ARCS: usize = 80;
const MOST_STEPS: usize = 400;

/// Panics where the network breaks a promise.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut world = World::default();
    for _ in 0..MOST_STEPS {
        let Some(choice) = choices.take() else { break };
        world.step(choice, &mut choices);
    }
    let outcome = world.network.resolve(Budget::UNLIMITED);
    world.check(&outcome);
}

/// The bytes as choices, zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.take().unwrap_or(0)
    }

    /// Mostly small; the rest reaches as far as there are numbers.
    fn number(&mut self) -> i64 {
        match self.byte() {
            byte @ 0..=219 => i64::from(byte) - 60,
            byte @ 220..=252 => (i64::from(self.byte()) - 128) << (2 * (byte - 220)).min(55),
            253 => i64::MIN,
            254 => i64::MAX,
            255 => 0,
        }
    }

    /// One of them, or now and then an id that is not there.
    fn one<T: Copy>(&mut self, all: impl ExactSizeIterator<Item = T>, missing: T) -> T {
        let at = usize::from(self.byte());
        let count = all.len().max(1);
        if at >= 250 { missing } else { all.into_iter().nth(at % count).unwrap_or(missing) }
    }
}

/// What is declared.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<NodeId, i64>,
    arcs: BTreeMap<ArcId, Arc>,
}

impl Model {
    /// Numbered without gaps.
    fn instance(&self) -> Instance {
        let numbers: BTreeMap<NodeId, NodeId> = self.nodes.keys().copied().zip((0..).map(NodeId)).collect();
        let arc = |arc: &Arc| Arc { tail: numbers[&arc.tail], head: numbers[&arc.head], ..*arc };
        Instance { supplies: self.nodes.values().copied().collect(), arcs: self.arcs.values().map(arc).collect() }
    }

    /// Whether the change names what is there, with bounds in order.
    fn allows(&self, change: &Change) -> bool {
        let (node, arc) = (|id| self.nodes.contains_key(id), |id| self.arcs.contains_key(id));
        match change {
            Change::AddNode { .. } => true,
            Change::RemoveNode { node: id } | Change::SetSupply { node: id, .. } => node(id),
            Change::AddArc(arc) => node(&arc.tail) && node(&arc.head) && arc.lower <= arc.capacity,
            Change::RemoveArc { arc: id } | Change::SetCost { arc: id, .. } => arc(id),
            Change::SetBounds { arc: id, lower, capacity } => arc(id) && lower <= capacity,
        }
    }

    fn apply(&mut self, change: &Change, applied: Applied) {
        match (*change, applied) {
            (Change::AddNode { supply }, Applied::Node(id)) => assert_eq!(self.nodes.insert(id, supply), None),
            (Change::AddArc(arc), Applied::Arc(id)) => assert_eq!(self.arcs.insert(id, arc), None),
            (Change::RemoveNode { node }, Applied::Done) => {
                self.nodes.remove(&node);
                self.arcs.retain(|_, arc| arc.tail != node && arc.head != node);
            }
            (Change::SetSupply { node, supply }, Applied::Done) => drop(self.nodes.insert(node, supply)),
            (Change::RemoveArc { arc }, Applied::Done) => drop(self.arcs.remove(&arc)),
            (Change::SetBounds { arc, lower, capacity }, Applied::Done) => {
                self.arcs.entry(arc).and_modify(|arc| (arc.lower, arc.capacity) = (lower, capacity));
            }
            (Change::SetCost { arc, cost }, Applied::Done) => {
                self.arcs.entry(arc).and_modify(|arc| arc.cost = cost);
            }
            (change, applied) => panic!("{change:?} made {applied:?}"),
        }
    }
}

impl Problem for Model {
    fn nodes(&self) -> impl Iterator<Item = (NodeId, i64)> {
        self.nodes.iter().map(|(id, supply)| (*id, *supply))
    }

    fn arcs(&self) -> impl Iterator<Item = (ArcId, Arc)> {
        self.arcs.iter().map(|(id, arc)| (*id, *arc))
    }
}

#[derive(Default)]
struct World {
    network: Network,
    model: Model,
}

impl World {
    fn step(&mut self, choice: u8, choices: &mut Choices<'_>) {
        let node = |world: &World, choices: &mut Choices<'_>| {
            choices.one(world.model.nodes.keys().copied(), NodeId(u32::from(choice) << 1))
        };
        let arc = |world: &World, choices: &mut Choices<'_>| {
            choices.one(world.model.arcs.keys().copied(), ArcId(u32::from(choice) << 1))
        };
        match choice % 20 {
            0 | 1 if self.model.nodes.len() < MOST_NODES => self.change(Change::AddNode { supply: 0 }),
            2 if self.model.nodes.len() < MOST_NODES => self.change(Change::AddNode { supply: choices.number() }),
            3 => self.change(Change::RemoveNode { node: node(self, choices) }),
            4 => self.change(Change::SetSupply { node: node(self, choices), supply: choices.number() }),
            5 | 6 => {
                let (from, to, amount) = (node(self, choices), node(self, choices), i64::from(choices.byte()));
                self.move_supply(from, to, amount);
            }
            7..=10 if self.model.arcs.len() < MOST_ARCS => {
                let (tail, head) = (node(self, choices), node(self, choices));
                let (lower, capacity) = bounds(choices);
                self.change(Change::AddArc(Arc { tail, head, lower, capacity, cost: choices.number() }));
            }
            11 => self.change(Change::RemoveArc { arc: arc(self, choices) }),
            12 => {
                let (lower, capacity) = bounds(choices);
                self.change(Change::SetBounds { arc: arc(self, choices), lower, capacity });
            }
            13 => self.change(Change::SetCost { arc: arc(self, choices), cost: choices.number() }),
            14 => {
                let outcome = self.network.resolve(Budget::UNLIMITED);
                self.check(&outcome);
            }
            15 | 16 => {
                let outcome = self.network.resolve(Budget(u64::from(choices.byte())));
                if !matches!(outcome, Outcome::Unfinished { .. }) {
                    self.check(&outcome);
                }
            }
            17 => {
                let outcome = self.network.solve(Budget::UNLIMITED);
                self.check(&outcome);
            }
            18 => {
                let outcome = self.network.solve_canonically(Budget::UNLIMITED);
                self.check(&outcome);
            }
            19 => drop(self.network.solve(Budget(u64::from(choices.byte())))),
            _ => {}
        }
    }

    fn move_supply(&mut self, from: NodeId, to: NodeId, amount: i64) {
        let supply = |node: NodeId| self.model.nodes.get(&node).copied().unwrap_or(0);
        let (more, less) = (supply(from).saturating_add(amount), supply(to).saturating_sub(amount));
        if from != to {
            self.change(Change::SetSupply { node: from, supply: more });
            self.change(Change::SetSupply { node: to, supply: less });
        }
    }

    fn change(&mut self, change: Change) {
        let allowed = self.model.allows(&change);
        match self.network.apply(&change) {
            Ok(applied) => {
                assert!(allowed, "{change:?} was taken");
                self.model.apply(&change, applied);
            }
            Err(ChangeError::UnknownNode(_) | ChangeError::UnknownArc(_) | ChangeError::BoundsCrossed { .. }) => {
                assert!(!allowed, "{change:?} was refused");
            }
            Err(ChangeError::AmountTooLarge { .. } | ChangeError::CostTooLarge { .. }) => {}
            Err(error @ ChangeError::Full { .. }) => panic!("{error}"),
        }
    }

    fn check(&self, outcome: &Outcome) {
        assert!(self.network.nodes().eq(self.model.nodes()));
        assert!(self.network.arcs().eq(self.model.arcs()));
        match outcome {
            Outcome::Optimal { cost, .. } => {
                let proof = certify(&self.model, &self.network.solution());
                assert_eq!(proof.map(|proof| proof.cost), Ok(*cost));
                assert_eq!(self.network.cost(), *cost);
            }
            Outcome::Infeasible { cut, .. } => drop(certify_cut(&self.model, cut).expect("a proof")),
            Outcome::Unbounded { cycle, .. } => certify_cycle(&self.model, cycle).expect("a proof"),
            Outcome::Unfinished { .. } => panic!("{outcome:?} without a limit"),
        }
        let mut scratch = Network::from_instance(&self.model.instance()).expect("less than what was taken already");
        match (outcome, &scratch.solve(Budget::UNLIMITED)) {
            (Outcome::Optimal { cost, .. }, Outcome::Optimal { cost: other, .. }) => assert_eq!(cost, other),
            (Outcome::Optimal { .. }, other) | (other, Outcome::Optimal { .. }) => panic!("{outcome:?}, but {other:?}"),
            _ => {}
        }
    }
}

fn bounds(choices: &mut Choices<'_>) -> (i64, i64) {
    match choices.byte() {
        0..=159 => (0, i64::from(choices.byte() % 16)),
        160..=189 => (0, UNLIMITED),
        190..=239 => {
            let (lower, width) = (i64::from(choices.byte() % 8) - 4, i64::from(choices.byte() % 16));
            (lower, lower + width)
        }
        240.. => (choices.number(), choices.number()),
    }
}
