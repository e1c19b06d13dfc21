//! Who waits is tried again where something has changed for it, and only there.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use berth_model::testkit::{machine, service};
use berth_model::*;
use world::World;

fn in_rack(node: &str, rack: &str) -> testkit::Machine {
    machine(node).attribute(Domain::RACK, rack)
}

#[test]
fn one_that_looks_for_a_job_follows_when_that_job_comes() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("web").relation(Sense::Near, "cache", Domain::Node, Strength::Required)).unwrap();
    w.pass(2_000);
    assert_eq!(w.live("web"), ["web[0] v1 waiting no-room -"]);
    w.run(service("cache")).unwrap();
    assert_eq!(w.live("web"), ["web[0] v1 placed a"], "in the step that placed the other");
}

#[test]
fn one_that_is_kept_out_of_a_rack_goes_to_any_node_of_it() {
    let mut w = World::new();
    w.node(in_rack("a", "r1"));
    w.node(in_rack("b", "r1").cpu(8_000));
    w.run(service("noisy").cpu(4_000)).unwrap();
    w.pass(2_000);
    let noisy_on = w.live("noisy")[0].rsplit(' ').next().unwrap().to_owned();
    w.run(service("quiet").cpu(1_000).relation(Sense::Apart, "noisy", Domain::rack(), Strength::Required)).unwrap();
    w.pass(2_000);
    assert_eq!(w.live("quiet"), ["quiet[0] v1 waiting no-room -"]);
    // What is left is taken, so that only the other node has room when the first one's is free again.
    w.run(service("filler").cpu(if noisy_on == "a" { 4_000 } else { 8_000 }).priority(90)).unwrap();
    w.stop("noisy").unwrap();
    w.pass(3_000);
    assert!(w.live("quiet")[0].contains("ready"), "{:?}", w.live("quiet"));
}

#[test]
fn what_took_a_victims_place_can_be_a_victim_when_it_has_proven_itself() {
    is_a_victim_again(false);
}

#[test]
fn the_next_leader_knows_who_has_to_prove_itself() {
    is_a_victim_again(true);
}

fn is_a_victim_again(next_leader: bool) {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    w.run(service("first").cpu(3_000).priority(80)).unwrap();
    w.pass(3_000);
    w.stop("first").unwrap();
    w.pass(3_000);
    assert_eq!(w.live("low"), ["low[0] v1 ready a"]);
    w.run(service("second").cpu(3_000).priority(80)).unwrap();
    w.pass(500_000);
    assert_eq!(w.live("second"), ["second[0] v1 waiting no-room -"], "low is spared for ten minutes");
    if next_leader {
        w.lead_anew();
    }
    w.pass(110_000);
    assert_eq!(w.live("second"), ["second[0] v1 ready a"], "nothing else has happened since");
}

#[test]
fn a_priority_that_is_lowered_makes_room_for_those_above_it() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("first").cpu(3_000).priority(50)).unwrap();
    w.pass(2_000);
    w.run(service("second").cpu(3_000).priority(50)).unwrap();
    w.pass(2_000);
    assert_eq!(w.live("second"), ["second[0] v1 waiting no-room -"]);
    w.run(service("first").cpu(3_000).priority(20)).unwrap();
    w.pass(3_000);
    assert_eq!(w.live("second"), ["second[0] v1 ready a"]);
}

#[test]
fn one_that_only_its_own_predecessor_is_in_the_way_of_follows_when_others_have_gone() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("web").cpu(3_000)).unwrap();
    w.run(service("other").cpu(1_000)).unwrap();
    w.pass(2_000);
    w.run(service("web").cpu(4_000)).unwrap();
    w.pass(2_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a", "web[0] v2 waiting no-room -"]);
    w.stop("other").unwrap();
    w.pass(3_000);
    assert_eq!(w.live("web"), ["web[0] v2 ready a"]);
}
