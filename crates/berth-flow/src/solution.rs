//! What is answered: a flow with prices, how far a solve came, or the proof that there is no answer.

use crate::problem::{ArcId, NodeId};

/// How much work a solve may do, in steps: arcs looked at, and eight for each whose flow is changed. It is counted, never
/// timed, so that equal inputs stop at equal points. It is compared between one path and the next, and the first path is
/// always taken, so that solves with any budget, one after the other, come to an end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Budget(pub u64);

impl Budget {
    /// As many steps as the optimum takes.
    pub const UNLIMITED: Budget = Budget(u64::MAX);
}

/// How a solve ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The flow is feasible and of least cost.
    Optimal {
        /// The sum of cost times flow over all arcs.
        cost: i128,
        /// The work that it took.
        steps: u64,
    },
    /// The budget is used up. What is routed is routed at least cost; another solve goes on from here.
    Unfinished {
        /// The units that are not routed yet.
        unrouted: i64,
        /// The work that was done.
        steps: u64,
    },
    /// No flow satisfies all supplies and bounds.
    Infeasible {
        /// A set of nodes that proves it: its supplies together are more than its arcs let out, net, or less
        /// than what they must let out.
        cut: Vec<NodeId>,
        /// The work that it took.
        steps: u64,
    },
    /// Without a limit: the cost sinks for ever along a cycle of unlimited arcs (if there is a flow at all).
    Unbounded {
        /// Arcs that form, in this order, a directed cycle of negative cost without a capacity.
        cycle: Vec<ArcId>,
        /// The work that it took.
        steps: u64,
    },
}

/// A flow with the prices that prove it optimal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Solution {
    /// The flow of each arc, by the arc's id; 0 where there is no arc.
    pub flows: Vec<i64>,
    /// The price of each node, by the node's id: what one unit more of supply there would cost, up to a
    /// constant common to all nodes that paths join. 0 where there is no node.
    pub prices: Vec<i64>,
}
