//! A cluster that lives: tasks end, others arrive, in rounds.
//!
//! Each task may run on the machine that has its data, elsewhere in that rack, anywhere, or wait, each at its price.

use berth_flow::{Arc, Budget, Network, NodeId, Outcome, certify};

use crate::random::Random;

const SINK: NodeId = NodeId(0);
const CLUSTER: NodeId = NodeId(1);
const WAITING: NodeId = NodeId(2);

/// What a cluster is made of.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Machines in all.
    pub machines: u32,
    /// Racks, over which the machines are dealt out.
    pub racks: u32,
    /// Tasks that a machine can hold.
    pub slots: u32,
}

impl Shape {
    /// Tasks for so many per cent of the slots.
    pub fn tasks(&self, util: u64) -> u64 {
        u64::from(self.machines) * u64::from(self.slots) * util / 100
    }
}

/// A network, and what its nodes stand for.
#[derive(Clone)]
pub struct World {
    random: Random,
    /// The network.
    pub network: Network,
    machines: Vec<NodeId>,
    racks: Vec<NodeId>,
    tasks: Vec<NodeId>,
}

impl World {
    /// With that many tasks, unsolved.
    pub fn new(shape: Shape, tasks: u64, seed: u64) -> World {
        let mut network = Network::new();
        let mut node = || network.add_node(0).expect("far from any limit");
        assert_eq!([node(), node(), node()], [SINK, CLUSTER, WAITING]);
        let racks: Vec<NodeId> = (0..shape.racks).map(|_| node()).collect();
        let machines: Vec<NodeId> = (0..shape.machines).map(|_| node()).collect();
        let slots = i64::from(shape.slots);
        for rack in &racks {
            link(&mut network, CLUSTER, *rack, slots * i64::from(shape.machines.div_ceil(shape.racks)), 0);
        }
        for (at, machine) in machines.iter().enumerate() {
            link(&mut network, racks[at % racks.len()], *machine, slots, 0);
            link(&mut network, *machine, SINK, slots, 0);
        }
        link(&mut network, WAITING, SINK, 1 << 40, 0);
        let mut world = World { random: Random::new(seed), network, machines, racks, tasks: Vec::new() };
        (0..tasks).for_each(|_| world.arrive());
        world.balance();
        world
    }

    fn arrive(&mut self) {
        let task = self.network.add_node(1).expect("far from any limit");
        let data = self.random.heavy(1000) as i64;
        let machine = self.random.below(self.machines.len() as u64) as usize;
        let ways = [
            (self.machines[machine], data / 8),
            (self.racks[machine % self.racks.len()], data / 2),
            (CLUSTER, data),
            (WAITING, 1200 + self.random.below(3800) as i64),
        ];
        for (to, cost) in ways {
            link(&mut self.network, task, to, 1, cost);
        }
        self.tasks.push(task);
    }

    fn end(&mut self) {
        let at = self.random.below(self.tasks.len() as u64) as usize;
        let task = self.tasks.swap_remove(at);
        self.network.remove_node(task).expect("it has arrived");
    }

    fn balance(&mut self) {
        let tasks = i64::try_from(self.tasks.len()).expect("ids have 31 bits");
        self.network.set_supply(SINK, -tasks).expect("far from any limit");
    }

    /// So many tasks end, and as many arrive.
    pub fn churn(&mut self, tasks: usize) {
        for _ in 0..tasks {
            self.end();
            self.arrive();
        }
        self.balance();
    }

    /// Repairs; the steps that it took.
    pub fn resolve(&mut self) -> u64 {
        match self.network.resolve(Budget::UNLIMITED) {
            Outcome::Optimal { steps, .. } => steps,
            outcome => panic!("every task can wait, but {outcome:?}"),
        }
    }

    /// The flow is proven, and its cost is that of a solve from scratch, where that is asked for.
    pub fn check(&self, against: Against) {
        let cost = self.network.cost();
        assert_eq!(certify(&self.network, &self.network.solution()).map(|proof| proof.cost), Ok(cost));
        if against == Against::Scratch {
            let outcome = self.network.clone().solve(Budget::UNLIMITED);
            assert!(
                matches!(outcome, Outcome::Optimal { cost: least, .. } if least == cost),
                "{cost}, but {outcome:?}"
            );
        }
    }
}

/// What a check holds an answer against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Its own prices.
    Certificate,
    /// Those, and another answer.
    Scratch,
}

fn link(network: &mut Network, tail: NodeId, head: NodeId, capacity: i64, cost: i64) {
    network.add_arc(Arc { tail, head, lower: 0, capacity, cost }).expect("far from any limit");
}
