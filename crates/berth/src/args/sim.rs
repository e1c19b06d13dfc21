//! The arguments of `berth sim`.

use std::path::PathBuf;

use berth_model::BuiltIn;
use berth_sim::ProfileName;
use clap::{Args, Subcommand, ValueEnum};

use crate::config::BuiltInName;

/// `berth sim …`
#[derive(Clone, Debug, Subcommand)]
pub enum SimCommand {
    /// Run seeded clusters with faults, and check the invariants
    #[command(after_help = "Example: berth sim run --profile partitions --seed 7 --seeds 100")]
    Run {
        /// What goes wrong: faults, calm, steady, policies, drains, partitions or balance
        #[arg(long, value_name = "PROFILE", default_value_t)]
        profile: ProfileName,
        /// The first seed
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many seeds
        #[arg(long, default_value_t = 1)]
        seeds: u64,
    },
    /// Measure the decision core with a large healthy cluster: fill it, then let work end and arrive
    #[command(after_help = "Example: berth sim cluster --machines 5000 --utilisation 90 --rounds 100 --json")]
    Cluster(ClusterArgs),
    /// Pack the pods of a trace one after the other, and see how much of the GPUs is allocated
    #[command(after_help = PACK_HELP)]
    Pack(PackArgs),
    /// Replay a trace of services by their own times, and see who waits, for what and how long
    #[command(after_help = TRACE_HELP)]
    Trace(TraceArgs),
}

/// What is said below the flags of `berth sim trace`.
const TRACE_HELP: &str = "\
INSTANCES.csv has the columns role, app_name, cpu_request (cores), gpu_request, rdma_request (percent of a network card), \
memory_request and disk_request (GiB), max_instance_per_node (-1 for no limit), creation_time and deletion_time (seconds; \
empty for before and after the trace); other columns are ignored. NODES.csv has a line for each kind of machine: role \
(whose instances it takes), count, cpu, gpu, rdma, memory and disk, in the same units. Instances that are alike are a service \
whose count follows the trace; what fits nowhere waits. A reason is what kept most machines from taking an instance.

With --json: {nodes, services, instances, placed, waited, not_placed, wait_seconds: {p50, p99, max}, waits: [{reason, \
instances, not_placed, seconds: {p50, p99, max}}…], change_ms: {p50, p99, max}, cells: [{hours, placed, waiting, cpu_pct, \
gpu_pct, rdma_pct, memory_pct, disk_pct}…]}; reason is cpu, gpu, rdma, memory, disk, per_node, role, never or other.

Example: berth sim trace --nodes examples/sim-trace-nodes.csv --instances disaggregated_DLRM_trace.csv.xz
         berth sim trace --nodes nodes.csv --instances instances.csv --policy pack --svg trace.svg";

/// `berth sim trace`
#[derive(Clone, Debug, Args)]
pub struct TraceArgs {
    /// The machines
    #[arg(long, value_name = "FILE")]
    pub nodes: PathBuf,
    /// The instances with their times, plain or compressed with xz
    #[arg(long, value_name = "FILE")]
    pub instances: PathBuf,
    /// The placement policy
    #[arg(long, value_enum, default_value_t = SimPolicy::Balanced)]
    pub policy: SimPolicy,
    /// Draw what was in use and how many waited, over time
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// `berth sim cluster`
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// How many machines
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub machines: u32,
    /// How much of their processor time is asked for, in percent; more than 100 leaves work waiting
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub utilisation: u32,
    /// How many rounds of churn
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: u32,
    /// How many allocations end, and how many are asked for, in each round
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub churn: u32,
    /// What chance begins with
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The placement policy: `balanced`, `pack`, `spread` or `fragmentation`
    #[arg(long, default_value = "balanced")]
    pub policy: BuiltInName,
}

impl ClusterArgs {
    /// The same in the simulator's words.
    pub fn options(&self) -> berth_sim::ClusterOptions {
        let ClusterArgs { machines, utilisation, rounds, churn, seed, policy: BuiltInName(policy) } = *self;
        berth_sim::ClusterOptions { machines, utilisation, rounds, churn, seed, policy }
    }
}

/// What is said below the flags of `berth sim pack`.
const PACK_HELP: &str = "\
NODES.csv has the columns sn, cpu_milli, memory_mib, gpu (how many) and model; PODS.csv has name, cpu_milli, \
memory_mib, num_gpu, gpu_milli and gpu_spec (models, with | between them); ORDER.txt has a pod's number a line (0255 \
for openb-pod-0255), with a `t` behind it for a copy. Every pod is placed when it arrives or turned away for good; with \
--batch, when its batch is. With --moves, some of what runs moves with each batch: to make room for pods that fit nowhere, \
or for what is yet to come.

With --json: {policy, batch, placed, rejected, moves (made in all), seconds, cells: [{arrived_pct, allocated_pct}…]}, one \
document per order.

Example: berth sim pack --nodes nodes.csv --pods pods.csv --order seed42.txt.xz --policy fragmentation
         berth sim pack --nodes nodes.csv --pods pods.csv --order seed42.txt.xz --policy fragmentation --batch 100 --moves 2
         berth sim pack --nodes nodes.csv --pods pods.csv --order a.txt --order b.txt --policy pack --svg packed.svg";

/// `berth sim pack`
#[derive(Clone, Debug, Args)]
pub struct PackArgs {
    /// The nodes
    #[arg(long, value_name = "FILE")]
    pub nodes: PathBuf,
    /// The pods
    #[arg(long, value_name = "FILE")]
    pub pods: PathBuf,
    /// The order in which they arrive, plain or compressed with xz; several are packed one after the other
    #[arg(long, value_name = "FILE", required = true)]
    pub order: Vec<PathBuf>,
    /// Where pods are placed
    #[arg(long, value_enum)]
    pub policy: SimPolicy,
    /// What the policy is told of the shapes that will arrive
    #[arg(long, value_enum, default_value = "known")]
    pub mix: PackMix,
    /// How many arrivals are placed at a time, those that ask for most of the GPUs first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
    /// How many running pods may move with each batch, in percent of the batch, rounded down
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub moves: u32,
    /// Draw what is allocated against what has arrived, a curve for each order
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Policies that simulations know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimPolicy {
    /// Even load
    Balanced,
    /// Full nodes first
    Pack,
    /// Even load too: no two pods are of one group
    Spread,
    /// Where the room that is left loses least of its worth
    Fragmentation,
}

impl From<SimPolicy> for BuiltIn {
    fn from(policy: SimPolicy) -> BuiltIn {
        match policy {
            SimPolicy::Balanced => BuiltIn::Balanced,
            SimPolicy::Pack => BuiltIn::Pack,
            SimPolicy::Spread => BuiltIn::Spread,
            SimPolicy::Fragmentation => BuiltIn::Fragmentation,
        }
    }
}

/// What a policy is told of the shapes that will arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PackMix {
    /// How often each shape comes in the list of pods
    Known,
    /// Nothing: it learns from what has arrived
    Learned,
}
