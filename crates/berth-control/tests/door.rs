//! Refusals, repetitions, the store's failures, reasons for waiting, and the chains of causes.

mod world;

use berth_control::*;
use berth_model::testkit::{batch, machine, service, system};
use berth_model::*;
use world::{World, job_id};

#[test]
fn a_repeated_key_is_answered_and_not_done_again() {
    let mut w = World::new();
    let run = || Command::Run(Box::new(service("web").0));
    let one = w.ask("k", run());
    let two = w.ask("k", run());
    assert_eq!(w.replies[&one], w.replies[&two]);
    let other = w.ask("k", Command::Stop(job_id("web")));
    assert!(matches!(w.replies[&other], Err(Refusal::KeyReused { .. })));
    assert_eq!(w.core.jobs()[&job_id("web")].version, JobVersion(1));
}

#[test]
fn refusals_change_nothing() {
    let mut w = World::new();
    w.run(service("web")).unwrap();
    let before = w.core.state_digest();
    assert!(matches!(w.stop("nope"), Err(Refusal::NoSuchJob(_))));
    let alloc = AllocId::new(Incarnation(1), 99);
    assert!(matches!(w.answer(Command::StopAlloc(alloc)), Err(Refusal::NoSuchAlloc(_))));
    let Err(Refusal::Invalid { place, .. }) = w.run(batch("web")) else { panic!("the kind changed") };
    assert_eq!(place, "kind");
    let Err(Refusal::Invalid { place, .. }) = w.run(service("tiny").memory(0)) else { panic!("too little memory") };
    assert_eq!(place, "groups[0].tasks[0].resources.memory");
    let Err(Refusal::Invalid { place, .. }) = w.run(service("big").count(100_001)) else { panic!("too many") };
    assert_eq!(place, "groups[0].count");
    let command = Box::new(CommandRequest {
        principal: Principal(String::new()),
        namespace: Namespace::default(),
        key: IdempotencyKey("k".to_owned()),
        plan: None,
        command: Command::Stop(job_id("web")),
    });
    w.event(Event::Command { request: RequestId(1_000), command });
    assert!(matches!(w.replies[&RequestId(1_000)], Err(Refusal::NotAuthorized { .. })));
    assert_eq!(w.core.state_digest(), before);
}

#[test]
fn nothing_is_acknowledged_or_ordered_before_it_is_durable() {
    let mut w = World::new();
    w.node(machine("a"));
    w.store_stalled = true;
    let request = w.ask("k", Command::Run(Box::new(service("web").0)));
    assert!(!w.replies.contains_key(&request));
    assert!(w.agents["a"].desired.as_ref().is_none_or(|d| d.allocs.is_empty()));
    w.store_stalled = false;
    w.drain();
    assert!(w.replies[&request].is_ok());
    assert_eq!(w.agents["a"].desired.as_ref().unwrap().allocs.len(), 1);
}

#[test]
fn a_failed_commit_ends_the_reign() {
    for (error, refusal) in
        [(CommitError::Conflict, Refusal::NotLeader), (CommitError::Unavailable, Refusal::StoreUnavailable)]
    {
        let mut w = World::new();
        w.store_stalled = true;
        let request = w.ask("k", Command::Run(Box::new(service("web").0)));
        let (commit, _) = w.commits.pop_front().unwrap();
        w.event(Event::CommitFailed { commit, error });
        assert_eq!(w.replies[&request], Err(refusal));
        assert!(w.stepped_down.is_some() && !w.core.is_leading());
        let late = w.ask("k2", Command::Stop(job_id("web")));
        assert_eq!(w.replies[&late], Err(Refusal::NotLeader));
    }
}

#[test]
fn too_many_waiting_requests_are_refused() {
    let mut w = World::new();
    w.store_stalled = true;
    let mut last = None;
    for n in 0..4_097 {
        last = Some(w.ask(&format!("k{n}"), Command::Run(Box::new(service("web").count(0).0))));
    }
    assert_eq!(w.replies[&last.unwrap()], Err(Refusal::Overloaded));
    w.store_stalled = false;
    w.drain();
    assert!(w.replies.values().filter(|r| r.is_ok()).count() == 4_096);
}

#[test]
fn each_reason_for_waiting() {
    let mut w = World::new();
    w.run(service("web").count(9)).unwrap();
    assert_eq!(w.live("web")[0], "web[0] v1 waiting no-nodes -");
    w.node(machine("a").cpu(4_000));
    assert_eq!(w.live("web")[8], "web[8] v1 waiting no-room -");
    let id = w.core.job_allocs(&job_id("web"))[8].id;
    let shortfall = |w: &World| match w.core.wait_reason(id) {
        Some(WaitReason::NoNodeFits { nearest: Some((node, lack)), .. }) => {
            (w.node_name(node), lack.dimension, lack.wanted, lack.free)
        }
        other => panic!("{other:?} tells of no shortfall"),
    };
    assert_eq!(shortfall(&w), ("a".to_owned(), Dimension::Cpu, 500, 0));
    w.run(service("huge").cpu(9_000)).unwrap();
    assert_eq!(w.live("huge"), ["huge[0] v1 waiting never -"]);
}

#[test]
fn a_reason_is_told_with_the_numbers_of_the_moment() {
    let mut w = World::new();
    w.node(machine("a").cpu(1_000));
    for (job, cpu) in [("half", 500), ("rest", 400), ("last", 700)] {
        w.run(service(job).cpu(cpu)).unwrap();
    }
    w.run(system("each").cpu(700)).unwrap();
    let free = |w: &World, job: &str| {
        let id = w.core.job_allocs(&job_id(job))[0].id;
        match w.core.wait_reason(id) {
            Some(WaitReason::NoNodeFits { nearest: Some((_, lack)), .. }) => lack.free,
            other => panic!("{other:?} tells of no shortfall"),
        }
    };
    assert_eq!((free(&w, "last"), free(&w, "each")), (100, 100));
    w.stop("rest").unwrap();
    w.pass(500);
    assert_eq!((free(&w, "last"), free(&w, "each")), (500, 500), "room has appeared");
    w.run(service("more").cpu(300)).unwrap();
    assert_eq!((free(&w, "last"), free(&w, "each")), (200, 200), "room was taken");
    let running = w.core.job_allocs(&job_id("half"))[0].id;
    assert_eq!(w.core.wait_reason(running), None);
}

#[test]
fn old_and_new_name_the_lost_node() {
    let mut w = World::new();
    let a = w.node(machine("a"));
    w.node(machine("b"));
    w.run(service("web")).unwrap();
    w.pass(2_000);
    w.cut("a");
    w.pass(7_000);
    let allocs = w.core.job_allocs(&job_id("web"));
    let [old, new] = allocs.as_slice() else { panic!("{allocs:?}") };
    let AllocState::Ended { outcome, cause: Cause::Event(end), .. } = &old.state else { panic!("{old:?}") };
    assert_eq!((outcome, new.replaces), (&Outcome::Lost(a), Some(old.id)));
    // Both chains lead to the loss of the node, and that to the clock.
    let entry = |id: EventId| w.core.ledger(id..=id).next().unwrap();
    let Cause::Event(made) = new.cause else { panic!("{new:?}") };
    let about = |id: EventId| matches!(&entry(id).what, Happening::AllocEnded { alloc, .. } if *alloc == old.id);
    assert!(about(made), "{:?}", entry(made));
    for loss in [*end, cause_event(&entry(made).cause)] {
        assert!(matches!(&entry(loss).what, Happening::NodeLost { node, .. } if *node == a));
        assert!(matches!(entry(loss).cause, Cause::Timer { timer: Timer::Heartbeat, .. }));
    }
}

fn cause_event(cause: &Cause) -> EventId {
    let Cause::Event(id) = cause else { panic!("{cause:?} is no entry of the ledger") };
    *id
}

#[test]
fn a_name_in_use_is_refused_and_a_lost_one_is_given_anew() {
    let mut w = World::new();
    let first = w.node(machine("a"));
    let mut hello = machine("a").hello();
    hello.agent = AgentKey("another".to_owned());
    w.event(Event::AgentConnected { session: SessionId(77), hello: hello.clone() });
    assert_eq!(w.closed.len(), 1);
    w.cut("a");
    w.pass(7_000);
    w.event(Event::AgentConnected { session: SessionId(78), hello });
    assert_eq!(w.closed.len(), 1);
    assert!(w.core.nodes().values().any(|n| n.id != first && n.is_eligible()));
}

#[test]
fn ten_thousand_allocations_on_a_thousand_nodes() {
    let mut w = World::new();
    for n in 0..1_000 {
        w.node(machine(&format!("n{n}")).cpu(10_000));
    }
    w.run(service("web").count(10_000).memory(16)).unwrap();
    assert_eq!(w.core.summary().placed, 10_000);
    w.cut("n0");
    w.pass(500);
    assert_eq!(w.core.summary().running, 9_990);
    assert!(w.commit_count < 3_000, "{} commits", w.commit_count);
}
