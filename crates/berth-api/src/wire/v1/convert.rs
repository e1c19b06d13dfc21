//! From domain types to what users see, with the names of nodes filled in.

use std::collections::BTreeMap;

use berth_model as model;

use super::balance::number;
use super::*;

/// Tells the names of nodes, so that what travels can be read without a second question.
pub trait NodeNames {
    /// The name of a node, while the cluster knows it.
    fn node_name(&self, node: model::NodeId) -> Option<model::NodeName>;

    /// A node with its name.
    fn node_ref(&self, node: model::NodeId) -> NodeRef {
        NodeRef { id: node.into(), name: self.node_name(node).map(NodeName) }
    }
}

/// A domain value with what is needed to tell it on the wire.
pub trait ToWire {
    /// What travels.
    type Wire;
    /// The wire's form of it.
    fn to_wire(&self, names: &dyn NodeNames) -> Self::Wire;
}

impl ToWire for model::Cause {
    type Wire = Cause;
    fn to_wire(&self, names: &dyn NodeNames) -> Cause {
        match self {
            model::Cause::Command(id) => Cause::Command { command: (*id).into() },
            model::Cause::Event(id) => Cause::Event { event: (*id).into() },
            model::Cause::Report { node, serial } => {
                Cause::Report { node: names.node_ref(*node), serial: Number(*serial) }
            }
            model::Cause::Preemption { by, job } => Cause::Preemption { by: (*by).into(), job: job.clone().into() },
            model::Cause::Drain { node } => Cause::Drain { node: names.node_ref(*node) },
            model::Cause::Timer { timer, due } => Cause::Timer { timer: (*timer).into(), due: (*due).into() },
            model::Cause::Balance { from, cost, gain } => {
                Cause::Balance { from: names.node_ref(*from), cost: number(*cost), gain: number(*gain) }
            }
        }
    }
}

impl ToWire for model::WaitReason {
    type Wire = WaitReason;
    fn to_wire(&self, names: &dyn NodeNames) -> WaitReason {
        match self {
            model::WaitReason::Queued => WaitReason::Queued,
            model::WaitReason::NoNodes => WaitReason::NoNodes,
            model::WaitReason::NoNodeFits { decision, filtered, nearest, verdict } => WaitReason::NoNodeFits {
                decision: (*decision).into(),
                filtered: filter_counts(filtered),
                nearest: nearest.as_ref().map(|(node, shortfall)| nearest_miss(*node, shortfall, names)),
                verdict: (*verdict).into(),
            },
            model::WaitReason::GangIncomplete { decision, fit, wanted, filtered, nearest, verdict } => {
                WaitReason::GangIncomplete {
                    decision: (*decision).into(),
                    fit: *fit,
                    wanted: *wanted,
                    filtered: filter_counts(filtered),
                    nearest: nearest.as_ref().map(|(node, shortfall)| nearest_miss(*node, shortfall, names)),
                    verdict: (*verdict).into(),
                }
            }
            model::WaitReason::Preempting { decision, node, victims } => WaitReason::Preempting {
                decision: (*decision).into(),
                node: names.node_ref(*node),
                victims: victims.iter().map(|victim| AllocId(*victim)).collect(),
            },
            model::WaitReason::BackOff { until, failed } => {
                WaitReason::BackOff { until: (*until).into(), failed: (*failed).into() }
            }
        }
    }
}

/// A device of which nothing is held.
fn unused(device: &model::Device) -> NodeDevice {
    NodeDevice { device: device.clone().into(), used_thousandths: 0 }
}

/// Which devices each wish was given.
pub(super) fn grants_to_wire(grants: &model::DeviceGrants) -> BTreeMap<DeviceName, Vec<DeviceId>> {
    let wire = |ids: &Vec<model::DeviceId>| ids.iter().cloned().map(DeviceId).collect();
    grants.iter().map(|(name, ids)| (DeviceName(name.clone()), wire(ids))).collect()
}

fn filter_counts(filtered: &model::Filtered) -> Vec<FilterCount> {
    filtered.iter().map(|(filter, nodes)| FilterCount { filter: filter.into(), nodes: *nodes }).collect()
}

fn nearest_miss(node: model::NodeId, shortfall: &model::Shortfall, names: &dyn NodeNames) -> NearestMiss {
    NearestMiss {
        node: names.node_ref(node),
        dimension: (&shortfall.dimension).into(),
        wanted: Number(shortfall.wanted),
        free: Number(shortfall.free),
        capacity: Number(shortfall.capacity),
    }
}

impl ToWire for model::Placement {
    type Wire = Placement;
    fn to_wire(&self, names: &dyn NodeNames) -> Placement {
        let explanation = &self.explanation;
        Placement {
            node: names.node_ref(self.node),
            ports: self.ports.iter().map(|(name, port)| (PortName(name.clone()), port.0)).collect(),
            devices: grants_to_wire(&self.devices),
            decision: self.decision.into(),
            explanation: Explanation {
                policy: explanation.policy.clone().into(),
                policy_version: Some(explanation.policy_version.0).filter(|version| *version > 0).map(Number),
                considered: explanation.considered,
                filtered: filter_counts(&explanation.filtered),
                chosen: explanation.chosen.iter().map(CostTerm::from).collect(),
                runner_up: explanation.runner_up.as_ref().map(|(node, terms)| RunnerUp {
                    node: names.node_ref(*node),
                    terms: terms.iter().map(CostTerm::from).collect(),
                }),
            },
        }
    }
}

impl ToWire for model::Outcome {
    type Wire = Outcome;
    fn to_wire(&self, names: &dyn NodeNames) -> Outcome {
        match self {
            model::Outcome::Complete => Outcome::Complete,
            model::Outcome::Stopped => Outcome::Stopped,
            model::Outcome::Preempted { by, job } => Outcome::Preempted { by: (*by).into(), job: job.clone().into() },
            model::Outcome::Drained(node) => Outcome::Drained { node: names.node_ref(*node) },
            model::Outcome::Failed(failure) => Outcome::Failed { failure: failure.clone().into() },
            model::Outcome::Lost(node) => Outcome::Lost { node: names.node_ref(*node) },
        }
    }
}

impl ToWire for model::AllocState {
    type Wire = AllocState;
    fn to_wire(&self, names: &dyn NodeNames) -> AllocState {
        match self {
            model::AllocState::Waiting { since, reason } => {
                AllocState::Waiting { since: (*since).into(), reason: reason.to_wire(names) }
            }
            model::AllocState::Placed { placement, since } => {
                AllocState::Placed { placement: placement.to_wire(names), since: (*since).into() }
            }
            model::AllocState::Running { placement, since, ready } => AllocState::Running {
                placement: placement.to_wire(names),
                since: (*since).into(),
                ready: ready.map(Time),
            },
            model::AllocState::Stopping { placement, since, cause } => AllocState::Stopping {
                placement: placement.to_wire(names),
                since: (*since).into(),
                cause: cause.to_wire(names),
            },
            model::AllocState::Ended { placement, at, outcome, cause } => AllocState::Ended {
                placement: placement.as_ref().map(|p| p.to_wire(names)),
                at: (*at).into(),
                outcome: outcome.to_wire(names),
                cause: cause.to_wire(names),
            },
        }
    }
}

impl ToWire for model::Alloc {
    type Wire = Alloc;
    fn to_wire(&self, names: &dyn NodeNames) -> Alloc {
        Alloc {
            id: self.id.into(),
            job: self.job.clone().into(),
            version: Number(self.version.0),
            group: self.group.clone().into(),
            index: self.index,
            bound_to: self.bound_to.map(|node| names.node_ref(node)),
            replaces: self.replaces.map(AllocId),
            failures: self.failures,
            created: self.created.into(),
            cause: self.cause.to_wire(names),
            state: self.state.to_wire(names),
            tasks: self.tasks.iter().map(|(name, task)| (TaskName(name.clone()), task.clone().into())).collect(),
            progress: None,
            unheard: None,
            followed_by: None,
        }
    }
}

impl ToWire for model::JobState {
    type Wire = JobState;
    fn to_wire(&self, names: &dyn NodeNames) -> JobState {
        match self {
            model::JobState::Active => JobState::Active,
            model::JobState::Stopping { since, cause } => {
                JobState::Stopping { since: (*since).into(), cause: cause.to_wire(names) }
            }
            model::JobState::Ended { at, outcome } => JobState::Ended { at: (*at).into(), outcome: (*outcome).into() },
        }
    }
}

impl ToWire for model::Node {
    type Wire = Node;
    fn to_wire(&self, names: &dyn NodeNames) -> Node {
        let fingerprint = &self.fingerprint;
        Node {
            id: self.id.into(),
            name: fingerprint.name.clone().into(),
            address: fingerprint.address.clone(),
            state: match &self.state {
                model::NodeState::Ready { since } => NodeState::Ready { since: (*since).into() },
                model::NodeState::Lost { since, cause } => {
                    NodeState::Lost { since: (*since).into(), cause: cause.to_wire(names) }
                }
            },
            conditions: self
                .conditions
                .iter()
                .map(|(kind, since)| NodeCondition { kind: (*kind).into(), since: (*since).into() })
                .collect(),
            drain: self.drain.as_ref().map(|drain| Drain {
                since: drain.since.into(),
                cause: drain.cause.to_wire(names),
                deadline: drain.deadline.map(Time::from),
                done: drain.done.map(Time::from),
            }),
            resources: fingerprint.resources.into(),
            used: model::Resources::default().into(),
            allocs: 0,
            devices: fingerprint.devices.iter().map(unused).collect(),
            dynamic_ports: PortRange { first: fingerprint.dynamic_ports.0.0, last: fingerprint.dynamic_ports.1.0 },
            attributes: fingerprint.attributes.clone(),
            agent_version: fingerprint.agent_version.clone(),
        }
    }
}

fn trust(what: &model::TrustHappening) -> Happening {
    use model::TrustHappening as Model;
    match what {
        Model::AuthorityAdded(authority) => Happening::AuthorityAdded { authority: (*authority).into() },
        Model::AuthorityRetired(authority) => Happening::AuthorityRetired { authority: (*authority).into() },
        Model::TokenMade { role, node, expires } => {
            Happening::TokenMade { role: (*role).into(), node: node.clone().map(NodeName), expires: (*expires).into() }
        }
        Model::Joined { role, name } => Happening::Joined { role: (*role).into(), name: name.clone().into() },
        Model::Revoked(name) => Happening::NodeRevoked { name: name.clone().into() },
    }
}

impl ToWire for model::LedgerEntry {
    type Wire = Event;
    fn to_wire(&self, names: &dyn NodeNames) -> Event {
        Event {
            id: self.id.into(),
            at: self.at.into(),
            cause: self.cause.to_wire(names),
            what: self.what.to_wire(names),
        }
    }
}

impl ToWire for model::Happening {
    type Wire = Happening;
    fn to_wire(&self, names: &dyn NodeNames) -> Happening {
        use model::Happening as Model;
        let node =
            |id: &model::NodeId, name: &model::NodeName| NodeRef { id: (*id).into(), name: Some(name.clone().into()) };
        match self {
            Model::JobVersion { job, version } => {
                Happening::JobVersion { job: job.clone().into(), version: Number(version.0) }
            }
            Model::JobStopping(job) => Happening::JobStopping { job: job.clone().into() },
            Model::JobEnded { job, outcome } => {
                Happening::JobEnded { job: job.clone().into(), outcome: (*outcome).into() }
            }
            Model::JobCollected(job) => Happening::JobCollected { job: job.clone().into() },
            Model::NodeReady { node: id, name } => Happening::NodeReady { node: node(id, name) },
            Model::NodeLost { node: id, name } => Happening::NodeLost { node: node(id, name) },
            Model::NodeCollected { node: id, name } => Happening::NodeCollected { node: node(id, name) },
            Model::NodeDraining { node: id, name, deadline } => {
                Happening::NodeDraining { node: node(id, name), deadline: deadline.map(Time::from) }
            }
            Model::NodeDrained { node: id, name } => Happening::NodeDrained { node: node(id, name) },
            Model::NodeEnabled { node: id, name } => Happening::NodeEnabled { node: node(id, name) },
            Model::NodeAbandoned { node: id, name } => Happening::NodeAbandoned { node: node(id, name) },
            Model::AllocCreated { alloc, job, replaces } => Happening::AllocCreated {
                alloc: (*alloc).into(),
                job: job.clone().into(),
                replaces: replaces.map(AllocId),
            },
            Model::AllocWaiting { alloc, job } => {
                Happening::AllocWaiting { alloc: (*alloc).into(), job: job.clone().into() }
            }
            Model::AllocPlaced { alloc, job, node } => {
                Happening::AllocPlaced { alloc: (*alloc).into(), job: job.clone().into(), node: names.node_ref(*node) }
            }
            Model::AllocRunning { alloc, job, node } => {
                Happening::AllocRunning { alloc: (*alloc).into(), job: job.clone().into(), node: names.node_ref(*node) }
            }
            Model::AllocReady { alloc, job } => {
                Happening::AllocReady { alloc: (*alloc).into(), job: job.clone().into() }
            }
            Model::TaskRestarting { alloc, job, task, exit } => Happening::TaskRestarting {
                alloc: (*alloc).into(),
                job: job.clone().into(),
                task: task.clone().into(),
                exit: exit.clone().into(),
            },
            Model::CheckFailing { alloc, job, task, check, output } => Happening::CheckFailing {
                alloc: (*alloc).into(),
                job: job.clone().into(),
                task: task.clone().into(),
                check: check.clone().into(),
                output: output.clone(),
            },
            Model::AllocStopping { alloc, job } => {
                Happening::AllocStopping { alloc: (*alloc).into(), job: job.clone().into() }
            }
            Model::AllocEnded { alloc, job, outcome } => Happening::AllocEnded {
                alloc: (*alloc).into(),
                job: job.clone().into(),
                outcome: outcome.to_wire(names),
            },
            Model::Finalised(format) => Happening::Finalised { format: format.0 },
            Model::PolicyChanged { name, version } => {
                Happening::PolicyChanged { name: name.clone().into(), version: Number(version.0) }
            }
            Model::Trust(what) => trust(what),
        }
    }
}
