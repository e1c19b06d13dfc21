//! What a network refuses to take in.

use thiserror::Error;

use crate::problem::{ArcId, NodeId};

/// A change that is refused. The network is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ChangeError {
    /// No such node.
    #[error("{0} is not in the network")]
    UnknownNode(NodeId),
    /// No such arc.
    #[error("{0} is not in the network")]
    UnknownArc(ArcId),
    /// No flow fits between these bounds.
    #[error("the lower bound {lower} is above the capacity {capacity}")]
    BoundsCrossed {
        /// The least flow.
        lower: i64,
        /// The greatest flow.
        capacity: i64,
    },
    /// The amounts are so large that their sums could overflow.
    #[error(
        "with {amount} units more, all supplies and bounds together exceed {limit}; count in larger units, and leave \
         capacities out that nothing comes near"
    )]
    AmountTooLarge {
        /// The supply or bound to be added.
        amount: i64,
        /// The most that all of them may sum up to.
        limit: i64,
    },
    /// The costs are so large that the cost of a path could overflow.
    #[error(
        "a path through {nodes} nodes with arcs that cost {cost} could exceed {limit}; divide all costs by a number"
    )]
    CostTooLarge {
        /// The largest cost of an arc, without its sign.
        cost: i64,
        /// The number of nodes.
        nodes: u64,
        /// The most that a path may cost.
        limit: i64,
    },
    /// There are no more ids.
    #[error("a network has at most {limit} nodes and as many arcs")]
    Full {
        /// The number of ids.
        limit: u32,
    },
}
