//! Random instances. Most have a flow, since the supplies are those of one; some are then disturbed.

use berth_flow::{Arc, Instance, UNLIMITED};
use proptest::prelude::*;

use super::arc;

/// What instances are made of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The most nodes.
    pub nodes: u32,
    /// The most arcs.
    pub arcs: usize,
    /// The most between the bounds of an arc.
    pub width: i64,
    /// The greatest cost.
    pub cost: i64,
    /// Of a hundred arcs, how many have no limit.
    pub unlimited: u32,
}

/// Few enough arcs to try every flow; an arc without a limit is rare, since there it takes many tries.
pub const TINY: Shape = Shape { nodes: 5, arcs: 8, width: 3, cost: 4, unlimited: 4 };
/// For the simple algorithm.
pub const MEDIUM: Shape = Shape { nodes: 50, arcs: 200, width: 12, cost: 30, unlimited: 8 };
/// For long sequences of changes.
pub const SMALL: Shape = Shape { nodes: 9, arcs: 24, width: 5, cost: 9, unlimited: 8 };

/// Any arc between `nodes` nodes, and a flow for it.
pub fn any_arc(shape: Shape, nodes: u32) -> impl Strategy<Value = (Arc, i64)> {
    let lower = prop_oneof![6 => Just(0), 1 => 1_i64..3, 1 => -3_i64..0];
    let capacity = (0..100_u32, 0..=shape.width);
    // Many equal costs, and free arcs, as in the graphs that matter.
    let cost = prop_oneof![2 => Just(0), 3 => 0..=shape.cost, 1 => -shape.cost..0];
    (0..nodes, 0..nodes, lower, capacity, cost, 0..=shape.width).prop_map(
        move |(tail, head, lower, (kind, width), cost, flow)| {
            let capacity = if kind < shape.unlimited { UNLIMITED } else { lower + width };
            (arc(tail, head, lower, capacity, cost), (lower + flow).min(capacity))
        },
    )
}

/// Any instance of a shape.
pub fn any_instance(shape: Shape) -> impl Strategy<Value = Instance> {
    (1..=shape.nodes).prop_flat_map(move |nodes| {
        let arcs = prop::collection::vec(any_arc(shape.clone(), nodes), 0..=shape.arcs);
        let disturbed = prop_oneof![4 => Just(0), 1 => -2_i64..3];
        (arcs, disturbed, 0..nodes, 0..nodes).prop_map(move |(arcs, amount, from, to)| {
            let mut supplies = vec![0; nodes as usize];
            for (arc, flow) in &arcs {
                supplies[arc.tail.0 as usize] += flow;
                supplies[arc.head.0 as usize] -= flow;
            }
            supplies[from as usize] += amount;
            // Now and then it stays without a balance.
            if from % 4 != 3 {
                supplies[to as usize] -= amount;
            }
            Instance { supplies, arcs: arcs.into_iter().map(|(arc, _)| arc).collect() }
        })
    })
}
