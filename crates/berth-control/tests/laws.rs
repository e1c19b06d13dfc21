//! Laws: whatever happens, the store holds what the core believes, a new leader believes the same, equal events have
//! equal effects, and no node is promised more than it has.

mod world;

use berth_control::*;
use berth_model::testkit::{batch, machine, name, service, system};
use berth_model::*;
use proptest::prelude::*;
use world::{EPOCH, Fate, World};

#[derive(Clone, Debug)]
enum Deed {
    Run {
        kind: u8,
        job: u8,
        count: u32,
        cpu: u64,
        program: u8,
        port: bool,
        parallel: u32,
    },
    Stop(u8),
    StopAlloc(u64),
    Node(u8),
    Cut(u8),
    Connect(u8),
    Fate(u8, u8),
    Pass(u64),
    Collect,
    Leader,
    /// So many moves by balancing may be under way at once; 0 for none ever.
    Balance(u32),
    /// A node joins, by this name.
    Join(u8),
    /// A node is shut out.
    Revoke(u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        5 => (0..3u8, 0..4u8, 0..6u32, 1..5u64, 0..3u8, any::<bool>(), 1..3u32).prop_map(
            |(kind, job, count, cpu, program, port, parallel)| Deed::Run { kind, job, count, cpu, program, port, parallel }
        ),
        1 => (0..4u8).prop_map(Deed::Stop),
        2 => (1..40u64).prop_map(Deed::StopAlloc),
        3 => (0..5u8).prop_map(Deed::Node),
        2 => (0..5u8).prop_map(Deed::Cut),
        2 => (0..5u8).prop_map(Deed::Connect),
        2 => (0..4u8, 0..4u8).prop_map(|(job, fate)| Deed::Fate(job, fate)),
        5 => prop_oneof![Just(500u64), Just(2_000), Just(8_000)].prop_map(Deed::Pass),
        1 => Just(Deed::Collect),
        1 => Just(Deed::Leader),
        2 => (0..4u32).prop_map(Deed::Balance),
        1 => (0..5u8).prop_map(Deed::Join),
        1 => (0..5u8).prop_map(Deed::Revoke),
    ]
}

fn perform(w: &mut World, deed: &Deed) {
    match deed {
        Deed::Run { kind, job, count, cpu, program, port, parallel } => {
            let name = format!("job{job}");
            let spec = match kind {
                0 => service(&name).count(*count),
                1 => batch(&name).count(*count),
                _ => system(&name),
            };
            let spec = spec.cpu(cpu * 600).command(&format!("/bin/{program}")).max_parallel(*parallel);
            let spec = if *port { spec.fixed_port("http", 80) } else { spec.dynamic_port("any") };
            let _ = w.run(spec);
        }
        Deed::Stop(job) => drop(w.stop(&format!("job{job}"))),
        Deed::StopAlloc(id) => drop(w.answer(Command::StopAlloc(AllocId::new(Incarnation(1), *id)))),
        Deed::Node(n) => {
            let name = format!("n{n}");
            if !w.agents.contains_key(&name) {
                w.node(machine(&name));
            }
        }
        Deed::Cut(n) => {
            let name = format!("n{n}");
            if w.agents.contains_key(&name) {
                w.cut(&name);
            }
        }
        Deed::Connect(n) => {
            let name = format!("n{n}");
            if w.agents.contains_key(&name) {
                w.connect(&name);
            }
        }
        Deed::Fate(job, fate) => {
            let fate = [Fate::Run, Fate::Fail, Fate::Complete, Fate::Hang][usize::from(*fate)];
            w.fates.insert(format!("job{job}"), fate);
        }
        Deed::Pass(millis) => w.pass(*millis),
        Deed::Collect => {
            w.now = w.now + Millis::from_secs(25 * 3600);
            w.pass(62_000);
        }
        Deed::Leader => new_leader(w),
        Deed::Balance(at_most) => balance(w, *at_most),
        Deed::Join(n) => join(w, *n),
        Deed::Revoke(n) => drop(w.answer(Command::Trust(TrustCommand::Revoke(name(&format!("n{n}")))))),
    }
}

/// With a token of its own, the same key each time.
fn join(w: &mut World, n: u8) {
    let (token, expires) = (TokenId(Sha256([w.core.ledger(..).count() as u8; 32])), w.now + Millis(60_000));
    let (role, node) = (Role::Agent, Some(name(&format!("n{n}"))));
    let _ = w.answer(Command::Trust(TrustCommand::AddToken { id: token, role, node: node.clone(), expires }));
    if let Some(name) = node {
        let _ = w.answer(Command::Trust(TrustCommand::Join { token, role, name, key: KeyId(Sha256([n; 32])) }));
    }
}

fn balance(w: &mut World, at_most: u32) {
    let balance = if at_most == 0 { BalanceMode::Off } else { BalanceMode::On { at_most } };
    let spec = PolicySpec { name: name("mine"), balance, ..BuiltIn::Balanced.spec() };
    let _ = w.answer(Command::SetPolicy { spec: Box::new(spec), after: None });
}

/// How many moves were ever begun.
fn moves(w: &World) -> usize {
    let ledger = w.core.ledger(..);
    ledger.filter(|entry| matches!(entry.cause, Cause::Balance { .. })).count()
}

/// The allocations, without the numbers in reasons for waiting: a reason is written again only when something that
/// could end the waiting changes, and the room that others took meanwhile does not.
fn told(snapshot: Snapshot) -> Vec<Alloc> {
    let plain = |mut alloc: Alloc| {
        if let AllocState::Waiting { reason: WaitReason::NoNodeFits { filtered, nearest, decision, .. }, .. } =
            &mut alloc.state
        {
            (*filtered, *nearest, *decision) = (Filtered::new(), None, DecisionId::new(Incarnation(0), 0));
        }
        alloc
    };
    snapshot.allocs.into_iter().map(plain).collect()
}

/// Another leader takes over what the store holds: it must have nothing to add but its epoch.
fn new_leader(w: &mut World) {
    let before = w.disk.snapshot();
    let epoch = Epoch { counter: before.meta.epoch.counter + 1, ..EPOCH };
    let mut out = Vec::new();
    let core = Core::load(
        Beginning { settings: w.core.settings().clone(), snapshot: before.clone(), epoch, now: w.now },
        &mut out,
    );
    assert_eq!(told(core.snapshot()), told(before.clone()), "a new leader finds nothing to change");
    assert_eq!(core.snapshot().jobs, before.jobs);
    w.core = core;
    w.commits.clear();
    for agent in w.agents.values_mut() {
        agent.session = None;
    }
    for effect in out {
        match effect {
            Effect::Commit { commit, mutations } => w.commits.push_back((commit, mutations)),
            Effect::WakeAt(at) => w.wake = Some(at),
            other => panic!("{other:?} before the epoch is durable"),
        }
    }
    w.drain();
    let up: Vec<String> = w.agents.iter().filter(|(_, a)| a.up).map(|(n, _)| n.clone()).collect();
    for name in up {
        w.connect(&name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_store_agree_and_equal_events_have_equal_effects(deeds in prop::collection::vec(deed(), 1..40)) {
        let (mut one, mut two) = (World::new(), World::new());
        for deed in &deeds {
            perform(&mut one, deed);
            one.check();
            perform(&mut two, deed);
            prop_assert_eq!(one.core.state_digest(), two.core.state_digest());
        }
        for alloc in one.core.allocs().values() {
            let waits = matches!(alloc.state, AllocState::Waiting { .. });
            prop_assert_eq!(one.core.wait_reason(alloc.id).is_some(), waits);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn where_nothing_changes_moves_come_to_an_end(deeds in prop::collection::vec(deed(), 1..30)) {
        let mut w = World::new();
        deeds.iter().for_each(|deed| perform(&mut w, deed));
        w.fates.clear();
        balance(&mut w, 3);
        let up: Vec<String> = w.agents.keys().cloned().collect();
        up.iter().for_each(|name| w.connect(name));
        w.pass(40 * 60_000);
        let before = moves(&w);
        w.pass(40 * 60_000);
        prop_assert_eq!(moves(&w), before);
    }
}
