//! What becomes of work on a node that is lost: kept, replaced after a time, or fenced; and when leases are given.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use berth_model::testkit::{Spec, batch, machine, service};
use berth_model::*;
use world::World;

const LEASE: Millis = Millis(10_000);

fn on(partition: OnPartition, spec: Spec) -> Spec {
    let mut spec = spec;
    spec.0.groups[0].on_partition = partition;
    spec
}

fn fenced(spec: Spec) -> Spec {
    on(OnPartition::Fence { lease: LEASE }, spec)
}

/// A cluster of two nodes with one instance of a job, on the first of them.
fn cluster(spec: Spec) -> World {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(spec).unwrap();
    w.pass(2_000);
    w.node(machine("b"));
    w
}

fn id(w: &World, name: &str) -> NodeId {
    w.core.nodes().values().find(|node| node.fingerprint.name.as_str() == name).unwrap().id
}

/// Lets time pass until there is something else to see of a job. How long that took.
fn until_changed(w: &mut World, job: &str) -> u64 {
    let before = w.live(job);
    let begun = w.now;
    while w.live(job) == before {
        assert!(w.now.since(begun) < Millis::from_secs(120), "nothing happens: {before:?}");
        w.pass(500);
    }
    w.now.since(begun).0
}

#[test]
fn without_a_word_work_is_replaced_when_its_node_is_lost() {
    let mut w = cluster(service("web"));
    w.cut("a");
    assert!((5_000..=6_000).contains(&until_changed(&mut w, "web")));
    w.pass(1_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[0] v1 ready b"]);
}

#[test]
fn it_is_replaced_so_long_after_the_loss_and_not_if_the_node_comes_back_before() {
    let after = OnPartition::Replace { after: Millis(20_000) };
    let mut w = cluster(on(after, service("web")));
    w.cut("a");
    w.pass(15_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a"], "the node is lost, and its work has time");
    w.connect("a");
    w.pass(60_000);
    assert_eq!(w.all("web"), ["web[0] v1 ready a"], "nothing has happened to it");
    w.cut("a");
    assert!((25_000..=26_000).contains(&until_changed(&mut w, "web")));
    w.connect("a");
    w.pass(2_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[0] v1 ready b"]);
    assert!(w.agents["a"].desired.as_ref().unwrap().allocs.iter().all(|alloc| alloc.goal == Goal::Stop));
}

#[test]
fn what_is_kept_is_not_replaced_before_an_operator_gives_its_node_up() {
    let mut w = cluster(on(OnPartition::Keep, service("web")));
    w.cut("a");
    w.pass(600_000);
    w.lead_anew();
    w.pass(600_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a"]);
    w.answer(Command::Abandon([id(&w, "a")].into())).unwrap();
    w.pass(2_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[0] v1 ready b"]);
    assert!(w.disk.ledger.values().any(|entry| matches!(entry.what, Happening::NodeAbandoned { .. })));
}

#[test]
fn a_node_with_kept_work_is_not_forgotten() {
    let mut w = cluster(on(OnPartition::Keep, service("web")));
    w.restart(|settings| settings.keep_ended = Millis::from_secs(10));
    w.cut("a");
    w.pass(120_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a"]);
    w.connect("a");
    w.pass(2_000);
    assert_eq!(w.all("web"), ["web[0] v1 ready a"], "it was there all the time");
}

#[test]
fn another_policy_holds_for_what_runs_already() {
    let mut w = cluster(on(OnPartition::Keep, service("web")));
    w.run(service("web")).unwrap();
    w.pass(1_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a"], "nothing is replaced for it");
    w.cut("a");
    until_changed(&mut w, "web");
    w.pass(1_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[0] v2 ready b"]);
}

#[test]
fn nodes_that_are_not_lost_are_not_given_up() {
    let mut w = cluster(on(OnPartition::Keep, service("web")));
    let refused = w.answer(Command::Abandon([id(&w, "a")].into())).unwrap_err();
    assert!(matches!(&refused, Refusal::Invalid { remedy, .. } if remedy.contains("berth drain")), "{refused:?}");
    let missing = NodeId::new(Incarnation(1), 77);
    assert_eq!(w.answer(Command::Abandon([missing].into())), Err(Refusal::NoSuchNode(missing)));
    assert!(w.answer(Command::Abandon([].into())).is_err());
}

#[test]
fn what_is_fenced_is_replaced_when_its_lease_is_over_by_any_clock() {
    let mut w = cluster(fenced(service("web")));
    w.restart(|settings| settings.clock_drift = Drift(100_000));
    w.pass(2_000);
    w.cut("a");
    // A lease of 10 s, clocks that are wrong by a tenth, and a second for the shim to kill.
    assert!((13_000..=14_500).contains(&until_changed(&mut w, "web")));
    w.pass(1_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[0] v1 ready b"]);
}

#[test]
fn batch_work_that_was_fenced_is_done_again() {
    let mut w = cluster(fenced(batch("sums")));
    w.cut("a");
    until_changed(&mut w, "sums");
    w.pass(1_000);
    assert_eq!(w.all("sums").len(), 2);
    assert!(w.all("sums")[1].ends_with(" b"), "{:?}", w.all("sums"));
}

#[test]
fn an_operator_cannot_have_what_is_fenced_replaced_sooner() {
    let mut w = cluster(fenced(service("web")));
    w.cut("a");
    w.pass(7_000);
    w.answer(Command::Abandon([id(&w, "a")].into())).unwrap();
    assert_eq!(w.live("web"), ["web[0] v1 ready a"]);
}

#[test]
fn a_new_leader_waits_for_the_leases_that_others_may_have_given() {
    let mut w = cluster(fenced(service("web")));
    w.cut("a");
    w.pass(9_000);
    w.lead_anew();
    w.pass(10_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a"], "it cannot know what was promised");
    w.pass(3_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready b"]);
}

#[test]
fn a_lease_that_the_shim_ended_is_no_failure() {
    let mut w = cluster(fenced(service("web")));
    let alloc = w.core.allocs().values().next().unwrap().clone();
    let failure = Failure { kind: FailureKind::Fenced, message: "the lease ended".to_owned() };
    let phase = Phase::Ended(Ended::Failed(failure));
    w.say("a", vec![ObservedAlloc { id: alloc.id, phase, tasks: alloc.tasks.clone() }]);
    assert_eq!(w.all("web")[0], "web[0] v1 lost a");
    let next = w.core.allocs().values().next_back().unwrap();
    assert_eq!((next.failures, next.replaces), (0, Some(alloc.id)));
}

/// Instances of the job that hold a place.
fn placed(w: &World, job: &str) -> usize {
    w.live(job).iter().filter(|line| !line.contains("waiting")).count()
}

#[test]
fn an_update_and_a_drain_of_what_is_fenced_stop_the_old_one_first() {
    let mut w = cluster(fenced(service("web")));
    let mut changed = fenced(service("web"));
    changed.0.groups[0].tasks[0].env.insert("RELEASE".to_owned(), "2".to_owned());
    w.run(changed).unwrap();
    assert_eq!(w.live("web"), ["web[0] v1 stopping a"]);
    for _ in 0..20 {
        w.pass(500);
        assert!(placed(&w, "web") <= 1, "{:?}", w.live("web"));
    }
    assert!(w.live("web")[0].starts_with("web[0] v2 ready"), "{:?}", w.live("web"));
    let node = w.core.allocs().values().next_back().unwrap().occupies().unwrap();
    w.answer(Command::Drain { nodes: [node].into(), deadline: None }).unwrap();
    for _ in 0..20 {
        w.pass(500);
        assert!(placed(&w, "web") <= 1, "{:?}", w.live("web"));
    }
    assert!(w.core.nodes()[&node].drain.as_ref().unwrap().done.is_some());
    assert!(w.live("web")[0].contains("ready"), "{:?}", w.live("web"));
}

#[test]
fn what_was_fenced_and_is_stopped_by_somebody_is_replaced_when_it_is_gone() {
    let mut w = cluster(fenced(service("web")));
    let alloc = w.core.allocs().values().next().unwrap().id;
    w.cut("a");
    w.pass(7_000);
    w.answer(Command::StopAlloc(alloc)).unwrap();
    assert_eq!(w.live("web"), ["web[0] v1 stopping a"], "it may still run there");
    w.pass(6_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready b"]);
}

#[test]
fn a_lease_is_given_only_when_a_later_commit_was_carried_out() {
    let mut w = cluster(fenced(service("web")));
    w.pass(1_000);
    let (before, _) = w.agents["a"].leased.clone().unwrap();
    w.store_stalled = true;
    w.now = w.now + Millis(500);
    w.report("a");
    assert_eq!(w.agents["a"].leased.clone().unwrap().0, before, "nobody knows whether this server still leads");
    w.store_stalled = false;
    w.drain();
    let (answered, allocs) = w.agents["a"].leased.clone().unwrap();
    assert_eq!(answered, w.agents["a"].serial);
    assert_eq!(allocs, [w.core.allocs().values().next().unwrap().id]);
}

#[test]
fn a_proof_writes_nothing_and_one_is_enough_for_many_nodes() {
    let mut w = cluster(fenced(service("web").count(6)));
    w.pass(3_000);
    let (commits, reports) = (w.commit_count, w.agents.values().map(|agent| agent.serial).sum::<u64>());
    let written = w.revision;
    w.pass(5_000);
    let more = w.agents.values().map(|agent| agent.serial).sum::<u64>() - reports;
    let proofs = w.commit_count - commits;
    assert!(proofs >= 10 && (proofs as u64) < more, "{proofs} proofs for {more} reports, from revision {written}");
    // Where nothing is fenced nothing is proven.
    let mut w = cluster(service("web"));
    w.pass(3_000);
    let commits = w.commit_count;
    w.pass(5_000);
    assert_eq!(w.commit_count, commits);
}

#[test]
fn leases_are_bounded() {
    let mut w = World::new();
    let lease = |lease| on(OnPartition::Fence { lease: Millis(lease) }, service("web"));
    for (wrong, place) in [(2_999, "groups[0].lease"), (8 * 24 * 3600 * 1000, "groups[0].lease")] {
        let refused = w.run(lease(wrong)).unwrap_err();
        assert!(matches!(&refused, Refusal::Invalid { place: at, .. } if at == place), "{refused:?}");
    }
    w.restart(|settings| settings.heartbeat = Millis(5_000));
    let refused = w.run(lease(14_999)).unwrap_err();
    assert!(matches!(&refused, Refusal::Invalid { remedy, .. } if remedy.contains("every 5s")), "{refused:?}");
    w.run(lease(15_000)).unwrap();
    let late = on(OnPartition::Replace { after: Millis(u64::MAX) }, service("late"));
    assert!(w.run(late).is_err());
}

#[test]
fn one_for_whom_others_go_does_not_wait_for_those_on_a_lost_node() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(on(OnPartition::Keep, service("lowest").cpu(3_000).priority(10))).unwrap();
    w.pass(2_000);
    w.node(machine("b"));
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    w.cut("a");
    w.run(service("high").cpu(3_000).priority(80)).unwrap();
    assert_eq!(w.live("lowest")[0], "lowest[0] v1 stopping a", "it is to go, and will never tell");
    w.pass(10_000);
    assert_eq!(w.live("high"), ["high[0] v1 ready b"]);
}

#[test]
fn what_is_fenced_waits_for_an_agent_that_knows_leases_and_nothing_else_does() {
    let mut w = World::new();
    w.node(machine("old").attribute("agent.protocol", "1"));
    w.node(machine("older").without("agent.protocol"));
    w.run(fenced(service("db"))).unwrap();
    w.run(service("web")).unwrap();
    w.run(on(OnPartition::Keep, service("kept"))).unwrap();
    w.pass(2_000);
    assert_eq!(w.live("db"), ["db[0] v1 waiting never -"]);
    assert!(w.live("web")[0].contains("ready") && w.live("kept")[0].contains("ready"), "{:?}", w.live("kept"));
    w.node(machine("new"));
    w.pass(2_000);
    assert_eq!(w.live("db"), ["db[0] v1 ready new"]);
}

#[test]
fn what_is_fenced_by_an_update_goes_to_an_agent_that_knows_leases() {
    let mut w = World::new();
    w.node(machine("old").attribute("agent.protocol", "1"));
    w.run(service("db")).unwrap();
    w.pass(2_000);
    w.node(machine("new"));
    w.run(fenced(service("db"))).unwrap();
    w.pass(30_000);
    assert_eq!(w.live("db"), ["db[0] v2 ready new"]);
}
