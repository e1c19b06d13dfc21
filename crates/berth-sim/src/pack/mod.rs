//! The packing experiment: pods arrive one after the other, each is placed at once or turned away for good, and what
//! counts is how much of the GPUs is allocated in the end. Placing is production's. With [`Batches`] pods are placed some
//! at a time, and some of those that run may move with each batch.

mod batch;
mod cluster;
mod curve;
mod trace;

use berth_model::BuiltIn;
use serde::Serialize;

pub use crate::table::TraceError;
pub use curve::Cell;
pub use trace::{Gpus, TraceNode, TracePod, TracePods, read_nodes, read_order, read_pods};

use batch::Placed;
use cluster::Cluster;
use curve::Curve;

/// What the policy is told of the shapes that will arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Knowledge {
    /// How often each shape comes among all pods of the list, as with FGD.
    #[default]
    Known,
    /// Nothing: it learns from what has arrived.
    Learned,
}

/// How many arrivals are placed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// Arrivals in a batch, at least one.
    pub arrivals: usize,
    /// The most running allocations that move with a batch.
    pub moves: usize,
}

impl Batches {
    /// Each arrival by itself, and nothing moves.
    pub const SINGLE: Batches = Batches { arrivals: 1, moves: 0 };
}

/// What came of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Packing {
    /// How many pods were placed.
    pub placed: u64,
    /// How many fitted nowhere when they arrived.
    pub rejected: u64,
    /// How many times an allocation moved to another node.
    pub moves: u64,
    /// Allocated against arrived.
    pub cells: Vec<Cell>,
    /// For each arrival the node that it was first placed on, by its place in the list of nodes.
    #[serde(skip)]
    pub decisions: Vec<Option<usize>>,
}

/// Lets the pods arrive in this order. `seen` is told after each arrival.
pub fn pack(
    nodes: &[TraceNode],
    pods: &TracePods,
    order: &[usize],
    policy: BuiltIn,
    knowledge: Knowledge,
    batches: Batches,
    mut seen: impl FnMut(),
) -> Packing {
    let mut cluster = Cluster::new(nodes, policy);
    if knowledge == Knowledge::Known {
        pods.all().iter().for_each(|pod| cluster.expect(pod));
    }
    let capacity = nodes.iter().map(|node| u64::from(node.gpus) * 1_000).sum();
    let mut curve = Curve::new(capacity);
    let mut packing = Packing { placed: 0, rejected: 0, moves: 0, cells: Vec::new(), decisions: Vec::new() };
    let arriving: Vec<&TracePod> = order.iter().filter_map(|pod| pods.all().get(*pod)).collect();
    for batch in arriving.chunks(batches.arrivals.max(1)) {
        if knowledge == Knowledge::Learned {
            batch.iter().for_each(|pod| cluster.expect(pod));
        }
        let Placed { nodes, moves } = batch::place(&mut cluster, batch, batches.moves, &mut seen);
        packing.moves += moves;
        for (pod, node) in batch.iter().zip(&nodes) {
            let allocated = if node.is_some() { pod.gpu_milli() } else { 0 };
            curve.note(pod.gpu_milli(), allocated);
        }
        packing.decisions.extend(nodes);
    }
    let placed = packing.decisions.iter().flatten().count();
    packing.placed = placed as u64;
    packing.rejected = (packing.decisions.len() - placed) as u64;
    packing.cells = curve.cells();
    packing
}
