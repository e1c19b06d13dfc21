//! Checks tell when an allocation is ready, and so when an update goes on, a drain takes the old one away, and who counts.

mod world;

use berth_control::{Event, RequestId};
use berth_model::testkit::{Spec, machine, service};
use berth_model::*;
use world::{Fate, World};

fn web() -> Spec {
    // What runs for so long is ready without checks: nobody waits that long here.
    service("web").count(3).min_ready(3_600_000).check(CheckKind::Readiness)
}

fn cluster() -> World {
    let mut w = World::new();
    for name in ["a", "b"] {
        w.node(machine(name).cpu(4_000));
    }
    w
}

fn count(w: &World, what: &str) -> usize {
    w.live("web").iter().filter(|line| line.contains(what)).count()
}

/// What has been written down, as the names of happenings.
fn told(w: &World, what: fn(&Happening) -> bool) -> usize {
    w.disk.ledger.values().filter(|entry| what(&entry.what)).count()
}

#[test]
fn an_allocation_is_ready_when_its_checks_pass_and_not_by_the_time_it_has_run() {
    let mut w = cluster();
    w.fates.insert("web".to_owned(), Fate::Ail);
    w.run(web()).unwrap();
    w.pass(30_000);
    assert_eq!((count(&w, "v1 running"), count(&w, "ready")), (3, 0), "{:?}", w.live("web"));
    w.fates.clear();
    w.pass(2_000);
    assert_eq!(count(&w, "v1 ready"), 3, "{:?}", w.live("web"));
}

#[test]
fn one_that_begins_to_fail_is_not_ready_until_it_passes_again_and_the_ledger_says_why() {
    let mut w = cluster();
    w.run(web()).unwrap();
    w.pass(5_000);
    let one = w.core.allocs().values().next().unwrap().id;
    w.fates.insert(one.to_string(), Fate::Ail);
    w.pass(2_000);
    assert_eq!((count(&w, "ready"), count(&w, "running")), (2, 1), "{:?}", w.live("web"));
    let why = |what: &Happening| matches!(what, Happening::CheckFailing { output, .. } if output == "ill");
    assert_eq!(told(&w, why), 1);
    w.lead_anew();
    w.pass(60_000);
    assert_eq!((count(&w, "ready"), count(&w, "running")), (2, 1), "a new leader knows it too");
    w.fates.clear();
    w.pass(2_000);
    assert_eq!(count(&w, "ready"), 3);
    assert_eq!(told(&w, |what| matches!(what, Happening::AllocReady { .. })), 4);
}

#[test]
fn liveness_says_nothing_of_being_ready() {
    let mut w = cluster();
    w.fates.insert("web".to_owned(), Fate::Ail);
    w.run(service("web").min_ready(1_000).check(CheckKind::Liveness)).unwrap();
    w.pass(5_000);
    assert_eq!(count(&w, "ready"), 1);
}

#[test]
fn an_update_whose_checks_fail_harms_no_more_than_its_budget_and_keeps_the_old() {
    let mut w = cluster();
    w.run(web()).unwrap();
    w.pass(5_000);
    w.fates.insert("web v2".to_owned(), Fate::Ail);
    w.run(web().command("/bin/new")).unwrap();
    for _ in 0..60 {
        w.pass(1_000);
        assert_eq!((count(&w, "v1 ready"), count(&w, "v2")), (3, 1), "{:?}", w.live("web"));
    }
    w.fates.clear();
    w.pass(10_000);
    assert_eq!((count(&w, "v2 ready"), count(&w, "v1")), (3, 0), "{:?}", w.live("web"));
}

#[test]
fn one_that_fails_for_good_costs_its_part_of_the_budget_and_holds_up_no_more() {
    let mut w = cluster();
    let web = |release: &str| web().count(4).max_parallel(2).command(release);
    w.run(web("/bin/one")).unwrap();
    w.pass(5_000);
    let one = w.core.allocs().values().next().unwrap().clone();
    w.fates.insert(one.id.to_string(), Fate::Ail);
    w.pass(2_000);
    // The one that is ill is in nobody's way: it is replaced like the others, or one of them with it.
    w.run(web("/bin/two")).unwrap();
    w.pass(30_000);
    assert_eq!((count(&w, "v2 ready"), count(&w, "v1")), (4, 0), "{:?}", w.live("web"));
    // With one instance of the new version that never passes, the others are updated one at a time.
    w.fates.clear();
    w.run(web("/bin/three")).unwrap();
    let first = w.core.allocs().values().find(|alloc| alloc.version == JobVersion(3)).unwrap().id;
    w.fates.insert(first.to_string(), Fate::Ail);
    w.pass(30_000);
    assert_eq!((count(&w, "v3 ready"), count(&w, "v3 running")), (3, 1), "{:?}", w.live("web"));
}

#[test]
fn a_plan_is_carried_out_while_something_else_fails_its_checks() {
    let mut w = cluster();
    w.fates.insert("web".to_owned(), Fate::Ail);
    w.run(web()).unwrap();
    let other = || service("other").count(3).min_ready(0);
    w.run(other()).unwrap();
    w.pass(10_000);
    let command = Command::Run(Box::new(other().command("/bin/new").0));
    let principal = Principal("root".to_owned());
    let plan = w.core.plan(w.now, &principal, &PlanRequest::Command(command.clone())).unwrap();
    let (namespace, key) = (Namespace::default(), IdempotencyKey("planned".to_owned()));
    let request = CommandRequest { principal, namespace, key, plan: Some(plan.id), command };
    w.event(Event::Command { request: RequestId(99), command: Box::new(request) });
    w.pass(5_000);
    assert!(w.live("other").iter().all(|line| line.contains("v2 ready")), "{:?}", w.live("other"));
}

#[test]
fn a_drain_takes_nothing_away_before_its_replacement_passes() {
    let mut w = cluster();
    w.run(web().count(1)).unwrap();
    w.pass(5_000);
    let node = w.core.allocs().values().next().unwrap().placement().unwrap().node;
    let old = w.live("web");
    w.fates.insert("web".to_owned(), Fate::Ail);
    let id = w.core.allocs().values().next().unwrap().id;
    w.fates.insert(id.to_string(), Fate::Run);
    w.answer(Command::Drain { nodes: [node].into(), deadline: None }).unwrap();
    w.pass(60_000);
    assert!(w.live("web").contains(&old[0]), "{:?}", w.live("web"));
    w.fates.clear();
    w.pass(5_000);
    assert_eq!((w.live("web").len(), count(&w, "ready")), (1, 1));
    assert!(!w.live("web").contains(&old[0]));
}
