//! The arguments of what operators do to the cluster itself: its nodes, its trust, its policy.

use std::path::PathBuf;

use berth_model::Millis;
use clap::{Args, Subcommand, ValueEnum};

use crate::quantity::Quantity;

/// `berth node …`
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// Show all nodes
    #[command(after_help = "Example: berth node list --json")]
    List,
    /// Show a node with its attributes and allocations
    #[command(after_help = "Example: berth node show node-1")]
    Show {
        /// A node's name or id
        node: String,
    },
    /// Give up what is kept on lost nodes: it is placed elsewhere
    #[command(
        after_help = "For groups with `on_partition: keep`, which are not replaced while their node is lost, and for \
                      `replace` before its time. What is fenced is replaced by itself when its lease has ended. Should a \
                      node come back, what was given up is stopped there.\n\n\
                      Example: berth node abandon node-3"
    )]
    Abandon {
        /// Nodes' names or ids, racks, or ATTRIBUTE=VALUE for every node that has it
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Shut a node out of the cluster: its certificate is worth nothing any more
    #[command(after_help = "What runs on the machine itself is not stopped: drain the node first, if it can still be \
                      trusted to stop its work. A machine that is to come back joins with a new token.\n\n\
                      Example: berth node revoke node-3")]
    Revoke {
        /// A node's name or id
        node: String,
    },
}

/// `berth token …`
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a token with which one machine can join
    #[command(after_help = TOKEN_HELP)]
    Create(TokenArgs),
}

/// What is said below `berth finalise`.
pub const FINALISE_HELP: &str = "\
A new release writes what it stores as the release before does, so that its servers can be taken back. Once all servers are \
upgraded and have proved themselves, this ends: what is stored gets the newest format, each object with its next change, and \
older servers refuse to start. It is refused while one of them is there, and cannot be undone. `berth status` tells whether \
there is something to finalise.

With --json: {kind: \"finalised\", format, changed}.

Example: berth finalise";

/// What is said below the flags of `berth token create`.
const TOKEN_HELP: &str = "\
The token is a secret, is shown this once, and is good for one machine. Put it into a file on that machine, and name the file \
as the setting `join_token_file` of its agent or server. It tells whom to believe too, so nothing else has to be copied.

With --json: {token, role, node?, expires}.

Example: berth token create --role agent --node node-7 >/etc/berth/join-token";

/// `berth token create`
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// What may join with it
    #[arg(long, value_enum)]
    pub role: RoleArg,
    /// The only node that may, also where one of this name is in the cluster already
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// How long it is good, at most 24h
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    pub life: Quantity<Millis>,
}

/// A role that a machine can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// A server
    Server,
    /// An agent
    Agent,
}

impl From<RoleArg> for berth_api::wire::v1::Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Server => berth_api::wire::v1::Role::Server,
            RoleArg::Agent => berth_api::wire::v1::Role::Agent,
        }
    }
}

/// `berth ca …`
#[derive(Clone, Debug, Subcommand)]
pub enum CaCommand {
    /// Show the authorities whose certificates are believed
    #[command(
        after_help = "With --json: {items: [{id, signs, not_after, made, cause, certificate}]}, the one that signs \
                      first; `certificate` is what BERTH_CA takes.\n\n\
                      Example: berth ca list --json"
    )]
    List,
    /// Have a new authority sign; the ones before it stay believed
    #[command(after_help = "Agents get certificates of the new one within a day. Retire the old one after a week.\n\n\
                      Example: berth ca rotate")]
    Rotate {
        /// Names this command, so that it can be sent again safely
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Believe an authority no more
    #[command(after_help = "Example: berth ca retire 1f0e2d3c4b5a69788796a5b4c3d2e1f01f0e2d3c4b5a69788796a5b4c3d2e1f0")]
    Retire {
        /// Which, as `berth ca list` shows it
        authority: String,
        /// Also within a week after it was replaced: shuts out all agents that have not renewed their certificates since
        #[arg(long)]
        force: bool,
    },
}

/// What is said below the flags of `berth policy show`.
const POLICY_SHOW_HELP: &str = "\
With --json: {name, version, changed?, cause?, spec}: `version` is 0 and the two others are absent where nobody has set a \
policy, and the server's setting holds; `spec` is a policy file that leaves nothing to a base.

Example: berth policy show --json";

/// What is said below the flags of `berth policy set`.
const POLICY_SET_HELP: &str = "\
What is placed from then on is placed by it; what runs stays where it is, unless the file says `balance: on`: then services are moved \
to where everything costs less, with at most `balance_max` moves at once. A policy file is documented in docs/policy.md.

With --json: {kind: policy, name, version, changed}.

Example: berth policy set pack
         berth policy set examples/policies/quiet-nights.yaml --check-version 3";

/// `berth policy …`
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show the policy with its weights
    #[command(after_help = POLICY_SHOW_HELP)]
    Show,
    /// Place by another policy from now on
    #[command(after_help = POLICY_SET_HELP)]
    Set {
        /// A policy file (`-` for standard input), or `balanced`, `pack`, `spread` or `fragmentation`
        #[arg(value_name = "FILE|NAME")]
        policy: PathBuf,
        /// Refuse when the policy that holds is of another version
        #[arg(long, value_name = "VERSION")]
        check_version: Option<u64>,
        /// The command's own key, when it is sent again after an unclear end
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
}
