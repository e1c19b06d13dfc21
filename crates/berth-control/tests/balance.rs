//! What the core says of how far from the best its cluster is.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use berth_control::Settings;
use berth_model::testkit::{machine, service, system};

use berth_model::*;
use world::World;

/// Two nodes of which the second came when all was placed on the first.
fn lopsided(spec: testkit::Spec) -> World {
    let mut w = World::new();
    w.node(machine("a").cpu(8_000));
    w.run(spec).unwrap();
    w.pass(2_000);
    w.node(machine("b").cpu(8_000));
    w.pass(10_000);
    w
}

fn balance(w: &World) -> Balance {
    w.core.balance().expect("a round has been made").1.clone()
}

#[test]
fn what_would_be_better_off_on_a_new_node_is_proposed_and_nothing_is_moved() {
    let w = lopsided(service("web").count(4).cpu(1_000).min_ready(0));
    let before = balance(&w);
    assert!(before.regret().unwrap() > 0, "{before:?}");
    let moved: Vec<String> = before.proposals.iter().flat_map(|p| &p.moves).map(|m| w.node_name(m.to)).collect();
    assert_eq!(moved, ["b", "b"]);
    assert!(w.live("web").iter().all(|line| line.ends_with(" a")), "{:?}", w.live("web"));
}

#[test]
fn what_a_rule_about_others_forbids_is_not_proposed() {
    let spec = service("web").count(4).cpu(1_000).min_ready(0);
    let near = spec.relation(Sense::Near, "cache", Domain::Node, Strength::Required);
    let mut w = World::new();
    w.node(machine("a").cpu(8_000));
    w.run(service("cache").cpu(100).min_ready(0)).unwrap();
    w.run(near).unwrap();
    w.pass(2_000);
    w.node(machine("b").cpu(8_000));
    w.pass(10_000);
    let moves: Vec<Relocation> = balance(&w).proposals.into_iter().flat_map(|proposal| proposal.moves).collect();
    let job = |alloc: AllocId| w.core.allocs()[&alloc].job.name.to_string();
    assert!(moves.iter().all(|one| job(one.alloc) == "cache"), "{moves:?}");
}

#[test]
fn what_has_taken_over_from_an_older_version_can_be_moved() {
    let mut w = World::with(Settings { heartbeat_grace: Millis::from_secs(60), ..Settings::default() });
    w.node(machine("a").cpu(8_000));
    let web = |command| service("web").count(4).cpu(1_000).min_ready(0).command(command).max_parallel(4);
    w.run(web("/bin/one")).unwrap();
    w.pass(2_000);
    w.run(web("/bin/two")).unwrap();
    // The old ones take longer to stop than the optimiser waits before its next look.
    w.report("a");
    w.cut("a");
    w.pass(8_000);
    w.connect("a");
    w.pass(10_000);
    assert!(w.live("web").iter().all(|line| line.contains(" v2 ready")), "{:?}", w.live("web"));
    w.node(machine("b").cpu(8_000));
    w.pass(10_000);
    assert_ne!(balance(&w).proposals, []);
}

#[test]
fn jobs_that_run_everywhere_stay_where_they_are() {
    assert_eq!(balance(&lopsided(system("agent").cpu(3_000))).proposals, []);
}

#[test]
fn an_idle_cluster_has_no_rounds() {
    let mut w = lopsided(service("web").cpu(1_000).min_ready(0));
    let at = w.core.balance().unwrap().0;
    w.pass(60_000);
    assert_eq!(w.core.balance().unwrap().0, at);
}

#[test]
fn a_new_leader_finds_the_same() {
    let mut w = lopsided(service("web").count(4).cpu(1_000).min_ready(0));
    let before = balance(&w);
    w.lead_anew();
    w.pass(10_000);
    assert_eq!(balance(&w), before);
}
