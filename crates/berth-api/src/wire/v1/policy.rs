//! The cluster's policy as it travels. What it says is the JSON of a policy file.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cause, Number, PolicyName, Time};

/// The policy by which is placed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// Its version: one more with each change; 0 where nobody has set one, and the server's setting holds.
    pub version: Number,
    /// When it was set; absent where nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Time>,
    /// Why it was set; absent where nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What it says, as the JSON of a policy file that leaves nothing to a base.
    #[schema(value_type = Object)]
    pub spec: serde_json::Value,
}
