//! The stream between an agent and the server: one JSON object a line, in both directions.
//!
//! The agent opens `POST /v1/agent/stream` over HTTP/2. Its first line is `hello`, every later one a `report`. The
//! server's first line is `welcome`. Either side may end the stream at any time; the agent opens another. A line is at
//! most [`AGENT_LINE_BYTES`] or [`SERVER_LINE_BYTES`] long.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reason::same;
use super::{
    AllocId, DeviceId, DeviceName, Digest, Epoch, Failure, Fingerprint, JobId, NodeConditionKind, NodeId, Number,
    PortName, Progress, SpecError, TaskName, TaskStatus, TunnelId, TunnelKind, grants_to_wire, group_from_json,
    group_to_json,
};

/// The version of the agent's stream that this program speaks.
pub const AGENT_PROTOCOL: u32 = 1;
/// The longest line that an agent sends. Reports of 10,000 allocations fit.
pub const AGENT_LINE_BYTES: usize = 16 << 20;
/// The longest line that an agent is sent. A desired state holds what allocations have in common once, so that this is
/// hundreds of different jobs of the largest size on one node.
pub const SERVER_LINE_BYTES: usize = 64 << 20;

/// From agent to server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentMessage {
    /// Says who this is. Always first, and never again.
    Hello(AgentHello),
    /// Says what is on the node, whole. Also the heartbeat.
    Report(NodeReport),
}

/// Who an agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentHello {
    /// The version of this protocol that the agent speaks.
    pub protocol: u32,
    /// The agent's own key.
    pub agent: String,
    /// Its machine.
    pub fingerprint: Fingerprint,
}

/// What is on a node, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeReport {
    /// Counts the reports of this stream from 1.
    pub serial: Number,
    /// The desired state that the agent works towards.
    pub digest: Digest,
    /// What is wrong with the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<NodeConditionKind>,
    /// In order of id.
    pub allocs: Vec<ObservedAlloc>,
}

/// An allocation as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObservedAlloc {
    /// Which.
    pub id: AllocId,
    /// Where it stands.
    pub phase: Phase,
    /// Its tasks.
    pub tasks: BTreeMap<TaskName, TaskStatus>,
}

/// Where an allocation stands on its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Phase {
    /// Folders and images are being made ready.
    Preparing {
        /// How far.
        progress: Progress,
    },
    /// At least one task has not started yet, or waits for its restart.
    Starting,
    /// Every task runs, or has ended with status 0 in a batch job.
    Running,
    /// It is being ended.
    Stopping,
    /// Every task ended with status 0, and no process is left.
    Complete,
    /// It was told to stop, and no process is left.
    Stopped,
    /// It failed, and no process is left.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// From server to agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The answer to `hello`. Always first.
    Welcome {
        /// The leader's reign; the agent refuses orders of an older one.
        epoch: Epoch,
        /// The node's id.
        node: NodeId,
        /// A report is due at least this often.
        heartbeat_ms: Number,
    },
    /// All that should be on the node.
    Desired(Desired),
    /// The answer to a report, where something on the node is fenced: the leases of these allocations begin anew, with the
    /// moment at which that report was sent.
    Lease {
        /// The report's number.
        serial: Number,
        /// Which, in order of id.
        allocs: Vec<AllocId>,
    },
    /// The server ends the stream.
    Close {
        /// For the agent's log.
        reason: String,
    },
    /// Somebody wants logs or a terminal: the agent opens a connection of its own,
    /// `POST /v1/agent/tunnel/{id}`, and serves it there.
    OpenTunnel {
        /// Names the tunnel.
        id: TunnelId,
        /// What is wanted.
        wanted: TunnelKind,
    },
}

/// All that should be on a node; what is not in it should not be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Desired {
    /// The leader's reign.
    pub epoch: Epoch,
    /// A digest of what is desired, which reports repeat.
    pub digest: Digest,
    /// What there is to run, each once: the job file of a version, with one group alone.
    #[schema(value_type = Vec<Object>)]
    pub specs: Vec<serde_json::Value>,
    /// In order of id.
    pub allocs: Vec<DesiredAlloc>,
}

/// One allocation as it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DesiredAlloc {
    /// Which.
    pub id: AllocId,
    /// Of which job.
    pub job: JobId,
    /// Of which version.
    pub version: Number,
    /// Which of the group's `count`.
    pub index: u32,
    /// Which of `specs`, from 0.
    pub spec: u32,
    /// The ports chosen for it.
    pub ports: BTreeMap<PortName, u16>,
    /// The devices chosen for it, by the names of its wishes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<DeviceName, Vec<DeviceId>>,
    /// Whether it should run.
    pub goal: Goal,
}

/// Whether an allocation should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It should run.
    Run,
    /// It should end, by its kill policy.
    Stop,
}

same!(Goal, model::Goal { Run, Stop });

/// Why a message of the stream is not understood.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The other side speaks a version that this program does not.
    #[error("the agent speaks protocol {theirs} and this server {AGENT_PROTOCOL}: bring both to the same release")]
    Protocol {
        /// Theirs.
        theirs: u32,
    },
    /// The agent's key is not one.
    #[error("the agent's key is not 1 to 128 printable ASCII characters")]
    AgentKey,
    /// The machine is not one that can be.
    #[error("the machine's {what} {found}, of at most {limit}")]
    Machine {
        /// What of it.
        what: &'static str,
        /// What was told.
        found: String,
        /// What can be.
        limit: String,
    },
    /// The machine's ports are told the wrong way round.
    #[error("the machine's dynamic ports end before they begin")]
    Ports,
    /// Two devices have the same id.
    #[error("the machine has two devices with the id {0}")]
    DeviceTwice(DeviceId),
    /// An allocation has more tasks than any has.
    #[error("allocation {alloc} has {tasks} tasks, of at most {}", model::limits::TASKS)]
    Tasks {
        /// Which.
        alloc: AllocId,
        /// How many.
        tasks: usize,
    },
    /// An allocation names a specification that is not there.
    #[error("allocation {alloc} is of specification {spec}, which is not there")]
    NoSpec {
        /// Whose.
        alloc: AllocId,
        /// Which.
        spec: u32,
    },
    /// The specification of an allocation is not understood.
    #[error("specification of allocation {alloc} is not understood")]
    Spec {
        /// Whose.
        alloc: AllocId,
        /// Why.
        #[source]
        source: SpecError,
    },
}

impl From<model::Hello> for AgentHello {
    fn from(hello: model::Hello) -> AgentHello {
        AgentHello { protocol: AGENT_PROTOCOL, agent: hello.agent.0, fingerprint: hello.fingerprint.into() }
    }
}

impl TryFrom<AgentHello> for model::Hello {
    type Error = MessageError;
    fn try_from(hello: AgentHello) -> Result<model::Hello, MessageError> {
        if hello.protocol != AGENT_PROTOCOL {
            return Err(MessageError::Protocol { theirs: hello.protocol });
        }
        let printable = hello.agent.bytes().all(|b| b.is_ascii_graphic());
        if hello.agent.is_empty() || hello.agent.len() > 128 || !printable {
            return Err(MessageError::AgentKey);
        }
        check_machine(&hello.fingerprint)?;
        Ok(model::Hello { agent: model::AgentKey(hello.agent), fingerprint: hello.fingerprint.into() })
    }
}

/// What a machine is said to be is stored, shown and reckoned with.
fn check_machine(machine: &Fingerprint) -> Result<(), MessageError> {
    const TEXT_BYTES: usize = 255;
    const ATTRIBUTE_BYTES: usize = 64 << 10;
    const CPU_MILLIS: u64 = 1 << 32;
    const SPACE_BYTES: u64 = 1 << 60;
    const DEVICE_BYTES: usize = 8 << 10;
    let within = |what, found: u64, limit: u64, unit| {
        let wrong = || MessageError::Machine { what, found: format!("{found}{unit}"), limit: format!("{limit}{unit}") };
        if found <= limit { Ok(()) } else { Err(wrong()) }
    };
    let bytes = |what, found: usize, limit: usize| within(what, found as u64, limit as u64, " bytes");
    let attributes = machine.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    within("cpu is", machine.resources.cpu_millis.0, CPU_MILLIS, "m")?;
    within("memory is", machine.resources.memory_bytes.0, SPACE_BYTES, " bytes")?;
    within("disk is", machine.resources.disk_bytes.0, SPACE_BYTES, " bytes")?;
    bytes("address has", machine.address.len(), TEXT_BYTES)?;
    bytes("agent version has", machine.agent_version.len(), TEXT_BYTES)?;
    bytes("attributes have", attributes, ATTRIBUTE_BYTES)?;
    let devices = machine.devices.len();
    within("devices are", devices as u64, model::limits::NODE_DEVICES as u64, "")?;
    for device in &machine.devices {
        let attributes = device.attributes.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        bytes("device's texts have", attributes + device.paths.iter().map(String::len).sum::<usize>(), DEVICE_BYTES)?;
        within("device's files are", device.paths.len() as u64, model::limits::DEVICE_PATHS as u64, "")?;
    }
    let mut ids: Vec<&DeviceId> = machine.devices.iter().map(|device| &device.id).collect();
    ids.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(MessageError::DeviceTwice(twice[0].clone()));
    }
    if machine.dynamic_ports.first > machine.dynamic_ports.last { Err(MessageError::Ports) } else { Ok(()) }
}

impl From<model::NodeReport> for NodeReport {
    fn from(report: model::NodeReport) -> NodeReport {
        let allocs = report.allocs.into_iter().map(ObservedAlloc::from).collect();
        let conditions = report.conditions.into_iter().map(NodeConditionKind::from).collect();
        NodeReport { serial: Number(report.serial), digest: report.digest.into(), conditions, allocs }
    }
}

impl TryFrom<NodeReport> for model::NodeReport {
    type Error = MessageError;
    fn try_from(report: NodeReport) -> Result<model::NodeReport, MessageError> {
        let allocs = report.allocs.into_iter().map(model::ObservedAlloc::try_from).collect::<Result<_, _>>()?;
        let conditions = report.conditions.into_iter().map(model::NodeCondition::from).collect();
        Ok(model::NodeReport { serial: report.serial.0, digest: report.digest.into(), conditions, allocs })
    }
}

impl From<model::ObservedAlloc> for ObservedAlloc {
    fn from(alloc: model::ObservedAlloc) -> ObservedAlloc {
        let tasks = alloc.tasks.into_iter().map(|(name, status)| (name.into(), status.into())).collect();
        ObservedAlloc { id: alloc.id.into(), phase: alloc.phase.into(), tasks }
    }
}

impl TryFrom<ObservedAlloc> for model::ObservedAlloc {
    type Error = MessageError;
    fn try_from(alloc: ObservedAlloc) -> Result<model::ObservedAlloc, MessageError> {
        if alloc.tasks.len() > model::limits::TASKS {
            return Err(MessageError::Tasks { tasks: alloc.tasks.len(), alloc: alloc.id });
        }
        let tasks = alloc.tasks.into_iter().map(|(name, status)| (name.into(), status.into())).collect();
        Ok(model::ObservedAlloc { id: alloc.id.into(), phase: alloc.phase.into(), tasks })
    }
}

impl From<model::Phase> for Phase {
    fn from(phase: model::Phase) -> Phase {
        match phase {
            model::Phase::Preparing(progress) => Phase::Preparing { progress: progress.into() },
            model::Phase::Starting => Phase::Starting,
            model::Phase::Running => Phase::Running,
            model::Phase::Stopping => Phase::Stopping,
            model::Phase::Ended(model::Ended::Complete) => Phase::Complete,
            model::Phase::Ended(model::Ended::Stopped) => Phase::Stopped,
            model::Phase::Ended(model::Ended::Failed(failure)) => Phase::Failed { failure: failure.into() },
        }
    }
}

impl From<Phase> for model::Phase {
    fn from(phase: Phase) -> model::Phase {
        match phase {
            Phase::Preparing { progress } => model::Phase::Preparing(progress.into()),
            Phase::Starting => model::Phase::Starting,
            Phase::Running => model::Phase::Running,
            Phase::Stopping => model::Phase::Stopping,
            Phase::Complete => model::Phase::Ended(model::Ended::Complete),
            Phase::Stopped => model::Phase::Ended(model::Ended::Stopped),
            Phase::Failed { failure } => model::Phase::Ended(model::Ended::Failed(failure.into())),
        }
    }
}

impl From<model::Progress> for Progress {
    fn from(progress: model::Progress) -> Progress {
        Progress { done: progress.done.into(), total: progress.total.into() }
    }
}

impl From<Progress> for model::Progress {
    fn from(progress: Progress) -> model::Progress {
        model::Progress { done: progress.done.into(), total: progress.total.into() }
    }
}

impl From<model::Order> for ServerMessage {
    fn from(order: model::Order) -> ServerMessage {
        match order {
            model::Order::Welcome { epoch, node, heartbeat } => {
                ServerMessage::Welcome { epoch: epoch.into(), node: node.into(), heartbeat_ms: heartbeat.into() }
            }
            model::Order::Desired(desired) => ServerMessage::Desired(desired.into()),
            model::Order::Lease { serial, allocs } => {
                let allocs = allocs.into_iter().map(AllocId::from).collect();
                ServerMessage::Lease { serial: Number(serial), allocs }
            }
        }
    }
}

impl From<model::Desired> for Desired {
    fn from(desired: model::Desired) -> Desired {
        let mut known = BTreeMap::new();
        let mut specs = Vec::new();
        let allocs = desired.allocs.into_iter().map(|alloc| {
            let class = (alloc.job.clone(), alloc.version, alloc.group.name.clone());
            let spec = *known.entry(class).or_insert_with(|| {
                specs.push(group_to_json(&alloc.job, alloc.kind, &alloc.group));
                u32::try_from(specs.len() - 1).expect("a node has fewer than 2^32 allocations")
            });
            DesiredAlloc::of(alloc, spec)
        });
        let allocs = allocs.collect();
        Desired { epoch: desired.epoch.into(), digest: desired.digest.into(), specs, allocs }
    }
}

impl TryFrom<Desired> for model::Desired {
    type Error = MessageError;
    fn try_from(desired: Desired) -> Result<model::Desired, MessageError> {
        let Desired { epoch, digest, mut specs, allocs } = desired;
        // Read when the first allocation needs it, which a message about it can then name.
        let mut read = BTreeMap::new();
        let mut understood = Vec::with_capacity(allocs.len());
        for alloc in allocs {
            let spec = match read.entry(alloc.spec) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(read_spec(&mut specs, &alloc)?),
            };
            understood.push(alloc.with(spec));
        }
        Ok(model::Desired { epoch: epoch.into(), digest: digest.into(), allocs: understood })
    }
}

type Spec = (model::JobKind, model::GroupSpec);

/// Takes the specification of an allocation, which is read once.
fn read_spec(specs: &mut [serde_json::Value], alloc: &DesiredAlloc) -> Result<Spec, MessageError> {
    let none = || MessageError::NoSpec { alloc: alloc.id.clone(), spec: alloc.spec };
    let at = usize::try_from(alloc.spec).map_err(|_| none())?;
    let spec = specs.get_mut(at).map(serde_json::Value::take).ok_or_else(none)?;
    group_from_json(spec).map_err(|source| MessageError::Spec { alloc: alloc.id.clone(), source })
}

impl DesiredAlloc {
    fn of(alloc: model::DesiredAlloc, spec: u32) -> DesiredAlloc {
        DesiredAlloc {
            id: alloc.id.into(),
            job: alloc.job.into(),
            version: Number(alloc.version.0),
            index: alloc.index,
            spec,
            ports: alloc.ports.into_iter().map(|(name, port)| (name.into(), port.0)).collect(),
            devices: grants_to_wire(&alloc.devices),
            goal: alloc.goal.into(),
        }
    }

    fn with(self, (kind, group): &Spec) -> model::DesiredAlloc {
        model::DesiredAlloc {
            id: self.id.into(),
            job: self.job.into(),
            kind: *kind,
            version: model::JobVersion(self.version.0),
            index: self.index,
            group: group.clone(),
            ports: self.ports.into_iter().map(|(name, port)| (name.into(), model::Port(port))).collect(),
            devices: self
                .devices
                .into_iter()
                .map(|(name, ids)| (name.into(), ids.into_iter().map(model::DeviceId::from).collect()))
                .collect(),
            goal: self.goal.into(),
        }
    }
}
