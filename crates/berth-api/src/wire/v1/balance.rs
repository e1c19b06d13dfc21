//! How far the cluster is from the best that it could be, and which moves would bring it nearer.

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AllocId, NodeNames, NodeRef, Number, Time, ToWire};

/// What the last round of the optimiser found out. It looks at what has changed some seconds after it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// When that was.
    pub at: Time,
    /// What all that is placed and waits costs by the policy, in thousandths of a node's worth.
    pub cost: Number,
    /// What it would cost at least, however it were placed; proven. Absent: the round ended before that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Number>,
    /// Regret: by how many thousandths of the bound everything costs more than that, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regret_permille: Option<Number>,
    /// Moves that are worth more than they cost, the best first. Those of services are made where the policy says so.
    pub proposals: Vec<Proposal>,
    /// How many moves may be under way at once. Absent: what is proposed is shown only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_max: Option<u32>,
}

/// Moves that are worth more than they cost, together. Can be done without the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proposal {
    /// What moves.
    pub moves: Vec<Relocation>,
    /// What waits and would be placed then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placed: Vec<Placing>,
    /// What it is worth, less what the moves cost, in thousandths of a node's worth.
    pub gain: Number,
}

/// An allocation that would be better off elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relocation {
    /// Which.
    pub alloc: AllocId,
    /// Where it is.
    pub from: NodeRef,
    /// Where it would go.
    pub to: NodeRef,
}

/// An allocation that waits and would find a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Placing {
    /// Which.
    pub alloc: AllocId,
    /// Where it would go.
    pub to: NodeRef,
}

impl Balance {
    /// What travels of a round at this time, and of what becomes of its proposals.
    pub fn new(
        at: model::Timestamp,
        balance: &model::Balance,
        mode: model::BalanceMode,
        names: &dyn NodeNames,
    ) -> Balance {
        Balance {
            at: at.into(),
            cost: number(balance.cost),
            bound: balance.bound.map(number),
            regret_permille: balance.regret_permille().map(number),
            proposals: balance.proposals.iter().map(|proposal| proposal.to_wire(names)).collect(),
            balance_max: mode.is_on().then(|| mode.at_most()),
        }
    }
}

impl ToWire for model::Proposal {
    type Wire = Proposal;
    fn to_wire(&self, names: &dyn NodeNames) -> Proposal {
        let moves = self.moves.iter().map(|one| Relocation {
            alloc: one.alloc.into(),
            from: names.node_ref(one.from),
            to: names.node_ref(one.to),
        });
        let placed = self.placed.iter().map(|(alloc, to)| Placing { alloc: (*alloc).into(), to: names.node_ref(*to) });
        Proposal { moves: moves.collect(), placed: placed.collect(), gain: number(self.gain) }
    }
}

/// Costs are never below nothing.
pub(super) fn number(cost: i64) -> Number {
    Number(u64::try_from(cost).unwrap_or(0))
}
