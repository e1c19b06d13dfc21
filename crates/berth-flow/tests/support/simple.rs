//! Cycle cancelling: any flow, then one negative cycle after the other until there is none. For graphs of
//! some hundred arcs.

use std::collections::VecDeque;

use berth_flow::{ArcId, Instance, NodeId, UNLIMITED};

/// What there is to know of an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    /// The least cost, where there is one.
    pub cost: Option<i128>,
    /// A flow of that cost, or else of any cost.
    pub flows: Vec<i64>,
    /// Prices that prove it, where it is of least cost.
    pub prices: Vec<i64>,
    /// Where no flow is feasible: the nodes that prove it.
    pub cut: Option<Vec<NodeId>>,
    /// Where the cost has no minimum as soon as there is a flow: the arcs that prove it.
    pub cycle: Option<Vec<ArcId>>,
}

/// A way to change the flow of an arc.
#[derive(Clone, Copy)]
struct Edge {
    from: usize,
    to: usize,
    arc: usize,
    /// 1 for more flow, -1 for less.
    sign: i128,
    /// `None` without a limit.
    room: Option<i128>,
    cost: i128,
}

/// Finds it all out.
pub fn truth(instance: &Instance) -> Truth {
    let nodes = instance.supplies.len();
    let mut flows: Vec<i128> = instance.arcs.iter().map(|arc| i128::from(arc.lower)).collect();
    let cut = make_feasible(instance, &mut flows);
    let unlimited: Vec<Edge> = edges(instance, &flows).into_iter().filter(|edge| edge.room.is_none()).collect();
    let cycle =
        shortest(nodes, &unlimited).err().map(|cycle| cycle.iter().map(|edge| ArcId(edge.arc as u32)).collect());
    let mut prices = vec![0; nodes];
    if cut.is_none() && cycle.is_none() {
        loop {
            match shortest(nodes, &edges(instance, &flows)) {
                Ok(distances) => {
                    prices = distances.iter().map(|distance| i64::try_from(-distance).unwrap()).collect();
                    break;
                }
                Err(cycle) => push(&cycle, &mut flows),
            }
        }
    }
    let cost = || instance.arcs.iter().zip(&flows).map(|(arc, flow)| i128::from(arc.cost) * flow).sum();
    Truth {
        cost: (cut.is_none() && cycle.is_none()).then(cost),
        flows: flows.iter().map(|flow| i64::try_from(*flow).unwrap()).collect(),
        prices,
        cut,
        cycle,
    }
}

/// All edges with room.
fn edges(instance: &Instance, flows: &[i128]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (at, (arc, &flow)) in instance.arcs.iter().zip(flows).enumerate() {
        let (tail, head, cost) = (arc.tail.0 as usize, arc.head.0 as usize, i128::from(arc.cost));
        let room = (arc.capacity != UNLIMITED).then(|| i128::from(arc.capacity) - flow);
        if room != Some(0) {
            edges.push(Edge { from: tail, to: head, arc: at, sign: 1, room, cost });
        }
        let back = flow - i128::from(arc.lower);
        if back != 0 {
            edges.push(Edge { from: head, to: tail, arc: at, sign: -1, room: Some(back), cost: -cost });
        }
    }
    edges
}

/// As much as fits along a path or cycle, and at most `limit`.
fn push_at_most(path: &[Edge], limit: Option<i128>, flows: &mut [i128]) -> i128 {
    let amount = path.iter().filter_map(|edge| edge.room).chain(limit).min().expect("something limits it");
    for edge in path {
        flows[edge.arc] += edge.sign * amount;
    }
    amount
}

fn push(cycle: &[Edge], flows: &mut [i128]) {
    push_at_most(cycle, None, flows);
}

/// Routes all supplies by any paths; a cut where that is impossible.
fn make_feasible(instance: &Instance, flows: &mut [i128]) -> Option<Vec<NodeId>> {
    let mut rest: Vec<i128> = instance.supplies.iter().map(|supply| i128::from(*supply)).collect();
    for (arc, flow) in instance.arcs.iter().zip(&*flows) {
        rest[arc.tail.0 as usize] -= flow;
        rest[arc.head.0 as usize] += flow;
    }
    loop {
        let edges = edges(instance, flows);
        let reached = search(&rest, &edges);
        if let Some(end) = (0..rest.len()).find(|&node| rest[node] < 0 && reached[node].is_some()) {
            let mut path = Vec::new();
            let mut node = end;
            while let Some(Some(edge)) = reached[node] {
                path.push(edge);
                node = edge.from;
            }
            let amount = push_at_most(&path, Some(rest[node].min(-rest[end])), flows);
            rest[node] -= amount;
            rest[end] += amount;
            continue;
        }
        let nodes =
            |inside: Vec<bool>| (0..).map(NodeId).zip(inside).filter(|(_, inside)| *inside).map(|(node, _)| node);
        if rest.iter().any(|rest| *rest > 0) {
            return Some(nodes(reached.iter().map(Option::is_some).collect()).collect());
        }
        if rest.iter().any(|rest| *rest < 0) {
            // Nothing more can arrive where too little does.
            let back: Vec<Edge> = edges.iter().map(|edge| Edge { from: edge.to, to: edge.from, ..*edge }).collect();
            let wanting: Vec<i128> = rest.iter().map(|rest| -rest).collect();
            return Some(nodes(search(&wanting, &back).iter().map(Option::is_some).collect()).collect());
        }
        return None;
    }
}

/// By node: whether a node with something left reaches it, and by which edge last.
fn search(rest: &[i128], edges: &[Edge]) -> Vec<Option<Option<Edge>>> {
    let mut reached: Vec<Option<Option<Edge>>> = rest.iter().map(|rest| (*rest > 0).then_some(None)).collect();
    let mut queue: VecDeque<usize> = (0..rest.len()).filter(|&node| rest[node] > 0).collect();
    while let Some(node) = queue.pop_front() {
        for edge in edges.iter().filter(|edge| edge.from == node) {
            if reached[edge.to].is_none() {
                reached[edge.to] = Some(Some(*edge));
                queue.push_back(edge.to);
            }
        }
    }
    reached
}

/// Bellman and Ford: the distance of each node from the nearest one, or a negative cycle.
fn shortest(nodes: usize, edges: &[Edge]) -> Result<Vec<i128>, Vec<Edge>> {
    let mut distances = vec![0_i128; nodes];
    let mut last: Vec<Option<Edge>> = vec![None; nodes];
    for _ in 0..=nodes {
        let mut changed = None;
        for edge in edges {
            if distances[edge.from] + edge.cost < distances[edge.to] {
                distances[edge.to] = distances[edge.from] + edge.cost;
                last[edge.to] = Some(*edge);
                changed = Some(edge.to);
            }
        }
        if changed.is_none() {
            return Ok(distances);
        }
    }
    // Still no rest after more rounds than there are nodes: the edges lead round somewhere.
    let mut state = vec![0_usize; nodes];
    for start in 0..nodes {
        let mut node = start;
        while state[node] == 0 {
            state[node] = start + 1;
            let Some(edge) = last[node] else { break };
            node = edge.from;
        }
        if state[node] == start + 1 && last[node].is_some() {
            return Err(cycle_through(node, &last));
        }
    }
    unreachable!("a change in the last round comes of a cycle")
}

fn cycle_through(start: usize, last: &[Option<Edge>]) -> Vec<Edge> {
    let mut cycle = Vec::new();
    let mut node = start;
    loop {
        let edge = last[node].expect("every node of a cycle has an edge");
        cycle.push(edge);
        node = edge.from;
        if node == start {
            break;
        }
    }
    cycle.reverse();
    cycle
}
