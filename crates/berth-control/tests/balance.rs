//! What the core says of how far from the best its cluster is.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use berth_control::{Event, RequestId, Settings};
use berth_model::testkit::{batch, machine, service, system};

use berth_model::*;
use world::{Fate, World};

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

fn policy(balance: BalanceMode) -> Command {
    let spec = PolicySpec { name: "mine".parse().unwrap(), balance, ..BuiltIn::Balanced.spec() };
    Command::SetPolicy { spec: Box::new(spec), after: None }
}

/// The same two nodes, where up to so many moves may be under way at once.
fn moving(at_most: u32, spec: testkit::Spec) -> World {
    let mut w = World::new();
    w.answer(policy(BalanceMode::On { at_most })).unwrap();
    w.node(machine("a").cpu(8_000));
    w.run(spec).unwrap();
    w.pass(2_000);
    w.node(machine("b").cpu(8_000));
    w
}

/// How many of a job's allocations hold a place on a node.
fn on(w: &World, job: &str, node: &str) -> usize {
    w.live(job).iter().filter(|line| line.ends_with(&format!(" {node}"))).count()
}

/// Those that take over from others that are still there.
fn successors<'a>(w: &'a World, job: &str) -> Vec<&'a Alloc> {
    let allocs = w.core.job_allocs(&world::job_id(job)).into_iter();
    let lives = |id| w.core.allocs().get(&id).is_some_and(|old| !old.is_ended());
    allocs.filter(|alloc| !alloc.is_ended() && alloc.moved_from().is_some_and(lives)).collect()
}

#[test]
fn a_move_starts_the_new_instance_and_stops_the_old_when_that_is_ready() {
    let mut w = moving(1, service("web").count(2).cpu(2_000).min_ready(3_000));
    let before: Vec<AllocId> = w.core.allocs().keys().copied().collect();
    w.pass(6_000);
    let [new] = successors(&w, "web")[..] else { panic!("{:?}", w.live("web")) };
    let old = new.moved_from().unwrap();
    assert!(before.contains(&old));
    let Cause::Balance { from, cost, gain } = new.cause else { panic!("{:?}", new.cause) };
    assert_eq!(w.node_name(from), "a");
    assert!(gain > 0 && cost > gain, "{cost} {gain}");
    assert_eq!((on(&w, "web", "a"), on(&w, "web", "b")), (2, 1), "the old one goes on meanwhile");
    let new = new.id;
    w.pass(10_000);
    assert_eq!((on(&w, "web", "a"), on(&w, "web", "b")), (1, 1));
    assert!(w.live("web").iter().all(|line| line.contains(" ready ")), "{:?}", w.live("web"));
    let gone = &w.core.allocs()[&old];
    let AllocState::Ended { outcome: Outcome::Stopped, .. } = &gone.state else { panic!("{:?}", gone.state) };
    let stopping = w.core.ledger_of(old).find(|entry| matches!(entry.what, Happening::AllocStopping { .. })).unwrap();
    let Cause::Event(event) = stopping.cause else { panic!("{:?}", stopping.cause) };
    let ready = w.core.ledger(event..).next().unwrap();
    assert!(matches!(ready.what, Happening::AllocReady { alloc, .. } if alloc == new), "{ready:?}");
    w.check();
}

#[test]
fn nothing_is_moved_where_nobody_has_said_so_and_all_moves_end_where_somebody_takes_it_back() {
    let spec = || service("web").count(4).cpu(1_000).min_ready(0).max_parallel(4);
    let mut w = lopsided(spec());
    w.answer(policy(BalanceMode::Off)).unwrap();
    w.pass(30_000);
    assert_eq!(on(&w, "web", "b"), 0);
    w.answer(policy(BalanceMode::On { at_most: 1 })).unwrap();
    w.pass(6_000);
    assert_eq!(on(&w, "web", "b"), 1, "{:?}", w.live("web"));
    w.answer(policy(BalanceMode::Off)).unwrap();
    w.pass(60_000);
    assert_eq!(on(&w, "web", "b"), 1);
}

#[test]
fn no_more_are_moved_at_once_than_the_policy_and_the_groups_allow() {
    for (at_most, max_parallel, wanted) in [(1, 4, 1), (4, 1, 1), (4, 2, 2), (2, 4, 2)] {
        let spec = service("web").count(8).cpu(900).max_parallel(max_parallel).min_ready(2_000);
        let mut w = moving(at_most, spec);
        let mut most = 0;
        for _ in 0..80 {
            w.pass(500);
            most = most.max(successors(&w, "web").len());
        }
        assert_eq!(most, wanted, "{at_most} {max_parallel}");
        assert_eq!(on(&w, "web", "b"), 4, "{at_most} {max_parallel}: {:?}", w.live("web"));
    }
}

#[test]
fn one_that_is_never_ready_is_given_up_and_the_old_one_stays() {
    for (fate, patience, word) in [(Fate::Fail, 20_000, "failed"), (Fate::Hang, 610_000, "stopped")] {
        let mut w = World::new();
        w.answer(policy(BalanceMode::On { at_most: 1 })).unwrap();
        w.node(machine("a").cpu(8_000));
        w.run(service("web").cpu(3_000).min_ready(0)).unwrap();
        w.run(service("big").cpu(3_000).min_ready(0)).unwrap();
        w.pass(2_000);
        let incumbents: Vec<AllocId> = w.core.allocs().keys().copied().collect();
        for later in 3..9 {
            w.fates.insert(AllocId::new(Incarnation(1), later).to_string(), fate);
        }
        w.node(machine("b").cpu(8_000));
        w.pass(4 * patience);
        let tried: Vec<&Alloc> = w.core.allocs().values().filter(|alloc| alloc.moved_from().is_some()).collect();
        assert_eq!(tried.len(), 2, "each is tried once: {tried:?}");
        for alloc in tried {
            assert!(w.line(alloc).contains(word), "{}", w.line(alloc));
            let mut told = w.core.ledger_of(alloc.id);
            let given_up = told.any(|entry| matches!(entry.cause, Cause::Timer { timer: Timer::Move, .. }));
            assert_eq!(given_up, fate == Fate::Hang);
        }
        for id in incumbents {
            assert!(w.line(&w.core.allocs()[&id]).contains(" ready a"), "{:?}", w.core.allocs()[&id].state);
        }
        w.check();
    }
}

#[test]
fn a_move_that_came_to_nothing_is_not_forgotten_while_the_old_one_runs() {
    let mut w = World::with(Settings { keep_ended: Millis::from_secs(10), ..Settings::default() });
    w.answer(policy(BalanceMode::On { at_most: 1 })).unwrap();
    w.node(machine("a").cpu(8_000));
    w.run(service("web").cpu(3_000).min_ready(0)).unwrap();
    w.run(service("big").cpu(3_000).min_ready(0)).unwrap();
    w.pass(2_000);
    for later in 3..20 {
        w.fates.insert(AllocId::new(Incarnation(1), later).to_string(), Fate::Fail);
    }
    w.node(machine("b").cpu(8_000));
    w.pass(60_000);
    // Something else happens, and the optimiser looks again.
    for round in 0..4 {
        w.node(machine(&format!("c{round}")).cpu(100));
        w.pass(120_000);
    }
    let tried = w.core.allocs().keys().filter(|id| **id > AllocId::new(Incarnation(1), 2)).count();
    assert_eq!(tried, 2, "both are still known: {:?}", w.core.allocs().keys());
    w.check();
}

#[test]
fn batch_work_stays_where_it_is() {
    let mut w = moving(4, batch("work").count(4).cpu(1_000));
    w.pass(60_000);
    assert_eq!((on(&w, "work", "a"), on(&w, "work", "b")), (4, 0));
}

#[test]
fn a_quiet_cluster_comes_to_rest() {
    let mut w = moving(4, service("web").count(8).cpu(900).max_parallel(4).min_ready(0));
    w.pass(60_000);
    let (made, at) = (w.core.meta().allocs, w.core.balance().unwrap().0);
    w.pass(1_300_000);
    assert_eq!(w.core.meta().allocs, made, "nothing is moved again");
    assert!(made <= 8 + 4, "{made}");
    assert!(w.core.balance().unwrap().0 > at, "it was looked at again when all had proven themselves");
}

#[test]
fn a_new_leader_goes_on_with_a_move_and_gives_it_up_in_time() {
    let mut w = moving(1, service("web").count(2).cpu(2_000).min_ready(3_000));
    w.pass(6_000);
    assert_eq!(successors(&w, "web").len(), 1);
    w.lead_anew();
    assert_eq!(successors(&w, "web").len(), 1);
    w.pass(10_000);
    assert_eq!((on(&w, "web", "a"), on(&w, "web", "b")), (1, 1), "{:?}", w.live("web"));
    w.check();
}

#[test]
fn what_becomes_of_a_move_when_either_of_the_two_goes() {
    for stopped_first in [true, false] {
        let mut w = moving(1, service("web").count(2).cpu(2_000).min_ready(30_000));
        w.pass(40_000);
        let [new] = successors(&w, "web")[..] else { panic!("{:?}", w.live("web")) };
        let (new, old) = (new.id, new.moved_from().unwrap());
        w.answer(Command::StopAlloc(if stopped_first { old } else { new })).unwrap();
        w.pass(2_000);
        assert_eq!(w.live("web").len(), 2, "{:?}", w.live("web"));
        assert_eq!(w.core.allocs()[&new].is_ended(), !stopped_first);
        assert_eq!(w.core.allocs()[&old].is_ended(), stopped_first);
        w.pass(120_000);
        assert_eq!(w.live("web").len(), 2, "{:?}", w.live("web"));
        w.check();
    }
}

#[test]
fn an_update_takes_back_a_move() {
    let spec = |command| service("web").count(2).cpu(2_000).min_ready(30_000).command(command);
    let mut w = moving(1, spec("/bin/one"));
    w.pass(40_000);
    assert_eq!(successors(&w, "web").len(), 1);
    w.run(spec("/bin/two")).unwrap();
    w.pass(2_000);
    assert!(successors(&w, "web").is_empty(), "{:?}", w.live("web"));
    w.pass(120_000);
    assert!(w.live("web").iter().all(|line| line.contains("v2 ready")), "{:?}", w.live("web"));
    w.check();
}

#[test]
fn a_plan_that_turns_it_on_shows_no_moves_and_holds() {
    let mut w = lopsided(service("web").count(4).cpu(1_000).min_ready(0).max_parallel(4));
    let request = PlanRequest::Command(policy(BalanceMode::On { at_most: 4 }));
    let plan = w.core.plan(w.now, &Principal("root".to_owned()), &request).unwrap();
    assert_eq!((plan.changes.len(), plan.waits.len()), (0, 0));
    w.answer(policy(BalanceMode::On { at_most: 4 })).unwrap();
    w.pass(30_000);
    assert_eq!((on(&w, "web", "a"), on(&w, "web", "b")), (2, 2), "{:?}", w.live("web"));
}

#[test]
fn what_was_planned_is_carried_out_before_the_next_move() {
    let slow = |command| service("slow").count(2).cpu(500).min_ready(15_000).command(command);
    let mut w = World::new();
    w.node(machine("a").cpu(8_000));
    w.run(service("web").count(4).cpu(1_000).min_ready(0).max_parallel(4)).unwrap();
    w.run(slow("/bin/one")).unwrap();
    w.pass(20_000);
    w.answer(policy(BalanceMode::On { at_most: 4 })).unwrap();
    w.node(machine("b").cpu(8_000));
    let command = Command::Run(Box::new(slow("/bin/two").0));
    let principal = Principal("root".to_owned());
    let plan = w.core.plan(w.now, &principal, &PlanRequest::Command(command.clone())).unwrap();
    assert_eq!(plan.changes.iter().map(|change| change.wave).collect::<Vec<_>>(), [1, 2]);
    let (namespace, key) = (Namespace::default(), IdempotencyKey("planned".to_owned()));
    let request = CommandRequest { principal, namespace, key, plan: Some(plan.id), command };
    w.event(Event::Command { request: RequestId(99), command: Box::new(request) });
    w.pass(25_000);
    assert_eq!(on(&w, "web", "b"), 0, "the second wave is under way");
    w.pass(30_000);
    assert!(w.live("slow").iter().all(|line| line.contains("v2 ready")), "{:?}", w.live("slow"));
    assert_ne!(on(&w, "web", "b"), 0);
}

#[test]
fn nothing_is_moved_to_a_node_that_is_drained() {
    let mut w = moving(4, service("web").count(4).cpu(1_000).min_ready(0));
    let nodes = w.core.nodes().keys().skip(1).copied().collect();
    w.answer(Command::Drain { nodes, deadline: None }).unwrap();
    w.pass(30_000);
    assert_eq!((on(&w, "web", "a"), on(&w, "web", "b")), (4, 0), "{:?}", w.live("web"));
    let proposed = balance(&w).proposals.iter().map(|proposal| proposal.moves.len()).sum::<usize>();
    assert_eq!(proposed, 0);
}
