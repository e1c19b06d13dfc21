//! Changes of a network, as data: what a journal holds and what can be applied elsewhere.

use crate::problem::{Arc, ArcId, NodeId};

/// One change of a [`Network`](crate::Network). Applied in the same order to equal networks, changes give
/// equal networks, ids included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new node; it gets the id that was freed last, or else the next one.
    AddNode {
        /// The units that must leave (positive) or arrive (negative) there.
        supply: i64,
    },
    /// A node goes, with all its arcs.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// A node's supply becomes another.
    SetSupply {
        /// The node.
        node: NodeId,
        /// The new supply.
        supply: i64,
    },
    /// A new arc; it gets the id that was freed last, or else the next one.
    AddArc(Arc),
    /// An arc goes.
    RemoveArc {
        /// The arc.
        arc: ArcId,
    },
    /// An arc's bounds become others.
    SetBounds {
        /// The arc.
        arc: ArcId,
        /// The new least flow.
        lower: i64,
        /// The new greatest flow, or [`UNLIMITED`](crate::UNLIMITED).
        capacity: i64,
    },
    /// An arc's cost becomes another.
    SetCost {
        /// The arc.
        arc: ArcId,
        /// The new cost of a unit.
        cost: i64,
    },
}
