//! Between server and agent: the desired state, sent whole, and reports of what is.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AgentKey, AllocId, Bytes, DeviceGrants, Epoch, Failure, Fingerprint, GroupSpec, JobId, JobKind, JobVersion,
    NodeCondition, NodeId, Port, PortName, TaskName, TaskStatus,
};

/// What an agent says first on a new stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its own key.
    pub agent: AgentKey,
    /// Its machine.
    pub fingerprint: Fingerprint,
}

/// From server to agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The answer to `Hello`: the node's id, and how often to send a report.
    Welcome {
        /// The leader's epoch; the agent refuses orders of an older one.
        epoch: Epoch,
        /// The node's id.
        node: NodeId,
        /// A report is due at least this often.
        heartbeat: crate::Millis,
    },
    /// All that should run on the node.
    Desired(Desired),
    /// The answer to a report, where something on the node is fenced: the leases of these allocations begin anew, with the
    /// moment at which that report was sent.
    Lease {
        /// The report's serial, on this stream.
        serial: u64,
        /// Which, in order of id.
        allocs: Vec<AllocId>,
    },
}

/// All that should be on a node; what is not in it should not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// A digest of `allocs`; reports repeat it, so that the server knows what the agent has.
    pub digest: Digest,
    /// In order of id.
    pub allocs: Vec<DesiredAlloc>,
}

/// A digest of a desired state, made by the server and only repeated by the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

/// One allocation as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DesiredAlloc {
    /// Which.
    pub id: AllocId,
    /// Of which job.
    pub job: JobId,
    /// Its kind: tells what the end of a task means.
    pub kind: JobKind,
    /// Of which version.
    pub version: JobVersion,
    /// Which of the group's `count`.
    pub index: u32,
    /// The group as specified in that version.
    pub group: GroupSpec,
    /// The ports chosen for it.
    pub ports: BTreeMap<PortName, Port>,
    /// The devices chosen for it.
    pub devices: DeviceGrants,
    /// Whether it should run.
    pub goal: Goal,
}

/// Whether an allocation should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// It should run.
    Run,
    /// It should end, by its kill policy.
    Stop,
}

/// From agent to server, at least once per heartbeat: everything that is on the node, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Counts the reports of this stream from 1.
    pub serial: u64,
    /// The desired state that the agent works towards.
    pub digest: Digest,
    /// What is wrong with the machine.
    pub conditions: BTreeSet<NodeCondition>,
    /// In order of id.
    pub allocs: Vec<ObservedAlloc>,
}

/// An allocation as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedAlloc {
    /// Which.
    pub id: AllocId,
    /// Where it stands.
    pub phase: Phase,
    /// Its tasks.
    pub tasks: BTreeMap<TaskName, TaskStatus>,
}

/// Where an allocation stands on its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Folders and images are being made ready.
    Preparing(Progress),
    /// At least one task has not started yet, or waits for its restart.
    Starting,
    /// Every task runs, or has ended with status 0 in a batch job.
    Running,
    /// It is being ended.
    Stopping,
    /// No process is left.
    Ended(Ended),
}

/// How an allocation ended on its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Every task ended with status 0.
    Complete,
    /// It was told to stop.
    Stopped,
    /// It failed beyond its restart policy, or could not be made ready.
    Failed(Failure),
}

/// How far the fetching of images is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Fetched.
    pub done: Bytes,
    /// In all; zero while unknown.
    pub total: Bytes,
}
