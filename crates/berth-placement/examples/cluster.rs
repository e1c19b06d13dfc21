//! Rounds of the optimiser on a made-up cluster with a mix of work like that of Google's public traces: services and
//! batch work, heavy-tailed sizes and jobs, a tenth with constraints. Prints what it took as JSON.
//!
//! `cargo run --release --example cluster -- machines=12500 utilisation=90 rounds=100 churn=100 seed=1`; further keys: `mean`
//! (millicores of a task, about), `iterations` and `search` (the budget), `fast` (placements by the fast path), `show` (rounds).
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "measures, and reads its arguments")]

use std::collections::BTreeMap;
use std::time::Instant;

use berth_placement::optimise::{
    Amounts, Budget, Class, ClassIndex, Curve, DIMENSIONS, Gang, Limits, Node, NodeIndex, Optimiser, Shape, ShapeIndex,
};

/// A splitmix64 generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Mostly near `low`, seldom near `high`: each doubling is half as likely.
    fn heavy(&mut self, low: u64, high: u64) -> u64 {
        let mut top = low;
        while top < high && self.below(2) == 0 {
            top *= 2;
        }
        self.between(top, (2 * top).min(high.max(top)))
    }
}

/// Kinds of machines: cpu in millicores, memory in MiB, disk in GiB; and how many of a hundred are of this kind.
const KINDS: [([u64; 3], u64); 4] = [
    ([32_000, 131_072, 2_000], 53),
    ([32_000, 65_536, 2_000], 31),
    ([64_000, 262_144, 4_000], 10),
    ([16_000, 65_536, 1_000], 6),
];

/// What may be asked of a machine's kind: anything, or one of these.
const CONSTRAINTS: u64 = 4;

fn allows(constraint: u64, kind: usize) -> bool {
    match constraint {
        0 => true,
        one => kind as u64 == one - 1,
    }
}

struct World {
    random: Random,
    optimiser: Optimiser,
    kinds: Vec<usize>,
    /// By size and constraint.
    shapes: BTreeMap<([u64; 3], u64), ShapeIndex>,
    /// How many units of each class are wanted.
    wanted: Vec<u32>,
    waiting: Vec<i64>,
    free: Vec<ClassIndex>,
    /// Everything that runs.
    running: Vec<(ClassIndex, NodeIndex)>,
    /// The mean cpu of a task.
    mean: u64,
}

fn amounts(first: [u64; 3]) -> Amounts {
    let mut all = [0; DIMENSIONS];
    all[..3].copy_from_slice(&first);
    Amounts(all)
}

impl World {
    fn new(machines: u64, mean: u64, curve: Curve, seed: u64) -> World {
        let mut random = Random(seed);
        let mut optimiser = Optimiser::new(curve);
        let mut kinds = Vec::new();
        for at in 0..machines {
            let mut pick = random.below(100);
            let kind = KINDS.iter().position(|(_, share)| pick.checked_sub(*share).map(|rest| pick = rest).is_none());
            let kind = kind.unwrap_or(0);
            kinds.push(kind);
            let node = Node {
                capacity: amounts(KINDS[kind].0),
                slots: 250,
                rack: (at / 40) as u32,
                zone: (at * 4 / machines) as u32,
            };
            optimiser.put_node(NodeIndex(at as u32), node);
        }
        let (wanted, waiting, free, running) = (vec![], vec![], vec![], vec![]);
        World { random, optimiser, kinds, shapes: BTreeMap::new(), wanted, waiting, free, running, mean }
    }

    /// A new job of at most `most` tasks.
    fn arrive(&mut self, most: u64) -> (ClassIndex, u32) {
        let random = &mut self.random;
        let wanted = random.heavy(1, 500).min(most) as u32;
        let cpu = random.heavy(self.mean / 4, 24 * self.mean);
        // Half a MiB to two per millicore.
        let memory = cpu * random.between(8, 32) / 16;
        let is_service = random.below(10) < 4;
        let constraint = if random.below(10) == 0 { random.between(1, CONSTRAINTS) } else { 0 };
        // Sizes are rounded up, by a factor of at most 2, or 4 where few have the same constraint: that is what is held.
        let width = if constraint == 0 { 1 } else { 2 };
        let top = |amount: u64| 1 << (amount.next_power_of_two().ilog2().div_ceil(width) * width);
        let demand = [top(cpu).min(4_000), top(memory).min(16_000), 32];
        let shape = self.shape(demand, constraint);
        let size = demand[0] as i64;
        let class = Class {
            shape,
            demand: amounts(demand),
            wanted,
            waiting: (if is_service { 400 } else { 100 }) * size.max(100),
            moving: (if is_service { 20 } else { 5 }) * size.max(100),
            crowding: if is_service { 2_000 } else { 0 },
            limits: Limits::NONE,
            gang: Gang::Apart,
        };
        let id = self.free.pop().unwrap_or(ClassIndex(self.wanted.len() as u32));
        self.wanted.resize(self.wanted.len().max(id.0 as usize + 1), 0);
        self.waiting.resize(self.wanted.len(), 0);
        self.wanted[id.0 as usize] = wanted;
        self.waiting[id.0 as usize] = class.waiting;
        self.optimiser.put_class(id, class);
        (id, wanted)
    }

    fn shape(&mut self, demand: [u64; 3], constraint: u64) -> ShapeIndex {
        let next = ShapeIndex(self.shapes.len() as u32);
        let id = *self.shapes.entry((demand, constraint)).or_insert(next);
        if id == next {
            let demand = amounts(demand);
            let costs = self.kinds.iter().map(|kind| allows(constraint, *kind).then_some(0)).collect();
            self.optimiser.put_shape(id, Shape { least: demand, most: demand, costs });
        }
        id
    }

    /// One unit ends.
    fn end(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.random.below(self.running.len() as u64) as usize;
        let (class, node) = self.running.swap_remove(at);
        let left = self.optimiser.running(class, node) - 1;
        self.optimiser.set_running(class, node, left);
        let wanted = &mut self.wanted[class.0 as usize];
        *wanted -= 1;
        if *wanted == 0 {
            self.optimiser.remove_class(class);
            self.free.push(class);
        } else {
            self.optimiser.set_wanted(class, *wanted, self.waiting[class.0 as usize]);
        }
    }

    /// Fills the cluster to so many per cent of its scarcest dimension, by the fast path.
    fn fill(&mut self, utilisation: u64) {
        let all: u64 = self.kinds.iter().map(|kind| KINDS[*kind].0[0]).sum();
        let (mut used, mut memory) = (0, 0);
        let mut turned_away = 0;
        while used * 100 < all * utilisation && turned_away < 20_000 {
            let before = self.running.len();
            let (class, wanted) = self.arrive(500);
            for placed in 0..wanted {
                if let Some((node, _)) = self.optimiser.place(class) {
                    self.running.push((class, node));
                    continue;
                }
                turned_away += wanted - placed;
                break;
            }
            let placed = (self.running.len() - before) as u64;
            let demand = self.optimiser.class(class).demand.0;
            used += placed * demand[0];
            memory += placed * demand[1];
            self.wanted[class.0 as usize] = placed as u32;
            if placed == 0 {
                self.optimiser.remove_class(class);
                self.free.push(class);
            } else {
                self.optimiser.set_wanted(class, placed as u32, self.waiting[class.0 as usize]);
            }
        }
        let all_memory: u64 = self.kinds.iter().map(|kind| KINDS[*kind].0[1]).sum();
        eprintln!(
            "{} tasks of {} classes, {} shapes, cpu {} per mille full, memory {}, turned away {turned_away}",
            self.running.len(),
            self.wanted.len(),
            self.shapes.len(),
            used * 1_000 / all,
            memory * 1_000 / all_memory,
        );
    }
}

fn percentiles(mut all: Vec<u64>) -> String {
    all.sort_unstable();
    let at = |per_mille: usize| all[(all.len() * per_mille / 1_000).min(all.len() - 1)] / 1_000;
    let max = all[all.len() - 1] / 1_000;
    format!(
        "{{\"p50\":{}.{:03},\"p99\":{}.{:03},\"max\":{}.{:03}}}",
        at(500) / 1_000,
        at(500) % 1_000,
        at(990) / 1_000,
        at(990) % 1_000,
        max / 1_000,
        max % 1_000
    )
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1_024
}

// long: a report
fn main() {
    let arguments: BTreeMap<String, u64> = std::env::args()
        .skip(1)
        .filter_map(|argument| {
            argument.split_once('=').map(|(key, value)| (key.to_owned(), value.parse().expect("a number")))
        })
        .collect();
    let get = |key: &str, default: u64| arguments.get(key).copied().unwrap_or(default);
    let (machines, utilisation) = (get("machines", 12_500), get("utilisation", 90));
    let churn = get("churn", 100);
    let corners: Vec<(u32, i64)> = (0..=10).map(|tenth| (100 * tenth, 1_000 * i64::from(tenth * tenth))).collect();
    let curve = Curve::new(&corners).expect("convex");
    let mut world = World::new(machines, get("mean", 2_800), curve, get("seed", 1));
    let begun = Instant::now();
    world.fill(utilisation);
    eprintln!("fill took {:?}", begun.elapsed());

    let mut fast = Vec::new();
    for _ in 0..get("fast", 2_000) {
        let (class, _) = world.arrive(1);
        let begun = Instant::now();
        let placed = world.optimiser.place(class);
        fast.push(begun.elapsed().as_nanos() as u64);
        if let Some((node, _)) = placed {
            world.running.push((class, node));
            world.end();
        } else {
            world.optimiser.remove_class(class);
            world.wanted[class.0 as usize] = 0;
            world.free.push(class);
        }
    }

    let budget = Budget { iterations: get("iterations", 1) as u32, search: get("search", 2_000), ..Budget::default() };
    let begun = Instant::now();
    let first = world.optimiser.round(budget);
    eprintln!(
        "first round took {:?}: {:?} iterations {} flow steps {} steps {}",
        begun.elapsed(),
        (first.cost, first.bound),
        first.iterations,
        first.flow_steps,
        first.steps
    );
    let (mut rounds, mut certified, mut moves, mut regret) = (Vec::new(), 0, 0, 0);
    for round in 0..get("rounds", 100) {
        (0..churn).for_each(|_| world.end());
        let mut left = churn;
        while left > 0 {
            left -= u64::from(world.arrive(left).1);
        }
        let begun = Instant::now();
        let done = world.optimiser.round(budget);
        rounds.push(begun.elapsed().as_nanos() as u64);
        world.running.extend(done.placed.iter().map(|placed| (placed.class, placed.node)));
        certified += u64::from(done.bound.is_some());
        moves += done.proposals.iter().map(|proposal| proposal.moves.len()).sum::<usize>();
        regret += done.regret().unwrap_or(0) * 1_000_000 / done.cost.max(1);
        if round < get("show", 0) {
            eprintln!(
                "{:?} cost {} bound {:?} regret {:?} it {} flow {} steps {} placed {} proposals {}",
                begun.elapsed(),
                done.cost,
                done.bound,
                done.regret(),
                done.iterations,
                done.flow_steps,
                done.steps,
                done.placed.len(),
                done.proposals.len()
            );
        }
    }
    println!(
        "{{\"fast_path_ms\":{},\"round_ms\":{},\"rounds\":{},\"certified_rounds\":{certified},\"regret_ppm\":{},\"rss_mb\":{},\"moves\":{moves},\"tasks\":{}}}",
        percentiles(fast),
        percentiles(rounds.clone()),
        rounds.len(),
        regret / rounds.len().max(1) as i128,
        resident_mb(),
        world.running.len(),
    );
}
