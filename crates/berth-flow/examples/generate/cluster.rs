//! The shape of scheduling problems (Quincy, SOSP 2009; Firmament, OSDI 2016).
//!
//! A node per class of tasks, with arcs to preferred machines, to the rack of the first of them, to the
//! cluster, and to its job's waiting node; cluster to racks to machines to the sink; waiting nodes to the sink.
//! Few jobs are large, and a fifth of the preferences fall on a hot twentieth of the machines.

use std::collections::BTreeMap;

use berth_flow::{Arc, Instance, NodeId};

use crate::random::Random;
use crate::{Keys, Pair};

const SINK: u32 = 0;
const CLUSTER: u32 = 1;
const RACK_0: u32 = 2;

/// What a cluster is made of.
struct Shape {
    machines: u32,
    /// Machines in a rack.
    rack: u32,
    /// Tasks that a machine can hold.
    slots: i64,
    /// Mean tasks of a class.
    group: u64,
    /// Machines that a class prefers.
    preferences: u32,
}

/// Tasks that are alike.
#[derive(Clone)]
struct Class {
    supply: i64,
    /// Node and cost.
    preferred: Vec<(u32, i64)>,
    cluster_cost: i64,
}

#[derive(Clone)]
struct Job {
    classes: Vec<Class>,
    wait_cost: i64,
}

impl Job {
    /// The tasks that the job began with: the capacity of its waiting node.
    fn tasks(&self) -> i64 {
        self.classes.iter().map(|class| class.supply).sum()
    }
}

impl Shape {
    fn racks(&self) -> u32 {
        self.machines.div_ceil(self.rack)
    }

    fn machine(&self, at: u32) -> u32 {
        RACK_0 + self.racks() + at
    }

    fn jobs(&self, random: &mut Random, tasks: u64, largest: u64, hot: &[u32]) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut left = tasks;
        while left > 0 {
            let size = random.heavy(largest).min(left);
            left -= size;
            let mut classes = Vec::new();
            let mut rest = size;
            while rest > 0 {
                let supply = random.between(1, 2 * self.group - 1).min(rest);
                rest -= supply;
                classes.push(self.class(random, supply as i64, hot));
            }
            jobs.push(Job { classes, wait_cost: random.between(1200, 4999) as i64 });
        }
        jobs
    }

    fn class(&self, random: &mut Random, supply: i64, hot: &[u32]) -> Class {
        // Most have little data to move, few have much.
        let share = random.below(1 << 10);
        let data = 50 + ((950 * share * share * share) >> 30) as i64;
        let mut preferred = BTreeMap::new();
        for at in 0..self.preferences {
            let machine = match random.below(5) {
                0 => hot[random.below(hot.len() as u64) as usize],
                _ => random.below(u64::from(self.machines)) as u32,
            };
            preferred.entry(self.machine(machine)).or_insert(data / 8 + random.below(20) as i64);
            if at == 0 {
                preferred.entry(RACK_0 + machine / self.rack).or_insert(data / 2 + random.below(20) as i64);
            }
        }
        let cluster_cost = data + random.below(20) as i64;
        Class { supply, preferred: preferred.into_iter().collect(), cluster_cost }
    }

    /// The problem with these jobs; `starts` are the tasks of each job's classes when it came: capacities stay.
    fn instance(&self, jobs: &[Job], starts: &[Job], broken_rack: Option<u32>) -> Instance {
        let mut instance = Instance::default();
        instance.supplies.resize((self.machine(0) + self.machines) as usize, 0);
        let slots = |rack: u32| if broken_rack == Some(rack) { 0 } else { self.slots };
        for rack in 0..self.racks() {
            let machines = self.rack.min(self.machines - rack * self.rack);
            instance.arcs.push(arc(CLUSTER, RACK_0 + rack, slots(rack) * i64::from(machines), 0));
        }
        for at in 0..self.machines {
            instance.arcs.push(arc(RACK_0 + at / self.rack, self.machine(at), slots(at / self.rack), 0));
        }
        for at in 0..self.machines {
            instance.arcs.push(arc(self.machine(at), SINK, slots(at / self.rack), 0));
        }
        for (job, start) in jobs.iter().zip(starts) {
            let waiting = node(&mut instance, 0);
            instance.arcs.push(arc(waiting, SINK, start.tasks(), 0));
            for (class, start) in job.classes.iter().zip(&start.classes) {
                let me = node(&mut instance, class.supply);
                instance.supplies[SINK as usize] -= class.supply;
                for &(to, cost) in &class.preferred {
                    instance.arcs.push(arc(me, to, start.supply, cost));
                }
                instance.arcs.push(arc(me, CLUSTER, start.supply, class.cluster_cost));
                instance.arcs.push(arc(me, waiting, start.supply, job.wait_cost));
            }
        }
        instance
    }
}

fn arc(tail: u32, head: u32, capacity: i64, cost: i64) -> Arc {
    Arc { tail: NodeId(tail), head: NodeId(head), lower: 0, capacity, cost }
}

fn node(instance: &mut Instance, supply: i64) -> u32 {
    instance.supplies.push(supply);
    instance.supplies.len() as u32 - 1
}

/// Random tasks end.
fn end(random: &mut Random, jobs: &mut [Job], count: u64) {
    let classes =
        || jobs.iter().enumerate().flat_map(|(job, all)| all.classes.iter().enumerate().map(move |c| (job, c)));
    let pool: Vec<(usize, usize)> =
        classes().flat_map(|(job, (at, class))| (0..class.supply).map(move |_| (job, at))).collect();
    for place in random.sample(count as usize, pool.len()) {
        let (job, at) = pool[place];
        jobs[job].classes[at].supply -= 1;
    }
}

/// Keys: `machines`, `rack` (machines in one), `slots` (tasks on a machine), `util` (tasks per cent of slots),
/// `group` (tasks of a class), `preferences`; `ends` and `arrives` (tasks), `largest` (tasks of an arriving job);
/// `breaks=1`: a whole rack goes; `recosts=1`: all costs of the largest job change.
pub fn pair(keys: &mut Keys) -> Pair {
    let mut random = Random::new(keys.take("seed", 1));
    let shape = Shape {
        machines: keys.take("machines", 12_500).max(1) as u32,
        rack: keys.take("rack", 40).max(1) as u32,
        slots: keys.take("slots", 12) as i64,
        group: keys.take("group", 1).max(1),
        preferences: keys.take("preferences", 2) as u32,
    };
    let tasks = u64::from(shape.machines) * shape.slots as u64 * keys.take("util", 90) / 100;
    let (ends, arrives) = (keys.take("ends", 100), keys.take("arrives", 100));
    let largest = keys.take("largest", (arrives / 2).max(1)).max(1);
    let hot: Vec<u32> =
        (0..(shape.machines / 20).max(1)).map(|_| random.below(u64::from(shape.machines)) as u32).collect();

    let old = shape.jobs(&mut random, tasks, (tasks / 10).clamp(10, 20_000), &hot);
    let base = shape.instance(&old, &old, None);
    let mut jobs = old.clone();
    end(&mut random, &mut jobs, ends);
    if keys.take("recosts", 0) > 0 {
        recost(&mut random, &mut jobs);
    }
    let new = shape.jobs(&mut random, arrives, largest, &hot);
    let (jobs, starts) = ([jobs, new.clone()].concat(), [old, new].concat());
    let broken = (keys.take("breaks", 0) > 0).then(|| random.below(u64::from(shape.racks())) as u32);
    Pair { base, changed: shape.instance(&jobs, &starts, broken) }
}

fn recost(random: &mut Random, jobs: &mut [Job]) {
    let Some(job) = jobs.iter_mut().max_by_key(|job| job.tasks()) else { return };
    for class in &mut job.classes {
        class.preferred.iter_mut().for_each(|(_, cost)| *cost = random.between(10, 500) as i64);
        class.cluster_cost = random.between(50, 1000) as i64;
    }
    job.wait_cost = random.between(1200, 4999) as i64;
}

/// The same, and every arc costs 1: whatever is a flow is an optimum but for its length.
pub fn equal(keys: &mut Keys) -> Pair {
    let mut pair = pair(keys);
    for arc in pair.base.arcs.iter_mut().chain(&mut pair.changed.arcs) {
        arc.cost = 1;
    }
    pair
}
