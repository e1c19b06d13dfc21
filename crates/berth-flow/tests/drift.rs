//! A thousand rounds of churn on a small cluster: as exact, and as little work, at the end as at the beginning.
//! `examples/churn` measures the same with a large one.

#[path = "../examples/generate/random.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod random;
#[path = "../examples/churn/world.rs"]
mod world;

use berth_flow::Budget;
use world::{Against, Shape, World};

const SHAPE: Shape = Shape { machines: 80, racks: 8, slots: 4 };
const ROUNDS: usize = 1000;
/// The rounds at the end whose work is compared.
const COMPARED: usize = 100;
/// Tasks that end in a round, and tasks that arrive.
const CHURN: usize = 3;

/// The steps of as many rounds. Each is certified, every fiftieth compared with a solve from scratch.
fn rounds(world: &mut World, count: usize) -> u64 {
    let mut steps = 0;
    for round in 0..count {
        world.churn(CHURN);
        steps += world.resolve();
        world.check(if round % 50 == 0 { Against::Scratch } else { Against::Certificate });
    }
    steps
}

fn churn(util: u64) {
    let mut old = World::new(SHAPE, SHAPE.tasks(util), 7);
    old.network.solve(Budget::UNLIMITED);
    rounds(&mut old, ROUNDS - COMPARED);
    // Rounds differ: the last ones are compared with the same ones of a network that has no history.
    let mut young = old.clone();
    young.network.solve_canonically(Budget::UNLIMITED);
    let (old, young) = (rounds(&mut old, COMPARED), rounds(&mut young, COMPARED));
    assert!(old <= young + young / 10, "{old} steps after {ROUNDS} rounds, {young} without their history");
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
