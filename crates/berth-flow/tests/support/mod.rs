//! What the tests hold the solver against: two slow algorithms that are right at a glance, random instances,
//! and a check of every outcome.
#![expect(dead_code, reason = "each test program uses a part of it")]

pub mod brute;
pub mod kept;
pub mod simple;
pub mod strategies;
pub mod wishes;

use simple::Truth;

use berth_flow::{Arc, Instance, NodeId, Outcome, Problem, Solution, certify, certify_cut, certify_cycle};

/// An arc from numbers: tail, head, lower bound, capacity, cost.
pub fn arc(tail: u32, head: u32, lower: i64, capacity: i64, cost: i64) -> Arc {
    Arc { tail: NodeId(tail), head: NodeId(head), lower, capacity, cost }
}

/// An instance from numbers.
pub fn instance(supplies: &[i64], arcs: &[(u32, u32, i64, i64, i64)]) -> Instance {
    let arcs = arcs.iter().map(|&(tail, head, lower, capacity, cost)| arc(tail, head, lower, capacity, cost));
    Instance { supplies: supplies.to_vec(), arcs: arcs.collect() }
}

/// Holds an outcome, with the solution that belongs to it, against the truth, and checks its witness.
pub fn check(problem: &impl Problem, outcome: &Outcome, solution: &Solution, truth: &Truth) -> Result<(), String> {
    match outcome {
        Outcome::Optimal { cost, .. } => {
            let certificate = certify(problem, solution).map_err(|refutation| format!("not optimal: {refutation}"))?;
            if certificate.cost != *cost {
                return Err(format!("a cost of {cost} is told, and the flow's is {}", certificate.cost));
            }
            if truth.cost != Some(*cost) {
                return Err(format!("a cost of {cost} is told, and the truth is {:?}", truth.cost));
            }
            Ok(())
        }
        Outcome::Infeasible { cut, .. } => {
            certify_cut(problem, cut).map_err(|refutation| format!("no cut: {refutation}"))?;
            if truth.cut.is_none() { Err("feasible, and a cut was proven".to_owned()) } else { Ok(()) }
        }
        Outcome::Unbounded { cycle, .. } => {
            certify_cycle(problem, cycle).map_err(|refutation| format!("no cycle: {refutation}"))?;
            if truth.cycle.is_none() { Err("bounded, and a cycle was proven".to_owned()) } else { Ok(()) }
        }
        Outcome::Unfinished { unrouted, steps } => {
            Err(format!("unfinished after {steps} steps with {unrouted} units left, without a limit"))
        }
    }
}
