//! A change of the policy while everything runs.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::BTreeSet;

use berth_control::*;
use berth_model::testkit::{machine, service};
use berth_model::*;
use world::World;

fn set(policy: BuiltIn) -> Command {
    Command::SetPolicy { spec: Box::new(policy.spec()), after: None }
}

/// Three empty nodes.
fn three() -> World {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(machine(name).cpu(8_000));
    }
    w
}

/// On how many nodes the job's allocations are.
fn spread_over(w: &World, job: &str) -> usize {
    let nodes = w.live(job).into_iter().map(|line| line.rsplit(' ').next().unwrap().to_owned());
    nodes.collect::<BTreeSet<_>>().len()
}

fn explanations(w: &World, job: &str) -> Vec<Explanation> {
    let job = world::job_id(job);
    let allocs = w.core.job_allocs(&job).into_iter();
    allocs.filter_map(|alloc| Some(alloc.placement()?.explanation.clone())).collect()
}

#[test]
fn what_is_placed_next_is_placed_by_it_and_what_runs_stays() {
    let mut w = three();
    w.run(service("before").count(3).cpu(500).min_ready(0)).unwrap();
    w.pass(2_000);
    let before = w.live("before");
    let outcome = w.answer(set(BuiltIn::Pack)).unwrap();
    let name: PolicyName = "pack".parse().unwrap();
    assert_eq!(outcome, CommandOutcome::Policy { name: name.clone(), version: PolicyVersion(1), changed: true });
    w.run(service("after").count(3).cpu(500).min_ready(0)).unwrap();
    w.pass(20_000);
    assert_eq!(w.live("before"), before);
    assert_eq!((spread_over(&w, "before"), spread_over(&w, "after")), (3, 1));
    assert!(
        explanations(&w, "before").iter().all(|why| why.policy.as_str() == "balanced" && why.policy_version.0 == 0)
    );
    assert!(explanations(&w, "after").iter().all(|why| why.policy == name && why.policy_version.0 == 1));
}

#[test]
fn it_is_durable_before_it_is_acknowledged_and_has_a_cause() {
    let mut w = three();
    w.store_stalled = true;
    let request = w.ask("k", set(BuiltIn::Pack));
    assert!(!w.replies.contains_key(&request));
    w.store_stalled = false;
    w.drain();
    assert!(w.replies[&request].is_ok());
    let stored = w.disk.policy.clone().unwrap();
    assert_eq!((stored.policy.version, stored.policy.spec.name.as_str()), (PolicyVersion(1), "pack"));
    let told = w.core.ledger(..).find(|entry| matches!(entry.what, Happening::PolicyChanged { .. })).unwrap();
    assert_eq!(told.cause, stored.changed.1);
    assert!(matches!(told.cause, Cause::Command(_)));
}

#[test]
fn a_new_leader_goes_on_with_it() {
    let mut w = three();
    w.answer(set(BuiltIn::Pack)).unwrap();
    w.lead_anew();
    w.pass(2_000);
    assert_eq!(w.core.policy().version, PolicyVersion(1));
    w.run(service("web").count(3).cpu(500).min_ready(0)).unwrap();
    assert_eq!(spread_over(&w, "web"), 1);
}

#[test]
fn versions_count_up_and_the_same_again_changes_nothing() {
    let mut w = three();
    let version = |outcome| match outcome {
        CommandOutcome::Policy { version, changed, .. } => (version.0, changed),
        other => panic!("{other:?}"),
    };
    // To set what the server's setting says is a change: from then on it holds, whatever the setting.
    assert_eq!(version(w.answer(set(BuiltIn::Balanced)).unwrap()), (1, true));
    assert_eq!(version(w.answer(set(BuiltIn::Balanced)).unwrap()), (1, false));
    assert_eq!(version(w.answer(set(BuiltIn::Spread)).unwrap()), (2, true));
    let after = |after, policy: BuiltIn| Command::SetPolicy {
        spec: Box::new(policy.spec()),
        after: Some(PolicyVersion(after)),
    };
    let before = w.core.state_digest();
    assert_eq!(w.answer(after(1, BuiltIn::Pack)), Err(Refusal::PolicyChanged { version: PolicyVersion(2) }));
    assert_eq!(w.core.state_digest(), before);
    assert_eq!(version(w.answer(after(2, BuiltIn::Pack)).unwrap()), (3, true));
}

#[test]
fn what_breaks_a_rule_is_refused_with_a_place() {
    let mut w = three();
    let before = w.core.state_digest();
    let mut refused = |change: fn(&mut PolicySpec)| {
        let mut spec = PolicySpec { name: "mine".parse().unwrap(), ..BuiltIn::Balanced.spec() };
        change(&mut spec);
        match w.answer(Command::SetPolicy { spec: Box::new(spec), after: None }) {
            Err(Refusal::Invalid { place, remedy, .. }) => (place, remedy),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(|spec| spec.name = "pack".parse().unwrap()).0, "policy");
    assert_eq!(refused(|spec| spec.weights = Weights::NONE).0, "weights");
    let too_much = refused(|spec| spec.weights = spec.weights.with(Term::Spread, 1_000_000_001));
    assert_eq!(too_much, ("weights".to_owned(), "use 0 to 1000000000".to_owned()));
    let none = refused(|spec| spec.balance = BalanceMode::On { at_most: 0 });
    let too_many = refused(|spec| spec.balance = BalanceMode::On { at_most: 1_001 });
    assert_eq!((none.0.as_str(), too_many.1.as_str()), ("balance_max", "use 1 to 1000"));
    let in_pool = refused(|spec| spec.pools = [("gpu".parse().unwrap(), Weights::NONE)].into());
    assert_eq!(in_pool.0, "pools.gpu.weights");
    let many = refused(|spec| {
        spec.pools = (0..65).map(|n| (format!("p{n}").parse().unwrap(), BuiltIn::Pack.weights())).collect();
    });
    assert_eq!(many.0, "pools");
    assert_eq!(w.core.state_digest(), before);
}

#[test]
fn the_optimiser_looks_again_by_the_new_weights() {
    let mut w = World::new();
    w.node(machine("a").cpu(8_000));
    w.run(service("web").count(4).cpu(1_000).min_ready(0)).unwrap();
    w.pass(2_000);
    w.node(machine("b").cpu(8_000));
    w.pass(10_000);
    assert_ne!(w.core.balance().unwrap().1.proposals, [], "even load asks for moves");
    w.answer(set(BuiltIn::Pack)).unwrap();
    assert_eq!(w.core.balance(), None, "what was found out by other weights says nothing");
    w.pass(10_000);
    assert_eq!(w.core.balance().unwrap().1.proposals, [], "full nodes are fine");
}

#[test]
fn the_setting_holds_until_somebody_sets_one() {
    let mut w = World::with(Settings { policy: BuiltIn::Pack, ..Settings::default() });
    for name in ["a", "b", "c"] {
        w.node(machine(name).cpu(8_000));
    }
    w.run(service("one").count(3).cpu(500).min_ready(0)).unwrap();
    assert_eq!((spread_over(&w, "one"), w.core.policy().version.0), (1, 0));
    w.answer(set(BuiltIn::Spread)).unwrap();
    w.run(service("two").count(3).cpu(500).min_ready(0)).unwrap();
    assert_eq!(spread_over(&w, "two"), 3);
}
