//! Rules over where others are, gangs and evictions, told on small boards.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use berth_model::testkit::{Machine, Spec, machine, name, service};
use berth_model::*;
use berth_placement::{
    Below, Board, Class, Eligibility, Hold, Outcome, Prices, Standing, Want, evict, fits_in_place_of, place,
    why_waiting,
};
use proptest::prelude::*;

const LIFE: Incarnation = Incarnation(1);

fn node(at: u64) -> NodeId {
    NodeId::new(LIFE, at)
}

fn alloc(n: u64) -> AllocId {
    AllocId::new(LIFE, n)
}

/// Racks `r1` and `r2` in zone `a`, `r3` in zone `b`, with two nodes each: n1 to n6.
fn cluster() -> Board {
    let machines = (1..=6).map(|at| {
        let rack = (at + 1) / 2;
        let zone = if rack == 3 { "b" } else { "a" };
        machine(&format!("m{at}")).attribute(Domain::RACK, &format!("r{rack}")).attribute(Domain::ZONE, zone)
    });
    board(machines)
}

fn board(machines: impl IntoIterator<Item = Machine>) -> Board {
    let mut board = Board::default();
    for (at, machine) in (1..).zip(machines) {
        board.put_node(node(at), &machine.0, Eligibility::Ready);
    }
    board
}

fn class(spec: &Spec) -> Class<'_> {
    Class { job: &spec.0, group: &spec.0.groups[0] }
}

fn put(board: &mut Board, spec: &Spec, from: u64, count: u64, policy: BuiltIn) -> Outcome {
    let want = |n| Want { alloc: alloc(n), only: None, avoid: Vec::new(), leaving: None };
    let wants: Vec<Want> = (from..from + count).map(want).collect();
    place(board, class(spec), &wants, &policy.policy(), DecisionId::new(LIFE, 1))
}

/// The nodes in the order of placing, and the filters that the rest wait for.
fn places(board: &mut Board, spec: &Spec, from: u64, count: u64) -> (Vec<u64>, Vec<Filter>) {
    let outcome = put(board, spec, from, count, BuiltIn::Balanced);
    let nodes = outcome.placed.iter().map(|(_, placement)| placement.node.counter).collect();
    let filters = outcome.waiting.into_iter().flat_map(|(reason, _)| match reason {
        WaitReason::NoNodeFits { filtered, .. } | WaitReason::GangIncomplete { filtered, .. } => filtered.into_keys(),
        other => panic!("{other:?}"),
    });
    (nodes, filters.collect())
}

fn terms(outcome: &Outcome) -> BTreeMap<Term, i64> {
    let chosen = &outcome.placed.last().unwrap().1.explanation.chosen;
    chosen.iter().map(|term| (term.term, term.cost)).collect()
}

#[test]
fn at_most_so_many_are_in_one_rack_and_on_one_node() {
    let rule = AtMost { count: 1, per: Domain::rack() };
    let spec = service("web").count(4).at_most(1, Domain::rack());
    assert_eq!(places(&mut cluster(), &spec, 1, 4), (vec![1, 3, 5], vec![Filter::AtMost(rule)]));
    let lone = service("web").count(7).at_most(1, Domain::Node);
    let (nodes, filters) = places(&mut cluster(), &lone, 1, 7);
    assert_eq!((nodes.len(), filters), (6, vec![Filter::AtMost(AtMost { count: 1, per: Domain::Node })]));
}

#[test]
fn a_node_without_the_attribute_is_in_no_part() {
    let spec = service("web").at_most(1, Domain::rack());
    let (nodes, filters) = places(&mut board([machine("nowhere")]), &spec, 1, 1);
    assert_eq!((nodes, filters.len()), (vec![], 1));
}

#[test]
fn what_is_given_back_counts_no_more() {
    let (mut board, spec) = (cluster(), service("web").at_most(1, Domain::zone()));
    assert_eq!(places(&mut board, &spec, 1, 3).0, [1, 5]);
    board.release(alloc(1));
    assert_eq!(places(&mut board, &spec, 4, 1).0, [1]);
    board.remove_node(node(1));
    assert_eq!(places(&mut board, &spec, 5, 1).0, [2]);
}

#[test]
fn a_required_affinity_waits_for_its_peer_and_follows_it() {
    let mut board = cluster();
    let near = service("web").relation(Sense::Near, "cache", Domain::rack(), Strength::Required);
    let outcome = put(&mut board, &near, 1, 1, BuiltIn::Balanced);
    let [(WaitReason::NoNodeFits { filtered, verdict, .. }, _)] = &outcome.waiting[..] else { panic!("{outcome:?}") };
    assert_eq!(*verdict, Verdict::Waiting, "the peer may come");
    assert!(matches!(filtered.keys().next(), Some(Filter::Relation(_))), "{filtered:?}");
    let only_r2 = service("cache").constraint(Domain::RACK, Operator::Is("r2".to_owned()));
    assert_eq!(places(&mut board, &only_r2, 2, 1).0, [3]);
    assert_eq!(places(&mut board, &near, 3, 2).0, [4, 3]);
}

#[test]
fn the_first_of_a_group_that_seeks_itself_goes_anywhere_and_the_rest_follow() {
    for (within, where_) in [(Domain::rack(), vec![1, 2, 1]), (Domain::Node, vec![1, 1, 1])] {
        let spec = service("web").relation(Sense::Near, "web", within, Strength::Required);
        assert_eq!(places(&mut cluster(), &spec, 1, 3).0, where_);
    }
}

#[test]
fn a_required_anti_affinity_keeps_away_what_comes_later_too() {
    let mut board = cluster();
    let quiet = service("quiet").relation(Sense::Apart, "noisy", Domain::zone(), Strength::Required);
    assert_eq!(places(&mut board, &quiet, 1, 1).0, [1]);
    let noisy = service("noisy");
    assert_eq!(places(&mut board, &noisy, 2, 2).0, [5, 6], "zone a has what shuns it");
    let by = JobId { namespace: Namespace::default(), name: name("quiet") };
    let in_a = service("noisy").constraint(Domain::ZONE, Operator::Is("a".to_owned()));
    let (nodes, filters) = places(&mut board, &in_a, 4, 1);
    assert!(nodes.is_empty() && filters.contains(&Filter::Shunned(by)), "{filters:?}");
    assert_eq!(places(&mut board, &quiet, 5, 1).0, [2], "and it stays where they are not");
}

#[test]
fn what_is_preferred_is_a_term_and_forbids_nothing() {
    let mut board = cluster();
    let preference = Preference {
        constraint: Constraint { attribute: Domain::RACK.to_owned(), operator: Operator::Is("r3".to_owned()) },
        weight: Weight(900),
    };
    let spec = service("web").rules(Rules { preferences: vec![preference], ..Rules::default() });
    let outcome = put(&mut board, &spec, 1, 1, BuiltIn::Balanced);
    assert_eq!(outcome.placed[0].1.node, node(5));
    assert_eq!(terms(&outcome)[&Term::Preference], 0);
    let runner_up = outcome.placed[0].1.explanation.runner_up.clone().unwrap();
    assert_eq!(runner_up.0, node(6));

    let near = service("near").relation(Sense::Near, "web", Domain::Node, Strength::Preferred(Weight(1000)));
    assert_eq!(places(&mut board, &near, 2, 1).0, [5]);
    let apart = service("apart").relation(Sense::Apart, "web", Domain::zone(), Strength::Preferred(Weight(1000)));
    let only_b = apart.clone().constraint(Domain::ZONE, Operator::Is("b".to_owned()));
    assert_eq!(places(&mut board, &apart, 3, 1).0, [1]);
    let outcome = put(&mut board, &only_b, 4, 1, BuiltIn::Balanced);
    assert_eq!(terms(&outcome)[&Term::AntiAffinity], 1000, "it goes all the same where it must");
}

#[test]
fn a_spread_shares_a_group_out_by_its_targets() {
    let spread = |targets: &[(&str, u8)]| {
        let targets = targets.iter().map(|(zone, percent)| ((*zone).to_owned(), *percent)).collect();
        let rule = Spread { over: Domain::zone(), weight: Weight(1000), targets };
        service("web").count(10).cpu(10).memory(1).rules(Rules { spread: vec![rule], ..Rules::default() })
    };
    for (targets, in_a) in [(&[("a", 70), ("b", 30)][..], 7), (&[], 5), (&[("b", 80)], 2), (&[("a", 100)], 10)] {
        let outcome = put(&mut cluster(), &spread(targets), 1, 10, BuiltIn::Pack);
        let nodes: Vec<u64> = outcome.placed.iter().map(|(_, placement)| placement.node.counter).collect();
        assert_eq!(nodes.iter().filter(|node| **node <= 4).count(), in_a, "{targets:?}: {nodes:?}");
    }
}

#[test]
fn a_gang_is_placed_whole_or_not_at_all() {
    let mut board = cluster();
    let gang = |count, cpu| service("gang").count(count).cpu(cpu).gang();
    let outcome = put(&mut board, &gang(7, 4_000), 1, 7, BuiltIn::Balanced);
    let [(WaitReason::GangIncomplete { fit, wanted, verdict, filtered, .. }, ids)] = &outcome.waiting[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!((*fit, *wanted, *verdict, ids.len()), (6, 7, Verdict::Never, 7));
    assert_eq!(filtered, &Filtered::from([(Filter::Exhausted(Dimension::Cpu), 6)]));
    assert!(outcome.placed.is_empty() && board.held(alloc(1)).is_none(), "nothing is kept");
    assert_eq!(places(&mut board, &gang(6, 4_000), 10, 6).0.len(), 6);
    let six = gang(6, 4_000);
    let why = why_waiting(&board, class(&six), 6, None, &BuiltIn::Balanced.policy(), DecisionId::new(LIFE, 1)).unwrap();
    assert!(matches!(why, WaitReason::GangIncomplete { fit: 0, wanted: 6, verdict: Verdict::Waiting, .. }), "{why:?}");
}

#[test]
fn a_successor_fits_in_place_of_what_its_rule_counts() {
    let (mut board, spec) = (cluster(), service("web").at_most(1, Domain::Node));
    assert_eq!(places(&mut board, &spec, 1, 6).0.len(), 6);
    assert_eq!(places(&mut board, &spec, 7, 1).0.len(), 0);
    assert!(fits_in_place_of(&board, class(&spec), None, alloc(3)));
    let bigger = service("web").at_most(1, Domain::Node).cpu(5_000);
    assert!(!fits_in_place_of(&board, class(&bigger), None, alloc(3)));
}

/// Everybody may go for a price that the test names; of a group and in all as many as it says.
struct Market {
    prices: BTreeMap<AllocId, u64>,
    of_group: u32,
    in_all: u32,
}

impl Prices for Market {
    fn price(&self, alloc: AllocId) -> Option<u64> {
        self.prices.get(&alloc).copied()
    }
    fn least(&self, _: Standing) -> Option<u64> {
        Some(1)
    }
    fn left(&self, _: &JobId, _: &GroupName) -> u32 {
        self.of_group
    }
    fn left_in_all(&self) -> u32 {
        self.in_all
    }
}

#[test]
fn the_cheapest_set_that_is_enough_goes() {
    let mut board = board([machine("a"), machine("b")]);
    let hold = |board: &mut Board, n: u64, job: &str, cpu| {
        assert_eq!(put(board, &service(job).cpu(cpu), n, 1, BuiltIn::Pack).placed.len(), 1);
        let standing = Standing { priority: Priority(50), preemptible: Preemptible::Yes, since: Timestamp(0) };
        let hold = board.held(alloc(n)).unwrap().clone();
        board.hold(alloc(n), Hold { standing: Some(standing), ..hold });
    };
    // n1: 3,000 and 1,000; n2: 2,000 and 2,000.
    hold(&mut board, 1, "big", 3_000);
    hold(&mut board, 2, "small", 1_000);
    hold(&mut board, 3, "left", 2_000);
    hold(&mut board, 4, "right", 2_000);
    let market = |prices: &[u64], of_group, in_all| Market {
        prices: (1..).map(alloc).zip(prices.iter().copied()).filter(|(_, price)| *price > 0).collect(),
        of_group,
        in_all,
    };
    let goes = |cpu, market: &Market| {
        let spec = service("vip").cpu(cpu);
        evict(&board, class(&spec), None, market).map(|eviction| (eviction.victims, eviction.price))
    };
    assert_eq!(goes(1_000, &market(&[5, 3, 4, 4], 9, 9)), Some((vec![alloc(2)], 3)));
    assert_eq!(goes(2_000, &market(&[5, 3, 4, 4], 9, 9)), Some((vec![alloc(3)], 4)), "one that is enough alone");
    assert_eq!(goes(4_000, &market(&[5, 3, 4, 5], 9, 9)), Some((vec![alloc(2), alloc(1)], 8)));
    assert_eq!(goes(4_000, &market(&[5, 3, 4, 5], 9, 1)), None, "the cluster's budget");
    assert_eq!(goes(2_000, &market(&[5, 3, 0, 0], 9, 9)), Some((vec![alloc(1)], 5)), "who must not go stays");
    assert_eq!(goes(1_000, &market(&[1, 1, 1, 1], 0, 9)), None, "the groups' budgets");
    assert_eq!(goes(5_000, &market(&[1, 1, 1, 1], 9, 9)), None, "no node is that large");
}

/// Machines of a few sizes in a few racks.
fn some_machine() -> impl Strategy<Value = Machine> {
    (1..9u64, 0..3u8, prop::bool::ANY).prop_map(|(cores, rack, fast)| {
        let machine = machine("m").cpu(cores * 1_000).attribute(Domain::RACK, &format!("r{rack}"));
        if fast { machine.attribute("label.speed", "fast") } else { machine }
    })
}

fn some_rules() -> impl Strategy<Value = Spec> {
    let fast = Constraint { attribute: "label.speed".to_owned(), operator: Operator::Set };
    (1..3_000u64, 0..7u8).prop_map(move |(cpu, kind)| {
        let spec = service("web").cpu(cpu);
        match kind {
            0 => spec.at_most(2, Domain::Node),
            1 => spec.at_most(3, Domain::rack()),
            2 => spec.relation(Sense::Near, "web", Domain::rack(), Strength::Required),
            3 => spec.relation(Sense::Apart, "old", Domain::rack(), Strength::Preferred(Weight(300))),
            4 => {
                let weight = Weight(400);
                let spread = Spread { over: Domain::rack(), targets: BTreeMap::new(), weight };
                spec.rules(Rules { spread: vec![spread], ..Rules::default() })
            }
            5 => {
                let preference = Preference { constraint: fast.clone(), weight: Weight(250) };
                spec.rules(Rules { preferences: vec![preference], ..Rules::default() })
            }
            _ => spec.constraint("label.speed", Operator::Set),
        }
    })
}

proptest! {
    /// Of those that are placed together only the cheapest nodes are remembered: that must make no difference.
    #[test]
    fn placing_together_is_placing_one_after_the_other(
        machines in prop::collection::vec(some_machine(), 1..12),
        old in 0..4u64,
        spec in some_rules(),
        count in 1..14u64,
        avoided in prop::option::of(1..12u64),
        policy in prop_oneof![Just(BuiltIn::Balanced), Just(BuiltIn::Pack)],
    ) {
        let mut together = board(machines);
        put(&mut together, &service("old").cpu(700), 100, old, BuiltIn::Balanced);
        let mut single = together.clone();
        let avoid: Vec<NodeId> = avoided.map(node).into_iter().collect();
        let want = |n| Want { alloc: alloc(n), only: None, avoid: avoid.clone(), leaving: None };
        let wants: Vec<Want> = (1..=count).map(want).collect();
        let decision = DecisionId::new(LIFE, 1);
        let placed = place(&mut together, class(&spec), &wants, &policy.policy(), decision).placed;
        let one = |want: &Want| place(&mut single, class(&spec), std::slice::from_ref(want), &policy.policy(), decision).placed;
        let one_by_one: Vec<_> = wants.iter().flat_map(one).collect();
        prop_assert_eq!(placed, one_by_one);
    }
}

/// Those of a lower priority go for what their priority says, where they go at all.
struct Lower {
    below: Priority,
    /// Whether it is said who goes, so that not all nodes have to be looked at.
    is_told: bool,
    standing: BTreeMap<AllocId, Standing>,
}

impl Prices for Lower {
    fn below(&self) -> Option<Below> {
        self.is_told.then_some(Below { priority: self.below, floor: 1_000 })
    }
    fn least(&self, of: Standing) -> Option<u64> {
        let goes = of.priority < self.below && of.preemptible == Preemptible::Yes;
        goes.then(|| 1_000 + 100 * u64::from(of.priority.0) - of.since.0)
    }
    fn price(&self, alloc: AllocId) -> Option<u64> {
        self.least(*self.standing.get(&alloc)?)
    }
    fn left(&self, _: &JobId, _: &GroupName) -> u32 {
        2
    }
    fn left_in_all(&self) -> u32 {
        3
    }
}

proptest! {
    #[test]
    fn who_goes_does_not_hang_on_how_many_nodes_are_looked_at(
        machines in prop::collection::vec(some_machine(), 1..100),
        holders in prop::collection::vec((0..100u64, 1..4_000u64, 1..5u8, 0..4u8, 0..50u64), 0..200),
        spec in some_rules(),
        cpu in 1..9_000u64,
        below in 1..6u8,
    ) {
        let count = machines.len() as u64;
        let mut board = board(machines);
        let mut market = Lower { below: Priority(below), is_told: false, standing: BTreeMap::new() };
        for (n, (at, cpu, priority, firm, since)) in (1..).zip(holders) {
            let preemptible = if firm == 0 { Preemptible::No } else { Preemptible::Yes };
            let standing = Standing { priority: Priority(priority), preemptible, since: Timestamp(since) };
            let job = service(&format!("job-{}", n % 7)).cpu(cpu);
            let hold = Hold::reserved(&job.0.id, &job.0.groups[0], node(1 + at % count));
            board.hold(alloc(n), Hold { standing: Some(standing), ..hold });
            market.standing.insert(alloc(n), standing);
        }
        let spec = spec.cpu(cpu);
        let of_all = evict(&board, class(&spec), None, &market);
        let on = |at| evict(&board, class(&spec), Some(&[node(at)].into()), &market);
        prop_assert_eq!(&of_all, &(1..=count).filter_map(on).min_by_key(|found| (found.price, found.node)));
        for at in 1..=count {
            let here = on(at);
            let may = board.may_have(node(at), spec.0.groups[0].resources(), Priority(below));
            prop_assert!(may || here.is_none());
        }
        market.is_told = true;
        prop_assert_eq!(evict(&board, class(&spec), None, &market), of_all);
    }
}
