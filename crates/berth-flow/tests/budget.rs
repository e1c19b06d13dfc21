//! Work that is limited says honestly how far it came, and goes on from there, also when the problem changes meanwhile.

#[path = "../examples/generate/random.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod random;
#[path = "../examples/churn/world.rs"]
#[expect(dead_code, reason = "other programs use the rest")]
mod world;

use berth_flow::{Budget, Outcome, Problem};
use world::{Against, Shape, World};

const SHAPE: Shape = Shape { machines: 80, racks: 8, slots: 4 };
const PORTION: u64 = 300;

/// One portion: its steps, and the units that are left, if any.
fn portion(world: &mut World) -> (u64, i64) {
    match world.network.resolve(Budget(PORTION)) {
        Outcome::Unfinished { unrouted, steps } => (steps, unrouted),
        Outcome::Optimal { steps, .. } => (steps, 0),
        outcome => panic!("every task can wait, but {outcome:?}"),
    }
}

/// Units that leave nodes so far, and no arc carries what it cannot.
fn routed(world: &World) -> i64 {
    let mut rest: Vec<i64> = world.network.nodes().map(|(_, supply)| supply.max(0)).collect();
    for (id, arc) in world.network.arcs() {
        let flow = world.network.flow(id).expect("it is there");
        assert!((arc.lower..=arc.capacity).contains(&flow), "{id} carries {flow}");
        if let Some(supply) = rest.get_mut(arc.tail.0 as usize).filter(|supply| **supply > 0) {
            *supply -= flow;
        }
    }
    assert!(rest.iter().all(|rest| *rest >= 0), "more leaves a task than it has");
    SHAPE.tasks(99).cast_signed() - rest.iter().sum::<i64>()
}

#[test]
fn portions_come_nearer_each_time_and_to_the_same_end() {
    let mut world = World::new(SHAPE, SHAPE.tasks(99), 3);
    let mut left = SHAPE.tasks(99).cast_signed();
    let (mut portions, mut steps) = (0, 0);
    while left > 0 {
        let (took, unrouted) = portion(&mut world);
        assert!(unrouted < left, "{unrouted} units are left, and {left} were before");
        assert_eq!(routed(&world), SHAPE.tasks(99).cast_signed() - unrouted, "what is told is what flows");
        (left, portions, steps) = (unrouted, portions + 1, steps + took);
    }
    assert!(portions > 10, "{portions} portions are no test");
    world.check(Against::Scratch);
    let whole = World::new(SHAPE, SHAPE.tasks(99), 3).resolve();
    assert!(steps <= 2 * whole, "{steps} steps in portions, {whole} at once");
}

#[test]
fn what_changes_between_portions_is_taken_in() {
    let mut world = World::new(SHAPE, SHAPE.tasks(99), 3);
    for _ in 0..20 {
        portion(&mut world);
        world.churn(5);
    }
    world.resolve();
    world.check(Against::Scratch);
}
