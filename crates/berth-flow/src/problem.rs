//! What is asked: nodes with supplies and arcs with bounds and costs, apart from any answer.

use std::fmt;

/// A capacity without a limit.
pub const UNLIMITED: i64 = i64::MAX;

/// A node, by a number that stays its own until it is removed; afterwards a new node may get it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

/// An arc, by a number that stays its own until it is removed; afterwards a new arc may get it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ArcId(pub u32);

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl ArcId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

impl fmt::Display for ArcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arc {}", self.0)
    }
}

/// A directed arc: how much may pass from `tail` to `head`, and what each unit costs.
///
/// Parallel arcs and arcs from a node to itself are arcs like others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arc {
    /// Where the flow leaves.
    pub tail: NodeId,
    /// Where the flow arrives.
    pub head: NodeId,
    /// The least flow, in units; may be negative, which is flow from `head` to `tail`.
    pub lower: i64,
    /// The greatest flow, in units, at least `lower`; [`UNLIMITED`] for none.
    pub capacity: i64,
    /// The cost of a unit of flow; negative for a gain.
    pub cost: i64,
}

/// A min-cost flow problem that can be read: an [`Instance`], or the [`Network`](crate::Network) itself.
pub trait Problem {
    /// The nodes with their supplies: units that must leave (positive) or arrive (negative), by id.
    fn nodes(&self) -> impl Iterator<Item = (NodeId, i64)>;
    /// The arcs, by id.
    fn arcs(&self) -> impl Iterator<Item = (ArcId, Arc)>;
}

/// A problem as plain data, as it comes from a file: nodes and arcs are numbered in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Instance {
    /// The supply of each node.
    pub supplies: Vec<i64>,
    /// The arcs.
    pub arcs: Vec<Arc>,
}

impl Problem for Instance {
    fn nodes(&self) -> impl Iterator<Item = (NodeId, i64)> {
        (0..).map(NodeId).zip(self.supplies.iter().copied())
    }

    fn arcs(&self) -> impl Iterator<Item = (ArcId, Arc)> {
        (0..).map(ArcId).zip(self.arcs.iter().copied())
    }
}
