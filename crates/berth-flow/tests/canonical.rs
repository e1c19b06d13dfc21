//! A canonical solve makes of equal problems equal networks, wherever they come from: a server that takes over from
//! another, or that replays a journal, goes on exactly as the other would have.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use berth_flow::{Arc, ArcId, Budget, Change, Network, NodeId, Outcome, Problem};
use proptest::prelude::*;
use support::kept::Kept;
use support::strategies::{MEDIUM, SMALL, any_instance};
use support::wishes::{Pair, Wish, any_batches};

/// What a network answers, by id, without the ids that are free.
fn answer(network: &Network) -> (Vec<Option<i64>>, Vec<Option<i64>>) {
    let flows = network.arcs().map(|(id, _)| network.flow(id)).collect();
    (flows, network.nodes().map(|(id, _)| network.price(id)).collect())
}

/// Solves them canonically; they must agree then, in the work that it took as well.
fn agree(one: &mut Network, other: &mut Network) -> Result<(), TestCaseError> {
    let told = one.solve_canonically(Budget::UNLIMITED);
    prop_assert_eq!(&other.solve_canonically(Budget::UNLIMITED), &told);
    if matches!(told, Outcome::Optimal { .. }) {
        prop_assert_eq!(answer(one), answer(other));
    }
    Ok(())
}

/// A network that declares the same under the same ids, by the shortest way: what is not there is added, and removed
/// again.
fn made_anew(kept: &Kept) -> Network {
    let mut network = Network::new();
    let nodes: Vec<(NodeId, i64)> = kept.nodes().collect();
    let arcs: Vec<(ArcId, Arc)> = kept.arcs().collect();
    let mut spare = Vec::new();
    for id in 0..nodes.last().map_or(0, |(id, _)| id.0 + 1) {
        match nodes.binary_search_by_key(&NodeId(id), |(id, _)| *id) {
            Ok(at) => assert_eq!(network.add_node(nodes[at].1).unwrap(), NodeId(id)),
            Err(_) => spare.push(Change::RemoveNode { node: network.add_node(0).unwrap() }),
        }
    }
    for id in 0..arcs.last().map_or(0, |(id, _)| id.0 + 1) {
        match arcs.binary_search_by_key(&ArcId(id), |(id, _)| *id) {
            Ok(at) => assert_eq!(network.add_arc(arcs[at].1).unwrap(), ArcId(id)),
            Err(_) => {
                let arc = network.add_arc(arcs[0].1).unwrap();
                spare.push(Change::RemoveArc { arc });
            }
        }
    }
    for change in spare {
        network.apply(&change).unwrap();
    }
    network
}

proptest! {
    #[test]
    fn a_detour_is_forgotten(instance in any_instance(MEDIUM), detours in 0_usize..6) {
        let mut plain = Network::from_instance(&instance).unwrap();
        let mut travelled = plain.clone();
        for detour in 0..detours {
            travelled.resolve(Budget::UNLIMITED);
            let node = travelled.add_node(3).unwrap();
            travelled.add_arc(Arc { tail: node, head: NodeId(0), lower: 0, capacity: 9, cost: 1 }).unwrap();
            if let Some(arc) = instance.arcs.get(detour) {
                let id = ArcId(detour as u32);
                travelled.set_cost(id, arc.cost + 5).unwrap();
                travelled.resolve(Budget::UNLIMITED);
                travelled.set_cost(id, arc.cost).unwrap();
            }
            travelled.remove_node(node).unwrap();
        }
        agree(&mut travelled, &mut plain)?;
    }

    #[test]
    fn any_history_is_forgotten_and_what_follows_is_the_same(
        start in any_instance(SMALL), batches in any_batches(), later in any_batches(),
        portions in prop::collection::vec(prop_oneof![Just(u64::MAX), Just(0), 1_u64..100], 12),
    ) {
        let mut pair = Pair::new(&start);
        pair.network.keep_journal();
        for (batch, portion) in batches.iter().zip(&portions) {
            pair.apply(batch);
            pair.network.resolve(Budget(*portion));
        }
        // One that was replayed without a solve, and one that knows nothing but the problem.
        let mut replayed = Network::from_instance(&start).unwrap();
        for change in pair.network.take_journal() {
            replayed.apply(&change).unwrap();
        }
        let mut anew = made_anew(&pair.kept);
        agree(&mut replayed, &mut pair.network)?;
        let mut others = [replayed, anew.clone()];
        agree(&mut anew, &mut pair.network)?;
        others[1] = anew;
        pair.kept.forget_history();
        for batch in &later {
            follow(&mut pair, batch, &mut others)?;
        }
    }
}

/// All of them take the same changes, and answer the same.
fn follow(pair: &mut Pair, batch: &[Wish], others: &mut [Network]) -> Result<(), TestCaseError> {
    pair.network.take_journal();
    pair.apply(batch);
    let changes = pair.network.take_journal();
    let told = pair.network.resolve(Budget::UNLIMITED);
    for other in others {
        for change in &changes {
            other.apply(change).unwrap();
        }
        prop_assert!(other.nodes().eq(pair.network.nodes()) && other.arcs().eq(pair.network.arcs()));
        prop_assert_eq!(&other.resolve(Budget::UNLIMITED), &told);
        prop_assert_eq!(answer(other), answer(&pair.network));
    }
    Ok(())
}
