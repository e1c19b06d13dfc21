//! The format in which everything is stored, and an operator who raises it.

mod world;

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
