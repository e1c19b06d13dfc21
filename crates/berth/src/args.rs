//! The command line: what can be asked for, with an example for each.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Turns a set of machines into one computer.
#[derive(Debug, Parser)]
#[command(
    name = "berth",
    version,
    max_term_width = 110,
    after_help = "Exit status: 0 done; 1 failed; 2 wrong usage or wrong input; 3 no such object; \
                  4 cannot be placed, has failed, or has no solution; 5 the cluster does not answer; 6 not allowed.\n\n\
                  Example: berth dev   (and in a second terminal)   berth run job.yaml"
)]
pub struct Cli {
    /// The cluster to talk to [env: BERTH_ADDR] [default: http://127.0.0.1:4600]
    #[arg(long, global = true, value_name = "URL")]
    pub addr: Option<String>,
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
    /// Throw-away clusters on this machine; needs root
    #[command(subcommand, after_help = "Example: berth lab up --servers 1 --agents 3")]
    Lab(LabCommand),
    /// Make a job run as its file says, and follow it until it does
    #[command(after_help = "Example: berth run examples/web.yaml")]
    Run(RunArgs),
    /// Stop a job, or one allocation (a service's is replaced)
    #[command(after_help = "Example: berth stop web")]
    Stop {
        /// A job's name, or an allocation's id
        target: String,
        /// Do not wait until everything has ended
        #[arg(long)]
        detach: bool,
    },
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
    /// Say why an allocation is where it is, why it waits, or why it ended
    #[command(after_help = "Example: berth why a1-7")]
    Why {
        /// An allocation's id or a job's name
        target: String,
    },
    /// Show nodes
    #[command(subcommand, after_help = "Example: berth node list")]
    Node(NodeCommand),
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

/// `berth dev`
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// Where everything is kept [default: /var/lib/berth/dev]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:4600]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub bind: Option<String>,
    /// An OCI runtime to use instead of the one built in, such as /usr/sbin/runc
    #[arg(long, value_name = "PROGRAM")]
    pub oci_runtime: Option<PathBuf>,
}

/// `berth server`. Every flag is also a setting of the file and, as `BERTH_…`, a variable.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// A TOML file with settings; flags are stronger, `BERTH_…` variables strongest
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print every setting and where it was taken from, and end
    #[arg(long)]
    pub print_config: bool,
    /// Where the store and the token are kept
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub bind: Option<String>,
    /// Where allocations go: `spread` or `pack`
    #[arg(long)]
    pub policy: Option<String>,
    /// How often agents report, such as `1s`
    #[arg(long, value_name = "DURATION")]
    pub heartbeat: Option<String>,
    /// How long an agent may be silent before its node counts as lost, such as `5s`
    #[arg(long, value_name = "DURATION")]
    pub heartbeat_grace: Option<String>,
    /// How long ended jobs and allocations are kept for questions, such as `24h`
    #[arg(long, value_name = "DURATION")]
    pub keep_ended: Option<String>,
}

/// `berth agent`. Every flag is also a setting of the file and, as `BERTH_…`, a variable.
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// A TOML file with settings; flags are stronger, `BERTH_…` variables strongest
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print every setting and where it was taken from, and end
    #[arg(long)]
    pub print_config: bool,
    /// Where allocations, images and the agent's own memory are kept
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// The server
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// A file with the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// The node's name [default: the host's]
    #[arg(long)]
    pub name: Option<String>,
    /// Where the node's ports are reached
    #[arg(long, value_name = "IP")]
    pub address: Option<String>,
    /// Labels that jobs can ask for: `disk=ssd,rack=a`
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub labels: Option<String>,
    /// Processor time to offer instead of what was found, such as `4` or `3500m`
    #[arg(long)]
    pub cpu: Option<String>,
    /// Memory to offer instead of what was found, such as `8GiB`
    #[arg(long)]
    pub memory: Option<String>,
    /// Disk to offer instead of what was found, such as `100GiB`
    #[arg(long)]
    pub disk: Option<String>,
    /// The ports that are given out by number: `20000-32000`
    #[arg(long, value_name = "FIRST-LAST")]
    pub dynamic_ports: Option<String>,
    /// An OCI runtime to use instead of the one built in, such as `/usr/sbin/runc`
    #[arg(long, value_name = "PROGRAM")]
    pub oci_runtime: Option<String>,
    /// The cgroup under which allocations have theirs
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// The size that the image cache is kept under, such as `20GiB`
    #[arg(long)]
    pub image_cache: Option<String>,
}

/// `berth lab …`
#[derive(Clone, Debug, Subcommand)]
pub enum LabCommand {
    /// Bring up a cluster: every node has namespaces, an address and a file system of its own
    #[command(after_help = "Example: berth lab up --servers 1 --agents 3 --name blue")]
    Up {
        /// Servers; this version runs one
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
        servers: u8,
        /// Agents
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
        agents: u8,
        /// Which lab: several can exist side by side
        #[arg(long, default_value = "lab")]
        name: String,
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
        lab: LabName,
        /// The node
        node: String,
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
    /// Which lab
    #[arg(long, default_value = "lab")]
    pub name: String,
}

/// Which node of which lab.
#[derive(Clone, Debug, Args)]
pub struct LabNode {
    /// Which lab
    #[arg(long, default_value = "lab")]
    pub name: String,
    /// The node
    pub node: String,
}

/// `berth run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The job file; `-` for standard input
    pub file: PathBuf,
    /// Do not follow: end when the command is durable
    #[arg(long)]
    pub detach: bool,
    /// The command's own key, when it is sent again after an unclear end
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// How long to follow, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub timeout: u64,
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
}

/// `berth sim …`
#[derive(Clone, Debug, Subcommand)]
pub enum SimCommand {
    /// Run seeded clusters with faults, and check the invariants
    #[command(after_help = "Example: berth sim run --seed 7 --seeds 100")]
    Run {
        /// The first seed
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many seeds
        #[arg(long, default_value_t = 1)]
        seeds: u64,
    },
}
