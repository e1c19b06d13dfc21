//! Laws of the node core under random faults: crashes of the agent between any two effects, reboots, killed
//! shims, exits, failed preparations, full disks, lost signals, lost streams, stale servers, doubled events.

use std::collections::BTreeMap;

use crate::machine::*;
use berth_model::*;
use berth_node::{Effect, Event};
use proptest::prelude::*;

const ALLOCS: u64 = 4;

#[derive(Clone, Debug)]
enum Action {
    /// For each allocation: 0 absent, 1 run, 2 stop.
    Desire(Vec<u8>),
    Stale,
    Perform(u8),
    Deliver(u8),
    DeliverTwice,
    Pass(u64),
    Exit(u64, bool, u8),
    KillShim(u64),
    PrepareFails(u32, Retry),
    Crash,
    Reboot,
    Reconnect,
    Disconnect,
    StaleWelcome,
    LedgerFails(bool),
    SignalsLost(u32),
}

fn action() -> impl Strategy<Value = Action> {
    let wishes = || prop::collection::vec(0..3u8, ALLOCS as usize);
    prop_oneof![
        4 => wishes().prop_map(Action::Desire),
        1 => Just(Action::Stale),
        8 => (1..12u8).prop_map(Action::Perform),
        8 => (1..12u8).prop_map(Action::Deliver),
        1 => Just(Action::DeliverTwice),
        5 => (1..20_000u64).prop_map(Action::Pass),
        5 => (1..=ALLOCS, any::<bool>(), 0..4u8).prop_map(|(a, t, how)| Action::Exit(a, t, how)),
        1 => (1..=ALLOCS).prop_map(Action::KillShim),
        1 => (1..3u32, prop::sample::select(vec![Retry::MayHelp, Retry::Pointless]))
            .prop_map(|(n, retry)| Action::PrepareFails(n, retry)),
        2 => Just(Action::Crash),
        1 => Just(Action::Reboot),
        2 => Just(Action::Reconnect),
        1 => Just(Action::Disconnect),
        1 => Just(Action::StaleWelcome),
        3 => any::<bool>().prop_map(Action::LedgerFails),
        1 => (1..3u32).prop_map(Action::SignalsLost),
    ]
}

/// A server that never takes a stop back and never lists again what it dropped, as the real one.
struct Server {
    epoch: u64,
    wishes: BTreeMap<u64, u8>,
    next: u64,
}

impl Server {
    /// Moves every wish forward only: run, stop, absent; an allocation that was dropped comes back under a new id.
    fn wish(&mut self, slots: &[u8]) -> Vec<DesiredAlloc> {
        let listed: Vec<u64> = self.wishes.keys().copied().collect();
        for (id, wish) in listed.iter().zip(slots) {
            match wish {
                0 => _ = self.wishes.remove(id),
                2 => _ = self.wishes.insert(*id, 2),
                _ => {}
            }
        }
        while self.wishes.len() < ALLOCS as usize {
            self.next += 1;
            self.wishes.insert(self.next, 1);
        }
        self.listed()
    }

    fn listed(&self) -> Vec<DesiredAlloc> {
        let one = |(id, wish): (&u64, &u8)| {
            let kind = if id % 2 == 0 { JobKind::Batch } else { JobKind::Service };
            let alloc = desired(*id, kind, &["main", "side"]);
            if *wish == 2 { stopped(alloc) } else { alloc }
        };
        self.wishes.iter().map(one).collect()
    }
}

fn apply(machine: &mut Machine, server: &mut Server, action: Action) {
    let slot = |n: u64, server: &Server| alloc_id(server.wishes.keys().nth((n - 1) as usize).copied().unwrap_or(n));
    match action {
        Action::Desire(slots) => {
            let allocs = server.wish(&slots);
            machine.desire(server.epoch, allocs, true);
        }
        // Only a running agent knows of the newest epoch; after a restart the first word it hears counts.
        Action::Stale => {
            machine.welcome(server.epoch);
            machine.desire(server.epoch - 1, Vec::new(), false);
        }
        Action::Perform(n) => _ = (0..n).all(|_| machine.perform()),
        Action::Deliver(n) => _ = (0..n).all(|_| machine.deliver()),
        Action::DeliverTwice => machine.deliver_twice(),
        Action::Pass(ms) => machine.pass(Millis(ms)),
        Action::Exit(alloc, main, how) => {
            let how = [ExitKind::Status(0), ExitKind::Status(3), ExitKind::Signal(11), ExitKind::OutOfMemory]
                [usize::from(how)]
            .clone();
            machine.exit(slot(alloc, server), &name(if main { "main" } else { "side" }), how);
        }
        Action::KillShim(alloc) => machine.kill_shim(slot(alloc, server)),
        Action::PrepareFails(n, retry) => (machine.prepare_fails, machine.prepare_retry) = (n, retry),
        Action::Crash => machine.restart_agent(),
        Action::Reboot => machine.reboot(),
        Action::Reconnect => {
            server.epoch += 1;
            machine.welcome(server.epoch);
            machine.desire(server.epoch, server.listed(), true);
        }
        Action::Disconnect => machine.step(Event::Disconnected),
        Action::LedgerFails(fails) => machine.ledger_fails = fails,
        Action::SignalsLost(n) => machine.signals_lost = n,
        Action::StaleWelcome => {
            machine.welcome(server.epoch);
            machine.welcome(server.epoch - 1);
        }
    }
}

/// What must hold once nothing fails any more.
fn check_settled(machine: &Machine, server: &Server) {
    for alloc in server.listed() {
        let id = alloc.id;
        let live = machine.live(id);
        match (machine.phase(id), alloc.goal) {
            (Some(Phase::Running), Goal::Run) => assert!(live > 0, "{id} is said to run and does not"),
            (Some(Phase::Ended(Ended::Failed(_) | Ended::Complete)), Goal::Run)
            | (Some(Phase::Ended(_)), Goal::Stop) => {
                assert_eq!(live, 0, "{id} has ended and runs");
            }
            (phase, goal) => panic!("{id} should {goal:?} and is {phase:?}"),
        }
    }
    let listed: Vec<AllocId> = server.wishes.keys().map(|n| alloc_id(*n)).collect();
    assert_eq!(machine.ledger.keys().copied().collect::<Vec<_>>(), listed, "the ledger holds what is listed");
    assert!(machine.shims.keys().all(|id| listed.contains(id)), "a shim of a forgotten allocation is left");
    assert!(machine.logs.iter().all(|id| listed.contains(id)), "logs of a forgotten allocation are left");
}

fn play(actions: &[Action]) -> (Machine, Server) {
    let mut machine = Machine::new();
    let mut server = Server { epoch: 2, wishes: BTreeMap::new(), next: 0 };
    for action in actions {
        apply(&mut machine, &mut server, action.clone());
    }
    (machine, server)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn observed_equals_desired_once_faults_stop(actions in prop::collection::vec(action(), 1..120)) {
        let (mut machine, mut server) = play(&actions);
        machine.faults_stop();
        apply(&mut machine, &mut server, Action::Reconnect);
        machine.settle();
        check_settled(&machine, &server);
    }

    #[test]
    fn the_same_events_give_the_same_effects(actions in prop::collection::vec(action(), 1..60)) {
        let (one, _) = play(&actions);
        let (two, _) = play(&actions);
        prop_assert_eq!(one.trace, two.trace);
    }

    #[test]
    fn a_settled_agent_that_hears_the_same_again_does_nothing(actions in prop::collection::vec(action(), 1..60)) {
        let (mut machine, mut server) = play(&actions);
        machine.faults_stop();
        apply(&mut machine, &mut server, Action::Reconnect);
        machine.settle();
        machine.restart_agent();
        machine.welcome(server.epoch);
        machine.trace.clear();
        machine.desire(server.epoch, server.listed(), true);
        let quiet = machine.trace.iter().all(|e| matches!(e, Effect::Report(_) | Effect::WakeAt(_)));
        prop_assert!(quiet, "{:?}", machine.trace);
    }
}
