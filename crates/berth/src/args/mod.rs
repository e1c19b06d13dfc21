//! The command line: what can be asked for, with an example for each.

mod operator;
mod roles;
mod sim;

use std::ffi::OsString;
use std::path::PathBuf;

use berth_model::Millis;
use clap::{Args, Parser, Subcommand, ValueEnum};

use operator::FINALISE_HELP;
pub use operator::{CaCommand, NodeCommand, PolicyCommand, TokenArgs, TokenCommand};
pub use roles::{AgentArgs, ConfigArgs, DevArgs, ServerArgs};
pub use sim::{PackArgs, PackMix, SimCommand, TraceArgs};

use crate::quantity::Quantity;

/// Turns a set of machines into one computer.
#[derive(Debug, Parser)]
#[command(
    name = "berth",
    version,
    max_term_width = 110,
    after_help = "Exit status: 0 done; 1 failed; 2 wrong usage or wrong input; 3 no such object; \
                  4 cannot be placed, has failed, takes too long or has no solution; 5 the cluster does not answer; \
                  6 not allowed.\n\n\
                  Example: berth dev   (and in a second terminal)   berth run job.yaml"
)]
pub struct Cli {
    /// The cluster to talk to [env: BERTH_ADDR] [default: http://127.0.0.1:4600]
    #[arg(long, global = true, value_name = "URL")]
    pub addr: Option<String>,
    /// The certificates of the cluster's authorities (PEM), for https:// addresses [env: BERTH_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The namespace of the jobs that are meant [env: BERTH_NAMESPACE] [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Print JSON with stable fields, one document, or one per line where there is no end
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Everything that `berth` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run a server and an agent in one process, for one machine
    #[command(after_help = "Example: berth dev --data-dir /tmp/berth")]
    Dev(DevArgs),
    /// Run a server
    #[command(after_help = "Example: berth server --data-dir /var/lib/berth/server --bind 10.0.0.1:4600")]
    Server(ServerArgs),
    /// Run an agent
    #[command(after_help = "Example: berth agent --data-dir /var/lib/berth/agent --server http://10.0.0.1:4600 \
                      --token-file /etc/berth/token --name n1")]
    Agent(AgentArgs),
    /// Move the cluster's state to an etcd or back, while no server runs
    #[command(subcommand, after_help = "Example: berth store to-etcd --etcd http://10.0.0.11:2379")]
    Store(StoreCommand),
    /// Throw-away clusters on this machine; needs root
    #[command(subcommand, after_help = "Example: berth lab up --servers 1 --agents 3")]
    Lab(LabCommand),
    /// Make a job run as its file says, and follow it until it does
    #[command(after_help = "Example: berth run examples/web.yaml")]
    Run(RunArgs),
    /// Tell what a change would do, before it is made
    #[command(after_help = PLAN_HELP)]
    Plan(PlanArgs),
    /// Stop a job, or one allocation (a service's is replaced)
    #[command(after_help = "Example: berth stop web")]
    Stop {
        /// A job's name, or an allocation's id
        target: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Empty nodes: nothing new comes to them, what is on them moves away
    #[command(after_help = DRAIN_HELP)]
    Drain(DrainArgs),
    /// Give drained nodes work again; what has moved stays where it is
    #[command(after_help = "Example: berth enable node-1")]
    Enable {
        /// Names or ids of nodes, or ATTRIBUTE=VALUE for every node with it
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// Give up going back to the release before: what is stored has the newest format from now on
    #[command(after_help = FINALISE_HELP)]
    Finalise,
    /// Show the cluster, a job, a node or an allocation
    #[command(after_help = "Example: berth status web")]
    Status {
        /// A job's name, a node's name or id, an allocation's id; nothing for the cluster
        target: Option<String>,
    },
    /// Show what a task wrote
    #[command(after_help = "Example: berth logs -f a1-7")]
    Logs(LogsArgs),
    /// Run a command inside a running task
    #[command(after_help = "Example: berth exec a1-7 -- sh")]
    Exec(ExecArgs),
    /// Show what happened, and what led to it
    #[command(after_help = "Example: berth events -f")]
    Events {
        /// Go on with what happens from now on
        #[arg(short, long)]
        follow: bool,
        /// Only what concerns this job or allocation
        #[arg(long, value_name = "JOB|ALLOC")]
        of: Option<String>,
    },
    /// Say why an allocation is where it is, why it waits and what would help, or why it ended
    /// Say why an allocation is where it is, why it waits and what would help, or why it ended
    #[command(after_help = "Example: berth why a1-7")]
    Why {
        /// An allocation's id or a job's name
        target: String,
    },
    /// Show nodes
    #[command(subcommand, after_help = "Example: berth node list")]
    Node(NodeCommand),
    /// Show or change by what nodes are chosen
    #[command(subcommand, after_help = "Example: berth policy show")]
    Policy(PolicyCommand),
    /// Make tokens with which machines join the cluster
    #[command(subcommand, after_help = "Example: berth token create --role agent")]
    Token(TokenCommand),
    /// Show or change the cluster's certificate authorities
    #[command(subcommand, after_help = "Example: berth ca list")]
    Ca(CaCommand),
    /// Make the decisions of a server's journal again, and compare
    #[command(after_help = REPLAY_HELP)]
    Replay {
        /// A segment of the journal, or the folder `journal` of a server's data folder
        journal: PathBuf,
        /// Tell what this policy would have decided as well: a policy file, or `balanced`, `pack`, `spread` or
        /// `fragmentation`
        #[arg(long, value_name = "FILE|NAME")]
        policy: Option<PathBuf>,
    },
    /// Simulate whole clusters with faults
    #[command(subcommand, after_help = "Example: berth sim run --seed 7")]
    Sim(SimCommand),
    /// Solve a min-cost flow problem, and what becomes of it
    #[command(after_help = SOLVE_HELP)]
    Solve(SolveArgs),
    /// Print the JSON Schema of job files
    #[command(after_help = "Example: berth schema > job.schema.json")]
    Schema,
    /// Print the version
    #[command(after_help = "Example: berth version --json")]
    Version,
    /// Print a shell's completions
    #[command(after_help = "Example: berth completions bash > /etc/bash_completion.d/berth")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// The keeper of one allocation; started by the agent
    #[command(hide = true)]
    Shim {
        /// The allocation's folder
        folder: PathBuf,
    },
    /// What a lab runs inside its nodes
    #[command(hide = true)]
    LabEntry {
        /// For the lab alone
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// `berth lab …`
#[derive(Clone, Debug, Subcommand)]
pub enum LabCommand {
    /// Bring up a cluster: every node has namespaces, an address and a file system of its own
    #[command(after_help = "Example: berth lab up --agents 5 --nodes examples/lab-nodes.toml --name blue")]
    Up {
        /// Servers; several share an etcd of three members, for which this machine needs the program `etcd`
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
        servers: u8,
        /// Agents
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
        agents: u8,
        /// A TOML file with a table for each node, `[node-1]`, of settings for its agent
        #[arg(long, value_name = "FILE")]
        nodes: Option<PathBuf>,
        #[command(flatten)]
        lab: LabName,
    },
    /// Show a lab's nodes and how to talk to its cluster
    #[command(after_help = "Example: eval \"$(berth lab status --name blue --env)\"")]
    Status {
        #[command(flatten)]
        lab: LabName,
        /// Print what a shell evaluates to talk to the lab's cluster; it holds the token
        #[arg(long)]
        env: bool,
    },
    /// Run a command on a node
    #[command(after_help = "Example: berth lab exec node-1 -- ip address")]
    Exec {
        #[command(flatten)]
        target: LabNode,
        /// The command with its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Switch a node's power off: every process on it dies at once
    #[command(after_help = "Example: berth lab kill node-2")]
    Kill(LabNode),
    /// Switch a node's power on again
    #[command(after_help = "Example: berth lab start node-2")]
    Start(LabNode),
    /// Start the role's process of a node again, after it was ended
    #[command(after_help = "Example: berth lab restart server-1")]
    Restart(LabNode),
    /// Pull a node's network cable
    #[command(after_help = "Example: berth lab partition node-2")]
    Partition(LabNode),
    /// Put a node's network cable back
    #[command(after_help = "Example: berth lab heal node-2")]
    Heal(LabNode),
    /// End the lab and remove all that it made, also after a crash of the lab itself
    #[command(after_help = "Example: berth lab down --name blue")]
    Down(LabName),
}

/// Which lab.
#[derive(Clone, Debug, Args)]
pub struct LabName {
    /// Which lab: several can exist side by side
    #[arg(long, default_value = "lab")]
    pub name: String,
}

/// Which node of which lab.
#[derive(Clone, Debug, Args)]
pub struct LabNode {
    /// Which lab.
    #[command(flatten)]
    pub lab: LabName,
    /// The node
    pub node: String,
}

/// `berth store`
#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    /// Move the cluster's state from the data folder to the etcd; takes the server's settings
    #[command(
        after_help = "Example: berth store to-etcd --data-dir /var/lib/berth/server --etcd http://10.0.0.11:2379"
    )]
    ToEtcd(ServerArgs),
    /// Move the cluster's state from the etcd to the data folder; takes the server's settings
    #[command(
        after_help = "Example: berth store to-file --data-dir /var/lib/berth/server --etcd http://10.0.0.11:2379"
    )]
    ToFile(ServerArgs),
}

/// `berth run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The job file; `-` for standard input
    pub file: PathBuf,
    /// How long to follow it.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// The command's own key, when it is sent again after an unclear end
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Do just what this plan says, or nothing where the cluster has changed since
    #[arg(long, value_name = "PLAN")]
    pub plan_id: Option<String>,
}

/// What is said below the flags of `berth plan`.
const PLAN_HELP: &str = "\
The change is carried out on a copy of the cluster's state by the code that would do it, until the copy is at rest, as \
if every node did what it is told and no task failed. Nothing is changed. What is under way for other reasons is told \
too. Wave 1 follows at once, each further one when the one before has come to rest.

With --json: {id, epoch, event, changes: [{wave, kind, job, group, index, version, alloc?, from?, to?, ports}], waits: \
[{job, group, index, version, bound_to?, alloc?, reason}], broken_budgets: [{job, group, missing, allowed}], before: \
{nodes, used, capacity}, after: {…}, regret_permille_before?, regret_permille_after?, end}. `kind` is start, replace, move or stop; `end` is at_rest or cut_short.

Example: berth plan examples/web.yaml";

/// `berth plan`
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct PlanArgs {
    /// The job file that would be run; `-` for standard input
    #[arg(required = true)]
    pub file: Option<PathBuf>,
    /// Another change.
    #[command(subcommand)]
    pub of: Option<PlanCommand>,
}

/// `berth plan …`
#[derive(Clone, Debug, Subcommand)]
pub enum PlanCommand {
    /// What stopping a job or an allocation would do
    #[command(after_help = "Example: berth plan stop web")]
    Stop {
        /// A job's name, or an allocation's id
        target: String,
    },
    /// What moving everything away from nodes would do
    #[command(after_help = "Example: berth plan drain node-1")]
    Drain {
        /// Names or ids of nodes, or ATTRIBUTE=VALUE for every node with it
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// What another policy would do; nothing that runs is moved by it
    #[command(after_help = "Example: berth plan policy examples/policies/quiet-nights.yaml")]
    Policy {
        /// A policy file (`-` for standard input), or `balanced`, `pack`, `spread` or `fragmentation`
        #[arg(value_name = "FILE|NAME")]
        policy: PathBuf,
    },
    /// What the loss of nodes would do, all at once
    #[command(after_help = "Example: berth plan lose rack-7")]
    Lose {
        /// Names or ids of nodes, racks (`node.rack`), or ATTRIBUTE=VALUE for every node with it
        #[arg(required = true, value_name = "NODE|RACK")]
        nodes: Vec<String>,
    },
}

/// `berth drain`
#[derive(Clone, Debug, Args)]
pub struct DrainArgs {
    /// Names or ids of nodes, or ATTRIBUTE=VALUE for every node with it
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
    /// After how long what is still there is stopped, such as `30m` [default: never]
    #[arg(long, value_name = "DURATION")]
    pub deadline: Option<Quantity<Millis>>,
    /// Stop everything at once, also what has nowhere to go
    #[arg(long, conflicts_with = "deadline")]
    pub force: bool,
    /// Do not wait: end when the command is durable
    #[arg(long)]
    pub detach: bool,
    /// How long to wait, in seconds; the drain goes on without being followed [default: for as long as it takes]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
}

const DRAIN_HELP: &str = "\
A service is started elsewhere first and stopped here when it is ready there, within its update budget; where it fits
nowhere, it stays. Batch work may finish. System jobs go last. What is still there at the deadline is stopped, and made
anew elsewhere. A node is drained when its agent has confirmed that nothing is left, and stays so until `berth enable`.
The drain goes on if this command is interrupted.

Exit status: 0 when all nodes are drained, 4 when they were not within --timeout or somebody has enabled one meanwhile.

Example: berth drain node-1
         berth drain node.rack=r7 --deadline 30m
         berth drain node-1 --force --detach";

/// How long a command waits for what it has asked for.
#[derive(Clone, Copy, Debug, Args)]
pub struct WaitArgs {
    /// Do not wait: end when the command is durable
    #[arg(long)]
    pub detach: bool,
    /// How long to wait, in seconds; what was asked for goes on without being followed
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub timeout: u32,
}

/// `berth logs`
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// An allocation's id, or a job's name where it has one allocation
    pub target: String,
    /// Which task, where there are several
    #[arg(long)]
    pub task: Option<String>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Only standard error
    #[arg(long, conflicts_with = "stdout")]
    pub stderr: bool,
    /// Only standard output
    #[arg(long)]
    pub stdout: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,
    /// Begin each line with its time
    #[arg(short, long)]
    pub timestamps: bool,
}

/// `berth exec`
#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// An allocation's id
    pub target: String,
    /// Which task, where there are several
    #[arg(long)]
    pub task: Option<String>,
    /// Whether the command gets a terminal
    #[arg(long, value_enum, default_value = "auto")]
    pub tty: Tty,
    /// The command with its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Whether a command gets a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tty {
    /// When standard input and output are one.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// What is said below the flags of `berth replay`.
const REPLAY_HELP: &str = "\
Every event that the server's core heard is given to the same core again, with its time, and every effect is compared \
with what came of it then: of a commit the very bytes that the store was given. Replay with the program that wrote the \
journal: another version may decide otherwise.

Exit status: 0 all the same, up to a torn end too; 1 a file is damaged; 4 something came out otherwise.

With --json: {segments: [{file, program?, epoch?, policy?, policy_version?, from?, to?, steps, effects, outcome, torn_at?, problem?, \
difference?: {step, at, event, written, now, effect?}, what_if?: {policy, then, instead, placements: {same, other, first: \
[{job, group, index, number, then?, instead?}…]}, assumed}}…]}. `outcome` is same, differs or unreadable; `written` and `now` \
list kind, bytes and digest of each effect. What a segment says of itself is missing where its writer died before it \
had said it. `then` and `instead` are {placed, waited_ms, longest_wait_ms, waiting, cpu_permille, memory_permille, \
devices_permille?, nodes_in_use_thousandths}; `assumed` counts allocations of which the journal does not tell how they fared.

Example: berth replay /var/lib/berth/server/journal --policy pack";

/// What is said below the flags of `berth solve`.
const SOLVE_HELP: &str = "\
Files are in the DIMACS format, with whole numbers: `p min NODES ARCS`, `n NODE SUPPLY`, \
`a TAIL HEAD LOWER CAPACITY COST`; a capacity of -1 means no limit.

With --json: {status, cost, cpu_ms, steps, certified}; with --then: {scratch: {…}, resolve: {…, changes}}, and with \
several of them `resolve` is the last one and `resolves` lists all. `status` is optimal, infeasible (then `cut` lists \
nodes whose supplies cannot leave them) or unbounded (then `cycle` lists arcs, by their places in the file, that make \
the cost sink for ever). `cpu_ms` is the processor time of solving, for --then with that of applying the changes; \
reading, comparing and certifying are not in it. `steps` counts the arcs that were looked at.

Example: berth solve base.min --then changed.min --json";

/// `berth solve`
#[derive(Clone, Debug, Args)]
pub struct SolveArgs {
    /// The problem; `-` for standard input
    pub file: PathBuf,
    /// The problem after some change, with the same node numbers: what differs is applied and the flow repaired;
    /// several follow one another
    #[arg(long, value_name = "FILE")]
    pub then: Vec<PathBuf>,
    /// Where to write the flow of the last problem: `s COST`, and `f TAIL HEAD FLOW` for each arc in the file's order
    #[arg(long, value_name = "FILE")]
    pub flows: Option<PathBuf>,
}
