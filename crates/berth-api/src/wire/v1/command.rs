//! What came of a command.

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AllocId, AuthorityId, CommandId, EventId, JobId, Namespace, NodeId, NodeName, Number, PolicyName, Role, Time,
    TokenId,
};

/// What came of an accepted command. What it tells is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CommandOutcome {
    /// The job has this version now.
    JobVersion {
        /// Which job.
        job: JobId,
        /// Its version.
        version: Number,
        /// Whether the command changed anything.
        changed: bool,
    },
    /// The job is stopping, or had ended.
    Stopping {
        /// Which job.
        job: JobId,
    },
    /// The allocation is stopping, or had ended.
    StoppingAlloc {
        /// Which allocation.
        alloc: AllocId,
    },
    /// The nodes are being emptied, or have been.
    Draining {
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// The nodes take work.
    Enabled {
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// What was kept on the lost nodes is given up.
    Abandoned {
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// What is stored from now on has this format.
    Finalised {
        /// Which.
        format: u32,
        /// Whether the command changed anything.
        changed: bool,
    },
    /// The cluster has this policy now.
    Policy {
        /// Its name.
        name: PolicyName,
        /// Its version.
        version: Number,
        /// Whether the command changed anything.
        changed: bool,
    },
    /// The certificate authority signs.
    AuthoritySigns {
        /// Which.
        authority: AuthorityId,
    },
    /// The certificate authority is believed no more.
    AuthorityRetired {
        /// Which.
        authority: AuthorityId,
    },
    /// The join token lets a machine in.
    TokenMade {
        /// Which.
        token: TokenId,
    },
    /// The machine has joined.
    Joined {
        /// As what.
        role: Role,
        /// Under which name.
        name: NodeName,
    },
    /// The node is shut out.
    NodeRevoked {
        /// Which.
        name: NodeName,
    },
}

/// Which nodes are to be emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Ids or names of nodes, or `ATTRIBUTE=VALUE` for every node with it; 1 to 1000 texts, and 10,000 nodes at most.
    pub nodes: Vec<String>,
    /// After how many milliseconds what is still there is stopped; with 0 all is stopped at once. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<Number>,
}

/// Which nodes are to take work again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnableRequest {
    /// As in [`DrainRequest`].
    pub nodes: Vec<String>,
}

/// On which lost nodes nothing is kept any longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AbandonRequest {
    /// As in [`DrainRequest`].
    pub nodes: Vec<String>,
}

/// An accepted command, as a chain of causes tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// Who asked.
    pub principal: String,
    /// Where.
    pub namespace: Namespace,
    /// When it was accepted.
    pub at: Time,
    /// What came of it.
    pub outcome: CommandOutcome,
}

/// From where on events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EventsFrom {
    /// From the oldest that is kept.
    #[default]
    Oldest,
    /// After this one.
    After(EventId),
    /// Only what is yet to come.
    Now,
}

impl From<model::CommandOutcome> for CommandOutcome {
    fn from(outcome: model::CommandOutcome) -> CommandOutcome {
        match outcome {
            model::CommandOutcome::JobVersion { job, version, changed } => {
                CommandOutcome::JobVersion { job: job.into(), version: Number(version.0), changed }
            }
            model::CommandOutcome::Stopping(job) => CommandOutcome::Stopping { job: job.into() },
            model::CommandOutcome::StoppingAlloc(alloc) => CommandOutcome::StoppingAlloc { alloc: alloc.into() },
            model::CommandOutcome::Draining(nodes) => {
                CommandOutcome::Draining { nodes: nodes.into_iter().map(NodeId::from).collect() }
            }
            model::CommandOutcome::Enabled(nodes) => {
                CommandOutcome::Enabled { nodes: nodes.into_iter().map(NodeId::from).collect() }
            }
            model::CommandOutcome::Abandoned(nodes) => {
                CommandOutcome::Abandoned { nodes: nodes.into_iter().map(NodeId::from).collect() }
            }
            model::CommandOutcome::Finalised { format, changed } => {
                CommandOutcome::Finalised { format: format.0, changed }
            }
            model::CommandOutcome::Policy { name, version, changed } => {
                CommandOutcome::Policy { name: name.into(), version: Number(version.0), changed }
            }
            model::CommandOutcome::Trust(outcome) => match outcome {
                model::TrustOutcome::Signs(authority) => CommandOutcome::AuthoritySigns { authority: authority.into() },
                model::TrustOutcome::Retired(authority) => {
                    CommandOutcome::AuthorityRetired { authority: authority.into() }
                }
                model::TrustOutcome::Token(token) => CommandOutcome::TokenMade { token: token.into() },
                model::TrustOutcome::Joined { role, name, key: _ } => {
                    CommandOutcome::Joined { role: role.into(), name: name.into() }
                }
                model::TrustOutcome::Revoked(name) => CommandOutcome::NodeRevoked { name: name.into() },
            },
        }
    }
}

impl From<&model::CommandRecord> for Command {
    fn from(record: &model::CommandRecord) -> Command {
        Command {
            id: record.id.into(),
            principal: record.principal.0.clone(),
            namespace: record.namespace.clone().into(),
            at: record.at.into(),
            outcome: record.outcome.clone().into(),
        }
    }
}
