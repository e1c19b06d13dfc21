//! Many identical requests at once: they go where the policy says, and not all to the node that was best for the first.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::BTreeMap;

use berth_model::testkit::{machine, service};
use berth_model::*;
use world::World;

const NODES: usize = 100;

/// Nodes that are alike, with 4 cores each.
fn cluster(policy: BuiltIn) -> World {
    let mut w = World::with(berth_control::Settings { policy, ..berth_control::Settings::default() });
    for at in 0..NODES {
        w.node(machine(&format!("n{at:03}")));
    }
    w
}

/// How many nodes have how many allocations of jobs whose names begin so.
fn nodes_by_count(w: &World, jobs: &str) -> BTreeMap<usize, usize> {
    let mut by_node: BTreeMap<NodeId, usize> = w.core.nodes().keys().map(|node| (*node, 0)).collect();
    let ours = w.core.allocs().values().filter(|alloc| alloc.job.name.to_string().starts_with(jobs));
    for node in ours.filter_map(Alloc::occupies) {
        *by_node.entry(node).or_default() += 1;
    }
    let mut by_count = BTreeMap::new();
    for count in by_node.into_values() {
        *by_count.entry(count).or_default() += 1;
    }
    by_count
}

/// So many jobs of one allocation each, before any agent has said anything about the first.
fn burst(w: &mut World, requests: usize) {
    for nth in 0..requests {
        w.run(service(&format!("burst-{nth}")).cpu(1_000).memory(256)).unwrap();
    }
}

#[test]
fn a_burst_of_jobs_is_spread_evenly() {
    let mut w = cluster(BuiltIn::Balanced);
    burst(&mut w, NODES);
    assert_eq!(nodes_by_count(&w, "burst"), BTreeMap::from([(1, NODES)]));
}

#[test]
fn one_job_of_many_is_spread_evenly_as_far_as_it_goes() {
    let mut w = cluster(BuiltIn::Balanced);
    w.run(service("burst").count(250).cpu(1_000).memory(256)).unwrap();
    assert_eq!(nodes_by_count(&w, "burst"), BTreeMap::from([(2, 50), (3, 50)]));
}

#[test]
fn a_burst_fills_the_emptier_nodes_first() {
    let mut w = cluster(BuiltIn::Balanced);
    w.run(service("before").count(50).cpu(2_000).at_most(1, Domain::Node)).unwrap();
    w.reports();
    burst(&mut w, 100);
    assert_eq!(nodes_by_count(&w, "burst"), BTreeMap::from([(0, 50), (2, 50)]));
}

#[test]
fn a_burst_is_packed_where_the_policy_says_so() {
    let mut w = cluster(BuiltIn::Pack);
    burst(&mut w, NODES);
    assert_eq!(nodes_by_count(&w, "burst"), BTreeMap::from([(0, 75), (4, 25)]));
}
