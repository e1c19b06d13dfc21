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

/// The newest version of the agent's stream that this program speaks. Version 1 knew neither leases nor `on_partition`.
pub const AGENT_PROTOCOL: u32 = 2 + cfg!(feature = "next") as u32;
/// The oldest: that of the release before.
pub const OLDEST_AGENT_PROTOCOL: u32 = AGENT_PROTOCOL - 1;
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
    /// The newest version of this protocol that the agent speaks. Both sides keep to the newest that both speak.
    pub protocol: u32,
    /// The oldest that it speaks; where it is left out, it speaks one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_protocol: Option<u32>,
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
    /// The other side speaks no version that this program does.
    #[error(
        "the agent speaks protocols {oldest} to {newest} and this server {OLDEST_AGENT_PROTOCOL} to {AGENT_PROTOCOL}: upgrade \
         the {}, no further than to the release after its own at a time",
        if *newest < OLDEST_AGENT_PROTOCOL { "agent" } else { "server" }
    )]
    Protocol {
        /// The oldest of theirs.
        oldest: u32,
        /// The newest of theirs.
        newest: u32,
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
    /// A task has more checks than any has.
    #[error("a task of allocation {alloc} has {checks} checks, of at most {}", model::limits::CHECKS)]
    Checks {
        /// Of which allocation.
        alloc: AllocId,
        /// How many.
        checks: usize,
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
        AgentHello {
            protocol: AGENT_PROTOCOL,
            oldest_protocol: Some(OLDEST_AGENT_PROTOCOL),
            agent: hello.agent.0,
            fingerprint: hello.fingerprint.into(),
        }
    }
}

impl TryFrom<AgentHello> for model::Hello {
    type Error = MessageError;
    fn try_from(hello: AgentHello) -> Result<model::Hello, MessageError> {
        let protocol = common_protocol(&hello)?;
        let printable = hello.agent.bytes().all(|b| b.is_ascii_graphic());
        if hello.agent.is_empty() || hello.agent.len() > 128 || !printable {
            return Err(MessageError::AgentKey);
        }
        check_machine(&hello.fingerprint)?;
        let mut fingerprint = model::Fingerprint::from(hello.fingerprint);
        fingerprint.attributes.insert(model::AGENT_PROTOCOL_ATTRIBUTE.to_owned(), protocol.to_string());
        Ok(model::Hello { agent: model::AgentKey(hello.agent), fingerprint })
    }
}

/// The newest version that both sides speak.
fn common_protocol(hello: &AgentHello) -> Result<u32, MessageError> {
    let (oldest, newest) = (hello.oldest_protocol.unwrap_or(hello.protocol), hello.protocol);
    let common = newest.min(AGENT_PROTOCOL);
    let is_spoken = common >= oldest.max(OLDEST_AGENT_PROTOCOL);
    if is_spoken { Ok(common) } else { Err(MessageError::Protocol { oldest, newest }) }
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
        if let Some(checks) = alloc.tasks.values().map(|task| task.checks.len()).find(|n| *n > model::limits::CHECKS) {
            return Err(MessageError::Checks { checks, alloc: alloc.id });
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
                specs.push(group_to_json(&alloc.job, alloc.kind, &for_agents(&alloc.group)));
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

/// What of a group an agent has to know. Of partitions that is a lease alone: one that knows no other word would refuse all
/// that is desired, and what keeps or replaces what runs on a lost node is the server's affair.
fn for_agents(group: &model::GroupSpec) -> model::GroupSpec {
    let mut group = group.clone();
    if group.lease().is_none() {
        group.on_partition = model::OnPartition::default();
    }
    group
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an agent that speaks these.
    fn agreed(oldest: Option<u32>, newest: u32) -> Result<String, String> {
        let hello = model::testkit::machine("n1").attribute(model::AGENT_PROTOCOL_ATTRIBUTE, "77").hello();
        let hello = AgentHello { protocol: newest, oldest_protocol: oldest, ..hello.into() };
        let agreed = model::Hello::try_from(hello).map_err(|error| error.to_string())?;
        Ok(agreed.fingerprint.attributes[model::AGENT_PROTOCOL_ATTRIBUTE].clone())
    }

    #[test]
    fn an_agent_and_a_server_keep_to_the_newest_protocol_that_both_speak() {
        let (ours, before) = (AGENT_PROTOCOL, OLDEST_AGENT_PROTOCOL);
        assert_eq!(agreed(Some(before), ours), Ok(ours.to_string()));
        assert_eq!(agreed(Some(ours), ours + 1), Ok(ours.to_string()), "an agent of the next release");
        assert_eq!(agreed(Some(before - 1), before), Ok(before.to_string()), "an agent of the release before");
        assert_eq!(agreed(None, before), Ok(before.to_string()), "one that knows a single version");
    }

    #[test]
    fn an_agent_is_told_of_leases_and_of_nothing_else_about_partitions() {
        let lease = model::Millis(10_000);
        for (on_partition, is_told) in [
            (model::OnPartition::Keep, false),
            (model::OnPartition::Replace { after: lease }, false),
            (model::OnPartition::Fence { lease }, true),
        ] {
            let mut group = model::testkit::service("web").0.groups.remove(0);
            group.on_partition = on_partition;
            let told = for_agents(&group).on_partition;
            assert_eq!(told, if is_told { on_partition } else { model::OnPartition::default() });
        }
    }

    #[test]
    fn an_agent_too_old_or_too_new_is_told_what_to_upgrade() {
        let old = agreed(None, OLDEST_AGENT_PROTOCOL - 1).unwrap_err();
        assert!(old.contains("upgrade the agent"), "{old}");
        let new = agreed(Some(AGENT_PROTOCOL + 1), AGENT_PROTOCOL + 2).unwrap_err();
        assert!(new.contains("upgrade the server"), "{new}");
        let confused = agreed(Some(AGENT_PROTOCOL), OLDEST_AGENT_PROTOCOL).unwrap_err();
        assert!(confused.contains("speaks protocols"), "{confused}");
    }
}
