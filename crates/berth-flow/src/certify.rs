//! Checks an answer against the problem, from its definition. Shares no code with the solver.
//!
//! A flow is optimal when it is feasible and there are prices under which no arc that could carry more is a
//! gain and no arc that could carry less is a loss (complementary slackness). All sums are of 128 bits: the
//! checks hold for numbers that the solver itself would refuse.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::problem::{Arc, ArcId, NodeId, Problem, UNLIMITED};
use crate::solution::Solution;

/// What a check has proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The sum of cost times flow over all arcs. No flow has a lower one.
    pub cost: i128,
}

/// Why a solution is not an optimum, or a witness proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refutation {
    /// The problem itself is broken.
    #[error("{arc} ends at {node}, which is not in the problem")]
    UnknownEnd {
        /// The arc.
        arc: ArcId,
        /// The end that is no node.
        node: NodeId,
    },
    /// The solution is too short for the problem's arcs.
    #[error("{arc} has no flow in the solution")]
    NoFlow {
        /// The arc.
        arc: ArcId,
    },
    /// The solution is too short for the problem's nodes.
    #[error("{node} has no price in the solution")]
    NoPrice {
        /// The node.
        node: NodeId,
    },
    /// A bound is broken.
    #[error("the flow {flow} of {arc} is below its lower bound {lower}")]
    BelowLower {
        /// The arc.
        arc: ArcId,
        /// Its flow.
        flow: i64,
        /// The least that it may be.
        lower: i64,
    },
    /// A bound is broken.
    #[error("the flow {flow} of {arc} is above its capacity {capacity}")]
    AboveCapacity {
        /// The arc.
        arc: ArcId,
        /// Its flow.
        flow: i64,
        /// The most that it may be.
        capacity: i64,
    },
    /// More or less leaves a node than its supply.
    #[error("{node} has a supply of {supply}, but {leaving} leave it, net")]
    Unbalanced {
        /// The node.
        node: NodeId,
        /// Its supply.
        supply: i64,
        /// The flow that leaves minus the flow that arrives.
        leaving: i128,
    },
    /// The prices do not prove the flow optimal: more flow there would lower the cost.
    #[error("{arc} has a reduced cost of {reduced_cost}, and its flow {flow} could grow up to {capacity}")]
    GainLeft {
        /// The arc.
        arc: ArcId,
        /// Its cost, plus the price of its head, minus the price of its tail.
        reduced_cost: i128,
        /// Its flow.
        flow: i64,
        /// Its capacity.
        capacity: i64,
    },
    /// The prices do not prove the flow optimal: less flow there would lower the cost.
    #[error("{arc} has a reduced cost of {reduced_cost}, and its flow {flow} could shrink down to {lower}")]
    LossKept {
        /// The arc.
        arc: ArcId,
        /// Its cost, plus the price of its head, minus the price of its tail.
        reduced_cost: i128,
        /// Its flow.
        flow: i64,
        /// Its lower bound.
        lower: i64,
    },
    /// The cost of a solution does not fit into 128 bits.
    #[error("the cost exceeds 128 bits at {arc}")]
    CostTooLarge {
        /// The arc at which the sum does not fit any more.
        arc: ArcId,
    },
    /// A cut that is no proof of infeasibility.
    #[error("the cut proves nothing: {0}")]
    CutHolds(CutSums),
    /// A witness names what is not in the problem, or names it twice.
    #[error("the cut names {node}, which is not in the problem or is named before")]
    CutNode {
        /// The node.
        node: NodeId,
    },
    /// A witness without arcs.
    #[error("the cycle has no arcs")]
    CycleEmpty,
    /// A witness names what is not in the problem.
    #[error("the cycle names {arc}, which is not in the problem")]
    CycleArc {
        /// The arc.
        arc: ArcId,
    },
    /// A cycle that cannot carry as much as one likes.
    #[error("{arc} of the cycle has a capacity of {capacity}")]
    CycleLimited {
        /// The arc.
        arc: ArcId,
        /// Its capacity.
        capacity: i64,
    },
    /// A cycle that is none.
    #[error("{arc} of the cycle does not begin where the one before it ends, at {node}")]
    CycleBroken {
        /// The arc.
        arc: ArcId,
        /// The head of the arc before it.
        node: NodeId,
    },
    /// A cycle that gains nothing.
    #[error("the cycle costs {cost}, which is not negative")]
    CycleCost {
        /// The sum of its arcs' costs.
        cost: i128,
    },
}

/// What a set of nodes has to give, and what its arcs let out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutSums {
    /// The sum of its nodes' supplies.
    pub supply: i128,
    /// The least that must leave it, net.
    pub least: Bound,
    /// The most that can leave it, net.
    pub most: Bound,
}

impl fmt::Display for CutSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CutSums { supply, least, most } = self;
        match least {
            Bound::At(least) => write!(f, "its nodes supply {supply}, and from {least} to {most} can leave it"),
            Bound::Unlimited => write!(f, "its nodes supply {supply}, and at most {most} can leave it"),
        }
    }
}

/// A sum of bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// The sum, where all of them are limited.
    At(i128),
    /// There is none.
    Unlimited,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::At(sum) => write!(f, "{sum}"),
            Bound::Unlimited => f.write_str("any number"),
        }
    }
}

/// Proves that a solution is feasible and of least cost, or says what refutes it.
///
/// What the solution says of ids that the problem does not have is not looked at.
///
/// # Errors
/// The first fault that is found: bounds and optimality of the arcs in their order, then the nodes in theirs.
pub fn certify(problem: &impl Problem, solution: &Solution) -> Result<Certificate, Refutation> {
    // By node: supply minus what leaves, net. As long as the prices and no longer, whatever ids there are.
    let mut rest: Vec<Option<i128>> = vec![None; solution.prices.len()];
    for (node, supply) in problem.nodes() {
        *rest.get_mut(node.index()).ok_or(Refutation::NoPrice { node })? = Some(i128::from(supply));
    }
    let mut cost = 0_i128;
    for (id, arc) in problem.arcs() {
        let flow = *solution.flows.get(id.index()).ok_or(Refutation::NoFlow { arc: id })?;
        check_bounds(id, &arc, flow)?;
        for (node, leaving) in [(arc.tail, i128::from(flow)), (arc.head, -i128::from(flow))] {
            let rest = rest.get_mut(node.index()).and_then(Option::as_mut);
            *rest.ok_or(Refutation::UnknownEnd { arc: id, node })? -= leaving;
        }
        check_optimal(id, &arc, flow, solution)?;
        let part = i128::from(arc.cost) * i128::from(flow);
        cost = cost.checked_add(part).ok_or(Refutation::CostTooLarge { arc: id })?;
    }
    for (node, supply) in problem.nodes() {
        let rest = rest[node.index()].expect("every node was entered above");
        if rest != 0 {
            return Err(Refutation::Unbalanced { node, supply, leaving: i128::from(supply) - rest });
        }
    }
    Ok(Certificate { cost })
}

fn check_bounds(id: ArcId, arc: &Arc, flow: i64) -> Result<(), Refutation> {
    if flow < arc.lower {
        return Err(Refutation::BelowLower { arc: id, flow, lower: arc.lower });
    }
    if flow > arc.capacity {
        return Err(Refutation::AboveCapacity { arc: id, flow, capacity: arc.capacity });
    }
    Ok(())
}

fn check_optimal(id: ArcId, arc: &Arc, flow: i64, solution: &Solution) -> Result<(), Refutation> {
    let price = |node: NodeId| i128::from(solution.prices[node.index()]);
    let reduced_cost = i128::from(arc.cost) + price(arc.head) - price(arc.tail);
    // More than the largest number still fits into what has no limit.
    let can_grow = flow < arc.capacity || arc.capacity == UNLIMITED;
    if can_grow && reduced_cost < 0 {
        return Err(Refutation::GainLeft { arc: id, reduced_cost, flow, capacity: arc.capacity });
    }
    if flow > arc.lower && reduced_cost > 0 {
        return Err(Refutation::LossKept { arc: id, reduced_cost, flow, lower: arc.lower });
    }
    Ok(())
}

/// Proves that no flow is feasible, from a set of nodes: its supplies together are more than what can leave
/// it, net, or less than what must.
///
/// # Errors
/// Where the set proves nothing.
pub fn certify_cut(problem: &impl Problem, cut: &[NodeId]) -> Result<CutSums, Refutation> {
    let mut inside: BTreeMap<NodeId, bool> = BTreeMap::new();
    for &node in cut {
        if inside.insert(node, false).is_some() {
            return Err(Refutation::CutNode { node });
        }
    }
    let mut supply = 0_i128;
    for (node, amount) in problem.nodes() {
        if let Some(found) = inside.get_mut(&node) {
            *found = true;
            supply += i128::from(amount);
        }
    }
    if let Some((&node, _)) = inside.iter().find(|(_, found)| !**found) {
        return Err(Refutation::CutNode { node });
    }
    let (mut least, mut most) = (Bound::At(0), Bound::At(0));
    for (_, arc) in problem.arcs() {
        match (inside.contains_key(&arc.tail), inside.contains_key(&arc.head)) {
            (true, false) => {
                least = least.plus(i128::from(arc.lower));
                most = if arc.capacity == UNLIMITED { Bound::Unlimited } else { most.plus(arc.capacity.into()) };
            }
            (false, true) => {
                most = most.plus(-i128::from(arc.lower));
                least =
                    if arc.capacity == UNLIMITED { Bound::Unlimited } else { least.plus(-i128::from(arc.capacity)) };
            }
            (true, true) | (false, false) => {}
        }
    }
    let too_much = matches!(most, Bound::At(most) if supply > most);
    let too_little = matches!(least, Bound::At(least) if supply < least);
    let sums = CutSums { supply, least, most };
    if too_much || too_little { Ok(sums) } else { Err(Refutation::CutHolds(sums)) }
}

impl Bound {
    fn plus(self, amount: i128) -> Bound {
        match self {
            Bound::At(sum) => Bound::At(sum + amount),
            Bound::Unlimited => Bound::Unlimited,
        }
    }
}

/// Proves that the cost has no minimum if there is a flow at all, from arcs that form a directed cycle of
/// negative cost without a capacity.
///
/// # Errors
/// Where the arcs prove nothing.
pub fn certify_cycle(problem: &impl Problem, cycle: &[ArcId]) -> Result<(), Refutation> {
    let mut found: BTreeMap<ArcId, Option<Arc>> = cycle.iter().map(|&id| (id, None)).collect();
    for (id, arc) in problem.arcs() {
        if let Some(place) = found.get_mut(&id) {
            *place = Some(arc);
        }
    }
    let arcs: Vec<(ArcId, Arc)> = cycle
        .iter()
        .map(|&id| found[&id].map(|arc| (id, arc)).ok_or(Refutation::CycleArc { arc: id }))
        .collect::<Result<_, _>>()?;
    let mut node = arcs.last().ok_or(Refutation::CycleEmpty)?.1.head;
    let mut cost = 0_i128;
    for (id, arc) in arcs {
        if arc.capacity != UNLIMITED {
            return Err(Refutation::CycleLimited { arc: id, capacity: arc.capacity });
        }
        if arc.tail != node {
            return Err(Refutation::CycleBroken { arc: id, node });
        }
        node = arc.head;
        cost += i128::from(arc.cost);
    }
    if cost < 0 { Ok(()) } else { Err(Refutation::CycleCost { cost }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Instance;

    /// An arc from numbers: tail, head, lower bound, capacity, cost.
    fn arc((tail, head, lower, capacity, cost): (u32, u32, i64, i64, i64)) -> Arc {
        Arc { tail: NodeId(tail), head: NodeId(head), lower, capacity, cost }
    }

    fn instance(supplies: &[i64], arcs: &[(u32, u32, i64, i64, i64)]) -> Instance {
        Instance { supplies: supplies.to_vec(), arcs: arcs.iter().copied().map(arc).collect() }
    }

    /// Two ways from node 0 to node 2: dear and straight, or cheap by node 1, where only 3 fit.
    fn two_ways() -> Instance {
        instance(&[5, 0, -5], &[(0, 1, 0, 3, 1), (1, 2, 1, UNLIMITED, 1), (0, 2, 0, 9, 4)])
    }

    fn answer(flows: &[i64], prices: &[i64]) -> Solution {
        Solution { flows: flows.to_vec(), prices: prices.to_vec() }
    }

    #[test]
    fn an_optimum_is_certified_with_its_cost() {
        let solution = answer(&[3, 3, 2], &[4, 1, 0]);
        assert_eq!(certify(&two_ways(), &solution), Ok(Certificate { cost: 14 }));
        // Prices are known up to a constant, at the ends of what 64 bits hold as well.
        let solution = answer(&[3, 3, 2], &[i64::MIN + 4, i64::MIN + 1, i64::MIN]);
        assert_eq!(certify(&two_ways(), &solution), Ok(Certificate { cost: 14 }));
        assert_eq!(certify(&Instance::default(), &Solution::default()), Ok(Certificate { cost: 0 }));
    }

    #[test]
    fn each_fault_of_a_solution_has_its_refutation() {
        let check = |flows: &[i64], prices: &[i64]| certify(&two_ways(), &answer(flows, prices)).unwrap_err();
        let a = ArcId;
        assert_eq!(check(&[3, 3], &[4, 1, 0]), Refutation::NoFlow { arc: a(2) });
        assert_eq!(check(&[3, 3, 2], &[4, 1]), Refutation::NoPrice { node: NodeId(2) });
        assert_eq!(check(&[0, 0, 5], &[4, 4, 0]), Refutation::BelowLower { arc: a(1), flow: 0, lower: 1 });
        assert_eq!(check(&[4, 4, 1], &[4, 1, 0]), Refutation::AboveCapacity { arc: a(0), flow: 4, capacity: 3 });
        let unbalanced = |node, supply, leaving| Refutation::Unbalanced { node: NodeId(node), supply, leaving };
        assert_eq!(check(&[3, 2, 3], &[4, 1, 0]), unbalanced(0, 5, 6));
        assert_eq!(check(&[3, 2, 2], &[4, 1, 0]), unbalanced(1, 0, -1));
        let gain = Refutation::GainLeft { arc: a(0), reduced_cost: -2, flow: 2, capacity: 3 };
        assert_eq!(check(&[2, 2, 3], &[4, 1, 0]), gain);
        let loss = Refutation::LossKept { arc: a(2), reduced_cost: 1, flow: 2, lower: 0 };
        assert_eq!(check(&[3, 3, 2], &[3, 1, 0]), loss);
    }

    #[test]
    fn an_unlimited_arc_can_always_carry_more() {
        let far = instance(&[i64::MAX, i64::MIN + 1], &[(0, 1, 0, UNLIMITED, -1)]);
        let gain = Refutation::GainLeft { arc: ArcId(0), reduced_cost: -1, flow: i64::MAX, capacity: UNLIMITED };
        assert_eq!(certify(&far, &answer(&[i64::MAX], &[0, 0])), Err(gain));
        assert_eq!(certify(&far, &answer(&[i64::MAX], &[0, 1])), Ok(Certificate { cost: -i128::from(i64::MAX) }));
    }

    #[test]
    fn an_arc_to_nowhere_and_a_cost_beyond_128_bits_are_refuted() {
        let broken = instance(&[0, 0], &[(0, 7, 0, 1, 1)]);
        let unknown = Refutation::UnknownEnd { arc: ArcId(0), node: NodeId(7) };
        assert_eq!(certify(&broken, &answer(&[0], &[0, 0])), Err(unknown));
        let huge = (0, 0, i64::MIN, i64::MIN, i64::MIN);
        let broken = instance(&[0], &[huge, huge]);
        let solution = answer(&[i64::MIN, i64::MIN], &[0]);
        assert_eq!(certify(&broken, &solution), Err(Refutation::CostTooLarge { arc: ArcId(1) }));
    }

    #[test]
    fn a_cut_proves_that_too_much_or_too_little_can_leave_it() {
        let nodes = |ids: &[u32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let narrow = instance(&[5, -5, 0], &[(0, 1, 0, 3, 0), (2, 0, 1, UNLIMITED, 0)]);
        let sums = certify_cut(&narrow, &nodes(&[0])).unwrap();
        assert_eq!(sums, CutSums { supply: 5, least: Bound::Unlimited, most: Bound::At(2) });
        assert_eq!(sums.to_string(), "its nodes supply 5, and at most 2 can leave it");
        assert!(certify_cut(&narrow, &nodes(&[1, 2])).is_ok(), "the other side proves the same");
        assert!(matches!(certify_cut(&narrow, &[]), Err(Refutation::CutHolds(_))));
        // What must leave and cannot arrive again.
        assert!(certify_cut(&instance(&[0, 0], &[(0, 1, 1, UNLIMITED, 0)]), &nodes(&[0])).is_ok());
        let wide = instance(&[5, -5], &[(0, 1, 0, UNLIMITED, 0)]);
        let sums = CutSums { supply: 5, least: Bound::At(0), most: Bound::Unlimited };
        let holds = Refutation::CutHolds(sums);
        assert_eq!(
            holds.to_string(),
            "the cut proves nothing: its nodes supply 5, and from 0 to any number can leave it"
        );
        assert_eq!(certify_cut(&wide, &nodes(&[0])), Err(holds));
        assert_eq!(certify_cut(&wide, &nodes(&[2])), Err(Refutation::CutNode { node: NodeId(2) }));
        assert_eq!(certify_cut(&narrow, &nodes(&[0, 0])), Err(Refutation::CutNode { node: NodeId(0) }));
        // More is wanted than there is: only what must leave, less than nothing, shows it.
        assert!(certify_cut(&instance(&[-1], &[]), &nodes(&[0])).is_ok());
    }

    #[test]
    fn a_cycle_is_closed_and_negative_and_without_a_limit() {
        let arcs = [(0, 1, 0, UNLIMITED, -3), (1, 0, 0, UNLIMITED, 2), (1, 0, 0, 8, 1), (1, 0, 2, UNLIMITED, 3)];
        let problem = instance(&[0, 0], &arcs);
        let check = |ids: &[u32]| certify_cycle(&problem, &ids.iter().copied().map(ArcId).collect::<Vec<_>>());
        assert_eq!(check(&[0, 1]), Ok(()));
        assert_eq!(check(&[1, 0]), Ok(()));
        assert_eq!(check(&[]), Err(Refutation::CycleEmpty));
        assert_eq!(check(&[0, 9]), Err(Refutation::CycleArc { arc: ArcId(9) }));
        assert_eq!(check(&[0, 2]), Err(Refutation::CycleLimited { arc: ArcId(2), capacity: 8 }));
        assert_eq!(check(&[0]), Err(Refutation::CycleBroken { arc: ArcId(0), node: NodeId(1) }));
        assert_eq!(check(&[0, 3]), Err(Refutation::CycleCost { cost: 0 }));
    }
}
