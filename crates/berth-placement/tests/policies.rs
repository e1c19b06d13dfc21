//! Policies: each one that Berth brings along does what it says, pools have weights of their own, and weights are what counts.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use berth_model::testkit::{Machine, Spec, batch, machine, service};
use berth_model::{
    AllocId, BuiltIn, DecisionId, Incarnation, NodeId, POOL, Placement, Policy, PolicySpec, PolicyVersion, Term,
    Weights,
};
use berth_placement::{Board, Class, Eligibility, Want, place};
use proptest::prelude::*;

const LIFE: Incarnation = Incarnation(1);

fn board(machines: &[Machine]) -> Board {
    let mut board = Board::default();
    for (counter, machine) in (1..).zip(machines) {
        board.put_node(NodeId::new(LIFE, counter), &machine.0, Eligibility::Ready);
    }
    board
}

fn policy(weights: Weights) -> Policy {
    Policy { version: PolicyVersion(7), spec: PolicySpec { weights, ..BuiltIn::Balanced.spec() } }
}

/// Places one after the other, as if each were asked for alone.
fn put(board: &mut Board, spec: &Spec, from: u64, count: u64, policy: &Policy) -> Vec<Placement> {
    let class = Class { job: &spec.0, group: &spec.0.groups[0] };
    let one = |counter| {
        let alloc = AllocId::new(LIFE, counter);
        let want = Want { alloc, only: None, avoid: Vec::new(), leaving: None };
        let mut outcome = place(board, class, &[want], policy, DecisionId::new(LIFE, 1));
        outcome.placed.pop().map(|(_, placement)| placement)
    };
    (from..from + count).filter_map(one).collect()
}

fn nodes(placed: &[Placement]) -> Vec<u64> {
    placed.iter().map(|placement| placement.node.counter).collect()
}

fn cost(placement: &Placement, term: Term) -> Option<i64> {
    placement.explanation.chosen.iter().find(|cost| cost.term == term).map(|cost| cost.cost)
}

proptest! {
    /// Small work on many alike nodes: `pack` uses as few as hold it, the others as many as there are.
    #[test]
    fn pack_uses_fewer_nodes_than_balanced_and_spread(machines in 2..12u64, count in 2..24u64) {
        let empty: Vec<Machine> = (0..machines).map(|at| machine(&format!("n{at}")).cpu(4_000)).collect();
        let used = |policy: BuiltIn| {
            let placed = put(&mut board(&empty), &batch("small").cpu(1_000), 1, count, &policy.policy());
            nodes(&placed).into_iter().collect::<BTreeSet<_>>().len() as u64
        };
        let placed = count.min(4 * machines);
        prop_assert_eq!(used(BuiltIn::Pack), placed.div_ceil(4));
        prop_assert_eq!(used(BuiltIn::Balanced), placed.min(machines));
        prop_assert_eq!(used(BuiltIn::Spread), placed.min(machines));
    }

    /// However full nodes are, `spread` puts an instance where fewest of its group are.
    #[test]
    fn spread_keeps_the_instances_of_a_group_apart(load in prop::collection::vec(0..8u64, 2..8), count in 1..10u64) {
        let machines: Vec<Machine> = (0..load.len()).map(|at| machine(&format!("n{at}")).cpu(100_000)).collect();
        let mut board = board(&machines);
        for (node, load) in (1..).zip(load) {
            let other = service(&format!("load-{node}")).cpu((load * 10_000).max(1));
            let class = Class { job: &other.0, group: &other.0.groups[0] };
            let only = Some(NodeId::new(LIFE, node));
            let want = Want { alloc: AllocId::new(LIFE, 100 + node), only, avoid: Vec::new(), leaving: None };
            place(&mut board, class, &[want], &BuiltIn::Spread.policy(), DecisionId::new(LIFE, 1));
        }
        let placed = put(&mut board, &service("web").cpu(100), 1, count, &BuiltIn::Spread.policy());
        for chosen in nodes(&placed).chunks(machines.len()) {
            prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
        }
    }

    /// A thousand times all weights is the same policy.
    #[test]
    fn only_proportions_count(fullness in 0..5u32, emptiness in 0..5u32, same_group in 0..1_000u32, count in 1..12u64) {
        let weights = |times| {
            let weights = Weights::NONE.with(Term::Utilisation, times * fullness).with(Term::Emptiness, times * emptiness);
            weights.with(Term::SameGroup, times * same_group)
        };
        let machines: Vec<Machine> = (1..5).map(|at| machine(&format!("n{at}")).cpu(1_000 * at)).collect();
        let chosen = |times| {
            let (mut board, policy) = (board(&machines), policy(weights(times)));
            nodes(&put(&mut board, &service("web").cpu(300), 1, count, &policy))
        };
        prop_assert_eq!(chosen(1), chosen(1_000));
    }
}

#[test]
fn balanced_weighs_instances_of_a_group_against_load() {
    // The second instance is better off beside the first than on a node that is fuller by more than half.
    let mut board = board(&[machine("empty").cpu(100_000), machine("full").cpu(100_000)]);
    let load = service("load").cpu(80_000);
    let class = Class { job: &load.0, group: &load.0.groups[0] };
    let only = Some(NodeId::new(LIFE, 2));
    let want = Want { alloc: AllocId::new(LIFE, 100), only, avoid: Vec::new(), leaving: None };
    place(&mut board, class, &[want], &BuiltIn::Balanced.policy(), DecisionId::new(LIFE, 1));
    let mut other = board.clone();
    let web = service("web").cpu(1_000);
    assert_eq!(nodes(&put(&mut board, &web, 1, 2, &BuiltIn::Balanced.policy())), [1, 1]);
    assert_eq!(nodes(&put(&mut other, &web, 1, 2, &BuiltIn::Spread.policy())), [1, 2]);
}

#[test]
fn fragmentation_leaves_whole_devices_free() {
    // One half of each of two devices, where whole ones are asked for too.
    let machines =
        [machine("a").device("gpu", "a0", "m").device("gpu", "a1", "m"), machine("b").device("gpu", "b0", "m")];
    let (half, whole) = (batch("half").device_share("gpu", "gpu", 500), batch("whole").devices("gpu", "gpu", 1));
    let placed_whole = |policy: BuiltIn| {
        let mut board = board(&machines);
        for (spec, weight) in [(&half, 2), (&whole, 2)] {
            board.expect(Class { job: &spec.0, group: &spec.0.groups[0] }, weight);
        }
        put(&mut board, &half, 1, 2, &policy.policy());
        put(&mut board, &whole, 10, 3, &policy.policy()).len()
    };
    assert_eq!(placed_whole(BuiltIn::Fragmentation), 2);
    assert_eq!(placed_whole(BuiltIn::Spread), 1, "the halves are on different nodes");
}

/// Two nodes of a pool and two of none.
fn pooled() -> Board {
    let in_pool = |name| machine(name).cpu(4_000).attribute(POOL, "tight");
    board(&[machine("a").cpu(4_000), machine("b").cpu(4_000), in_pool("c"), in_pool("d")])
}

fn tight(pool: BuiltIn) -> Policy {
    let spec = PolicySpec { pools: [("tight".parse().unwrap(), pool.weights())].into(), ..BuiltIn::Balanced.spec() };
    Policy { version: PolicyVersion(3), spec }
}

#[test]
fn a_pool_has_weights_of_its_own() {
    let in_pool = batch("inside").cpu(1_000).constraint(POOL, berth_model::Operator::Is("tight".to_owned()));
    let outside = batch("outside").cpu(1_000).constraint(POOL, berth_model::Operator::Unset);
    let (mut board, policy) = (pooled(), tight(BuiltIn::Pack));
    let placed = put(&mut board, &in_pool, 1, 4, &policy);
    assert_eq!(nodes(&placed), [3, 3, 3, 3]);
    assert_eq!(cost(&placed[0], Term::Emptiness), Some(750));
    assert_eq!(cost(&placed[0], Term::Utilisation), None);
    assert_eq!(nodes(&put(&mut board, &outside, 10, 4, &policy)), [1, 2, 1, 2]);
    assert_eq!((placed[0].explanation.policy.as_str(), placed[0].explanation.policy_version.0), ("balanced", 3));
}

#[test]
fn what_rules_cost_in_a_part_of_the_cluster_has_the_weight_of_the_pool() {
    // Rack r1 holds nodes of both: the rule costs there what each node's own pool says.
    let node = |name: &str| machine(name).cpu(4_000).attribute(berth_model::Domain::RACK, "r1");
    let mut board = board(&[node("a"), node("b").attribute(POOL, "tight")]);
    let mut spec = service("web").cpu(1_000);
    spec.0.groups[0].rules.spread = vec![berth_model::Spread {
        over: berth_model::Domain::rack(),
        weight: berth_model::Weight(100),
        targets: [].into(),
    }];
    let mut policy = tight(BuiltIn::Balanced);
    let weights = BuiltIn::Balanced.weights().with(Term::Spread, 50);
    policy.spec.pools = [("tight".parse().unwrap(), weights)].into();
    let placed = put(&mut board, &spec, 1, 1, &policy);
    let (_, runner_up) = placed[0].explanation.runner_up.clone().unwrap();
    let there = runner_up.iter().find(|cost| cost.term == Term::Spread).unwrap().cost;
    assert_eq!(nodes(&placed), [1]);
    assert_eq!(Some(there), cost(&placed[0], Term::Spread).map(|cost| 50 * cost));
    assert!(there > 0);
}

#[test]
fn a_term_without_weight_does_not_count_and_is_not_told() {
    let weights = BuiltIn::Balanced.weights().with(Term::Preference, 0);
    let mut spec = service("web").cpu(1_000);
    let constraint =
        berth_model::Constraint { attribute: "label.disk".to_owned(), operator: berth_model::Operator::Set };
    spec.0.groups[0].rules.preferences = vec![berth_model::Preference { constraint, weight: berth_model::Weight(900) }];
    let machines = [machine("a").cpu(4_000), machine("b").cpu(4_000).attribute("label.disk", "ssd")];
    let chosen = |weights| put(&mut board(&machines), &spec, 1, 1, &policy(weights)).pop().unwrap();
    let (with, without) = (chosen(BuiltIn::Balanced.weights()), chosen(weights));
    assert_eq!((with.node.counter, cost(&with, Term::Preference)), (2, Some(0)));
    assert_eq!((without.node.counter, cost(&without, Term::Preference)), (1, None));
}
