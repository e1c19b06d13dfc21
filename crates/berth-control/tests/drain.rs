//! Draining: services leave for a place where they are ready first, batch work may finish, system jobs go last, and a node
//! is drained when its agent has confirmed it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use berth_model::testkit::{batch, machine, service, system};
use berth_model::*;
use world::{Fate, World, job_id};

fn cluster(nodes: &[&str]) -> World {
    let mut w = World::new();
    for name in nodes {
        w.node(machine(name).cpu(4_000));
    }
    w
}

fn id(w: &World, name: &str) -> NodeId {
    w.core.nodes().values().find(|node| node.fingerprint.name.as_str() == name).unwrap().id
}

fn drain(w: &mut World, name: &str, deadline: Option<u64>) {
    let nodes = [id(w, name)].into();
    w.answer(Command::Drain { nodes, deadline: deadline.map(Millis) }).unwrap();
}

fn enable(w: &mut World, name: &str) {
    w.answer(Command::Enable([id(w, name)].into())).unwrap();
}

fn drain_of(w: &World, name: &str) -> Option<Drain> {
    w.core.nodes()[&id(w, name)].drain.clone()
}

fn is_drained(w: &World, name: &str) -> bool {
    drain_of(w, name).is_some_and(|drain| drain.done.is_some())
}

fn ready(w: &World, job: &str) -> usize {
    w.live(job).iter().filter(|line| line.contains("ready")).count()
}

#[test]
fn a_single_instance_is_ready_elsewhere_before_it_stops() {
    let mut w = cluster(&["a"]);
    w.run(service("web").min_ready(5_000)).unwrap();
    w.pass(6_000);
    w.node(machine("b"));
    drain(&mut w, "a", None);
    assert_eq!(w.live("web"), ["web[0] v1 ready a", "web[0] v1 placed b"]);
    for _ in 0..20 {
        w.pass(500);
        assert!(ready(&w, "web") >= 1, "{:?}", w.live("web"));
    }
    assert_eq!(w.live("web"), ["web[0] v1 ready b"]);
    assert!(is_drained(&w, "a"));
    let told: Vec<String> = w.disk.ledger.values().map(|entry| format!("{:?}", entry.what)).collect();
    let about = |what: &str| told.iter().filter(|told| told.starts_with(what)).count();
    assert_eq!((about("NodeDraining"), about("NodeDrained"), about("NodeEnabled")), (1, 1, 0));
    let made = w.core.job_allocs(&job_id("web")).into_iter().find(|alloc| !alloc.is_ended()).unwrap();
    assert_eq!(made.cause, Cause::Drain { node: id(&w, "a") });
}

#[test]
fn the_budget_of_a_group_holds_across_nodes_that_are_drained_together() {
    let mut w = cluster(&["a", "b", "c"]);
    w.run(service("web").count(6).max_parallel(2).min_ready(3_000)).unwrap();
    w.pass(5_000);
    let nodes = [id(&w, "a"), id(&w, "b")].into();
    w.answer(Command::Drain { nodes, deadline: None }).unwrap();
    for _ in 0..60 {
        w.pass(500);
        assert!(ready(&w, "web") >= 6, "{:?}", w.live("web"));
        let starting = w.live("web").iter().filter(|line| !line.contains("ready")).count();
        assert!(starting <= 2, "{:?}", w.live("web"));
    }
    assert!(w.live("web").iter().all(|line| line.ends_with("ready c")), "{:?}", w.live("web"));
    assert!(is_drained(&w, "a") && is_drained(&w, "b"));
}

#[test]
fn a_replacement_that_is_given_up_for_a_drain_counts_until_it_is_gone() {
    let mut w = cluster(&["a", "b"]);
    w.run(service("web").count(4).max_parallel(1).min_ready(3_000)).unwrap();
    w.pass(5_000);
    w.run(service("web").count(4).max_parallel(1).min_ready(3_000).command("/bin/new")).unwrap();
    let newcomer = w.live("web").into_iter().find(|line| line.contains("placed")).unwrap();
    let its_node = newcomer.rsplit(' ').next().unwrap().to_owned();
    // Its agent is slow: what it was told to stop goes on for a while.
    w.agents.get_mut(&its_node).unwrap().up = false;
    drain(&mut w, &its_node, None);
    let new = |w: &World| w.live("web").iter().filter(|line| line.contains(" v2 ")).count();
    assert_eq!(new(&w), 1, "{:?}", w.live("web"));
    w.connect(&its_node);
    w.pass(60_000);
    assert!(w.live("web").iter().all(|line| line.contains("v2 ready") && !line.ends_with(&its_node)));
    assert!(is_drained(&w, &its_node));
}

#[test]
fn batch_work_may_finish_and_system_jobs_go_last() {
    let mut w = cluster(&["a", "b"]);
    w.run(batch("sum").count(2)).unwrap();
    w.run(system("log")).unwrap();
    w.pass(1_000);
    drain(&mut w, "a", None);
    w.pass(30_000);
    assert_eq!(w.live("sum"), ["sum[0] v1 ready a", "sum[1] v1 ready b"]);
    assert_eq!(w.live("log").len(), 2, "something is left beside it");
    assert!(!is_drained(&w, "a"));
    w.fates.insert("sum".to_owned(), Fate::Complete);
    w.pass(1_000);
    assert_eq!(w.live("log"), ["log[0] v1 ready b"]);
    assert!(is_drained(&w, "a"));
    enable(&mut w, "a");
    w.pass(1_000);
    assert_eq!(w.live("log").len(), 2);
    assert_eq!(drain_of(&w, "a"), None);
}

#[test]
fn at_the_deadline_everything_stops_and_batch_work_is_done_again_elsewhere() {
    let mut w = cluster(&["a", "b"]);
    w.run(batch("sum").count(2)).unwrap();
    w.pass(1_000);
    drain(&mut w, "a", Some(20_000));
    w.pass(19_000);
    assert_eq!(w.live("sum"), ["sum[0] v1 ready a", "sum[1] v1 ready b"]);
    // A new leader keeps the deadline.
    w.lead_anew();
    w.pass(20_000);
    assert_eq!(w.live("sum"), ["sum[1] v1 ready b", "sum[0] v1 ready b"]);
    assert!(is_drained(&w, "a"));
    let cause = Cause::Drain { node: id(&w, "a") };
    let stopped = w.disk.ledger.values().find(|entry| matches!(entry.what, Happening::AllocStopping { .. })).unwrap();
    assert_eq!(stopped.cause, cause);
}

#[test]
fn with_no_time_at_all_everything_stops_at_once() {
    let mut w = cluster(&["a"]);
    w.run(service("web")).unwrap();
    w.run(batch("sum")).unwrap();
    w.pass(1_000);
    drain(&mut w, "a", Some(0));
    w.pass(1_000);
    assert_eq!(w.live("web"), ["web[0] v1 waiting no-room -"]);
    assert_eq!(w.live("sum"), ["sum[0] v1 waiting no-room -"]);
    assert!(is_drained(&w, "a"));
    enable(&mut w, "a");
    w.pass(20_000);
    assert_eq!((ready(&w, "web"), ready(&w, "sum")), (1, 1));
}

#[test]
fn what_fits_nowhere_stays_and_says_why_and_enabling_ends_the_search() {
    let mut w = cluster(&["a"]);
    w.run(service("web")).unwrap();
    w.pass(1_000);
    drain(&mut w, "a", None);
    w.pass(5_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a", "web[0] v1 waiting no-room -"]);
    let waiting = w.core.job_allocs(&job_id("web")).into_iter().find(|alloc| alloc.placement().is_none()).unwrap().id;
    let Some(WaitReason::NoNodeFits { filtered, verdict, .. }) = w.core.wait_reason(waiting) else {
        panic!("it waits")
    };
    assert_eq!((filtered, verdict), (Filtered::from([(Filter::Draining, 1)]), Verdict::Waiting));
    let remedy = w.core.advice(waiting).unwrap().remedies.remove(0);
    assert_eq!(remedy.act, Act::Repair { node: id(&w, "a"), fault: Fault::Draining });
    enable(&mut w, "a");
    w.pass(1_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a"]);
    let enabled =
        w.disk.commands.values().find(|record| matches!(record.outcome, CommandOutcome::Enabled(_))).unwrap().id;
    let given_up = w.core.allocs()[&waiting].clone();
    assert!(matches!(given_up.state, AllocState::Ended { cause: Cause::Command(id), .. } if id == enabled));
}

#[test]
fn a_lost_node_is_drained_only_when_it_is_back_and_shows_nothing() {
    let mut w = cluster(&["a", "b"]);
    w.run(service("web").count(2)).unwrap();
    w.pass(1_000);
    w.cut("a");
    drain(&mut w, "a", None);
    w.pass(40_000);
    assert_eq!(w.live("web"), ["web[1] v1 ready b", "web[0] v1 ready b"]);
    assert!(!is_drained(&w, "a"), "nobody knows what still runs there");
    w.connect("a");
    w.pass(2_000);
    assert!(is_drained(&w, "a"));
}

#[test]
fn nothing_new_comes_to_a_node_that_is_drained() {
    let mut w = cluster(&["a", "b"]);
    drain(&mut w, "a", None);
    w.run(service("web").count(4)).unwrap();
    w.run(system("log")).unwrap();
    w.pass(20_000);
    assert!(w.live("web").iter().chain(&w.live("log")).all(|line| line.ends_with("ready b")));
}

#[test]
fn asked_again_a_drain_has_another_deadline_and_what_is_no_node_is_refused() {
    let mut w = cluster(&["a"]);
    drain(&mut w, "a", None);
    let first = drain_of(&w, "a").unwrap();
    drain(&mut w, "a", Some(5_000));
    let again = drain_of(&w, "a").unwrap();
    assert_eq!((again.since, again.deadline), (first.since, Some(w.now + Millis(5_000))));
    let missing = NodeId::new(Incarnation(1), 99);
    let both = [id(&w, "a"), missing].into();
    assert_eq!(w.answer(Command::Enable(both)), Err(Refusal::NoSuchNode(missing)));
    assert!(drain_of(&w, "a").is_some(), "nothing is half done");
    let none = w.answer(Command::Drain { nodes: [].into(), deadline: None });
    assert!(matches!(none, Err(Refusal::Invalid { .. })));
}

/// The nodes of which the ledger says that they are to be emptied, with the deadlines.
fn begun(w: &World) -> Vec<Option<Timestamp>> {
    let entries = w.disk.ledger.values().filter_map(|entry| match &entry.what {
        Happening::NodeDraining { deadline, .. } => Some(*deadline),
        _ => None,
    });
    entries.collect()
}

#[test]
fn batch_work_that_a_drain_stops_is_done_again_though_its_node_is_enabled_meanwhile() {
    let mut w = cluster(&["a"]);
    w.run(batch("sum")).unwrap();
    w.pass(1_000);
    w.cut("a");
    drain(&mut w, "a", Some(0));
    assert_eq!(w.live("sum"), ["sum[0] v1 stopping a"]);
    enable(&mut w, "a");
    w.connect("a");
    w.pass(5_000);
    assert_eq!(w.live("sum"), ["sum[0] v1 ready a"]);
    assert_eq!(w.all("sum")[0], "sum[0] v1 drained a");
}

#[test]
fn batch_work_that_somebody_stopped_stays_stopped_when_its_node_is_drained_later() {
    let mut w = cluster(&["a", "b"]);
    w.run(batch("sum").count(2)).unwrap();
    w.pass(1_000);
    let on_a = w.core.job_allocs(&job_id("sum")).into_iter().find(|alloc| w.line(alloc).ends_with(" a")).unwrap().id;
    w.answer(Command::StopAlloc(on_a)).unwrap();
    w.pass(1_000);
    drain(&mut w, "a", Some(0));
    w.lead_anew();
    w.pass(5_000);
    assert_eq!(w.all("sum"), ["sum[0] v1 stopped a", "sum[1] v1 ready b"]);
}

#[test]
fn a_clock_that_was_set_back_makes_no_deadline_later_than_it_would_be_from_now_on() {
    let mut w = cluster(&["a", "b"]);
    drain(&mut w, "b", None);
    w.run(batch("sum")).unwrap();
    w.pass(1_000);
    drain(&mut w, "a", None);
    w.pass(10_000);
    drain(&mut w, "a", Some(20_000));
    w.now = Timestamp(w.now.0 - 900_000);
    w.lead_anew();
    w.pass(19_000);
    assert_eq!(w.live("sum"), ["sum[0] v1 ready a"]);
    w.pass(2_000);
    assert_eq!(w.live("sum"), ["sum[0] v1 waiting no-room -"]);
}

#[test]
fn every_change_of_a_deadline_is_told_and_blamed_on_whoever_asked_for_it() {
    let mut w = cluster(&["a"]);
    w.run(batch("sum")).unwrap();
    w.pass(1_000);
    drain(&mut w, "a", None);
    drain(&mut w, "a", None);
    drain(&mut w, "a", Some(2_000));
    let deadline = w.now + Millis(2_000);
    assert_eq!(begun(&w), [None, Some(deadline)]);
    let last = w.disk.commands.values().map(|record| record.id).max().unwrap();
    assert_eq!(drain_of(&w, "a").unwrap().cause, Cause::Command(last));
    w.pass(3_000);
    assert_eq!(w.all("sum")[0], "sum[0] v1 drained a");
    let stopping = |entry: &&LedgerEntry| matches!(entry.what, Happening::AllocStopping { .. });
    let stopped = w.disk.ledger.values().find(stopping).unwrap();
    assert_eq!(stopped.cause, Cause::Drain { node: id(&w, "a") });
}

#[test]
fn preemption_makes_no_room_on_a_node_that_is_drained() {
    let mut w = cluster(&["a", "b"]);
    w.run(service("low").count(2).cpu(4_000).priority(10).max_parallel(2)).unwrap();
    w.pass(20_000);
    drain(&mut w, "a", None);
    w.run(service("high").count(2).cpu(4_000).priority(90)).unwrap();
    w.pass(20_000);
    let on_a: Vec<String> = w.live("high").into_iter().filter(|line| line.ends_with(" a")).collect();
    assert_eq!((on_a.len(), ready(&w, "high")), (0, 1), "{:?}", w.live("high"));
}
