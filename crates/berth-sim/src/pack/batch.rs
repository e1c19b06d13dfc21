//! Placing a batch, and moving some of what runs with it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::cluster::Cluster;
use super::trace::TracePod;

/// What came of a batch.
pub(super) struct Placed {
    /// The node of each arrival.
    pub(super) nodes: Vec<Option<usize>>,
    /// How many allocations moved.
    pub(super) moves: u64,
}

/// Places the pods of a batch, the largest first; then makes at most so many moves: first those that make room for pods
/// that fitted nowhere, then those that leave most to what is yet to come.
pub(super) fn place(cluster: &mut Cluster, batch: &[&TracePod], most: usize, mut seen: impl FnMut()) -> Placed {
    let mut order: Vec<usize> = (0..batch.len()).collect();
    order.sort_by_key(|at| Reverse(batch[*at].gpu_milli()));
    let mut nodes = vec![None; batch.len()];
    for at in &order {
        nodes[*at] = cluster.place(batch[*at]);
        seen();
    }
    let mut left = most;
    make_room(cluster, batch, &order, &mut nodes, &mut left);
    while left > 0 && cluster.improve() {
        left -= 1;
    }
    if left < most {
        for at in order {
            nodes[at] = nodes[at].or_else(|| cluster.place(batch[at]));
        }
    }
    Placed { nodes, moves: (most - left) as u64 }
}

/// Makes moves, as many as are left, each for a pod that has no node yet.
fn make_room(
    cluster: &mut Cluster,
    batch: &[&TracePod],
    order: &[usize],
    nodes: &mut [Option<usize>],
    left: &mut usize,
) {
    // Pods that are alike are tried once: the search looks at all that runs.
    let mut hopeless = BTreeSet::new();
    for at in order {
        let pod = batch[*at];
        if *left == 0 || nodes[*at].is_some() || hopeless.contains(pod) {
            continue;
        }
        nodes[*at] = cluster.place(pod);
        if nodes[*at].is_none() && cluster.make_room(pod) {
            *left -= 1;
            nodes[*at] = cluster.place(pod);
        }
        if nodes[*at].is_none() {
            hopeless.insert(pod);
        }
    }
}
