//! What a network refuses, and that it is as it was then.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use berth_flow::{ArcId, Budget, Change, ChangeError, Instance, Network, NodeId, Outcome, Problem, UNLIMITED, certify};
use support::simple::truth;
use support::{arc, check, instance};

/// One arc that is used, and one that is not.
fn start() -> (Instance, Network) {
    let start = instance(&[2, -2], &[(0, 1, 0, 5, 1), (0, 1, 0, 5, 2)]);
    let mut network = Network::from_instance(&start).unwrap();
    network.solve(Budget::UNLIMITED);
    (start, network)
}

/// Refuses the change, and is then as it was: its problem, its answer, and what comes of further changes.
fn refused(change: Change) -> ChangeError {
    let (start, mut network) = start();
    let before = network.solution();
    let error = network.apply(&change).unwrap_err();
    assert!(network.nodes().eq(start.nodes()) && network.arcs().eq(start.arcs()), "{change:?} left a trace");
    assert_eq!(network.solution(), before);
    let outcome = network.resolve(Budget::UNLIMITED);
    assert!(matches!(outcome, Outcome::Optimal { cost: 2, .. }), "{outcome:?}");
    // Refused numbers use nothing up: the next ids, and as much of the limits as before.
    for change in [Change::AddNode { supply: 0 }, Change::AddArc(arc(2, 0, 0, UNLIMITED, 3))] {
        network.apply(&change).unwrap();
    }
    assert!(network.arcs().eq(start.arcs().chain([(ArcId(2), arc(2, 0, 0, UNLIMITED, 3))])));
    error
}

#[test]
fn what_is_not_there_cannot_be_changed() {
    let (node, arc_id) = (NodeId(2), ArcId(2));
    for change in [Change::RemoveNode { node }, Change::SetSupply { node, supply: 1 }] {
        assert_eq!(refused(change), ChangeError::UnknownNode(node));
    }
    for (tail, head) in [(0, 2), (2, 0), (2, 2)] {
        assert_eq!(refused(Change::AddArc(arc(tail, head, 0, 1, 1))), ChangeError::UnknownNode(node));
    }
    let bounds = Change::SetBounds { arc: arc_id, lower: 0, capacity: 1 };
    for change in [Change::RemoveArc { arc: arc_id }, bounds, Change::SetCost { arc: arc_id, cost: 1 }] {
        assert_eq!(refused(change), ChangeError::UnknownArc(arc_id));
    }
    let far = NodeId(u32::MAX);
    assert_eq!(refused(Change::RemoveNode { node: far }), ChangeError::UnknownNode(far));
    let far = ArcId(u32::MAX);
    assert_eq!(refused(Change::RemoveArc { arc: far }), ChangeError::UnknownArc(far));
}

#[test]
fn what_was_removed_is_not_there() {
    let (_, mut network) = start();
    network.apply(&Change::RemoveNode { node: NodeId(1) }).unwrap();
    let gone = ChangeError::UnknownNode(NodeId(1));
    assert_eq!(network.apply(&Change::RemoveNode { node: NodeId(1) }), Err(gone));
    assert_eq!(network.apply(&Change::RemoveArc { arc: ArcId(0) }), Err(ChangeError::UnknownArc(ArcId(0))));
    assert_eq!((network.flow(ArcId(0)), network.price(NodeId(1))), (None, None));
    assert_eq!((network.flow(ArcId(9)), network.price(NodeId(9))), (None, None));
}

#[test]
fn crossed_bounds_are_refused() {
    let crossed = ChangeError::BoundsCrossed { lower: 3, capacity: 2 };
    assert_eq!(refused(Change::AddArc(arc(0, 1, 3, 2, 1))), crossed);
    assert_eq!(refused(Change::SetBounds { arc: ArcId(0), lower: 3, capacity: 2 }), crossed);
}

#[test]
fn amounts_whose_sum_could_overflow_are_refused() {
    let (node, at) = (NodeId(0), ArcId(0));
    for amount in [i64::MIN, i64::MIN + 1, i64::MAX] {
        for change in [Change::AddNode { supply: amount }, Change::SetSupply { node, supply: amount }] {
            let error = refused(change);
            assert!(matches!(error, ChangeError::AmountTooLarge { .. }), "{change:?}: {error:?}");
        }
    }
    for (lower, capacity) in
        [(0, UNLIMITED - 1), (i64::MIN, 0), (i64::MIN, UNLIMITED), (i64::MIN, i64::MIN), (UNLIMITED, UNLIMITED)]
    {
        for change in [Change::AddArc(arc(0, 1, lower, capacity, 1)), Change::SetBounds { arc: at, lower, capacity }] {
            let error = refused(change);
            assert!(matches!(error, ChangeError::AmountTooLarge { .. }), "{change:?}: {error:?}");
        }
    }
}

#[test]
fn costs_whose_sum_could_overflow_are_refused() {
    for cost in [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX / 2] {
        for change in [Change::AddArc(arc(0, 1, 0, 1, cost)), Change::SetCost { arc: ArcId(0), cost }] {
            let error = refused(change);
            assert!(matches!(error, ChangeError::CostTooLarge { .. }), "{change:?}: {error:?}");
        }
    }
}

#[test]
fn many_amounts_are_refused_together_and_free_their_room_again() {
    let (_, mut network) = start();
    let huge = 1 << 59;
    let mut added = Vec::new();
    let error = loop {
        match network.apply(&Change::AddArc(arc(0, 1, 0, huge, 1))) {
            Ok(_) => added.push(ArcId(2 + added.len() as u32)),
            Err(error) => break error,
        }
        assert!(added.len() <= 16, "sums beyond 64 bits were let in");
    };
    assert!(matches!(error, ChangeError::AmountTooLarge { amount, .. } if amount == huge), "{error:?}");
    for _ in 0..3 {
        for &arc in added.iter().rev() {
            network.apply(&Change::RemoveArc { arc }).unwrap();
        }
        for &id in &added {
            network.apply(&Change::AddArc(arc(0, 1, 0, huge, 1))).unwrap();
            assert_eq!(network.arcs().last().unwrap().0, id);
        }
    }
}

#[test]
fn large_numbers_are_exact() {
    let (amount, cost) = (1 << 55, 1 << 50);
    let start = instance(
        &[amount, 0, -amount],
        &[(0, 1, 0, amount, cost), (1, 2, 0, UNLIMITED, cost), (0, 2, 0, 1, -cost), (0, 2, -1, 7, cost - 1)],
    );
    let mut network = Network::from_instance(&start).unwrap();
    let outcome = network.solve(Budget::UNLIMITED);
    check(&network, &outcome, &network.solution(), &truth(&start)).unwrap();
    assert_eq!(certify(&network, &network.solution()).unwrap().cost, network.cost());
    network.apply(&Change::SetBounds { arc: ArcId(1), lower: amount / 2, capacity: UNLIMITED }).unwrap();
    network.apply(&Change::SetBounds { arc: ArcId(2), lower: 0, capacity: amount / 2 }).unwrap();
    let outcome = network.resolve(Budget::UNLIMITED);
    let wanted = i128::from(cost) * i128::from(amount / 2);
    assert!(matches!(outcome, Outcome::Optimal { cost, .. } if cost == wanted), "{outcome:?}");
}

#[test]
fn a_broken_instance_is_no_network() {
    let broken = [
        (instance(&[0], &[(0, 1, 0, 1, 1)]), ChangeError::UnknownNode(NodeId(1))),
        (instance(&[0], &[(1, 0, 0, 1, 1)]), ChangeError::UnknownNode(NodeId(1))),
        (instance(&[0], &[(0, 0, 2, 1, 1)]), ChangeError::BoundsCrossed { lower: 2, capacity: 1 }),
    ];
    for (instance, error) in broken {
        assert_eq!(Network::from_instance(&instance).unwrap_err(), error);
    }
    assert!(matches!(
        Network::from_instance(&instance(&[i64::MAX], &[])),
        Err(ChangeError::AmountTooLarge { amount: i64::MAX, .. })
    ));
}
