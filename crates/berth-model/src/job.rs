//! Jobs as declared: groups, tasks, drivers, constraints, policies. Every default is already filled in.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use crate::{
    AGENT_PROTOCOL_ATTRIBUTE, Bytes, CheckSpec, CheckState, CpuMillis, DeviceSpec, GroupName, JobId, JobVersion,
    Millis, Port, PortName, Resources, Rules, TaskName, TaskState, TaskStatus, Timestamp,
};

/// What running the job means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Runs until stopped; an allocation that ends is replaced.
    Service,
    /// Runs until every task has ended with status 0.
    Batch,
    /// One allocation of each group on every node that its constraints admit.
    System,
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            JobKind::Service => "service",
            JobKind::Batch => "batch",
            JobKind::System => "system",
        })
    }
}

/// 0 to 100; the higher is placed first. 50 where the job file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

/// Whether allocations of higher priority that fit nowhere may make those of a job go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preemptible {
    /// They may, within the disruption budgets.
    #[default]
    Yes,
    /// They may not.
    No,
}

/// A complete, validated specification.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobSpec {
    /// Namespace and name.
    pub id: JobId,
    /// What running it means.
    pub kind: JobKind,
    /// Who is placed first.
    pub priority: Priority,
    /// Whether allocations of higher priority may make its own go.
    pub preemptible: Preemptible,
    /// Hold for every group.
    pub constraints: Vec<Constraint>,
    /// At least one; names are unique.
    pub groups: Vec<GroupSpec>,
    /// Free text for people and programs; not interpreted.
    pub meta: BTreeMap<String, String>,
}

impl JobSpec {
    /// The group of that name.
    pub fn group(&self, name: &GroupName) -> Option<&GroupSpec> {
        self.groups.iter().find(|g| g.name == *name)
    }
}

/// Tasks that always run together on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// Unique within the job.
    pub name: GroupName,
    /// How many allocations; for a system job, how many per node: always 1.
    pub count: u32,
    /// Hold beside the job's own.
    pub constraints: Vec<Constraint>,
    /// Where its allocations go beside that.
    pub rules: Rules,
    /// How the tasks see the network.
    pub network: NetworkMode,
    /// At least one; names are unique.
    pub tasks: Vec<TaskSpec>,
    /// What the agent does about a task that ends by itself.
    pub restart: RestartPolicy,
    /// How a new version takes the place of an old one.
    pub update: UpdatePolicy,
    /// What becomes of its allocations on a node that is lost.
    pub on_partition: OnPartition,
    /// Free text.
    pub meta: BTreeMap<String, String>,
}

/// The same for what says nothing of partitions as before there was anything to be said: digests of commands are stored,
/// and a command that is sent again after an upgrade is the same.
impl Hash for GroupSpec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let GroupSpec { name, count, constraints, rules, network, tasks, restart, update, on_partition, meta } = self;
        (name, count, constraints, rules, network, tasks, restart, update).hash(state);
        if *on_partition != OnPartition::default() {
            on_partition.hash(state);
        }
        meta.hash(state);
    }
}

impl GroupSpec {
    /// For how long a fenced allocation may run on after its agent has last been answered; none where it is not fenced.
    pub fn lease(&self) -> Option<Millis> {
        match self.on_partition {
            OnPartition::Fence { lease } => Some(lease),
            OnPartition::Keep | OnPartition::Replace { .. } => None,
        }
    }

    /// The version of the agents' stream that has all that the group asks of an agent; none: every one has.
    pub fn agent_protocol(&self) -> Option<u32> {
        let asks = self.lease().is_some() || self.tasks.iter().any(|task| !task.checks.is_empty());
        asks.then_some(2)
    }

    /// Whether its checks tell when an allocation is ready.
    pub fn is_gated(&self) -> bool {
        self.tasks.iter().any(|task| task.checks.iter().any(|check| check.kind.gates()))
    }

    /// Whether an allocation of which this is known passes all the checks that tell when it is ready. A task that is done is
    /// asked nothing any more.
    pub fn passes(&self, tasks: &BTreeMap<TaskName, TaskStatus>) -> bool {
        self.tasks.iter().all(|task| {
            let Some(status) = tasks.get(&task.name) else { return false };
            let passes = |check: &CheckSpec| {
                status.checks.get(&check.name).is_some_and(|status| status.state == CheckState::Passing)
            };
            status.state == TaskState::Done || task.checks.iter().filter(|check| check.kind.gates()).all(passes)
        })
    }

    /// What one allocation needs, ports and devices apart.
    pub fn resources(&self) -> Resources {
        self.tasks.iter().map(|t| t.resources).sum()
    }
    /// The ports of all tasks, in order of tasks; names are unique within the group.
    pub fn ports(&self) -> impl Iterator<Item = &PortSpec> {
        self.tasks.iter().flat_map(|t| t.ports.iter())
    }
    /// The wishes of all tasks for devices, in order of tasks; names are unique within the group.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceSpec> {
        self.tasks.iter().flat_map(|t| t.devices.iter())
    }
}

/// How the tasks of an allocation see the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkMode {
    /// The node's own network; ports are told apart by number.
    Host,
    /// A network namespace with a loopback device and nothing else.
    None,
}

/// A named port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortSpec {
    /// Unique within the group.
    pub name: PortName,
    /// The number asked for, or none when any free one will do.
    pub fixed: Option<Port>,
}

/// One process tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// Unique within the group.
    pub name: TaskName,
    /// What runs it, and the driver's own settings.
    pub driver: Driver,
    /// The program and its arguments. For a container: empty means what the image says.
    pub command: Vec<String>,
    /// Environment, beside what Berth sets itself (`BERTH_…`).
    pub env: BTreeMap<String, String>,
    /// Where the program starts: absolute, in the task's own view of files. None: the image's, or the work folder.
    pub working_dir: Option<String>,
    /// `name`, `uid`, `name:group` or `uid:gid`, as the task's own files tell. None: the image's, or `nobody`.
    pub user: Option<String>,
    /// Limits, and what placement counts.
    pub resources: Resources,
    /// Process limit of the task.
    pub pids_limit: u32,
    /// Ports that this task listens on; every task of the group is told them.
    pub ports: Vec<PortSpec>,
    /// Devices that this task uses; no other task of the group sees them.
    pub devices: Vec<DeviceSpec>,
    /// What it is asked while it runs.
    pub checks: Vec<CheckSpec>,
    /// How the task is asked to end.
    pub kill: KillPolicy,
    /// Free text.
    pub meta: BTreeMap<String, String>,
}

/// The same for what has no checks as before there were any, as with groups and partitions.
impl Hash for TaskSpec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let TaskSpec { name, driver, command, env, working_dir, user, resources, pids_limit, .. } = self;
        let TaskSpec { ports, devices, checks, kill, meta, .. } = self;
        (name, driver, command, env, working_dir, user, resources, pids_limit).hash(state);
        (ports, devices, kill, meta).hash(state);
        if !checks.is_empty() {
            checks.hash(state);
        }
    }
}

/// What runs a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// A container from an OCI image.
    Container(ContainerSpec),
    /// A program of the host: own pid, mount and ipc namespaces, the host's files read-only.
    Exec,
}

/// Settings of the container driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerSpec {
    /// `host/name:tag`, `host/name@sha256:…`, `oci:FOLDER[:TAG]` or `oci-archive:FILE[:TAG]`.
    pub image: String,
    /// The name of a credential in the agent's own configuration; a secret never stands in a job.
    pub credential: Option<String>,
    /// Whether the root file system is read-only.
    pub read_only_root: bool,
    /// Folders in memory: path and size limit.
    pub tmpfs: Vec<(String, Bytes)>,
    /// Capabilities beyond the small default set (`NET_BIND_SERVICE`, …), without `CAP_`.
    pub cap_add: Vec<String>,
}

/// How a task is asked to end, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KillPolicy {
    /// A signal number of Linux, 1 to 64. None: the image's, or `SIGTERM`.
    pub signal: Option<u8>,
    /// After this long, `SIGKILL` follows.
    pub timeout: Millis,
}

/// What the agent does about a task that ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestartPolicy {
    /// Restarts on the same node within `interval` before the allocation counts as failed.
    pub attempts: u32,
    /// The window in which attempts are counted.
    pub interval: Millis,
    /// The wait before the first restart; doubles with each further one in the window.
    pub delay: Millis,
    /// What the doubling stops at.
    pub max_delay: Millis,
}

/// How the replace primitive goes about a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpdatePolicy {
    /// How many allocations may be in the course of being replaced at once; at least 1.
    pub max_parallel: u32,
    /// Where no check tells: an allocation is ready when all its tasks have run for this long without a restart.
    pub min_ready: Millis,
}

/// What becomes of the allocations of a group on a node that is lost: nobody can tell whether they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnPartition {
    /// They run on, and are not replaced before an operator gives the node up.
    Keep,
    /// They are replaced. Should the node come back, the older are stopped.
    Replace {
        /// How long after the loss of the node.
        after: Millis,
    },
    /// They end with their lease, by their shims, and are replaced when that is over for sure. No two of them that follow
    /// one another ever run at once.
    Fence {
        /// How long one may run on after its agent has last been answered, by the machine's own clock.
        lease: Millis,
    },
}

impl Default for OnPartition {
    fn default() -> OnPartition {
        OnPartition::Replace { after: Millis(0) }
    }
}

/// A demand on a node's attributes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// The attribute's key, such as `kernel.name` or `label.disk`.
    pub attribute: String,
    /// What must hold.
    pub operator: Operator,
}

impl Constraint {
    /// That a node's agent speaks at least this version.
    pub fn agent_protocol(least: u32) -> Constraint {
        let operator = Operator::Compare(Ordering::AtLeast, least.to_string());
        Constraint { attribute: AGENT_PROTOCOL_ATTRIBUTE.to_owned(), operator }
    }
}

/// What must hold of an attribute. A missing attribute satisfies only `IsNot`, `NotIn` and `Unset`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// `=`
    Is(String),
    /// `!=`
    IsNot(String),
    /// `in`
    In(Vec<String>),
    /// `not_in`
    NotIn(Vec<String>),
    /// `exists`
    Set,
    /// `not_exists`
    Unset,
    /// `<`, `<=`, `>`, `>=` on integers, or on dotted version numbers compared part by part.
    Compare(Ordering, String),
    /// The attribute matches this glob: `*` any run of characters, `?` any one.
    Glob(String),
}

/// The four ordered comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ordering {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// A job as the cluster holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// The newest specification.
    pub spec: JobSpec,
    /// Its version.
    pub version: JobVersion,
    /// When and why it became that.
    pub changed: (Timestamp, crate::Cause),
    /// Where it stands.
    pub state: JobState,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Wanted.
    Active,
    /// Asked to stop; allocations are ending.
    Stopping {
        /// When.
        since: Timestamp,
        /// By what.
        cause: crate::Cause,
    },
    /// Ended: stopped, or a batch job whose work is done. Kept for a while for questions, then collected.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        outcome: JobOutcome,
    },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobOutcome {
    /// Somebody stopped it.
    Stopped,
    /// Batch: every allocation completed.
    Complete,
    /// Batch: at least one allocation failed for good.
    Failed,
}

/// Bounds on what a job may ask for; the door refuses more with place and remedy.
pub mod limits {
    use super::{Bytes, CpuMillis};
    use crate::{Mbits, Millis};
    /// Groups of a job.
    pub const GROUPS: usize = 64;
    /// Allocations of a group.
    pub const COUNT: u32 = 100_000;
    /// Tasks of a group.
    pub const TASKS: usize = 32;
    /// Ports of a group.
    pub const PORTS: usize = 64;
    /// Wishes for devices of a group.
    pub const DEVICES: usize = 16;
    /// Checks of a task.
    pub const CHECKS: usize = 8;
    /// The most for an answer to a check: questions that hang hold what others of the node need.
    pub const CHECK_TIMEOUT: Millis = Millis(60_000);
    /// The least and the most from one question of a check to the next.
    pub const CHECK_TIME: (Millis, Millis) = (Millis(100), Millis(3600 * 1000));
    /// Answers or failures in a row that a check may ask for.
    pub const CHECK_IN_A_ROW: u32 = 10_000;
    /// Headers of a check.
    pub const CHECK_HEADERS: usize = 32;
    /// Characters that are kept of what a check was answered.
    pub const CHECK_OUTPUT: usize = 200;
    /// Devices of a node, and so of a wish.
    pub const NODE_DEVICES: usize = 256;
    /// Device files of a device.
    pub const DEVICE_PATHS: usize = 32;
    /// Constraints of a job, a group or a wish for devices.
    pub const CONSTRAINTS: usize = 64;
    /// Rules of each sort of a group.
    pub const RULES: usize = 16;
    /// The shortest lease of a fenced group.
    pub const LEAST_LEASE: Millis = Millis(3_000);
    /// The longest lease of a fenced group, and the longest wait before what was lost is replaced.
    pub const ON_PARTITION: Millis = Millis(7 * 24 * 3600 * 1000);
    /// Values of one `in` or `not_in`.
    pub const VALUES: usize = 256;
    /// Bytes of a job file, and of the specification it means.
    pub const JOB_BYTES: usize = 256 << 10;
    /// Entries of an `env` or `meta`.
    pub const ENTRIES: usize = 512;
    /// Bytes of what an agent tells of a failure; more is cut.
    pub const MESSAGE_BYTES: usize = 4 << 10;
    /// Nodes of a cluster, lost ones that are still kept among them.
    pub const NODES: usize = 100_000;
    /// Nodes that a command names.
    pub const NODES_OF_COMMAND: usize = 10_000;
    /// Processor time of a task.
    pub const CPU: CpuMillis = CpuMillis(1_024_000);
    /// The least memory of a task: with less, no program gets as far as its first line.
    pub const LEAST_MEMORY: Bytes = Bytes(1 << 20);
    /// Memory or disk of a task.
    pub const SPACE: Bytes = Bytes(1 << 50);
    /// Network bandwidth of a task: 1 Tbit/s.
    pub const NETWORK: Mbits = Mbits(1_000_000);
    /// What a term of a policy counts. A sum of all terms with this weight is far below what 64 bits hold.
    pub const WEIGHT_MOST: u32 = 1_000_000_000;
    /// The most moves by balancing that may be allowed to be under way at once.
    pub const BALANCE_MOST: u32 = 1_000;
    /// Pools with weights of their own.
    pub const POOLS: usize = 64;
    /// Certificate authorities that are believed side by side.
    pub const AUTHORITIES: usize = 8;
    /// Join tokens that have not expired.
    pub const TOKENS: usize = 10_000;
    /// How long a machine's certificate is good.
    pub const CERTIFICATE_LIFE: Millis = Millis(7 * 24 * 3600 * 1000);
    /// How long a join token may be good.
    pub const TOKEN_LIFE: Millis = Millis(24 * 3600 * 1000);
    /// Nodes that have joined, those that are shut out among them.
    pub const MEMBERS: usize = 200_000;
    /// Bytes of a certificate or of a sealed key.
    pub const CERTIFICATE_BYTES: usize = 8 << 10;
}
