//! The optimiser against a mixed integer program of the same problem.
#![expect(clippy::disallowed_types, clippy::float_arithmetic, reason = "the oracle calculates with floats")]

use good_lp::{Expression, Solution, SolverModel, Variable, constraint, microlp, variable, variables};

use berth_placement::optimise::{Budget, DIMENSIONS};

use crate::support::{Cluster, Like, assignment, cluster, judge, optimiser};

/// The cost of the best assignment.
fn optimum(cluster: &Cluster) -> f64 {
    let mut vars = variables!();
    let mut cost = Expression::default();
    let mut rules = Vec::new();
    let mut used: Vec<[Expression; DIMENSIONS]> = cluster.nodes.iter().map(|_| Default::default()).collect();
    for (at, class) in cluster.classes.iter().enumerate() {
        let mut placed = Expression::default();
        for (node, base) in cluster.shapes[class.shape.0 as usize].costs.iter().enumerate() {
            let running = cluster.running[at][node];
            let most = if base.is_some() { class.wanted } else { running };
            // The first unit, the second, …: each costs more than the one before.
            let units: Vec<Variable> = (0..most).map(|_| vars.add(variable().binary())).collect();
            for (before, unit) in units.iter().enumerate() {
                let stays = if (before as u32) < running { class.moving } else { 0 };
                let own = base.unwrap_or(0) + class.crowding * before as i64 - stays;
                cost += own as f64 * *unit;
                placed += *unit;
                for (sum, amount) in used[node].iter_mut().zip(class.demand.0) {
                    *sum += amount as f64 / 1_000.0 * *unit;
                }
            }
            units.windows(2).for_each(|pair| rules.push(constraint!(pair[1] <= pair[0])));
            cost += f64::from(running) * class.moving as f64;
        }
        cost += class.waiting as f64 * (f64::from(class.wanted) - placed.clone());
        rules.push(constraint!(placed <= f64::from(class.wanted)));
    }
    for (node, used) in cluster.nodes.iter().zip(used) {
        for (at, used) in used.into_iter().enumerate().filter(|(at, _)| node.capacity.0[*at] > 0) {
            let mut parts = Expression::default();
            for pair in cluster.corners.windows(2) {
                let width = f64::from(pair[1].0 - pair[0].0) * node.capacity.0[at] as f64 / 1_000_000.0;
                let part = vars.add(variable().min(0.0).max(width));
                cost += (pair[1].1 - pair[0].1) as f64 / width * part;
                parts += part;
            }
            rules.push(constraint!(parts == used));
        }
    }
    let mut model = vars.minimise(cost.clone()).using(microlp);
    for rule in rules {
        model = model.with(rule);
    }
    model.solve().expect("everything may wait").eval(&cost)
}

/// The instance of a seed: room for all, or not quite, with and without work that runs already.
fn instance(seed: u64) -> Cluster {
    let (load, running) = [(90, 0), (105, 0), (105, 40), (120, 70)][(seed % 4) as usize];
    cluster(seed, Like { nodes: 6, tasks: 20, units: 4, load, running })
}

/// The optima of the instances, by their seeds, as the integer program found them.
fn optima() -> Vec<(u64, i64)> {
    let lines = include_str!("optima.txt").lines();
    lines
        .map(|line| line.split_once(' ').expect("seed and cost"))
        .map(|(seed, cost)| (seed.parse().expect("a seed"), cost.parse().expect("a cost")))
        .collect()
}

/// How far above the optimum, in millionths of it, the optimiser is.
fn excess(seed: u64, best: i64) -> i64 {
    let cluster = instance(seed);
    let round = optimiser(&cluster).round(Budget { proposals: 100, search: 2_000_000, ..Budget::default() });
    let cost = judge(&cluster, &assignment(&cluster, &round, &round.proposals));
    let excess = i64::try_from((cost - i128::from(best)) * 1_000_000 / i128::from(best)).expect("small");
    let bound = round.bound.expect("the budget suffices");
    assert!(bound <= i128::from(best), "seed {seed}: the bound is above the optimum");
    // Use is rounded up by us, not by the oracle.
    assert!(cost >= i128::from(best) - 100, "seed {seed}: the oracle is worse");
    println!("{seed} cost {cost} bound {} excess {excess}", bound);
    excess
}

/// Whether this is `make test-long`, which takes all two hundred problems.
#[expect(clippy::disallowed_methods, reason = "how much is tested depends on the caller")]
fn all() -> bool {
    std::env::var_os("BERTH_ORACLE_ALL").is_some()
}

#[test]
fn small_vector_problems_are_solved_almost_to_the_optimum() {
    let optima = optima().into_iter().filter(|(seed, _)| *seed < 100 || all());
    let all: Vec<i64> = optima.map(|(seed, best)| excess(seed, best)).collect();
    let (mean, worst) = (all.iter().sum::<i64>() / all.len() as i64, all.iter().max().unwrap());
    println!("mean {mean}, worst {worst} millionths above the optimum");
    assert!(mean <= 10_000 && *worst <= 50_000, "mean {mean}, worst {worst} millionths above the optimum");
}

/// Those that the integer program solves in a moment; all of them take it ten minutes.
#[test]
fn the_optima_are_those_of_an_integer_program() {
    let quick = |seed: u64| seed < 99 && seed % 12 == 1;
    for (seed, best) in optima().into_iter().filter(|(seed, _)| quick(*seed) || all()) {
        assert!((optimum(&instance(seed)) - best as f64).abs() <= 1.0, "seed {seed}");
    }
}
