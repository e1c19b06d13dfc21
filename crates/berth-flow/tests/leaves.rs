//! Groups of tasks that live long while everything about them changes: what the solver remembers of leaves from
//! one search to the next must never mislead it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "../examples/generate/random.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod random;

use berth_flow::{ArcId, Budget, Network, NodeId, Outcome, Problem, certify};
use random::Random;
use support::arc;

const SINK: NodeId = NodeId(0);
const CLUSTER: NodeId = NodeId(1);
const WAITING: NodeId = NodeId(2);
const MACHINES: u64 = 150;
const GROUPS: u64 = 500;
const ROUNDS: u64 = 60;

struct World {
    random: Random,
    network: Network,
    machines: Vec<NodeId>,
    groups: Vec<NodeId>,
    /// Costs are below this.
    dearest: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut network = Network::new();
        for node in [SINK, CLUSTER, WAITING] {
            assert_eq!(network.add_node(0).unwrap(), node);
        }
        let machines: Vec<NodeId> = (0..MACHINES).map(|_| network.add_node(0).unwrap()).collect();
        for machine in &machines {
            network.add_arc(arc(CLUSTER.0, machine.0, 0, 4, 0)).unwrap();
            network.add_arc(arc(machine.0, SINK.0, 0, 4, 0)).unwrap();
        }
        network.add_arc(arc(WAITING.0, SINK.0, 0, 1_000_000, 0)).unwrap();
        let dearest = if random.below(2) == 0 { 12 } else { 1 << 40 };
        let mut world = World { random, network, machines, groups: Vec::new(), dearest };
        (0..GROUPS).for_each(|_| world.arrive());
        world.balance();
        world
    }

    fn cost(&mut self) -> i64 {
        self.random.below(self.dearest) as i64
    }

    fn capacity(&mut self) -> i64 {
        1 + self.random.below(3) as i64
    }

    fn arrive(&mut self) {
        let group = self.network.add_node(self.random.below(4) as i64).unwrap();
        for _ in 0..1 + self.random.below(3) {
            let machine = self.machines[self.random.below(MACHINES) as usize];
            let (capacity, cost) = (self.capacity(), self.cost());
            self.network.add_arc(arc(group.0, machine.0, 0, capacity, cost)).unwrap();
        }
        let (capacity, cost) = (self.capacity(), self.cost());
        self.network.add_arc(arc(group.0, CLUSTER.0, 0, capacity, cost)).unwrap();
        let most = self.dearest as i64;
        let cost = most + self.cost();
        self.network.add_arc(arc(group.0, WAITING.0, 0, 9, cost)).unwrap();
        self.groups.push(group);
    }

    /// Some arc of a group, but not the one by which all can wait.
    fn some_arc(&mut self) -> Option<ArcId> {
        let group = self.groups[self.random.below(self.groups.len() as u64) as usize];
        let arcs: Vec<ArcId> =
            self.network.arcs().filter(|(_, arc)| arc.tail == group && arc.head != WAITING).map(|(id, _)| id).collect();
        (!arcs.is_empty()).then(|| arcs[self.random.below(arcs.len() as u64) as usize])
    }

    fn change(&mut self) {
        let at = self.random.below(self.groups.len() as u64) as usize;
        match self.random.below(8) {
            0 => {
                let group = self.groups.swap_remove(at);
                self.network.remove_node(group).unwrap();
                self.arrive();
            }
            1 | 2 => {
                let supply = self.random.below(4) as i64;
                self.network.set_supply(self.groups[at], supply).unwrap();
            }
            3 => {
                let machine = self.machines[self.random.below(MACHINES) as usize];
                let (capacity, cost) = (self.capacity(), self.cost());
                self.network.add_arc(arc(self.groups[at].0, machine.0, 0, capacity, cost)).unwrap();
            }
            kind => {
                let Some(arc) = self.some_arc() else { return };
                let (capacity, cost) = (self.capacity(), self.cost());
                match kind {
                    4 => self.network.remove_arc(arc).unwrap(),
                    5 => self.network.set_bounds(arc, 0, capacity - 1).unwrap(),
                    _ => self.network.set_cost(arc, cost).unwrap(),
                }
            }
        }
    }

    fn balance(&mut self) {
        let supplies = self.network.nodes().filter(|(node, _)| *node != SINK);
        let sum: i64 = supplies.map(|(_, supply)| supply).sum();
        self.network.set_supply(SINK, -sum).unwrap();
    }

    fn resolve(&mut self) {
        let outcome = loop {
            // Whole or in portions.
            let budget = if self.random.below(3) == 0 { Budget(self.random.below(60)) } else { Budget::UNLIMITED };
            let outcome = self.network.resolve(budget);
            if !matches!(outcome, Outcome::Unfinished { .. }) {
                break outcome;
            }
        };
        let Outcome::Optimal { cost, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(certify(&self.network, &self.network.solution()).unwrap().cost, cost);
    }
}

#[test]
fn groups_that_change_in_every_way_stay_exact() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.resolve();
        for _ in 0..ROUNDS {
            for _ in 0..1 + world.random.below(12) {
                world.change();
            }
            world.balance();
            world.resolve();
        }
    }
}
