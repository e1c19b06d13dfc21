//! What is left over: work on nodes that nobody asked for or that was given up, and what has ended long ago.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use berth_control::{Beginning, Core, Effect, Event, RequestId, Settings};
use berth_model::testkit::{batch, machine, service};
use berth_model::*;
use world::{EPOCH, Fate, World, job_id};

/// A cluster whose node `a` was lost with an instance of `web` and has come back with it: a ghost that holds 800 of
/// the node's 1000, while its successor is on `b`.
fn haunted() -> (World, NodeId) {
    let mut w = World::new();
    let a = w.node(machine("a").cpu(1_000));
    w.node(machine("b").cpu(1_000));
    w.run(service("web").cpu(800)).unwrap();
    w.pass(2_000);
    w.cut("a");
    w.pass(7_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[0] v1 ready b"]);
    w.connect("a");
    assert_eq!(w.core.summary().nodes_ready, 2);
    (w, a)
}

#[test]
fn what_the_server_never_heard_of_changes_nothing_and_is_not_wanted() {
    let mut w = World::new();
    let node = w.node(machine("a"));
    w.run(service("web")).unwrap();
    w.pass(2_000);
    let web = w.core.job_allocs(&job_id("web"))[0].id;
    let stranger = AllocId::new(Incarnation(7), 99);
    let before = w.core.state_digest();
    let known = ObservedAlloc { id: web, phase: Phase::Running, tasks: w.core.allocs()[&web].tasks.clone() };
    let unknown = ObservedAlloc { id: stranger, ..known.clone() };
    w.say("a", vec![known, unknown]);
    assert_eq!(w.core.state_digest(), before);
    let wanted: Vec<AllocId> = w.core.desired(node).allocs.iter().map(|alloc| alloc.id).collect();
    assert_eq!(wanted, [web], "the agent is told the whole, and ends what is not in it");
}

#[test]
fn what_was_given_up_holds_its_room_until_it_is_gone() {
    let (mut w, _) = haunted();
    w.run(service("more").cpu(800)).unwrap();
    assert_eq!(w.live("more"), ["more[0] v1 waiting no-room -"], "the ghost is in the way");
    w.report("a");
    assert_eq!(w.live("more"), ["more[0] v1 placed a"], "the agent has ended it");
}

#[test]
fn a_ghost_that_is_not_reported_any_more_is_gone() {
    let (mut w, _) = haunted();
    w.run(service("more").cpu(800)).unwrap();
    w.say("a", Vec::new());
    assert_eq!(w.live("more"), ["more[0] v1 placed a"]);
}

#[test]
fn what_a_returned_node_may_yet_begin_holds_its_room_until_it_has_been_told() {
    let mut w = World::new();
    w.node(machine("a").cpu(1_000));
    w.node(machine("b").cpu(1_000));
    w.cut("a");
    w.run(service("web").cpu(800)).unwrap();
    assert_eq!(w.live("web"), ["web[0] v1 placed a"], "the order is on its way");
    w.pass(7_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[0] v1 ready b"]);
    for _ in 0..2 {
        w.say("a", Vec::new());
        assert_eq!(w.core.summary().nodes_ready, 2, "it is back, and has heard nothing yet");
    }
    w.run(service("more").cpu(800)).unwrap();
    assert_eq!(w.live("more"), ["more[0] v1 waiting no-room -"], "the node may yet begin what it was told first");
    w.connect("a");
    w.report("a");
    assert_eq!(w.live("more"), ["more[0] v1 placed a"], "it knows that nothing is to begin");
}

#[test]
fn a_new_leader_counts_with_ghosts_until_the_node_has_reported() {
    let (w, _) = haunted();
    let epoch = Epoch { counter: EPOCH.counter + 1, ..EPOCH };
    let mut out = Vec::new();
    let mut core = Core::load(
        Beginning { settings: Settings::default(), snapshot: w.disk.snapshot(), epoch, now: w.now },
        &mut out,
    );
    let command = Box::new(CommandRequest {
        principal: Principal("root".to_owned()),
        namespace: Namespace::default(),
        key: IdempotencyKey("k".to_owned()),
        plan: None,
        command: Command::Run(Box::new(service("more").cpu(800).0)),
    });
    core.step(w.now, Event::Command { request: RequestId(1), command }, &mut out);
    assert!(out.iter().any(|effect| matches!(effect, Effect::Commit { .. })));
    let more = core.job_allocs(&job_id("more"));
    assert!(matches!(more[0].state, AllocState::Waiting { .. }), "{:?}", more[0].state);
}

/// What has ended is kept for ten seconds.
fn forgetful() -> World {
    let keep = Millis::from_secs(10);
    let mut w = World::with(Settings { keep_ended: keep, keep_commands: keep, keep_ledger: 5, ..Settings::default() });
    w.node(machine("a"));
    w
}

#[test]
fn a_job_that_has_ended_is_forgotten_with_all_that_was_of_it() {
    let mut w = forgetful();
    w.fates.insert("sum".to_owned(), Fate::Complete);
    w.run(batch("sum").count(3)).unwrap();
    w.pass(5_000);
    assert_eq!((w.all("sum").len(), w.disk.allocs.len(), w.disk.commands.len()), (3, 3, 1));
    w.pass(30_000);
    assert!(w.disk.jobs.is_empty() && w.disk.allocs.is_empty() && w.disk.commands.is_empty());
    assert_eq!(w.agents["a"].desired.as_ref().unwrap().allocs, [], "the node forgets it too");
    let last = &w.disk.ledger.values().next_back().unwrap().what;
    assert!(matches!(last, Happening::JobCollected(_)), "{last:?}");
    assert!(w.disk.ledger.len() <= 5 + 1, "{} entries", w.disk.ledger.len());
}

#[test]
fn what_has_ended_of_a_wanted_job_is_forgotten_but_for_the_newest_of_a_slot() {
    let mut w = forgetful();
    w.run(service("web")).unwrap();
    w.pass(2_000);
    let first = w.core.job_allocs(&job_id("web"))[0].id;
    w.answer(Command::StopAlloc(first)).unwrap();
    w.run(service("web").command("/bin/new")).unwrap();
    w.pass(5_000);
    assert!(w.all("web").len() >= 2 && w.disk.allocs.contains_key(&first));
    assert_eq!(w.disk.versions.len(), 1, "the version that the ended ran");
    w.pass(30_000);
    assert_eq!(w.all("web"), ["web[0] v2 ready a"]);
    assert!(w.disk.versions.is_empty());

    // A batch job that waits for its last piece of work remembers how the others ended.
    let fates = [("sum", Fate::Complete)].map(|(job, fate)| (job.to_owned(), fate));
    w.fates.extend(fates);
    w.run(batch("sum").count(2)).unwrap();
    let slow = w.core.job_allocs(&job_id("sum"))[1].id;
    w.fates.insert(slow.to_string(), Fate::Run);
    w.pass(40_000);
    assert_eq!(w.all("sum"), ["sum[0] v1 complete a", "sum[1] v1 ready a"]);
}

/// At most so many ended allocations, and ended jobs, are kept; none is old within a test.
fn narrow(max: u64) -> World {
    World::with(Settings { keep_ended_max: max, keep_commands: Millis::from_secs(10), ..Settings::default() })
}

#[test]
fn of_too_much_that_has_ended_the_oldest_is_forgotten_in_bounded_portions() {
    let mut w = narrow(100);
    w.run(service("early").cpu(1)).unwrap();
    w.answer(Command::Stop(job_id("early"))).unwrap();
    w.run(service("wide").cpu(1).count(5_000)).unwrap();
    w.pass(1_000);
    w.answer(Command::Stop(job_id("wide"))).unwrap();
    assert_eq!(w.disk.allocs.len(), 5_001, "nothing is forgotten before its turn");
    let (mut before, mut portions) = (w.disk.allocs.len(), 0);
    for _ in 0..70 {
        w.pass(1_000);
        let gone = before - w.disk.allocs.len();
        assert!(gone <= 2_000, "{gone} in one second");
        (before, portions) = (w.disk.allocs.len(), portions + usize::from(gone > 0));
    }
    assert_eq!((w.disk.allocs.len(), portions), (100, 3));
    assert_eq!(w.all("early"), Vec::<String>::new(), "the oldest went first");
    assert!(w.disk.jobs.contains_key(&job_id("early")), "jobs are counted for themselves");
}

#[test]
fn what_a_wanted_job_depends_on_is_kept_whatever_the_number() {
    let mut w = narrow(0);
    w.node(machine("a"));
    w.fates.extend([("sum", Fate::Complete), ("bad", Fate::Fail)].map(|(job, fate)| (job.to_owned(), fate)));
    w.run(batch("sum").count(2)).unwrap();
    let slow = w.core.job_allocs(&job_id("sum"))[1].id;
    w.fates.insert(slow.to_string(), Fate::Run);
    w.run(service("bad")).unwrap();
    w.pass(300_000);
    assert_eq!(w.all("sum"), ["sum[0] v1 complete a", "sum[1] v1 ready a"]);
    let bad = w.core.job_allocs(&job_id("bad"));
    let [.., failed, next] = &bad[..] else { panic!("{:?}", w.all("bad")) };
    let AllocState::Waiting { reason: WaitReason::BackOff { failed: named, .. }, .. } = &next.state else {
        panic!("{:?}", next.state)
    };
    assert!(*named == failed.id && next.failures > 5, "the back-off goes on: {next:?}");

    // A new leader keeps the same, and when the jobs are over nothing is kept.
    w.lead_anew();
    w.pass(120_000);
    assert_eq!(w.all("sum").len(), 2);
    for job in ["sum", "bad"] {
        w.answer(Command::Stop(job_id(job))).unwrap();
    }
    w.pass(200_000);
    assert!(w.disk.allocs.is_empty() && w.disk.jobs.is_empty(), "{:?}", w.disk.allocs.keys());
}

#[test]
fn slots_that_a_job_has_no_more_are_not_needed() {
    let mut w = narrow(1);
    w.node(machine("a"));
    w.run(service("web").count(5)).unwrap();
    w.pass(2_000);
    w.run(service("web").count(1)).unwrap();
    w.pass(120_000);
    assert_eq!(w.all("web"), ["web[0] v1 ready a", "web[4] v1 stopped a"]);
}

#[test]
fn what_a_lost_node_may_still_run_is_not_forgotten() {
    let mut w = narrow(0);
    w.node(machine("a").cpu(1_000));
    w.node(machine("b").cpu(1_000));
    w.run(service("web").cpu(800)).unwrap();
    w.pass(2_000);
    w.cut("a");
    w.pass(120_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[0] v1 ready b"]);
    w.connect("a");
    w.run(service("more").cpu(800)).unwrap();
    assert_eq!(w.live("more"), ["more[0] v1 waiting no-room -"], "the ghost is in the way");
    w.report("a");
    w.pass(120_000);
    assert_eq!(w.all("web"), ["web[0] v1 ready b"]);
}

#[test]
fn of_too_many_ended_jobs_the_oldest_is_forgotten() {
    let mut w = narrow(2);
    w.node(machine("a"));
    for job in ["c", "a", "b"] {
        w.fates.insert(job.to_owned(), Fate::Complete);
        w.run(batch(job)).unwrap();
        w.pass(2_000);
    }
    w.pass(120_000);
    let kept: Vec<String> = w.disk.jobs.keys().map(|id| id.name.to_string()).collect();
    assert_eq!(kept, ["a", "b"]);
}

#[test]
fn a_node_that_stays_away_is_forgotten() {
    let mut w = forgetful();
    let b = w.node(machine("b"));
    w.cut("b");
    let session = w.agents["b"].session.unwrap();
    w.event(Event::AgentDisconnected { session });
    w.pass(8_000);
    assert_eq!(w.core.summary().nodes_lost, 1);
    w.pass(30_000);
    assert!(!w.disk.nodes.contains_key(&b));
    w.connect("b");
    assert_ne!(w.agents["b"].node, Some(b), "who comes back is a new node: ids are never issued again");
}
