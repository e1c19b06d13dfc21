//! The solver against brute force on tiny graphs and against a simple algorithm on medium ones.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use berth_flow::{Budget, Network, Outcome, Solution, UNLIMITED, certify, certify_cut};
use proptest::prelude::*;
use support::brute::least_cost;
use support::simple::truth;
use support::strategies::{MEDIUM, TINY, any_instance};
use support::{check, instance};

/// Solves it and holds the outcome against the truth.
fn solved(instance: &berth_flow::Instance) -> Result<(Network, Outcome), String> {
    let mut network = Network::from_instance(instance).map_err(|error| format!("{error:?}"))?;
    let outcome = network.solve(Budget::UNLIMITED);
    check(&network, &outcome, &network.solution(), &truth(instance))?;
    check(instance, &outcome, &network.solution(), &truth(instance))?;
    Ok((network, outcome))
}

proptest! {
    #[test]
    fn the_simple_algorithm_finds_what_brute_force_does(instance in any_instance(TINY)) {
        let truth = truth(&instance);
        if truth.cycle.is_none() {
            prop_assert_eq!(truth.cost, least_cost(&instance));
        }
        if let Some(cost) = truth.cost {
            let solution = Solution { flows: truth.flows, prices: truth.prices };
            prop_assert_eq!(certify(&instance, &solution).unwrap().cost, cost);
        }
    }

    #[test]
    fn tiny_instances_are_solved(instance in any_instance(TINY)) {
        solved(&instance).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn medium_instances_are_solved(instance in any_instance(MEDIUM)) {
        solved(&instance).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn equal_inputs_give_equal_bytes(instance in any_instance(MEDIUM)) {
        let (one, outcome) = solved(&instance).map_err(TestCaseError::fail)?;
        let (other, again) = solved(&instance).map_err(TestCaseError::fail)?;
        prop_assert_eq!(outcome, again);
        prop_assert_eq!(one.solution(), other.solution());
    }
}

/// What a solve of this instance comes to: its cost, or a word.
fn told(supplies: &[i64], arcs: &[(u32, u32, i64, i64, i64)]) -> String {
    let (_, outcome) = solved(&instance(supplies, arcs)).unwrap();
    match outcome {
        Outcome::Optimal { cost, .. } => cost.to_string(),
        Outcome::Infeasible { .. } => "infeasible".to_owned(),
        Outcome::Unbounded { .. } => "unbounded".to_owned(),
        Outcome::Unfinished { .. } => "unfinished".to_owned(),
    }
}

#[test]
fn a_network_of_nothing_costs_nothing() {
    assert_eq!(told(&[], &[]), "0");
    assert_eq!(told(&[0, 0], &[]), "0");
}

#[test]
fn a_disconnected_node_must_have_no_supply() {
    assert_eq!(told(&[1, 0, -1], &[(0, 2, 0, 1, 7)]), "7");
    assert_eq!(told(&[1, 1, -2], &[(0, 2, 0, 2, 7)]), "infeasible");
    assert_eq!(told(&[1, -1, -1], &[(0, 2, 0, 2, 7)]), "infeasible");
}

#[test]
fn what_is_not_balanced_is_infeasible() {
    assert_eq!(told(&[1], &[]), "infeasible");
    assert_eq!(told(&[-1], &[]), "infeasible");
    assert_eq!(told(&[2, -1], &[(0, 1, 0, UNLIMITED, 0)]), "infeasible");
    assert_eq!(told(&[1, -2], &[(0, 1, 0, UNLIMITED, 0), (1, 0, 0, UNLIMITED, 0)]), "infeasible");
}

#[test]
fn what_misses_more_than_there_is_is_infeasible_where_paths_are_slow_too() {
    const UNITS: i64 = 1000;
    // Every path looks at all arcs of the one node between, until cost scaling takes over.
    let places = 2..2 + 2 * UNITS as u32;
    let supplies: Vec<i64> = [UNITS, 0].into_iter().chain(places.clone().map(|_| -1)).collect();
    let arcs: Vec<_> = [(0, 1, 0, UNITS, 0)].into_iter().chain(places.map(|to| (1, to, 0, 1, i64::from(to)))).collect();
    let instance = instance(&supplies, &arcs);
    let outcome = Network::from_instance(&instance).unwrap().solve(Budget::UNLIMITED);
    let Outcome::Infeasible { cut, steps } = outcome else { panic!("{outcome:?}") };
    certify_cut(&instance, &cut).unwrap();
    // A path for each unit would look at no fewer arcs than are left in the end.
    assert!(steps < (UNITS * UNITS) as u64, "{steps} steps: paths were not given up");
}

#[test]
fn a_self_loop_carries_what_pays() {
    assert_eq!(told(&[0], &[(0, 0, 0, 4, -3)]), "-12");
    assert_eq!(told(&[0], &[(0, 0, 2, 4, 3)]), "6");
    assert_eq!(told(&[0], &[(0, 0, -2, 4, 3)]), "-6");
    assert_eq!(told(&[0], &[(0, 0, 0, UNLIMITED, 3)]), "0");
    assert_eq!(told(&[0], &[(0, 0, 0, UNLIMITED, -3)]), "unbounded");
    assert_eq!(told(&[1], &[(0, 0, 0, UNLIMITED, 3)]), "infeasible");
}

#[test]
fn of_parallel_arcs_the_cheap_ones_fill_first() {
    assert_eq!(told(&[5, -5], &[(0, 1, 0, 2, 9), (0, 1, 0, 2, 1), (0, 1, 0, 2, 4)]), "19");
    assert_eq!(told(&[5, -5], &[(0, 1, 1, 2, 9), (0, 1, 0, 2, 1), (0, 1, 0, 2, 4)]), "19");
    assert_eq!(told(&[4, -4], &[(0, 1, 1, 2, 9), (0, 1, 0, 2, 1), (0, 1, 0, 2, 4)]), "15");
}

#[test]
fn nothing_passes_where_the_capacity_is_zero() {
    assert_eq!(told(&[1, -1], &[(0, 1, 0, 0, -9), (0, 1, 0, 1, 2)]), "2");
    assert_eq!(told(&[1, -1], &[(0, 1, 0, 0, 1)]), "infeasible");
    assert_eq!(told(&[3, -3], &[(0, 1, 3, 3, 5)]), "15");
}

#[test]
fn a_negative_cycle_is_used_as_far_as_it_goes() {
    assert_eq!(told(&[0, 0], &[(0, 1, 0, 3, -5), (1, 0, 0, UNLIMITED, 2)]), "-9");
    assert_eq!(told(&[0, 0], &[(0, 1, 0, UNLIMITED, -5), (1, 0, 0, UNLIMITED, 5)]), "0");
    assert_eq!(told(&[0, 0], &[(0, 1, 0, UNLIMITED, -5), (1, 0, 0, UNLIMITED, 4)]), "unbounded");
}

#[test]
fn flow_below_zero_runs_the_other_way() {
    assert_eq!(told(&[-2, 2], &[(0, 1, -5, 5, 3)]), "-6");
    assert_eq!(told(&[-6, 6], &[(0, 1, -5, 5, 3)]), "infeasible");
    assert_eq!(told(&[0, 0], &[(0, 1, -5, -2, 3), (0, 1, 0, 9, 1)]), "-10");
}
