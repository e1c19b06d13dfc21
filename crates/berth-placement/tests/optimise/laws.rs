//! What holds for every cluster.

use berth_placement::optimise::{
    Budget, Class, ClassIndex, Curve, Gang, Limits, Node, NodeIndex, Optimiser, Round, Shape, ShapeIndex,
};
use proptest::prelude::*;

use crate::support::{Cluster, Like, Random, amounts, assignment, cluster, judge, optimiser};

/// Enough to try everything on a few nodes.
const THOROUGH: Budget =
    Budget { iterations: 8, flow: berth_flow::Budget::UNLIMITED, search: 1_000_000, proposals: 100 };

fn any_like() -> impl Strategy<Value = Like> {
    (2_u64..14, 1_u64..60, 1_u64..8, 50_u64..150, 0_u64..100).prop_map(|(nodes, tasks, units, load, running)| Like {
        nodes,
        tasks,
        units,
        load,
        running,
    })
}

fn tiny() -> impl Strategy<Value = Like> {
    (2_u64..4, 1_u64..6, 50_u64..150, prop_oneof![Just(0_u64), Just(60)])
        .prop_map(|(nodes, tasks, load, running)| Like { nodes, tasks, units: 2, load, running })
}

/// What a round leaves, once all that it proposes is done.
fn follow(optimiser: &mut Optimiser, cluster: &mut Cluster, round: &Round) {
    cluster.running = assignment(cluster, round, &round.proposals);
    for (class, nodes) in (0..).zip(&cluster.running) {
        for (node, running) in (0..).zip(nodes) {
            optimiser.set_running(ClassIndex(class), NodeIndex(node), *running);
        }
    }
}

/// The cheapest of all assignments, by trying them.
fn brute(cluster: &Cluster) -> i128 {
    fn try_all(cluster: &Cluster, class: usize, left: u32, from: usize, units: &mut Vec<Vec<u32>>) -> Option<i128> {
        let Some(entry) = cluster.classes.get(class) else { return Some(judge(cluster, units)) };
        let next = cluster.classes.get(class + 1).map_or(0, |next| next.wanted);
        let mut best = try_all(cluster, class + 1, next, 0, units);
        let nodes = if left > 0 { from..cluster.nodes.len() } else { 0..0 };
        for node in nodes {
            let used = cluster.classes.iter().zip(units.iter()).flat_map(|(c, row)| vec![c.demand; row[node] as usize]);
            let used = used.fold(entry.demand, |sum, demand| sum.plus(&demand));
            let base = cluster.shapes[entry.shape.0 as usize].costs[node];
            if used.fits(&cluster.nodes[node].capacity) && base.is_some() {
                units[class][node] += 1;
                let found = try_all(cluster, class, left - 1, node, units);
                best = best.into_iter().chain(found).min();
                units[class][node] -= 1;
            }
        }
        best
    }
    let mut units = vec![vec![0; cluster.nodes.len()]; cluster.classes.len()];
    try_all(cluster, 0, cluster.classes[0].wanted, 0, &mut units).expect("all may wait")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// `judge` panics where a node is too full, and where a unit must not be.
    #[test]
    fn every_assignment_fits_and_costs_what_is_said(seed in any::<u64>(), like in any_like()) {
        let cluster = cluster(seed, like);
        let round = optimiser(&cluster).round(Budget::default());
        let cost = judge(&cluster, &assignment(&cluster, &round, &[]));
        prop_assert_eq!(cost, round.cost);
        let gains: i64 = round.proposals.iter().map(|proposal| proposal.gain).sum();
        let after = judge(&cluster, &assignment(&cluster, &round, &round.proposals));
        prop_assert_eq!(cost - i128::from(gains), after);
        prop_assert!(round.proposals.iter().all(|proposal| proposal.gain > 0));
        prop_assert!(round.bound.unwrap() <= after, "bound {:?} cost {}", round.bound, after);
    }

    #[test]
    fn a_few_nodes_are_solved_to_the_optimum(seed in any::<u64>(), like in tiny()) {
        let cluster = cluster(seed, like);
        let round = optimiser(&cluster).round(THOROUGH);
        prop_assert_eq!(judge(&cluster, &assignment(&cluster, &round, &round.proposals)), brute(&cluster));
    }

    #[test]
    fn more_capacity_never_costs_more(seed in any::<u64>(), like in tiny(), more in 1_u64..20_000) {
        let mut cluster = cluster(seed, like);
        // Use that costs is a share of capacity, so that more of it can cost more to those that need little.
        cluster.curve = Curve::flat();
        cluster.corners = vec![(0, 0), (1_000, 0)];
        let before = optimiser(&cluster).round(THOROUGH);
        let before = judge(&cluster, &assignment(&cluster, &before, &before.proposals));
        cluster.nodes[0].capacity = cluster.nodes[0].capacity.plus(&amounts(&[more, more / 2, more]));
        let after = optimiser(&cluster).round(THOROUGH);
        prop_assert!(judge(&cluster, &assignment(&cluster, &after, &after.proposals)) <= before);
    }

    #[test]
    fn the_order_of_what_is_told_does_not_matter(seed in any::<u64>(), like in any_like()) {
        let cluster = cluster(seed, like);
        let mut other = Optimiser::new(cluster.curve.clone());
        for (at, node) in (0..).zip(&cluster.nodes).collect::<Vec<_>>().into_iter().rev() {
            other.put_node(NodeIndex(at), *node);
        }
        for at in (0..cluster.classes.len()).rev() {
            let class = cluster.classes[at];
            other.put_shape(class.shape, cluster.shapes[class.shape.0 as usize].clone());
            other.put_class(ClassIndex(at as u32), class);
            for node in (0..cluster.nodes.len()).rev().filter(|node| cluster.running[at][*node] > 0) {
                other.set_running(ClassIndex(at as u32), NodeIndex(node as u32), cluster.running[at][node]);
            }
        }
        let mut first = optimiser(&cluster);
        first.rebuild();
        other.rebuild();
        let (one, two) = (first.round(Budget::default()), other.round(Budget::default()));
        prop_assert_eq!(one, two);
    }

    #[test]
    fn what_is_solved_stays_as_it_is(seed in any::<u64>(), like in tiny()) {
        let mut cluster = cluster(seed, like);
        let mut optimiser = optimiser(&cluster);
        let round = optimiser.round(THOROUGH);
        follow(&mut optimiser, &mut cluster, &round);
        let again = optimiser.round(THOROUGH);
        prop_assert_eq!((again.placed, again.proposals), (vec![], vec![]));
    }

    /// After any history, a rebuilt optimiser does what one does that was only told how things are.
    #[test]
    fn a_rebuilt_optimiser_is_as_a_new_one(seed in any::<u64>(), like in any_like()) {
        let mut cluster = cluster(seed, like);
        let mut old = optimiser(&cluster);
        let random = &mut Random(seed ^ 1);
        for _ in 0..4 {
            let round = old.round(Budget::default());
            follow(&mut old, &mut cluster, &round);
            churn(random, &mut old, &mut cluster);
        }
        let mut new = optimiser(&cluster);
        old.rebuild();
        new.rebuild();
        prop_assert_eq!(old.cost(), new.cost());
        prop_assert_eq!(old.round(Budget::default()), new.round(Budget::default()));
    }

    #[test]
    fn limits_hold_and_gangs_are_whole(seed in any::<u64>(), like in any_like()) {
        let mut cluster = cluster(seed, Like { running: 0, ..like });
        for (at, class) in cluster.classes.iter_mut().enumerate() {
            match at % 3 {
                0 => class.limits = Limits { node: 1, rack: 2, zone: 3 },
                1 => class.gang = Gang::Together,
                _ => {}
            }
        }
        let round = optimiser(&cluster).round(Budget::default());
        for proposals in [&[][..], &round.proposals] {
            let units = assignment(&cluster, &round, proposals);
            judge(&cluster, &units);
            for (class, row) in cluster.classes.iter().zip(&units) {
                let within = |most: u32, place: &dyn Fn(usize) -> u32| {
                    (0..row.len()).all(|at| (0..row.len()).filter(|b| place(*b) == place(at)).map(|b| row[b]).sum::<u32>() <= most)
                };
                prop_assert!(within(class.limits.node, &|at| at as u32));
                prop_assert!(within(class.limits.rack, &|at| cluster.nodes[at].rack));
                prop_assert!(within(class.limits.zone, &|at| cluster.nodes[at].zone));
                let placed: u32 = row.iter().sum();
                prop_assert!(class.gang == Gang::Apart || placed == 0 || placed == class.wanted);
            }
        }
    }
}

/// Every placement is dear to the next one at once, so a burst does not herd.
#[test]
fn a_burst_on_the_fast_path_spreads() {
    let corners: Vec<(u32, i64)> = (0..=10).map(|tenth| (100 * tenth, 1_000 * i64::from(tenth * tenth))).collect();
    let mut optimiser = Optimiser::new(Curve::new(&corners).expect("convex"));
    let (capacity, demand) = (amounts(&[16_000, 32_000, 0]), amounts(&[1_000, 2_000, 0]));
    for at in 0..1_000 {
        optimiser.put_node(NodeIndex(at), Node { capacity, slots: 100, rack: at / 40, zone: at / 250 });
    }
    optimiser.put_shape(ShapeIndex(0), Shape { least: demand, most: demand, costs: vec![Some(0); 1_000] });
    let (limits, gang) = (Limits::NONE, Gang::Apart);
    let class =
        Class { shape: ShapeIndex(0), demand, wanted: 5_000, waiting: 9_000, moving: 0, crowding: 1, limits, gang };
    optimiser.put_class(ClassIndex(0), class);
    let mut there = vec![0; 1_000];
    for _ in 0..5_000 {
        let (node, _) = optimiser.place(ClassIndex(0)).expect("there is room");
        there[node.0 as usize] += 1;
    }
    assert_eq!(there, vec![5; 1_000]);
}

/// Some units end, some counts change, a node comes back with another size.
fn churn(random: &mut Random, optimiser: &mut Optimiser, cluster: &mut Cluster) {
    for class in 0..cluster.classes.len() {
        let id = ClassIndex(class as u32);
        for node in 0..cluster.nodes.len() {
            if cluster.running[class][node] > 0 && random.chance(20) {
                cluster.running[class][node] -= 1;
                optimiser.set_running(id, NodeIndex(node as u32), cluster.running[class][node]);
            }
        }
        let running: u32 = cluster.running[class].iter().sum();
        cluster.classes[class].wanted = running + random.below(3) as u32;
        optimiser.set_wanted(id, cluster.classes[class].wanted, cluster.classes[class].waiting);
    }
    let node = random.below(cluster.nodes.len() as u64) as usize;
    cluster.running.iter_mut().for_each(|row| row[node] = 0);
    cluster.nodes[node].capacity = amounts(&[random.between(8_000, 40_000), random.between(16_000, 64_000), 20_000]);
    optimiser.remove_node(NodeIndex(node as u32));
    optimiser.put_node(NodeIndex(node as u32), cluster.nodes[node]);
}
