//! What only the inside can see: the living network against one that is drawn from nothing.

use berth_flow::Budget as Steps;

use super::*;

fn amounts(cpu: u64, memory: u64) -> Amounts {
    let mut all = [0; DIMENSIONS];
    (all[0], all[1]) = (cpu, memory);
    Amounts(all)
}

/// Any number below `bound`, the same in every run.
fn next(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % bound
}

fn node(seed: &mut u64) -> Node {
    Node { capacity: amounts(4_000 + next(seed, 8_000), 8_000 + next(seed, 8_000)), slots: 12, rack: 0, zone: 0 }
}

fn cluster(seed: &mut u64) -> Optimiser {
    let curve = Curve::new(&[(0, 0), (700, 900), (1_000, 5_000)]).unwrap();
    let mut optimiser = Optimiser::new(curve);
    (0..12).for_each(|at| optimiser.put_node(NodeIndex(at), node(seed)));
    for at in 0..6 {
        let demand = amounts(300 + next(seed, 2_000), 400 + next(seed, 3_000));
        let costs = (0..12).map(|_| (next(seed, 5) > 0).then(|| next(seed, 500) as i64)).collect();
        optimiser.put_shape(ShapeIndex(at), Shape { least: demand, most: demand, costs });
        for class in [at, at + 6] {
            let (waiting, moving) = (3_000 + next(seed, 9_000) as i64, next(seed, 900) as i64);
            let (limits, gang) = (Limits::NONE, Gang::Apart);
            let wanted = 1 + next(seed, 9) as u32;
            let class_ = Class { shape: ShapeIndex(at), demand, wanted, waiting, moving, crowding: 0, limits, gang };
            optimiser.put_class(ClassIndex(class), class_);
        }
    }
    optimiser
}

/// Work ends, counts change, costs change, a node comes back as another.
fn churn(seed: &mut u64, optimiser: &mut Optimiser) {
    for class in (0..12).map(ClassIndex) {
        for seat in optimiser.state.class(class).seats.clone() {
            if next(seed, 4) == 0 {
                optimiser.set_running(class, seat.node, seat.running - 1);
            }
        }
        let waiting = 3_000 + next(seed, 9_000) as i64;
        optimiser.set_wanted(class, next(seed, 10) as u32, waiting);
    }
    let (shape, at) = (ShapeIndex(next(seed, 6) as u32), NodeIndex(next(seed, 12) as u32));
    optimiser.set_cost(shape, at, (next(seed, 4) > 0).then(|| next(seed, 500) as i64));
    let gone = NodeIndex(next(seed, 12) as u32);
    optimiser.remove_node(gone);
    optimiser.put_node(gone, node(seed));
}

/// At the same prices the relaxed problem has one least cost, whether it was repaired or drawn anew.
#[test]
fn the_living_network_is_as_good_as_a_new_one() {
    for case in 0..20 {
        let seed = &mut (case * 7_919 + 1);
        let mut optimiser = cluster(seed);
        for round in 0..6 {
            optimiser.round(Budget::default());
            churn(seed, &mut optimiser);
            assert_eq!(optimiser.cost(), optimiser.state.cost_from_nothing(), "case {case}, round {round}");
            optimiser.follow_use();
            let living = optimiser.drawing.solve(&optimiser.state, Steps::UNLIMITED);
            assert!(optimiser.drawing.certify());
            let mut anew = Drawing::new();
            optimiser.state.node_ids().for_each(|node| anew.touch_node(node));
            optimiser.state.class_ids().for_each(|class| anew.touch_class(class));
            assert_eq!(living, anew.solve(&optimiser.state, Steps::UNLIMITED), "case {case}, round {round}");
        }
    }
}

/// A network with every column there could be has no lower cost: none was missed.
#[test]
fn no_column_is_missing() {
    for case in 0..20 {
        let seed = &mut (case * 104_729 + 5);
        let mut optimiser = cluster(seed);
        optimiser.round(Budget::default());
        churn(seed, &mut optimiser);
        optimiser.follow_use();
        let found = optimiser.drawing.solve(&optimiser.state, Steps::UNLIMITED).unwrap();
        assert_eq!(found, whole(&optimiser.state), "case {case}");
    }
}

/// The least cost of the relaxed problem, with all its arcs drawn.
fn whole(state: &State) -> i128 {
    let mut network = berth_flow::Network::new();
    let sink = network.add_node(0).unwrap();
    let add = |network: &mut berth_flow::Network, tail, head, capacity: u32, cost| {
        let capacity = i64::from(capacity);
        network.add_arc(berth_flow::Arc { tail, head, lower: 0, capacity, cost }).unwrap();
    };
    let nodes: Vec<_> = state
        .node_ids()
        .map(|node| {
            let vertex = network.add_node(0).unwrap();
            add(&mut network, vertex, sink, state.node(node).node.slots, 0);
            (node, vertex)
        })
        .collect();
    let (mut all, mut moving) = (0, 0);
    let shapes: Vec<_> = state.shapes.iter().map(|_| network.add_node(0).unwrap()).collect();
    for (shape, vertex) in state.shapes.iter().flatten().zip(&shapes) {
        for (node, to) in &nodes {
            let pieces = shape.shape.least.pieces(&state.capacity(*node), 1_000);
            if shape.offers[node.at()] != state::NOWHERE {
                add(&mut network, *vertex, *to, pieces, shape.offers[node.at()]);
            }
        }
    }
    for owner in state.classes.iter().flatten() {
        let class = owner.class;
        let vertex = network.add_node(i64::from(class.wanted)).unwrap();
        all += i64::from(class.wanted);
        moving += i128::from(class.moving) * i128::from(owner.running);
        add(&mut network, vertex, sink, class.wanted, class.waiting);
        add(&mut network, vertex, shapes[class.shape.at()], class.wanted, 0);
        for seat in &owner.seats {
            let rates = price::rates(&state.prices.of(seat.node), &state.capacity(seat.node));
            let base = state.shape(class.shape).shape.costs[seat.node.at()].unwrap_or(0);
            let to = nodes.iter().find(|(node, _)| *node == seat.node).unwrap().1;
            let cost = base + price::charge(&rates, &class.demand) - class.moving;
            add(&mut network, vertex, to, seat.running, cost);
        }
    }
    network.set_supply(sink, -all).unwrap();
    match network.solve(Steps::UNLIMITED) {
        berth_flow::Outcome::Optimal { cost, .. } => cost + moving,
        other => panic!("{other:?}"),
    }
}
