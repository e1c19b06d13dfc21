//! Verdicts against an oracle that tries everything and shares no code with placement: small clusters, every filter, every
//! required rule, gangs. WAITING is what an empty cluster of these nodes would take, NEVER what it would not.

use berth_model::testkit::{Machine, Spec, machine, name, service};
use berth_model::*;
use berth_placement::{Board, Class, Eligibility, Hold, why_waiting};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const CASES: u32 = 1_000;
const LIFE: Incarnation = Incarnation(1);

fn node(at: usize) -> NodeId {
    NodeId::new(LIFE, at as u64 + 1)
}

/// A generated question.
#[derive(Clone, Debug)]
struct Case {
    nodes: Vec<(Machine, Eligibility)>,
    /// On which node, of which job, what.
    held: Vec<(usize, &'static str, Resources, Vec<Port>, u16)>,
    /// Within what the job `enemy` must not have the class near.
    shuns: Option<Domain>,
    spec: Spec,
    waiting: usize,
    only: Option<usize>,
}

fn domain() -> impl Strategy<Value = Domain> {
    select(vec![Domain::Node, Domain::rack(), Domain::zone()])
}

fn a_node() -> impl Strategy<Value = (Machine, Eligibility)> {
    let numbers = (2u64..6, 2u64..6, 0u16..4, vec(select(vec!["x", "y"]), 0..4));
    let attributes = (
        select(vec!["", "r1", "r1", "r2", "r2"]),
        select(vec!["", "z1", "z1", "z2", "z2"]),
        select(vec!["", "gold", "iron"]),
    );
    let state = select(vec![
        Eligibility::Ready,
        Eligibility::Ready,
        Eligibility::Ready,
        Eligibility::Lost,
        Eligibility::DiskFull,
        Eligibility::Draining,
    ]);
    (numbers, attributes, state).prop_map(|((cpu, memory, ports, models), (rack, zone, pool), state)| {
        let mut machine = machine("m").cpu(cpu * 1_000).memory(memory * 1_024).dynamic_ports(20_000, 20_000 + ports);
        for (key, value) in [(Domain::RACK, rack), (Domain::ZONE, zone), ("label.pool", pool)] {
            if !value.is_empty() {
                machine = machine.attribute(key, value);
            }
        }
        for (nth, model) in models.into_iter().enumerate() {
            machine = machine.device("gpu", &format!("g{nth}"), model);
        }
        (machine, state)
    })
}

fn a_spec() -> impl Strategy<Value = Spec> {
    let sizes = (select(vec![300u64, 400, 900, 1_500, 2_500, 4_500]), select(vec![300u64, 700, 1_000, 2_000, 4_200]));
    let ports = (select(vec![None, None, None, Some(80u16), Some(20_001)]), select(vec![0usize, 0, 0, 1, 2]));
    let amount = prop_oneof![
        (1u32..3).prop_map(DeviceAmount::Count),
        select(vec![300u16, 500, 700]).prop_map(|share| DeviceAmount::Share(Thousandths(share))),
    ];
    let wish = (amount, select(vec![None, None, Some("x"), Some("y")]));
    let wishes = prop_oneof![2 => Just(Vec::new()), 1 => vec(wish, 1..3)];
    let pool = select(vec![
        None,
        None,
        Some(Operator::Is("gold".to_owned())),
        Some(Operator::IsNot("gold".to_owned())),
        Some(Operator::Set),
    ]);
    let at_most = prop_oneof![1 => Just(Vec::new()), 1 => vec((1u32..4, domain()), 1..4)];
    let relations = vec((select(vec!["own", "peer"]), select(vec![Sense::Near, Sense::Apart]), domain()), 1..3);
    let relations = prop_oneof![2 => Just(Vec::new()), 1 => relations];
    (sizes, ports, wishes, pool, at_most, relations).prop_map(
        |((cpu, memory), (fixed, dynamic), wishes, pool, at_most, relations)| {
            let mut spec = service("own").cpu(cpu).memory(memory);
            if let Some(port) = fixed {
                spec = spec.fixed_port("fixed", port);
            }
            for nth in 0..dynamic {
                spec = spec.dynamic_port(&format!("any-{nth}"));
            }
            for (nth, (amount, model)) in wishes.into_iter().enumerate() {
                let wish = format!("d{nth}");
                spec = match amount {
                    DeviceAmount::Count(count) => spec.devices(&wish, "gpu", count),
                    DeviceAmount::Share(share) => spec.device_share(&wish, "gpu", share.0),
                };
                spec = match model {
                    Some(model) => spec.device_model(model),
                    None => spec,
                };
            }
            if let Some(operator) = pool {
                spec = spec.constraint("label.pool", operator);
            }
            for (count, per) in at_most {
                spec = spec.at_most(count, per);
            }
            for (job, sense, within) in relations {
                spec = spec.relation(sense, job, within, Strength::Required);
            }
            spec
        },
    )
}

fn a_case() -> impl Strategy<Value = Case> {
    let hold = (
        0usize..5,
        select(vec!["own", "peer", "enemy", "other"]),
        (0u64..2_500, 0u64..2_500),
        select(vec![None, Some(80u16), Some(20_000), Some(20_001)]),
        select(vec![0u16, 0, 300, 1_000]),
    );
    let who = (select(vec![false, true]), 1usize..5, select(vec![None, None, None, Some(0usize), Some(1)]));
    (vec(a_node(), 1..5), vec(hold, 0..6), proptest::option::of(domain()), a_spec(), who).prop_map(
        |(nodes, held, shuns, spec, (gang, waiting, only))| {
            let count = nodes.len();
            let held = held.into_iter().map(|(at, job, (cpu, memory), port, share)| {
                let resources = testkit::resources(cpu, memory, 0);
                (at % count, job, resources, port.map(Port).into_iter().collect(), share)
            });
            let held = held.collect();
            let spec = if gang { spec.gang() } else { spec };
            let waiting = if gang { waiting } else { 1 };
            let only = only.filter(|_| !gang).map(|at: usize| at % count);
            Case { nodes, held, shuns, spec, waiting, only }
        },
    )
}

fn board(case: &Case) -> Board {
    let mut board = Board::default();
    for (at, (machine, eligibility)) in case.nodes.iter().enumerate() {
        board.put_node(node(at), &machine.0, *eligibility);
    }
    for (nth, (at, job, resources, ports, share)) in case.held.iter().enumerate() {
        let shuns = case.shuns.iter().filter(|_| *job == "enemy");
        let devices = case.nodes[*at].0.0.devices.first().filter(|_| *share > 0);
        let hold = Hold {
            node: node(*at),
            job: JobId { namespace: Namespace::default(), name: name(job) },
            group: name("main"),
            resources: *resources,
            ports: ports.clone(),
            devices: devices.map(|device| (device.id.clone(), Thousandths(*share))).into_iter().collect(),
            shuns: shuns.map(|within| (Peer { job: name("own"), group: None }, within.clone())).collect(),
            standing: None,
        };
        board.hold(AllocId::new(LIFE, nth as u64 + 1), hold);
    }
    board
}

/// What the oracle thinks of a node: what is left of it, and what is there.
#[derive(Clone, Debug)]
struct Room {
    takes_work: bool,
    attributes: std::collections::BTreeMap<String, String>,
    free: [i128; 4],
    /// Free dynamic ports, and whether the fixed port is free.
    dynamic: usize,
    fixed: bool,
    devices: Vec<(String, u32)>,
    /// How many of each are here.
    own: usize,
    peer: usize,
    enemy: usize,
}

fn rooms(case: &Case, empty: bool) -> Vec<Room> {
    let group = &case.spec.0.groups[0];
    let fixed: Vec<Port> = group.ports().filter_map(|spec| spec.fixed).collect();
    let room = |(at, (machine, eligibility)): (usize, &(Machine, Eligibility))| {
        let held: Vec<_> = case.held.iter().filter(|hold| hold.0 == at && !empty).collect();
        let taken = |port: u16| held.iter().any(|hold| hold.3.contains(&Port(port)));
        let (first, last) = machine.0.dynamic_ports;
        let capacity = machine.0.resources.dimensions();
        let free = std::array::from_fn(|d| {
            let used: i128 = held.iter().map(|hold| i128::from(hold.2.dimensions()[d])).sum();
            i128::from(capacity[d]) - used
        });
        let devices = machine.0.devices.iter().enumerate().map(|(nth, device)| {
            let used: u32 = held.iter().filter(|_| nth == 0).map(|hold| u32::from(hold.4)).sum();
            (device.attributes["model"].clone(), 1_000u32.saturating_sub(used))
        });
        let count = |job: &str| held.iter().filter(|hold| hold.1 == job).count();
        Room {
            takes_work: empty || *eligibility == Eligibility::Ready,
            attributes: machine.0.attributes.clone(),
            free,
            dynamic: (first.0..=last.0).filter(|port| !taken(*port) && !fixed.contains(&Port(*port))).count(),
            fixed: fixed.iter().all(|port| !taken(port.0)),
            devices: devices.collect(),
            own: count("own"),
            peer: count("peer"),
            enemy: count("enemy"),
        }
    };
    case.nodes.iter().enumerate().map(room).collect()
}

/// Whether so many of the class find room on a node, rules apart.
fn fits(room: &Room, group: &GroupSpec, count: usize) -> bool {
    if count == 0 {
        return true;
    }
    let pool = room.attributes.get("label.pool");
    let constraints = group.constraints.iter().all(|constraint| match &constraint.operator {
        Operator::Is(value) => pool == Some(value),
        Operator::IsNot(value) => pool != Some(value),
        Operator::Set => pool.is_some(),
        other => panic!("{other:?} is not generated"),
    });
    let wanted = group.resources().dimensions();
    let resources = (0..4).all(|d| i128::from(wanted[d]) * count as i128 <= room.free[d]);
    let fixed = group.ports().filter(|spec| spec.fixed.is_some()).count();
    let dynamic = group.ports().count() - fixed;
    let ports = (fixed == 0 || (count == 1 && room.fixed)) && dynamic * count <= room.dynamic;
    let wishes: Vec<&DeviceSpec> = (0..count).flat_map(|_| group.devices()).collect();
    let mut devices = room.devices.clone();
    room.takes_work && constraints && resources && ports && serve(&wishes, 0, &mut devices)
}

/// Tries every way to give devices to the wishes from this one on.
fn serve(wishes: &[&DeviceSpec], from: usize, devices: &mut [(String, u32)]) -> bool {
    let Some((wish, rest)) = wishes.split_first() else { return true };
    let given = from >> 16;
    if given == wish.amount.devices() {
        return serve(rest, 0, devices);
    }
    let each = u32::from(wish.amount.of_each().0);
    for at in (from & 0xffff)..devices.len() {
        let model = devices[at].0.clone();
        let suits = wish.constraints.iter().all(|c| c.operator == Operator::Is(model.clone()));
        if !suits || devices[at].1 < each {
            continue;
        }
        devices[at].1 -= each;
        let done = serve(wishes, ((given + 1) << 16) | (at + 1), devices);
        devices[at].1 += each;
        if done {
            return true;
        }
    }
    false
}

fn part<'r>(room: &'r Room, at: usize, per: &Domain) -> Option<(usize, Option<&'r String>)> {
    match per {
        Domain::Node => Some((at, None)),
        Domain::Attribute(key) => room.attributes.get(key).map(|value| (usize::MAX, Some(value))),
    }
}

/// Whether all required rules hold with so many more on each node. `peers`: whether others count.
fn rules_hold(case: &Case, rooms: &[Room], more: &[usize], peers: bool) -> bool {
    let rules = &case.spec.0.groups[0].rules;
    let used: Vec<usize> = (0..rooms.len()).filter(|at| more[*at] > 0).collect();
    // How many of something are in the part of a node.
    let near = |at: usize, per: &Domain, of: &dyn Fn(usize) -> usize| {
        let own = part(&rooms[at], at, per)?;
        Some((0..rooms.len()).filter(|b| part(&rooms[*b], *b, per) == Some(own)).map(of).sum::<usize>())
    };
    let own = |at: usize| rooms[at].own + more[at];
    let total: usize = rooms.iter().map(|room| room.own).sum();
    let at_most = rules
        .at_most
        .iter()
        .all(|rule| used.iter().all(|at| near(*at, &rule.per, &own).is_some_and(|count| count <= rule.count as usize)));
    let relations = rules.relations.iter().all(|rule| {
        let itself = rule.to.job == name("own");
        if !itself && !peers {
            return true;
        }
        let before = |at: usize| if itself { rooms[at].own } else { rooms[at].peer };
        match (rule.sense, itself) {
            (Sense::Apart, true) => used.iter().all(|at| near(*at, &rule.within, &own).is_none_or(|count| count <= 1)),
            (Sense::Apart, false) => {
                used.iter().all(|at| near(*at, &rule.within, &before).is_none_or(|count| count == 0))
            }
            (Sense::Near, false) => {
                used.iter().all(|at| near(*at, &rule.within, &before).is_some_and(|count| count > 0))
            }
            (Sense::Near, true) if total > 0 => {
                used.iter().all(|at| near(*at, &rule.within, &before).is_some_and(|count| count > 0))
            }
            // The first goes where it likes, the others to it.
            (Sense::Near, true) => {
                let all: usize = more.iter().sum();
                all <= 1 || used.iter().all(|at| near(*at, &rule.within, &own) == Some(all))
            }
        }
    });
    let shunned = case
        .shuns
        .iter()
        .filter(|_| peers)
        .all(|within| used.iter().all(|at| near(*at, within, &|b| rooms[b].enemy).is_none_or(|count| count == 0)));
    at_most && relations && shunned
}

/// Tries every way to share out `left` over the nodes from this one on.
fn some_way(case: &Case, rooms: &[Room], more: &mut Vec<usize>, left: usize, peers: bool) -> bool {
    let at = more.len();
    if at == rooms.len() {
        return left == 0 && rules_hold(case, rooms, more, peers);
    }
    (0..=left).any(|count| {
        let may = count == 0 || case.only.is_none_or(|only| only == at);
        if !may || !fits(&rooms[at], &case.spec.0.groups[0], count) {
            return false;
        }
        more.push(count);
        let found = some_way(case, rooms, more, left - count, peers);
        more.pop();
        found
    })
}

#[test]
fn a_thousand_verdicts_are_what_trying_everything_says() {
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 5_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::new());
    let outcome = runner.run(&a_case(), |case| {
        let class = Class { job: &case.spec.0, group: &case.spec.0.groups[0] };
        let only = case.only.map(node);
        let reason = why_waiting(
            &board(&case),
            class,
            case.waiting,
            only,
            &BuiltIn::Balanced.policy(),
            DecisionId::new(LIFE, 1),
        );
        let gang = class.group.rules.gang == Gang::Whole;
        let fits_now = some_way(&case, &rooms(&case, false), &mut Vec::new(), case.waiting, true);
        let fits_empty = some_way(&case, &rooms(&case, true), &mut Vec::new(), case.waiting, false);
        let told = match reason {
            None => "fits",
            Some(
                WaitReason::NoNodeFits { verdict: Verdict::Waiting, .. }
                | WaitReason::GangIncomplete { verdict: Verdict::Waiting, .. },
            ) => "waiting",
            Some(
                WaitReason::NoNodeFits { verdict: Verdict::Never, .. }
                | WaitReason::GangIncomplete { verdict: Verdict::Never, .. },
            ) => "never",
            Some(other) => panic!("{other:?}"),
        };
        *seen.borrow_mut().entry((gang, told)).or_insert(0) += 1;
        let right = match told {
            "fits" => fits_now,
            // A gang is placed one after the other, which is not every way; that is no matter of the verdict.
            "waiting" => fits_empty && (gang || !fits_now),
            _ => !fits_empty,
        };
        prop_assert!(right, "told: {told}, fits now: {fits_now}, fits an empty cluster: {fits_empty}");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{:?}", seen.borrow());
    for kind in
        [(false, "fits"), (false, "waiting"), (false, "never"), (true, "fits"), (true, "waiting"), (true, "never")]
    {
        let count = seen.borrow().get(&kind).copied().unwrap_or(0);
        assert!(count >= 25, "{kind:?} came up {count} times: the cases are one-sided");
    }
}
