//! A thousand rounds of churn on a small cluster: as exact, and as little work, at the end as at the beginning.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "../examples/generate/random.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod random;

use berth_flow::{Budget, Network, NodeId, Outcome, certify};
use random::Random;
use support::arc;

const RACKS: u32 = 8;
const MACHINES: u32 = 80;
const SLOTS: i64 = 4;
const ROUNDS: usize = 1000;
/// Tasks that end in a round, and tasks that arrive.
const CHURN: usize = 3;

const SINK: NodeId = NodeId(0);
const CLUSTER: NodeId = NodeId(1);
const WAITING: NodeId = NodeId(2);

struct World {
    random: Random,
    network: Network,
    machines: Vec<NodeId>,
    racks: Vec<NodeId>,
    tasks: Vec<NodeId>,
}

impl World {
    /// With tasks for `util` per cent of the slots.
    fn new(util: usize) -> World {
        let mut network = Network::new();
        for node in [SINK, CLUSTER, WAITING] {
            assert_eq!(network.add_node(0).unwrap(), node);
        }
        let racks: Vec<NodeId> = (0..RACKS).map(|_| network.add_node(0).unwrap()).collect();
        let machines: Vec<NodeId> = (0..MACHINES).map(|_| network.add_node(0).unwrap()).collect();
        let link = |network: &mut Network, from: NodeId, to: NodeId, capacity| {
            network.add_arc(arc(from.0, to.0, 0, capacity, 0)).unwrap();
        };
        for rack in &racks {
            link(&mut network, CLUSTER, *rack, SLOTS * i64::from(MACHINES / RACKS));
        }
        for (at, machine) in machines.iter().enumerate() {
            link(&mut network, racks[at % racks.len()], *machine, SLOTS);
            link(&mut network, *machine, SINK, SLOTS);
        }
        link(&mut network, WAITING, SINK, 1_000_000);
        let mut world = World { random: Random::new(7), network, machines, racks, tasks: Vec::new() };
        (0..MACHINES as usize * SLOTS as usize * util / 100).for_each(|_| world.arrive());
        world.balance();
        world
    }

    fn arrive(&mut self) {
        let task = self.network.add_node(1).unwrap();
        let data = self.random.heavy(1000) as i64;
        let machine = self.random.below(u64::from(MACHINES)) as usize;
        let ways = [
            (self.machines[machine], data / 8),
            (self.racks[machine % self.racks.len()], data / 2),
            (CLUSTER, data),
            (WAITING, 1200 + self.random.below(3800) as i64),
        ];
        for (to, cost) in ways {
            self.network.add_arc(arc(task.0, to.0, 0, 1, cost)).unwrap();
        }
        self.tasks.push(task);
    }

    fn end(&mut self) {
        let at = self.random.below(self.tasks.len() as u64) as usize;
        let task = self.tasks.swap_remove(at);
        self.network.remove_node(task).unwrap();
    }

    fn balance(&mut self) {
        self.network.set_supply(SINK, -(self.tasks.len() as i64)).unwrap();
    }

    /// Repairs and certifies; the steps that it took.
    fn resolve(&mut self) -> u64 {
        let outcome = self.network.resolve(Budget::UNLIMITED);
        let Outcome::Optimal { cost, steps } = outcome else { panic!("{outcome:?}") };
        assert_eq!(certify(&self.network, &self.network.solution()).unwrap().cost, cost);
        steps
    }
}

fn churn(util: usize) {
    let mut world = World::new(util);
    world.network.solve(Budget::UNLIMITED);
    let mut steps = Vec::new();
    for round in 0..ROUNDS {
        for _ in 0..CHURN {
            world.end();
            world.arrive();
        }
        world.balance();
        steps.push(world.resolve());
        if round % 50 == 0 {
            let mut scratch = world.network.clone();
            let outcome = scratch.solve(Budget::UNLIMITED);
            assert!(matches!(outcome, Outcome::Optimal { cost, .. } if cost == world.network.cost()), "{outcome:?}");
        }
    }
    let sum = |steps: &[u64]| steps.iter().sum::<u64>();
    // A few rounds cost most of the steps, so halves are compared, and not a hundred rounds with another.
    let (first, last) = (sum(&steps[..ROUNDS / 2]), sum(&steps[ROUNDS / 2..]));
    assert!(last <= first + first / 4, "{first} steps in the first half of the rounds, {last} in the second");
}

#[test]
fn a_roomy_cluster_stays_exact() {
    churn(50);
}

#[test]
fn a_full_cluster_stays_exact() {
    churn(99);
}

#[test]
fn an_oversubscribed_cluster_stays_exact() {
    churn(105);
}
