//! Regret and proposals: what the balancer says of boards that change.

use std::collections::BTreeMap;

use berth_model::testkit::{Spec, machine, service};
use berth_model::*;
use berth_placement::balance::{Balancer, Stand};
use berth_placement::{Board, Class, Eligibility, Hold, fits_on_any};
use proptest::prelude::*;

const LIFE: Incarnation = Incarnation(1);

fn node(at: u64) -> NodeId {
    NodeId::new(LIFE, at)
}

fn alloc(at: u64) -> AllocId {
    AllocId::new(LIFE, at)
}

/// A board with what is on it, and a balancer that is told of all that changes.
struct Cluster {
    board: Board,
    specs: Vec<Spec>,
    units: BTreeMap<AllocId, (usize, Stand)>,
    balancer: Balancer<usize>,
}

impl Cluster {
    fn new(policy: BuiltIn, specs: Vec<Spec>) -> Cluster {
        Cluster { board: Board::default(), specs, units: BTreeMap::new(), balancer: Balancer::new(policy.weights()) }
    }

    fn add_node(&mut self, at: u64, cpu: u64, rack: &str, eligibility: Eligibility) {
        let machine = machine(&format!("n{at}")).cpu(cpu).attribute("node.rack", rack);
        self.board.put_node(node(at), &machine.0, eligibility);
        self.balancer.see_node(&self.board, node(at));
    }

    fn class(&self, spec: usize) -> Class<'_> {
        Class { job: &self.specs[spec].0, group: &self.specs[spec].0.groups[0] }
    }

    fn put(&mut self, id: AllocId, spec: usize, stand: Stand) {
        self.board.release(id);
        if let Stand::Runs(node) | Stand::Stays(node) = stand {
            let class = self.class(spec);
            let hold = Hold::reserved(&class.job.id, class.group, node);
            self.board.hold(id, hold);
        }
        self.units.insert(id, (spec, stand));
        let class = Class { job: &self.specs[spec].0, group: &self.specs[spec].0.groups[0] };
        self.balancer.see(&self.board, id, &spec, class, stand);
    }

    fn end(&mut self, id: AllocId) {
        self.board.release(id);
        self.units.remove(&id);
        self.balancer.forget(id);
    }

    /// One that was told of what is there now, and of nothing that was before.
    fn fresh(&self, policy: BuiltIn, nodes: impl Iterator<Item = u64>) -> Balancer<usize> {
        let mut fresh = Balancer::new(policy.weights());
        nodes.for_each(|at| fresh.see_node(&self.board, node(at)));
        for (id, (spec, stand)) in &self.units {
            fresh.see(&self.board, *id, spec, self.class(*spec), *stand);
        }
        fresh
    }

    fn carry_out(&mut self, proposal: &Proposal) {
        for Relocation { alloc, from, to } in &proposal.moves {
            let (spec, stand) = self.units[alloc];
            assert_eq!(stand, Stand::Runs(*from), "only what can be moved is asked to, from where it is");
            self.put(*alloc, spec, Stand::Runs(*to));
        }
        for (alloc, to) in &proposal.placed {
            let (spec, stand) = self.units[alloc];
            assert_eq!(stand, Stand::Waits, "only what waits is placed");
            self.put(*alloc, spec, Stand::Runs(*to));
        }
    }
}

#[test]
fn a_full_node_beside_an_empty_one_gives_some_away() {
    let mut cluster = Cluster::new(BuiltIn::Balanced, vec![service("a").cpu(1_000), service("b").cpu(1_000)]);
    cluster.add_node(1, 4_000, "r1", Eligibility::Ready);
    cluster.add_node(2, 4_000, "r2", Eligibility::Ready);
    for (id, spec) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        cluster.put(alloc(id), spec, Stand::Runs(node(1)));
    }
    let Balance { cost, bound, proposals } = cluster.balancer.round(|_| true);
    assert!(bound.unwrap() < cost);
    let moved: usize = proposals.iter().map(|proposal| proposal.moves.len()).sum();
    assert_eq!(moved, 2, "{proposals:?}");
    proposals.iter().for_each(|proposal| cluster.carry_out(proposal));
    let after = cluster.balancer.round(|_| true);
    let gain: i64 = proposals.iter().map(|proposal| proposal.gain).sum();
    assert!(after.cost < cost - gain, "the price of the moves is paid once");
    assert_eq!(after.proposals, [], "nothing is moved back");
}

#[test]
fn an_empty_machine_without_limits_is_looked_at() {
    let mut cluster = Cluster::new(BuiltIn::Balanced, specs());
    let mut machine = machine("n1");
    machine.0.resources.network = Mbits(u64::MAX);
    cluster.board.put_node(node(1), &machine.0, Eligibility::Ready);
    cluster.balancer.see_node(&cluster.board, node(1));
    assert_eq!(cluster.balancer.round(|_| true).regret(), Some(0));
    cluster.put(alloc(1), 0, Stand::Runs(node(1)));
    assert!(cluster.balancer.round(|_| true).regret() >= Some(0));
}

#[test]
fn what_stays_is_not_moved() {
    let mut cluster = Cluster::new(BuiltIn::Balanced, vec![service("a").cpu(1_000)]);
    cluster.add_node(1, 4_000, "r1", Eligibility::Ready);
    cluster.add_node(2, 4_000, "r2", Eligibility::Ready);
    (1..=4).for_each(|id| cluster.put(alloc(id), 0, Stand::Stays(node(1))));
    assert_eq!(cluster.balancer.round(|_| true).proposals, []);
}

#[test]
fn nothing_moves_to_a_lost_node_or_one_that_a_constraint_forbids() {
    let bound = service("a").cpu(1_000).constraint("node.rack", Operator::Is("r1".to_owned()));
    let mut cluster = Cluster::new(BuiltIn::Balanced, vec![bound, service("b").cpu(1_000)]);
    cluster.add_node(1, 4_000, "r1", Eligibility::Ready);
    cluster.add_node(2, 4_000, "r2", Eligibility::Ready);
    cluster.add_node(3, 4_000, "r1", Eligibility::Lost);
    (1..=4).for_each(|id| cluster.put(alloc(id), 0, Stand::Runs(node(1))));
    assert_eq!(cluster.balancer.round(|_| true).proposals, []);
    cluster.add_node(3, 4_000, "r1", Eligibility::Ready);
    assert_ne!(cluster.balancer.round(|_| true).proposals, []);
}

#[test]
fn room_in_pieces_is_put_together_for_what_waits() {
    let mut cluster = Cluster::new(BuiltIn::Pack, vec![service("small").cpu(1_000), service("large").cpu(4_000)]);
    for at in 1..=2 {
        cluster.add_node(at, 4_000, "r1", Eligibility::Ready);
        cluster.put(alloc(at), 0, Stand::Runs(node(at)));
    }
    cluster.put(alloc(3), 1, Stand::Waits);
    let proposals = cluster.balancer.round(|_| true).proposals;
    assert_eq!(proposals.len(), 1, "{proposals:?}");
    assert_eq!(
        (proposals[0].moves.len(), &proposals[0].placed[..]),
        (1, &[(alloc(3), proposals[0].moves[0].from)][..])
    );
}

#[test]
fn what_is_not_allowed_is_left_out() {
    let mut cluster = Cluster::new(BuiltIn::Balanced, vec![service("a").cpu(1_000)]);
    cluster.add_node(1, 4_000, "r1", Eligibility::Ready);
    cluster.add_node(2, 4_000, "r2", Eligibility::Ready);
    (1..=4).for_each(|id| cluster.put(alloc(id), 0, Stand::Runs(node(1))));
    let mut asked = Vec::new();
    let balance = cluster.balancer.round(|proposal| {
        asked.push(proposal.moves.len());
        false
    });
    assert_eq!((asked, balance.proposals), (vec![2], vec![]));
}

#[test]
fn who_would_have_to_wait_for_it_is_not_proposed() {
    let important = service("important").cpu(4_000).priority(90);
    let mut cluster = Cluster::new(BuiltIn::Pack, vec![service("small").cpu(1_000).priority(1), important]);
    cluster.add_node(1, 4_000, "r1", Eligibility::Ready);
    cluster.put(alloc(1), 0, Stand::Runs(node(1)));
    cluster.put(alloc(2), 1, Stand::Waits);
    assert_eq!(cluster.balancer.round(|_| true).proposals, []);
}

fn specs() -> Vec<Spec> {
    let small = (1..4u64).map(|at| service(&format!("s{at}")).cpu(250 * at).memory(100 * at).priority(40));
    let large = service("large").cpu(2_000).memory(500).priority(60);
    let racked = service("racked").cpu(500).constraint("node.rack", Operator::Is("r1".to_owned()));
    let apart = service("apart").cpu(300).at_most(1, Domain::Node);
    small.chain([large, racked, apart]).collect()
}

proptest! {
    /// What was told in pieces is what is told at once; no bound is above a cost; and a proposal gains what it says.
    #[test]
    fn a_balancer_that_lives_on_says_what_a_fresh_one_says(
        policy in prop_oneof![Just(BuiltIn::Balanced), Just(BuiltIn::Pack)],
        acts in proptest::collection::vec((0..12u8, 1..30u64, 1..7u64, 0..6usize), 1..60),
    ) {
        let mut cluster = Cluster::new(policy, specs());
        (1..=3).for_each(|at| cluster.add_node(at, 4_000, if at == 1 { "r1" } else { "r2" }, Eligibility::Ready));
        let mut nodes: Vec<u64> = vec![1, 2, 3];
        for (act, id, at, spec) in acts {
            let id = alloc(id);
            match act {
                0 => {
                    let eligibility = if id.counter.is_multiple_of(3) { Eligibility::Lost } else { Eligibility::Ready };
                    cluster.add_node(at, 2_000 + 500 * at, if spec < 3 { "r1" } else { "r2" }, eligibility);
                    nodes.push(at);
                }
                1 if nodes.len() > 1 => {
                    cluster.board.remove_node(node(at));
                    cluster.balancer.see_node(&cluster.board, node(at));
                    cluster.units.retain(|_, (_, stand)| *stand == Stand::Waits || ![Stand::Runs(node(at)), Stand::Stays(node(at))].contains(stand));
                    nodes.retain(|known| *known != at);
                }
                2 | 3 => cluster.end(id),
                4 => { cluster.end(id); cluster.put(id, spec, Stand::Waits) }
                5 => drop(cluster.balancer.round(|_| true)),
                _ => {
                    cluster.end(id);
                    if nodes.contains(&at) && fits_on_any(&cluster.board, cluster.class(spec), [node(at)].into_iter()) {
                        cluster.put(id, spec, if act == 6 { Stand::Stays(node(at)) } else { Stand::Runs(node(at)) });
                    }
                }
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        let fresh = cluster.fresh(policy, nodes.into_iter()).round(|_| true);
        let balance = cluster.balancer.round(|_| true);
        prop_assert_eq!(balance.cost, fresh.cost);
        for balance in [&balance, &fresh] {
            prop_assert!(balance.bound.unwrap() <= balance.cost, "{:?}", balance);
        }
        let mut before = balance.cost;
        // In any order: each can be done without the others.
        for proposal in balance.proposals.iter().rev() {
            cluster.carry_out(proposal);
            let after = cluster.balancer.round(|_| true).cost;
            // Its gain pays for the moves as well.
            prop_assert!(after <= before - proposal.gain + 1, "{} {} {:?}", before, after, proposal);
            before = after;
        }
    }
}
