//! The format in which everything is stored, and an operator who raises it.

mod world;

use berth_control::Event;
use berth_model::testkit::{machine, service};
use berth_model::*;
use world::World;

fn finalised(format: u32, changed: bool) -> Result<CommandOutcome, Refusal> {
    Ok(CommandOutcome::Finalised { format: Format(format), changed })
}

#[test]
fn it_is_durable_before_it_is_acknowledged_and_has_a_cause() {
    let mut w = World::new();
    w.store_stalled = true;
    let request = w.ask("k", Command::Finalise(Format(3)));
    assert!(!w.replies.contains_key(&request));
    assert_eq!(w.disk.meta.format, Format::FIRST);
    w.store_stalled = false;
    w.drain();
    assert_eq!(w.replies[&request], finalised(3, true));
    assert_eq!(w.disk.meta.format, Format(3));
    let told = w.core.ledger(..).find(|entry| entry.what == Happening::Finalised(Format(3))).unwrap();
    assert!(matches!(told.cause, Cause::Command(_)));
}

#[test]
fn it_only_grows_and_the_next_leader_goes_on_with_it() {
    let mut w = World::new();
    assert_eq!(w.answer(Command::Finalise(Format(4))), finalised(4, true));
    for older in [4, 3] {
        assert_eq!(w.answer(Command::Finalise(Format(older))), finalised(4, false));
    }
    w.lead_anew();
    w.node(machine("a").cpu(1_000));
    w.run(service("web").cpu(100).min_ready(0)).expect("a job like any other");
    assert_eq!(w.disk.meta.format, Format(4));
    assert_eq!(w.core.ledger(..).filter(|entry| matches!(entry.what, Happening::Finalised(_))).count(), 1);
}

#[test]
fn no_commit_has_it_before_the_one_that_tells_of_it() {
    let mut w = World::new();
    w.store_stalled = true;
    // More than may be under way at once, and then more than one commit holds.
    for job in 0..150 {
        let spec = service(&format!("job-{job}")).0;
        w.ask(&format!("k{job}"), Command::Run(Box::new(spec)));
    }
    let request = w.ask("k", Command::Finalise(Format(3)));
    let mut commits = 0;
    while let Some((commit, mutations)) = w.commits.pop_front() {
        mutations.into_iter().for_each(|mutation| w.disk.write(mutation));
        w.revision += 1;
        let is_told = w.disk.ledger.values().any(|entry| matches!(entry.what, Happening::Finalised(_)));
        assert_eq!(w.disk.meta.format == Format(3), is_told, "after {commits} commits");
        assert!(!w.replies.contains_key(&request), "not before it is durable");
        w.event(Event::Committed { commit, revision: Revision(w.revision) });
        commits += 1;
    }
    assert!(commits > 18, "{commits} commits are no backlog");
    assert_eq!(w.replies[&request], finalised(3, true));
    assert_eq!(w.disk.meta.format, Format(3));
}
