//! How far the cluster is from the best that it could be, and which moves would bring it nearer.

use crate::{AllocId, NodeId};

/// An allocation that would be better off elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Which.
    pub alloc: AllocId,
    /// Where it is.
    pub from: NodeId,
    /// Where it would go.
    pub to: NodeId,
}

/// Moves that are worth more than they cost, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// What moves.
    pub moves: Vec<Relocation>,
    /// What waits and is placed then, and where.
    pub placed: Vec<(AllocId, NodeId)>,
    /// What it is worth, less what the moves cost, in thousandths of a node's worth.
    pub gain: i64,
}

/// What a round of the optimiser found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// What all that is placed and waits costs, in thousandths of a node's worth.
    pub cost: i64,
    /// What it would cost at least, however it were placed; a certified flow proves it. None: not found within the
    /// round's budget.
    pub bound: Option<i64>,
    /// What would be better, the best first. Nothing of it is done, and each can be done without the others.
    pub proposals: Vec<Proposal>,
}

impl Balance {
    /// How much more than the best everything costs at most, in thousandths of a node's worth.
    pub fn regret(&self) -> Option<i64> {
        self.bound.map(|bound| self.cost - bound)
    }

    /// The same in thousandths of the bound; 0 where everything is for nothing.
    pub fn regret_permille(&self) -> Option<i64> {
        let permille = i128::from(self.regret()?) * 1_000 / i128::from(self.bound?.max(1));
        Some(i64::try_from(permille).unwrap_or(i64::MAX))
    }
}
