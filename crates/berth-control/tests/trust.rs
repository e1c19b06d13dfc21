//! Whom the cluster trusts, and what follows from it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use berth_model::testkit::{machine, service};
use berth_model::*;
use world::World;

const HOUR: u64 = 3_600_000;

fn authority(n: u8, after: Option<u8>) -> Command {
    let id = |n| AuthorityId(Sha256([n; 32]));
    Command::Trust(TrustCommand::AddAuthority(Box::new(NewAuthority {
        id: id(n),
        after: after.map(id),
        certificate: vec![n; 400],
        cross: after.map(|_| vec![n; 410]),
        sealed_key: vec![n; 150],
        not_after: Timestamp(u64::MAX),
    })))
}

fn retire(n: u8, force: bool) -> Command {
    Command::Trust(TrustCommand::RetireAuthority { id: AuthorityId(Sha256([n; 32])), force })
}

fn token(w: &World, n: u8, node: Option<&str>) -> Command {
    let (id, expires) = (TokenId(Sha256([n; 32])), w.now + Millis(HOUR));
    let node = node.map(|node| node.parse().unwrap());
    Command::Trust(TrustCommand::AddToken { id, role: Role::Agent, node, expires })
}

fn join(token: u8, name: &str, key: u8) -> Command {
    let (token, key) = (TokenId(Sha256([token; 32])), KeyId(Sha256([key; 32])));
    Command::Trust(TrustCommand::Join { token, role: Role::Agent, name: name.parse().unwrap(), key })
}

fn revoke(node: &str) -> Command {
    Command::Trust(TrustCommand::Revoke(node.parse().unwrap()))
}

fn why_not(answer: CommandResult) -> JoinRefusal {
    match answer {
        Err(Refusal::Join(why)) => why,
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

#[test]
fn a_token_is_used_up_by_the_first_machine_whatever_becomes_of_the_leader() {
    let mut w = World::new();
    let make = token(&w, 1, None);
    w.answer(make).unwrap();
    w.answer(join(1, "a", 7)).unwrap();
    w.lead_anew();
    w.check();
    assert!(matches!(why_not(w.answer(join(1, "b", 8))), JoinRefusal::Used { .. }));
    assert!(
        matches!(why_not(w.answer(join(1, "a", 7))), JoinRefusal::Used { .. }),
        "under another key of the client's"
    );
    assert_eq!(why_not(w.answer(join(2, "b", 8))), JoinRefusal::UnknownToken);
}

#[test]
fn a_token_that_could_not_be_stored_lets_nobody_in() {
    let mut w = World::new();
    let make = token(&w, 1, None);
    w.answer(make).unwrap();
    w.store_stalled = true;
    let request = w.ask("first", join(1, "a", 7));
    assert!(!w.replies.contains_key(&request), "nothing is acknowledged before it is durable");
    assert!(matches!(why_not(w.answer(join(1, "b", 8))), JoinRefusal::Used { .. }));
    w.store_stalled = false;
    w.drain();
    assert!(w.replies[&request].is_ok());
    w.check();
}

#[test]
fn tokens_end_and_are_forgotten() {
    let mut w = World::new();
    for n in 0..20 {
        let make = token(&w, n, None);
        w.answer(make).unwrap();
    }
    w.now = w.now + Millis(HOUR);
    assert!(matches!(why_not(w.answer(join(1, "a", 7))), JoinRefusal::Expired { .. }));
    w.now = w.now + Millis(25 * HOUR);
    w.pass(62_000);
    assert!(w.disk.trust.is_empty(), "{:?}", w.disk.trust);
    w.check();
}

#[test]
fn a_name_is_taken_over_by_a_token_that_names_it_alone() {
    let mut w = World::new();
    for (n, node) in [(1, None), (2, None), (3, Some("a")), (4, Some("b"))] {
        let make = token(&w, n, node);
        w.answer(make).unwrap();
    }
    w.answer(join(1, "a", 7)).unwrap();
    assert_eq!(why_not(w.answer(join(2, "a", 8))), JoinRefusal::NameTaken);
    assert_eq!(why_not(w.answer(join(4, "a", 8))), JoinRefusal::OtherNode);
    w.answer(join(3, "a", 8)).unwrap();
    w.answer(revoke("a")).unwrap();
    w.answer(join(2, "a", 9)).unwrap();
    w.check();
}

#[test]
fn what_a_node_runs_goes_elsewhere_when_it_is_shut_out() {
    let mut w = World::new();
    for (n, name) in [(1, "a"), (2, "b")] {
        let make = token(&w, n, None);
        w.answer(make).unwrap();
        w.answer(join(n, name, n)).unwrap();
        w.node(machine(name).cpu(8_000));
    }
    w.run(service("web").count(4).cpu(500).min_ready(0)).unwrap();
    w.pass(2_000);
    let session = w.agents["a"].session;
    w.answer(revoke("a")).unwrap();
    assert!(w.closed.iter().any(|(closed, reason)| Some(*closed) == session && reason.contains("was shut out")));
    w.pass(2_000);
    let live = w.live("web");
    assert!(live.len() == 4 && live.iter().all(|line| line.ends_with(" b")), "{live:?}");
    let lost = w.core.ledger(..).find(|entry| matches!(entry.what, Happening::NodeLost { .. })).unwrap();
    assert!(matches!(lost.cause, Cause::Command(_)));
    // A stream that was let in a moment before is not kept.
    let closed = w.closed.len();
    w.connect("a");
    assert_eq!(w.closed.len(), closed + 1);
    assert_eq!(w.answer(revoke("a")), Err(Refusal::NoSuchMember("a".parse().unwrap())));
    w.check();
}

#[test]
fn authorities_follow_one_another_and_are_retired_in_time() {
    let mut w = World::new();
    w.answer(authority(1, None)).unwrap();
    let signs = |n| Some(AuthorityId(Sha256([n; 32])));
    assert_eq!(w.answer(authority(2, None)), Err(Refusal::AuthorityChanged { signs: signs(1) }));
    w.answer(authority(2, Some(1))).unwrap();
    assert_eq!(w.answer(authority(3, Some(1))), Err(Refusal::AuthorityChanged { signs: signs(2) }));
    let told = |answer| match answer {
        Err(Refusal::Invalid { problem, .. }) => problem,
        other => panic!("a refusal was expected, not {other:?}"),
    };
    assert!(told(w.answer(retire(2, true))).contains("the authority signs"));
    assert!(told(w.answer(retire(1, false))).contains("less than a week ago"));
    w.now = w.now + Millis(7 * 24 * HOUR);
    w.answer(retire(1, false)).unwrap();
    assert_eq!(w.answer(retire(1, false)), Err(Refusal::NoSuchAuthority(AuthorityId(Sha256([1; 32])))));
    for n in 3..10 {
        w.answer(authority(n, Some(n - 1))).unwrap();
    }
    assert!(told(w.answer(authority(10, Some(9)))).contains("are believed already"));
    w.check();
}
