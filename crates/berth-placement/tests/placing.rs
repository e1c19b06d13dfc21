//! Filters, costs, ports and reasons, told on small boards.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;

use berth_model::testkit::{Machine, Spec, machine, service};
use berth_model::*;
use berth_placement::{Board, Class, Eligibility, Want, place};
use proptest::prelude::*;

const LIFE: Incarnation = Incarnation(1);

fn board(machines: &[Machine]) -> Board {
    let mut board = Board::default();
    for (at, machine) in (1..).zip(machines) {
        board.put_node(NodeId::new(LIFE, at), &machine.0, Eligibility::Ready);
    }
    board
}

fn wants(from: u64, count: u64) -> Vec<Want> {
    let want = |n| Want { alloc: AllocId::new(LIFE, n), only: None, avoid: Vec::new(), leaving: None };
    (from..from + count).map(want).collect()
}

/// One line per placed allocation and per reason.
fn told(board: &mut Board, spec: &Spec, wants: &[Want], policy: BuiltIn) -> String {
    let class = Class { job: &spec.0, group: &spec.0.groups[0] };
    let outcome = place(board, class, wants, &policy.policy(), DecisionId::new(LIFE, 1));
    let mut text = String::new();
    for (alloc, placement) in outcome.placed {
        let terms = |terms: &[CostTerm]| {
            terms.iter().map(|t| format!("{:?} {}", t.term, t.cost)).collect::<Vec<_>>().join(", ")
        };
        let mut ports: Vec<String> = placement.ports.iter().map(|(name, port)| format!(" {name}={port}")).collect();
        ports.extend(placement.devices.iter().map(|(name, ids)| {
            let ids: Vec<&str> = ids.iter().map(DeviceId::as_str).collect();
            format!(" {name}={}", ids.join("+"))
        }));
        let why = &placement.explanation;
        let next = why.runner_up.as_ref().map_or("nobody".to_owned(), |(n, t)| format!("{n} ({})", terms(t)));
        writeln!(text, "{alloc} on {}{} ({}) before {next}", placement.node, ports.concat(), terms(&why.chosen))
            .unwrap();
    }
    for (reason, allocs) in outcome.waiting {
        let allocs: Vec<String> = allocs.iter().map(ToString::to_string).collect();
        match reason {
            WaitReason::NoNodeFits { filtered, nearest, verdict, .. } => {
                let near = nearest.map(|(n, s)| format!("{n} {} {}/{}", dimension(&s.dimension), s.free, s.wanted));
                writeln!(text, "{} wait {verdict:?} {filtered:?} near {near:?}", allocs.join(" ")).unwrap();
            }
            other => writeln!(text, "{} wait {other:?}", allocs.join(" ")).unwrap(),
        }
    }
    text
}

fn dimension(dimension: &Dimension) -> String {
    match dimension {
        Dimension::Device(kind) => kind.to_string(),
        other => format!("{other:?}"),
    }
}

/// The devices that a lone allocation is given, wish by wish; what is in the way where it is given none.
fn given(board: &mut Board, spec: &Spec, alloc: u64) -> String {
    let class = Class { job: &spec.0, group: &spec.0.groups[0] };
    let outcome = place(board, class, &wants(alloc, 1), &BuiltIn::Pack.policy(), DecisionId::new(LIFE, 1));
    match (&outcome.placed[..], &outcome.waiting[..]) {
        ([(_, placement)], []) => {
            let ids = |ids: &[DeviceId]| ids.iter().map(DeviceId::as_str).collect::<Vec<_>>().join("+");
            let wishes = placement.devices.iter().map(|(name, given)| format!("{name}={}", ids(given)));
            wishes.collect::<Vec<_>>().join(" ")
        }
        ([], [(WaitReason::NoNodeFits { filtered, nearest, verdict, .. }, _)]) => {
            let filters: Vec<String> = filtered.keys().map(|filter| format!("{filter:?}")).collect();
            let near = nearest.as_ref().map(|(_, s)| format!("{} {}/{}", dimension(&s.dimension), s.free, s.wanted));
            format!("{verdict:?}: {}, {}", filters.join(" "), near.unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn shares_fill_a_device_before_they_break_another() {
    let mut board = board(&[machine("a").device("gpu", "g0", "t4").device("gpu", "g1", "t4")]);
    let share = |thousandths| service("show").cpu(10).device_share("d", "gpu", thousandths);
    assert_eq!(given(&mut board, &share(600), 1), "d=g0");
    assert_eq!(given(&mut board, &share(500), 2), "d=g1", "g0 has too little left");
    assert_eq!(given(&mut board, &share(400), 3), "d=g0", "it fills g0 to the brim");
    assert_eq!(given(&mut board, &share(501), 4), "Waiting: Exhausted(Device(DeviceKind(\"gpu\"))), gpu 500/501");
    assert_eq!(given(&mut board, &share(500), 5), "d=g1");
}

#[test]
fn whole_devices_are_nobody_elses() {
    let machine = || machine("a").device("gpu", "g0", "t4").device("gpu", "g1", "t4").device("gpu", "g2", "t4");
    let mut board = board(&[machine()]);
    let whole = |count| service("train").cpu(10).devices("d", "gpu", count);
    assert_eq!(given(&mut board, &service("show").cpu(10).device_share("d", "gpu", 1), 1), "d=g0");
    assert_eq!(
        given(&mut board, &whole(3), 2),
        "Waiting: Exhausted(Device(DeviceKind(\"gpu\"))), gpu 2000/3000",
        "a device in part is not a whole one"
    );
    assert_eq!(given(&mut board, &whole(2), 3), "d=g1+g2");
    assert_eq!(given(&mut board, &whole(4), 4), "Never: DeviceMissing(DeviceKind(\"gpu\")), ");
    board.release(AllocId::new(LIFE, 3));
    assert_eq!(given(&mut board, &whole(1), 5), "d=g1", "what was given back is given again");
}

#[test]
fn a_wish_that_can_take_less_goes_first() {
    let mut board = board(&[machine("a").device("gpu", "g0", "a100").device("gpu", "g1", "t4")]);
    let spec = service("both").cpu(10).devices("any", "gpu", 1).devices("big", "gpu", 1).device_model("a100");
    assert_eq!(given(&mut board, &spec, 1), "any=g1 big=g0");
    let never = service("never").cpu(10).devices("d", "gpu", 1).device_model("h100");
    assert_eq!(given(&mut board, &never, 2), "Never: DeviceMissing(DeviceKind(\"gpu\")), ");
}

#[test]
fn a_machine_with_other_devices_keeps_what_is_held_of_the_old() {
    let mut board = board(&[machine("a").device("gpu", "g1", "t4")]);
    assert_eq!(given(&mut board, &service("one").cpu(10).devices("d", "gpu", 1), 1), "d=g1");
    let more = machine("a").device("gpu", "g0", "t4").device("gpu", "g1", "t4");
    board.put_node(NodeId::new(LIFE, 1), &more.0, Eligibility::Ready);
    assert_eq!(given(&mut board, &service("two").cpu(10).devices("d", "gpu", 1), 2), "d=g0");
    assert!(given(&mut board, &service("three").cpu(10).devices("d", "gpu", 1), 3).starts_with("Waiting"));
}

#[test]
fn bandwidth_is_a_dimension_like_others() {
    let mut board = board(&[machine("a").network(100)]);
    let spec = |mbits| service("web").cpu(10).network(mbits);
    assert_eq!(given(&mut board, &spec(60), 1), "");
    assert_eq!(given(&mut board, &spec(50), 2), "Waiting: Exhausted(Network), Network 40/50");
    assert_eq!(given(&mut board, &spec(101), 3), "Never: Exhausted(Network), Network 100/101");
}

#[test]
fn spread_evens_and_pack_fills() {
    let machines = [machine("a"), machine("b")];
    insta::assert_snapshot!(told(&mut board(&machines), &service("web"), &wants(1, 3), BuiltIn::Balanced), @r"
    a1-1 on n1-1 (Utilisation 125, SameGroup 0) before n1-2 (Utilisation 125, SameGroup 0)
    a1-2 on n1-2 (Utilisation 125, SameGroup 0) before n1-1 (Utilisation 250, SameGroup 500)
    a1-3 on n1-1 (Utilisation 250, SameGroup 500) before n1-2 (Utilisation 250, SameGroup 500)
    ");
    insta::assert_snapshot!(told(&mut board(&machines), &service("web"), &wants(1, 3), BuiltIn::Pack), @r"
    a1-1 on n1-1 (Emptiness 875) before n1-2 (Emptiness 875)
    a1-2 on n1-1 (Emptiness 750) before n1-2 (Emptiness 875)
    a1-3 on n1-1 (Emptiness 625) before n1-2 (Emptiness 875)
    ");
}

#[test]
fn where_the_last_one_failed_is_dearer_and_not_forbidden() {
    let spec = service("web");
    let mut avoiding = wants(1, 1);
    avoiding[0].avoid = vec![NodeId::new(LIFE, 1)];
    insta::assert_snapshot!(told(&mut board(&[machine("a"), machine("b")]), &spec, &avoiding, BuiltIn::Balanced), @r"
    a1-1 on n1-2 (Utilisation 125, SameGroup 0) before n1-1 (Utilisation 125, SameGroup 0, FailedHere 2000)
    ");
    insta::assert_snapshot!(told(&mut board(&[machine("a")]), &spec, &avoiding, BuiltIn::Balanced), @r"
    a1-1 on n1-1 (Utilisation 125, SameGroup 0, FailedHere 2000) before nobody
    ");
}

#[test]
fn filters_count_and_the_nearest_miss_is_named() {
    let machines = [
        machine("a").cpu(100),
        machine("b").cpu(400),
        machine("c").without("driver.exec"),
        machine("d").attribute("zone", "y"),
    ];
    let spec = service("web").constraint("zone", Operator::IsNot("y".into()));
    insta::assert_snapshot!(told(&mut board(&machines), &spec, &wants(1, 2), BuiltIn::Balanced), @r#"
    a1-1 a1-2 wait Never {DriverMissing("exec"): 1, Constraint(Constraint { attribute: "zone", operator: IsNot("y") }): 1, Exhausted(Cpu): 2} near Some("n1-2 Cpu 400/500")
    "#);
}

#[test]
fn who_never_fits_is_told_what_an_empty_node_lacks_and_who_waits_what_is_taken() {
    let mut board = board(&[machine("a").cpu(1_000).memory(1_024), machine("b").cpu(1_000).memory(1_024)]);
    told(&mut board, &service("busy").cpu(1_000).memory(1), &wants(1, 1), BuiltIn::Pack);
    board.put_node(NodeId::new(LIFE, 2), &machine("b").cpu(1_000).memory(1_024).0, Eligibility::Lost);
    let vast = service("vast").cpu(500).memory(4_096);
    insta::assert_snapshot!(told(&mut board, &vast, &wants(10, 1), BuiltIn::Pack), @r#"
    a1-10 wait Never {Exhausted(Memory): 2} near Some("n1-1 Memory 1073741824/4294967296")
    "#);
    let waiting = service("patient").cpu(500).memory(1);
    insta::assert_snapshot!(told(&mut board, &waiting, &wants(20, 1), BuiltIn::Pack), @r#"
    a1-20 wait Waiting {NodeLost: 1, Exhausted(Cpu): 1} near Some("n1-1 Cpu 0/500")
    "#);
    let mut bound = wants(30, 1);
    bound[0].only = Some(NodeId::new(LIFE, 1));
    insta::assert_snapshot!(told(&mut board, &vast, &bound, BuiltIn::Pack), @r#"
    a1-30 wait Never {Exhausted(Memory): 1} near Some("n1-1 Memory 1073741824/4294967296")
    "#);
    insta::assert_snapshot!(told(&mut board, &waiting, &bound, BuiltIn::Pack), @r#"
    a1-30 wait Waiting {Exhausted(Cpu): 1} near Some("n1-1 Cpu 0/500")
    "#);
}

#[test]
fn ports_are_given_once() {
    let mut board = board(&[machine("a").dynamic_ports(20_000, 20_001)]);
    let spec = service("web").dynamic_port("x");
    insta::assert_snapshot!(told(&mut board, &spec, &wants(1, 3), BuiltIn::Balanced), @r"
    a1-1 on n1-1 x=20000 (Utilisation 125, SameGroup 0) before nobody
    a1-2 on n1-1 x=20001 (Utilisation 250, SameGroup 500) before nobody
    a1-3 wait Waiting {DynamicPortsExhausted: 1} near None
    ");
    let spec = service("lb").fixed_port("http", 80);
    insta::assert_snapshot!(told(&mut board, &spec, &wants(10, 2), BuiltIn::Balanced), @r"
    a1-10 on n1-1 http=80 (Utilisation 375, SameGroup 0) before nobody
    a1-11 wait Waiting {PortTaken(Port(80)): 1} near None
    ");
}

proptest! {
    /// What is placed fits, exactly; who waits would not have fitted on any node.
    #[test]
    fn nothing_over_capacity_and_nothing_waits_without_need(
        cpus in prop::collection::vec(100u64..5_000, 1..8), cpu in 50u64..2_000, count in 1u64..40, pack in any::<bool>()
    ) {
        let machines: Vec<Machine> = cpus.iter().map(|cpu| machine("m").cpu(*cpu)).collect();
        let mut board = board(&machines);
        let spec = service("web").cpu(cpu).memory(1);
        let class = Class { job: &spec.0, group: &spec.0.groups[0] };
        let policy = if pack { BuiltIn::Pack } else { BuiltIn::Balanced };
        let outcome = place(&mut board, class, &wants(1, count), &policy.policy(), DecisionId::new(LIFE, 1));
        let room: u64 = cpus.iter().map(|have| have / cpu).sum();
        prop_assert_eq!(outcome.placed.len() as u64, room.min(count));
        for (at, have) in (1..).zip(&cpus) {
            let node = NodeId::new(LIFE, at);
            let held = outcome.placed.iter().filter(|(_, p)| p.node == node).count() as u64;
            prop_assert!(held * cpu <= *have);
        }
    }
}
