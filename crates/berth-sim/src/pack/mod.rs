//! The packing experiment: pods arrive one after the other, each is placed at once or turned away for good, and what
//! counts is how much of the GPUs is allocated in the end. Placing is production's.

mod cluster;
mod curve;
mod trace;

use berth_model::Policy;
use serde::Serialize;

pub use curve::Cell;
pub use trace::{Gpus, TraceError, TraceNode, TracePod, TracePods, read_nodes, read_order, read_pods};

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

/// What came of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Packing {
    /// How many pods were placed.
    pub placed: u64,
    /// How many fitted nowhere when they arrived.
    pub rejected: u64,
    /// Allocated against arrived.
    pub cells: Vec<Cell>,
    /// For each arrival the node that it was placed on, by its place in the list of nodes.
    #[serde(skip)]
    pub decisions: Vec<Option<usize>>,
}

/// Lets the pods arrive in this order. `seen` is told after each arrival.
pub fn pack(
    nodes: &[TraceNode],
    pods: &TracePods,
    order: &[usize],
    policy: Policy,
    knowledge: Knowledge,
    mut seen: impl FnMut(),
) -> Packing {
    let mut cluster = Cluster::new(nodes, policy);
    if knowledge == Knowledge::Known {
        pods.all().iter().for_each(|pod| cluster.expect(pod));
    }
    let capacity = nodes.iter().map(|node| u64::from(node.gpus) * 1_000).sum();
    let mut curve = Curve::new(capacity);
    let mut packing = Packing { placed: 0, rejected: 0, cells: Vec::new(), decisions: Vec::new() };
    for pod in order.iter().filter_map(|pod| pods.all().get(*pod)) {
        if knowledge == Knowledge::Learned {
            cluster.expect(pod);
        }
        let asked = pod.gpu_milli();
        let node = cluster.place(pod);
        match node {
            Some(_) => {
                packing.placed += 1;
                curve.note(asked, asked);
            }
            None => {
                packing.rejected += 1;
                curve.note(asked, 0);
            }
        }
        packing.decisions.push(node);
        seen();
    }
    packing.cells = curve.cells();
    packing
}
