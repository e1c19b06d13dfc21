//! The look at all nodes says what each of them says by itself.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::testkit::{Machine, Spec, batch, machine};
use berth_model::{
    AllocId, BuiltIn, Domain, Filter, Filtered, Incarnation, NodeId, Operator, Policy, Rules, Sense, Shortfall, Spread,
    Strength, Weight,
};
use proptest::prelude::*;

use super::{Field, enough_for};
use crate::board::{Board, Eligibility, Hold};
use crate::filter::{self, Class};
use crate::place::Want;

const LIFE: Incarnation = Incarnation(1);

/// Chance from a number, one after the other.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

fn some_machine(chance: &mut Chance, number: u64) -> Machine {
    let mut node = machine(&format!("n{number}"))
        .cpu(chance.one_of(&[0, 4_000, 16_000, 16_001, 63_999]))
        .memory(chance.one_of(&[1_024, 16_000, 65_536, 3_000_001]))
        .network(chance.one_of(&[0, 1_000, 10_000]))
        .attribute("label.rack", &format!("r{}", chance.below(5)));
    if chance.once_in(3) {
        node = node.attribute("label.zone", &format!("z{}", chance.below(2)));
    }
    if chance.once_in(4) {
        node = node.device("gpu", "gpu-0", chance.one_of(&["small", "large"])).device("gpu", "gpu-1", "small");
    }
    if chance.once_in(4) {
        node = node.dynamic_ports(20_000, 20_002);
    }
    node
}

fn some_spec(chance: &mut Chance, job: u64) -> Spec {
    let mut spec = batch(&format!("job-{job}"))
        .cpu(chance.one_of(&[0, 1, 250, 1_000, 3_000, 4_000, 15_999, 40_000]))
        .memory(chance.one_of(&[1, 64, 1_000, 1_024, 9_999, 40_000]))
        .network(chance.one_of(&[0, 0, 7, 1_000]));
    if chance.once_in(3) {
        spec = spec.constraint("label.rack", Operator::IsNot("r1".to_owned()));
    }
    if chance.once_in(6) {
        spec = spec.constraint("label.zone", Operator::Set);
    }
    if chance.once_in(4) {
        spec = spec.dynamic_port("http");
    }
    if chance.once_in(8) {
        spec = spec.fixed_port("admin", 20_001);
    }
    if chance.once_in(4) {
        spec = spec.device_share("gpu", "gpu", 400);
    }
    if chance.once_in(4) {
        spec = spec.at_most(1, Domain::Node);
    }
    if chance.once_in(5) {
        spec = spec.at_most(3, Domain::Attribute("label.zone".to_owned()));
    }
    if chance.once_in(5) {
        spec = spec.relation(Sense::Near, "job-1", Domain::Attribute("label.rack".to_owned()), Strength::Required);
    }
    if chance.once_in(5) {
        spec = spec.relation(Sense::Apart, "job-2", Domain::Node, Strength::Required);
    }
    if chance.once_in(4) {
        let over = Domain::Attribute("label.rack".to_owned());
        let spread = Spread { over, targets: BTreeMap::new(), weight: Weight(500) };
        let rules = spec.0.groups[0].rules.clone();
        spec = spec.rules(Rules { spread: vec![spread], ..rules });
    }
    spec
}

/// What all nodes say one by one, in the order of ids.
fn nodes(board: &Board) -> Vec<NodeId> {
    board.seats().iter().map(|(node, _)| *node).collect()
}

fn nearest_of_all(field: &Field<'_>, board: &Board, class: Class<'_>) -> Option<(NodeId, Shortfall)> {
    let lacking = nodes(board).into_iter().filter_map(|node| {
        let Filter::Exhausted(_) = field.filter_of(board, node)? else { return None };
        let (lack, shortfall) = filter::shortfall(board.seats().get(&node).unwrap(), class, field.wanted)?;
        Some((lack, node, shortfall))
    });
    lacking.min_by_key(|(lack, node, _)| (*lack, *node)).map(|(_, node, shortfall)| (node, shortfall))
}

fn assert_same(board: &Board, spec: &Spec, policy: &Policy) {
    let class = Class { job: &spec.0, group: &spec.0.groups[0] };
    let want = Want { alloc: AllocId::new(LIFE, u64::MAX), only: None, avoid: Vec::new(), leaving: None };
    let field = Field::evaluate(board, class, policy, enough_for(std::slice::from_ref(&want)));
    let mut filtered = Filtered::new();
    let mut open = BTreeSet::new();
    for node in nodes(board) {
        match field.filter_of(board, node) {
            Some(filter) => *filtered.entry(filter).or_default() += 1,
            None => drop(open.insert((field.costs(board, node, &want).total(), node))),
        }
    }
    assert_eq!(field.filtered(), filtered);
    assert_eq!(field.nearest(board), nearest_of_all(&field, board, class));
    let chosen = field.choose(board, &want);
    let best: Vec<NodeId> = open.iter().map(|(_, node)| *node).take(2).collect();
    assert_eq!(chosen.as_ref().map(|(node, _)| node), best.first());
    let runner_up = chosen.and_then(|(_, explanation)| explanation.runner_up).map(|(node, _)| node);
    assert_eq!(runner_up.as_ref(), best.get(1));
}

/// Something changes on the board.
fn change(board: &mut Board, chance: &mut Chance, held: &mut Vec<AllocId>, step: u64) {
    let node = NodeId::new(LIFE, chance.below(150));
    match chance.below(12) {
        0 => board.remove_node(node),
        1 | 2 => {
            let eligibility =
                chance.one_of(&[Eligibility::Ready, Eligibility::Lost, Eligibility::DiskFull, Eligibility::Draining]);
            board.put_node(node, &some_machine(chance, step).0, eligibility);
        }
        3 => {
            held.pop().map(|alloc| board.release(alloc));
        }
        _ => {
            let job = 1 + chance.below(4);
            let spec = some_spec(chance, job);
            let hold = Hold::reserved(&spec.0.id, &spec.0.groups[0], node);
            let alloc = AllocId::new(LIFE, step);
            board.hold(alloc, hold);
            held.push(alloc);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn a_look_at_all_says_what_each_says(seed in any::<u64>()) {
        let mut chance = Chance(seed);
        let (mut board, mut held) = (Board::default(), Vec::new());
        let count = chance.one_of(&[1, 20, 64, 65, 150]);
        for number in 0..count {
            board.put_node(NodeId::new(LIFE, number), &some_machine(&mut chance, number).0, Eligibility::Ready);
        }
        for step in 0..300 {
            change(&mut board, &mut chance, &mut held, step);
            if step % 10 == 0 {
                let job = 1 + chance.below(5);
                let policy = chance.one_of(&[BuiltIn::Balanced, BuiltIn::Spread, BuiltIn::Pack, BuiltIn::Fragmentation]).policy();
                assert_same(&board, &some_spec(&mut chance, job), &policy);
            }
        }
    }
}
