//! Prices are known up to a constant, and that constant drifts while costs and nodes come and go. With costs at the limit it
//! comes to the ends of 64 bits within a hundred rounds; answers stay exact.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use berth_flow::{ArcId, Budget, Network, NodeId, Outcome, Problem, UNLIMITED, certify};
use support::{arc, instance};

/// About as much as an arc may cost in so small a network.
const MUCH: i64 = 1 << 55;
const ROUNDS: u32 = 500;
/// Where a price is so far from 0 that few rounds more would end in an overflow.
const FAR: i64 = 1 << 61;

fn resolve(network: &mut Network) -> i128 {
    let Outcome::Optimal { cost, .. } = network.resolve(Budget::UNLIMITED) else { panic!("there is an optimum") };
    assert_eq!(certify(network, &network.solution()).unwrap().cost, cost);
    cost
}

/// The price furthest from 0, without its sign.
fn farthest(network: &Network) -> i64 {
    network.nodes().map(|(id, _)| network.price(id).unwrap().abs()).max().unwrap()
}

/// Rounds that drift; the price furthest from 0 that there ever was.
fn drift(mut network: Network, mut round: impl FnMut(&mut Network, u32)) -> i64 {
    resolve(&mut network);
    let mut most = 0;
    for at in 0..ROUNDS {
        round(&mut network, at);
        most = most.max(farthest(&network));
    }
    most
}

#[test]
fn paths_that_turn_round_raise_prices_no_further_than_is_safe() {
    // What stands by makes the rest little, which is repaired.
    let ways = [(0, 1, 0, 1, MUCH), (1, 0, 0, 1, MUCH), (2, 3, 0, 1000, 0)];
    let there_and_back = instance(&[1, -1, 1000, -1000], &ways);
    let most = drift(Network::from_instance(&there_and_back).unwrap(), |network, at| {
        let supply = if at % 2 == 0 { -1 } else { 1 };
        network.set_supply(NodeId(0), supply).unwrap();
        network.set_supply(NodeId(1), -supply).unwrap();
        assert_eq!(resolve(network), MUCH.into());
    });
    assert!((FAR..2 * FAR).contains(&most), "prices came to {most}");
}

#[test]
fn arcs_without_a_capacity_lower_prices_no_further_than_is_safe() {
    let circle = instance(&[0, 0], &[(0, 1, 0, UNLIMITED, MUCH), (1, 0, 0, UNLIMITED, -MUCH)]);
    let most = drift(Network::from_instance(&circle).unwrap(), |network, at| {
        let cost = if at % 2 == 0 { -MUCH } else { MUCH };
        network.set_cost(ArcId(0), cost).unwrap();
        network.set_cost(ArcId(1), -cost).unwrap();
        assert_eq!(resolve(network), 0);
    });
    assert!((FAR..2 * FAR).contains(&most), "prices came to {most}");
}

/// Two nodes that take turns to go and to come back, priced by the other. `between` is done before the new one can be
/// entered.
fn take_turns(gain: i64, between: fn(&mut Network)) {
    let ways = |from: NodeId, to: NodeId| [arc(from.0, to.0, 0, 1, gain), arc(to.0, from.0, 0, 1, 2 * MUCH)];
    let (one, other) = (NodeId(0), NodeId(1));
    let mut network = Network::new();
    assert_eq!([network.add_node(0).unwrap(), network.add_node(0).unwrap()], [one, other]);
    for arc in ways(other, one) {
        network.add_arc(arc).unwrap();
    }
    let most = drift(network, |network, at| {
        let (goes, stays) = if at % 2 == 0 { (one, other) } else { (other, one) };
        network.remove_node(goes).unwrap();
        assert_eq!(network.add_node(0).unwrap(), goes);
        let [out, back] = ways(goes, stays);
        network.add_arc(out).unwrap();
        between(network);
        network.add_arc(back).unwrap();
        assert_eq!(resolve(network), 0);
    });
    assert!(most < 2 * FAR, "prices came to {most}");
}

#[test]
fn nodes_that_come_and_go_are_priced_no_further_away_than_is_safe() {
    for gain in [-MUCH, MUCH] {
        take_turns(gain, |_| {});
        take_turns(gain, |network| assert_eq!(resolve(network), 0));
    }
}
