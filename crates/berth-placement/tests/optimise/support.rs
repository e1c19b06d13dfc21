//! Small random clusters, and what every answer must keep.

use berth_placement::optimise::{
    Amounts, Class, ClassIndex, Curve, DIMENSIONS, Gang, Limits, Node, NodeIndex, Optimiser, Proposal, Round, Shape,
    ShapeIndex,
};

/// A splitmix64 generator: the same cases in every run.
pub struct Random(pub u64);

impl Random {
    /// Any number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }

    /// Any number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A cluster as data.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub curve: Curve,
    /// Corners of the curve, for oracles.
    pub corners: Vec<(u32, i64)>,
    pub nodes: Vec<Node>,
    pub shapes: Vec<Shape>,
    pub classes: Vec<Class>,
    /// By class and node.
    pub running: Vec<Vec<u32>>,
}

/// What random clusters are like.
#[derive(Clone, Copy, Debug)]
pub struct Like {
    pub nodes: u64,
    pub tasks: u64,
    /// The most units of a class.
    pub units: u64,
    /// Tasks demand about this much of all there is, in per cent.
    pub load: u64,
    /// Of a hundred, how many units run already.
    pub running: u64,
}

pub fn amounts(first: &[u64]) -> Amounts {
    let mut all = [0; DIMENSIONS];
    all[..first.len()].copy_from_slice(first);
    Amounts(all)
}

/// Any cluster like this.
pub fn cluster(seed: u64, like: Like) -> Cluster {
    let random = &mut Random(seed);
    let corners = match random.below(3) {
        0 => vec![(0, 0), (1_000, 0)],
        1 => vec![(0, 0), (500, 2_000), (800, 8_000), (1_000, 20_000)],
        _ => vec![(0, 0), (900, 1_000), (1_000, 4_000)],
    };
    let capacity = |random: &mut Random| [32_000, 64_000, 20_000].map(|all| all * random.between(2, 4) / 4);
    let nodes: Vec<Node> = (0..like.nodes)
        .map(|at| {
            let capacity = amounts(&capacity(random));
            Node { capacity, slots: 100, rack: (at / 2) as u32, zone: (at / 4) as u32 }
        })
        .collect();
    let mut cluster = Cluster {
        curve: Curve::new(&corners).expect("convex"),
        corners,
        nodes,
        shapes: vec![],
        classes: vec![],
        running: vec![],
    };
    let mean = 24_000 * like.nodes * like.load / 100 / like.tasks;
    let mut left = like.tasks;
    while left > 0 {
        let wanted = random.between(1, like.units).min(left);
        left -= wanted;
        add_class(random, &mut cluster, wanted as u32, mean);
    }
    run_some(random, &mut cluster, like.running);
    cluster
}

/// A class of a shape of its own: sizes are heavy-tailed, and its dimensions differ.
fn add_class(random: &mut Random, cluster: &mut Cluster, wanted: u32, mean: u64) {
    let size = mean * [25, 50, 75, 100, 150, 200, 300][random.below(7) as usize] / 116;
    let skewed = |random: &mut Random, scale: u64| (size * scale * random.between(40, 160) / 100 / 24).max(1);
    let demand = amounts(&[skewed(random, 24), skewed(random, 48), skewed(random, 15)]);
    let rare = random.chance(20);
    let cost = |random: &mut Random| (!(rare && random.chance(60))).then(|| random.below(400) as i64);
    let costs = cluster.nodes.iter().map(|_| cost(random)).collect();
    let priority = [1, 1, 1, 2, 4][random.below(5) as usize];
    let crowding = if random.chance(30) { random.between(100, 1_000) as i64 } else { 0 };
    cluster.classes.push(Class {
        shape: ShapeIndex(cluster.shapes.len() as u32),
        demand,
        wanted,
        waiting: priority * (5_000 + random.below(3_000) as i64 + (size as i64) * 2),
        moving: 200 + random.below(800) as i64,
        crowding,
        limits: Limits::NONE,
        gang: Gang::Apart,
    });
    cluster.shapes.push(Shape { least: demand, most: demand, costs });
    cluster.running.push(vec![0; cluster.nodes.len()]);
}

/// Puts some units anywhere that they fit.
fn run_some(random: &mut Random, cluster: &mut Cluster, percent: u64) {
    let mut free: Vec<Amounts> = cluster.nodes.iter().map(|node| node.capacity).collect();
    for (at, class) in cluster.classes.iter().enumerate() {
        for _ in 0..class.wanted {
            let node = random.below(cluster.nodes.len() as u64) as usize;
            let allowed = cluster.shapes[class.shape.0 as usize].costs[node].is_some();
            if random.chance(percent) && allowed && class.demand.fits(&free[node]) {
                free[node] = free[node].minus(&class.demand);
                cluster.running[at][node] += 1;
            }
        }
    }
}

/// An optimiser that was told all of a cluster.
pub fn optimiser(cluster: &Cluster) -> Optimiser {
    let mut optimiser = Optimiser::new(cluster.curve.clone());
    for (at, node) in (0..).zip(&cluster.nodes) {
        optimiser.put_node(NodeIndex(at), *node);
    }
    for (at, shape) in (0..).zip(&cluster.shapes) {
        optimiser.put_shape(ShapeIndex(at), shape.clone());
    }
    for (at, class) in (0..).zip(&cluster.classes) {
        optimiser.put_class(ClassIndex(at), *class);
    }
    for (class, nodes) in (0..).zip(&cluster.running) {
        for (node, running) in (0..).zip(nodes) {
            if *running > 0 {
                optimiser.set_running(ClassIndex(class), NodeIndex(node), *running);
            }
        }
    }
    optimiser
}

/// Where everything is after a round, with or without what it proposes.
pub fn assignment(cluster: &Cluster, round: &Round, proposals: &[Proposal]) -> Vec<Vec<u32>> {
    let mut units = cluster.running.clone();
    for placed in round.placed.iter().chain(proposals.iter().flat_map(|proposal| &proposal.placed)) {
        units[placed.class.0 as usize][placed.node.0 as usize] += 1;
    }
    for one in proposals.iter().flat_map(|proposal| &proposal.moves) {
        units[one.class.0 as usize][one.from.0 as usize] -= 1;
        if let Some(to) = one.to {
            units[one.class.0 as usize][to.0 as usize] += 1;
        }
    }
    units
}

/// What an assignment costs, from the definition; panics where it breaks a rule.
pub fn judge(cluster: &Cluster, units: &[Vec<u32>]) -> i128 {
    let mut cost = 0_i128;
    for (node, have) in cluster.nodes.iter().enumerate() {
        let mut used = Amounts::default();
        for (class, row) in cluster.classes.iter().zip(units) {
            (0..row[node]).for_each(|_| used = used.plus(&class.demand));
        }
        assert!(used.fits(&have.capacity), "node {node} is over its capacity");
        assert!(units.iter().map(|row| row[node]).sum::<u32>() <= have.slots, "node {node} has more units than slots");
        for (used, capacity) in used.0.into_iter().zip(have.capacity.0) {
            cost += use_cost(&cluster.corners, used, capacity);
        }
    }
    for ((class, row), running) in cluster.classes.iter().zip(units).zip(&cluster.running) {
        let placed: u32 = row.iter().sum();
        assert!(placed <= class.wanted.max(running.iter().sum()), "more units than wanted");
        cost += i128::from(class.wanted.saturating_sub(placed)) * i128::from(class.waiting);
        for (node, (units, running)) in row.iter().zip(running).enumerate() {
            let base = cluster.shapes[class.shape.0 as usize].costs[node];
            assert!(*units == 0 || base.is_some() || *running > 0, "a class where it must not be");
            let pairs = i64::from(*units) * (i64::from(*units) - 1) / 2;
            let left = i64::from(running.saturating_sub(*units));
            let sum = base.unwrap_or(0) * i64::from(*units) + class.crowding * pairs + class.moving * left;
            cost += i128::from(sum);
        }
    }
    cost
}

fn use_cost(corners: &[(u32, i64)], used: u64, capacity: u64) -> i128 {
    if used == 0 {
        return 0;
    }
    let thousandths = |corner: u32| i128::from(corner) * i128::from(capacity);
    let used = i128::from(used) * 1_000;
    let pair = corners.windows(2).find(|pair| used <= thousandths(pair[1].0)).expect("no more than all");
    let width = thousandths(pair[1].0) - thousandths(pair[0].0);
    let part = (used - thousandths(pair[0].0)) * i128::from(pair[1].1 - pair[0].1);
    i128::from(pair[0].1) + (part + width - 1) / width
}
