//! Whom the cluster trusts, as it travels.

use std::fmt;

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AuthorityId, Cause, NodeName, Number, Time};

/// Bytes of a request about trust.
pub const TRUST_REQUEST_BYTES: usize = 8 << 10;

/// What a machine is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It decides, or stands by.
    Server,
    /// It runs what is placed on its node.
    Agent,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&model::Role::from(*self), f)
    }
}

impl From<model::Role> for Role {
    fn from(role: model::Role) -> Role {
        match role {
            model::Role::Server => Role::Server,
            model::Role::Agent => Role::Agent,
        }
    }
}

impl From<Role> for model::Role {
    fn from(role: Role) -> model::Role {
        match role {
            Role::Server => model::Role::Server,
            Role::Agent => model::Role::Agent,
        }
    }
}

/// A certificate authority of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Authority {
    /// Its name: the SHA-256 of its certificate.
    pub id: AuthorityId,
    /// Whether it signs. All that are listed are believed.
    pub signs: bool,
    /// When its certificate ends.
    pub not_after: Time,
    /// When it was made.
    pub made: Time,
    /// Why it was made.
    pub cause: Cause,
    /// Its certificate (PEM): what a client has to know of the cluster.
    pub certificate: String,
}

/// The certificate authorities of the cluster, the one that signs first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Authorities {
    /// All of them.
    pub items: Vec<Authority>,
}

/// What a join token is to be good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What may join with it.
    pub role: Role,
    /// The only node that may, also where a node of this name is in already; absent: any new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// How long, at most a day; absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<Number>,
}

/// A join token. It is shown this once, and good for one machine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// The token itself, which is a secret.
    pub token: String,
    /// What may join with it.
    pub role: Role,
    /// The only node that may; absent: any new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Until when.
    pub expires: Time,
}

impl fmt::Debug for Token {
    /// Without the token itself, which belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("role", &self.role).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A machine wants to join. The key of the connection, which it shows in the handshake, is the one it will be known by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The join token.
    pub token: String,
    /// As what.
    pub role: Role,
    /// Under which name.
    pub name: NodeName,
}

impl fmt::Debug for JoinRequest {
    /// Without the token, which belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest").field("role", &self.role).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What makes a machine a part of the cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certified {
    /// The machine's certificate (PEM); none for a server, which signs its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub certificate: String,
    /// The certificates of the authorities to be believed (PEM), the one that signs first.
    pub authorities: String,
    /// For a server: the key under which the authorities' own are sealed. Absent where the servers have it from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<String>,
    /// For a server: the token that opens the servers to users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for Certified {
    /// Without key and token, which belong in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certified").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
