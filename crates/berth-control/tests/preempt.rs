//! Preemption: who goes, who never does, and that nobody goes again and again.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use berth_control::Settings;
use berth_model::testkit::{batch, machine, service};
use berth_model::*;
use world::{World, job_id};

fn one_node() -> World {
    let mut w = World::new();
    w.node(machine("a"));
    w
}

/// The oldest instance of a job.
fn first_of(w: &World, job: &str) -> Alloc {
    w.core.allocs().values().find(|alloc| alloc.job == job_id(job)).cloned().unwrap()
}

/// The newest instance of a job.
fn alloc_of(w: &World, job: &str) -> Alloc {
    w.core.allocs().values().rfind(|alloc| alloc.job == job_id(job)).cloned().unwrap()
}

#[test]
fn a_higher_priority_takes_the_place_of_a_lower_one_and_both_name_the_other() {
    let mut w = one_node();
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    w.run(service("high").cpu(3_000).priority(80)).unwrap();
    let (low, high) = (first_of(&w, "low"), alloc_of(&w, "high"));
    let AllocState::Waiting { reason: WaitReason::Preempting { victims, .. }, .. } = &high.state else {
        panic!("{:?}", high.state)
    };
    assert_eq!(victims, &[low.id]);
    let AllocState::Stopping { cause: Cause::Preemption { by, job }, .. } = &low.state else {
        panic!("{:?}", low.state)
    };
    assert_eq!((by, job), (&high.id, &job_id("high")));
    assert_eq!(w.core.wait_reason(high.id), high_reason(&high));
    w.pass(3_000);
    assert_eq!(w.live("high"), ["high[0] v1 ready a"]);
    let first = w.core.allocs()[&low.id].clone();
    let AllocState::Ended { outcome: Outcome::Preempted { by, .. }, .. } = first.state else {
        panic!("{:?}", first.state)
    };
    assert_eq!(by, high.id);
    let next = alloc_of(&w, "low");
    assert_eq!(next.replaces, Some(low.id), "the work is not given up");
    assert!(matches!(next.state, AllocState::Waiting { .. }), "{:?}", next.state);
}

fn high_reason(alloc: &Alloc) -> Option<WaitReason> {
    match &alloc.state {
        AllocState::Waiting { reason, .. } => Some(reason.clone()),
        AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => None,
    }
}

#[test]
fn nobody_goes_for_an_equal_or_a_lower_priority_or_against_their_jobs_will() {
    for (job, other) in [
        (service("first").priority(50), service("second").priority(50)),
        (service("first").priority(50), service("second").priority(10)),
        (service("first").priority(10).unpreemptible(), service("second").priority(90)),
        (service("first").priority(10), service("second").priority(90).cpu(5_000)),
        (service("first").priority(10), service("second").priority(90).gang()),
    ] {
        let mut w = one_node();
        w.run(job.cpu(3_000)).unwrap();
        w.pass(2_000);
        let cpu = other.0.groups[0].tasks[0].resources.cpu.0.max(3_000);
        w.run(other.cpu(cpu)).unwrap();
        w.pass(10_000);
        assert_eq!(w.live("first"), ["first[0] v1 ready a"]);
        assert!(matches!(alloc_of(&w, "second").state, AllocState::Waiting { .. }));
    }
}

#[test]
fn a_group_loses_no_more_at_once_than_its_budget() {
    let mut w = one_node();
    w.run(service("low").count(4).cpu(1_000).priority(20).max_parallel(1)).unwrap();
    w.pass(2_000);
    w.run(service("high").cpu(2_000).priority(80)).unwrap();
    w.pass(20_000);
    assert_eq!(w.live("low").iter().filter(|line| line.contains("ready")).count(), 4, "one alone is not enough");
    w.run(service("low").count(4).cpu(1_000).priority(20).max_parallel(2)).unwrap();
    w.pass(20_000);
    assert_eq!(w.live("high"), ["high[0] v1 ready a"]);
    assert_eq!(w.live("low").iter().filter(|line| line.contains("ready")).count(), 2);
}

#[test]
fn what_others_leave_is_kept_for_whom_they_left() {
    let mut w = one_node();
    w.node(machine("b"));
    w.run(service("low").count(2).cpu(3_000).priority(20).max_parallel(2)).unwrap();
    w.pass(2_000);
    w.cut("b");
    w.pass(10_000);
    let fast = Operator::Is("fast".to_owned());
    w.run(service("high").cpu(5_000).priority(80).constraint("label.speed", fast)).unwrap();
    w.agents.get_mut("a").unwrap().hello = machine("a").cpu(6_000).attribute("label.speed", "fast").hello();
    w.connect("a");
    assert_eq!(w.live("high"), ["high[0] v1 placed a"], "the 3,000 that were free first are not given to low");
    assert_eq!(w.live("low").iter().filter(|line| line.contains("waiting")).count(), 2, "{:?}", w.live("low"));
    w.run(service("higher").cpu(1_000).priority(90)).unwrap();
    w.pass(2_000);
    assert_eq!(w.live("higher"), ["higher[0] v1 ready a"]);
}

#[test]
fn what_is_kept_for_one_goes_to_whom_has_a_higher_priority_and_no_other_place() {
    let mut w = one_node();
    w.run(service("low").cpu(4_000).priority(20)).unwrap();
    w.pass(2_000);
    w.run(service("high").cpu(2_000).priority(80)).unwrap();
    assert_eq!(w.live("high"), ["high[0] v1 waiting preempting -"]);
    w.run(service("higher").cpu(4_000).priority(90)).unwrap();
    w.pass(5_000);
    assert_eq!(w.live("higher"), ["higher[0] v1 ready a"]);
    assert_eq!(w.live("high"), ["high[0] v1 waiting no-room -"]);
}

#[test]
fn what_is_kept_is_kept_by_the_next_leader_too() {
    let mut w = one_node();
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    w.cut("a");
    w.run(service("high").cpu(4_000).priority(80)).unwrap();
    w.lead_anew();
    w.run(service("small").cpu(1_000).priority(50)).unwrap();
    assert_eq!(w.live("high"), ["high[0] v1 waiting preempting -"]);
    assert_eq!(w.live("small"), ["small[0] v1 waiting no-room -"], "1,000 are free, and kept");
    w.connect("a");
    w.pass(2_000);
    assert_eq!(w.live("high"), ["high[0] v1 ready a"]);
}

/// Within one step a member goes for another, one that waited finds a place, and the next instance of the first waits.
#[test]
fn a_member_of_a_gang_that_goes_waits_for_itself() {
    let mut w = World::with(Settings { preempt_max: 1, ..Settings::default() });
    w.node(machine("a"));
    w.node(machine("b"));
    w.run(service("gang").count(2).cpu(3_000).priority(20).max_parallel(2).gang()).unwrap();
    w.node(machine("c").attribute("label.speed", "fast"));
    w.run(service("goes").cpu(4_000).priority(10)).unwrap();
    w.pass(2_000);
    w.cut("b");
    w.pass(10_000);
    let fast = || Operator::Is("fast".to_owned());
    w.run(service("first").cpu(1_000).priority(90).constraint("label.speed", fast())).unwrap();
    w.run(service("high").cpu(4_000).priority(80)).unwrap();
    assert_eq!(w.live("high"), ["high[0] v1 waiting no-room -"], "one at a time may go");
    w.report("c");
    assert_eq!(w.live("high"), ["high[0] v1 waiting preempting -"]);
    let mut gang = w.live("gang");
    gang.sort();
    assert_eq!(gang, ["gang[0] v1 stopping a", "gang[0] v1 waiting gang-incomplete -", "gang[1] v1 placed c"]);
}

#[test]
fn a_cluster_that_allows_none_preempts_nobody() {
    let mut w = World::with(Settings { preempt_max: 0, ..Settings::default() });
    w.node(machine("a"));
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    w.run(service("high").cpu(3_000).priority(80)).unwrap();
    w.pass(10_000);
    assert_eq!(w.live("low"), ["low[0] v1 ready a"]);
}

#[test]
fn preempted_batch_work_is_done_again() {
    let mut w = one_node();
    w.run(batch("low").cpu(3_000).priority(20)).unwrap();
    w.pass(500);
    w.run(service("high").cpu(3_000).priority(80)).unwrap();
    w.pass(3_000);
    assert_eq!(w.live("high"), ["high[0] v1 ready a"]);
    w.stop("high").unwrap();
    w.pass(3_000);
    let again = alloc_of(&w, "low");
    assert!(again.occupies().is_some(), "{:?}", again.state);
}

/// One that keeps coming and going would drive the other from place to place, every time it comes.
#[test]
fn what_was_preempted_is_not_preempted_again_and_again() {
    let mut w = one_node();
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    for _ in 0..5 {
        w.run(service("high").cpu(3_000).priority(80)).unwrap();
        w.pass(3_000);
        w.stop("high").unwrap();
        w.pass(3_000);
    }
    let preempted = w
        .core
        .allocs()
        .values()
        .filter(|alloc| matches!(alloc.state, AllocState::Ended { outcome: Outcome::Preempted { .. }, .. }));
    assert_eq!(preempted.count(), 1, "{:?}", w.all("low"));
    assert_eq!(w.live("low"), ["low[0] v1 ready a"]);
    w.pass(11 * 60_000);
    w.run(service("high").cpu(3_000).priority(80)).unwrap();
    w.pass(3_000);
    assert_eq!(w.live("high"), ["high[0] v6 ready a"], "after ten minutes it is like any other");
}

/// Else the one who comes for a free one would take it, and those who went had gone for nothing, again and again.
#[test]
fn devices_are_kept_free_too_for_one_that_waits_for_others_to_go() {
    let mut w = World::new();
    w.node(machine("a").device("gpu", "g0", "a100").device("gpu", "g1", "a100"));
    w.run(service("low").devices("g", "gpu", 1).priority(20)).unwrap();
    w.pass(2_000);
    w.cut("a");
    w.run(service("high").devices("g", "gpu", 2).priority(80)).unwrap();
    assert_eq!(w.live("high"), ["high[0] v1 waiting preempting -"]);
    w.run(service("small").devices("g", "gpu", 1).priority(20)).unwrap();
    assert_eq!(w.live("small"), ["small[0] v1 waiting no-room -"], "one is free, and kept");
    w.connect("a");
    w.pass(2_000);
    assert_eq!(w.live("high"), ["high[0] v1 ready a"]);
}

/// Else it would go for the next one who comes.
#[test]
fn that_one_made_room_is_remembered_until_its_successor_has_proven_itself() {
    let mut w = World::with(Settings { keep_ended: Millis::from_secs(10), ..Settings::default() });
    w.node(machine("a"));
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    w.run(service("high").cpu(3_000).priority(80)).unwrap();
    w.pass(3_000);
    w.node(machine("b"));
    w.pass(120_000);
    assert_eq!(w.live("low"), ["low[0] v1 ready b"]);
    w.run(service("higher").cpu(3_000).priority(70)).unwrap();
    assert_eq!(w.live("low"), ["low[0] v1 ready b"], "it has just gone for another");
    w.pass(600_000);
    assert_eq!(w.live("higher"), ["higher[0] v1 ready b"], "it has proven itself");
}
