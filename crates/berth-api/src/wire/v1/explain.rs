//! Placements with their explanation: what was filtered, what the chosen node and the runner-up cost.

use std::collections::BTreeMap;

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reason::same;
use super::{DecisionId, DeviceId, DeviceName, FilterCount, NodeRef, Number, PolicyName, PortName, Signed};

/// Where an allocation was placed, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Placement {
    /// The node.
    pub node: NodeRef,
    /// Every port of the group with its number.
    pub ports: BTreeMap<PortName, u16>,
    /// Every wish for devices with what it was given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<DeviceName, Vec<DeviceId>>,
    /// The run of the core that chose.
    pub decision: DecisionId,
    /// Why there.
    pub explanation: Explanation,
}

/// Why a node was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The policy that weighed the terms.
    pub policy: PolicyName,
    /// Its version; absent where nobody had set one, and the server's setting held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<Number>,
    /// Nodes looked at.
    pub considered: u32,
    /// How many nodes each filter removed.
    pub filtered: Vec<FilterCount>,
    /// The cost of the chosen node. The lowest sum wins; ties fall to the lower node id.
    pub chosen: Vec<CostTerm>,
    /// The next best node and its cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<RunnerUp>,
}

/// The next best node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunnerUp {
    /// The node.
    pub node: NodeRef,
    /// Its cost.
    pub terms: Vec<CostTerm>,
}

/// One named part of a node's cost, already weighed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostTerm {
    /// Which term.
    pub term: Term,
    /// The term's value, times its weight.
    pub cost: Signed,
}

/// The named terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// How full the node would be in its fullest dimension.
    Utilisation,
    /// How many allocations of the same group the node holds already.
    SameGroup,
    /// What the node's room loses of its worth for what is expected to be asked for.
    Fragmentation,
    /// Where the group's last allocation failed or was lost.
    FailedHere,
    /// What the group prefers of a node and this one has not.
    Preference,
    /// Others that the group likes to be near to and that are not here.
    Affinity,
    /// Others that the group likes to be apart from and that are here.
    AntiAffinity,
    /// How much of what it should have of the group this part of the cluster would have.
    Spread,
    /// How much of the node would be free in its fullest dimension.
    Emptiness,
}

same!(
    Term,
    model::Term {
        Utilisation,
        SameGroup,
        Fragmentation,
        FailedHere,
        Preference,
        Affinity,
        AntiAffinity,
        Spread,
        Emptiness
    }
);

impl From<&model::CostTerm> for CostTerm {
    fn from(term: &model::CostTerm) -> CostTerm {
        CostTerm { term: term.term.into(), cost: Signed(term.cost) }
    }
}
