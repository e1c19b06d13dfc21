//! Nodes: registration, heartbeats, loss and return, and the desired state that each is told.
//!
//! An ended allocation stays in the desired state, told to stop, until it is collected: its logs stay on the node for
//! questions. [`ENDED_PER_NODE`] bounds that; older ones vanish from the desired state, and so from the node.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::control::{Effect, SessionId};
use berth_model::{
    AgentKey, Alloc, AllocId, AllocState, Cause, Desired, DesiredAlloc, Digest, Goal, Happening, Hello, Millis, Node,
    NodeCondition, NodeId, NodeName, NodeReport, NodeState, Order, Timer, Timestamp, limits,
};

use crate::core::Core;
use crate::digest::{Hash128, digest128};
use crate::journal::Key;
use crate::pipeline::Held;
use crate::timers::Due;

/// How long agents may take to come to a leader that has just begun its reign: they have to notice that the one before is
/// gone, and to find this one.
pub(crate) const RETURN: Millis = Millis::from_secs(15);
/// Ended allocations whose logs are kept on a node.
pub(crate) const ENDED_PER_NODE: usize = 200;
/// Estimated bytes of the specifications that these may add to a desired state, which has to stay sendable.
const ENDED_BYTES: usize = 4 << 20;

/// What is known of a node's agent beyond what is stored.
#[derive(Debug)]
pub(crate) struct Link {
    /// When it was heard of last.
    pub(crate) heard: Timestamp,
    pub(crate) session: Option<SessionId>,
    /// The digest of what it should have; None when that has to be made anew.
    digest: Option<Digest>,
    /// Whether a desired state waits for a commit, and whether it is out of date already.
    waiting: Waiting,
    sent: Option<(SessionId, Digest, Timestamp)>,
    /// Allocations that have ended here, but that the agent still runs or may still begin.
    pub(crate) ghosts: BTreeSet<AllocId>,
    /// The last report, to see quickly that nothing is new.
    pub(crate) last: Option<NodeReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    No,
    Current,
    Outdated,
}

impl Link {
    /// The link of a copy, on which nobody waits for anything.
    pub(crate) fn copied(&self, heard: Timestamp, session: SessionId) -> Link {
        Link { session: Some(session), ghosts: self.ghosts.clone(), ..Link::new(heard) }
    }

    pub(crate) fn new(heard: Timestamp) -> Self {
        Link {
            heard,
            session: None,
            digest: None,
            waiting: Waiting::No,
            sent: None,
            ghosts: BTreeSet::new(),
            last: None,
        }
    }
}

impl Core {
    /// An agent opened a stream.
    pub(crate) fn connected(&mut self, session: SessionId, hello: Hello, out: &mut Vec<Effect>) {
        let known = self.state.index.agents.get(&hello.agent).copied();
        if self.state.member(&hello.fingerprint.name).is_some_and(|member| member.revoked.is_some()) {
            // It was let in a moment before it was shut out.
            let reason = format!("the node {} was shut out of the cluster", hello.fingerprint.name);
            out.push(Effect::Close { session, reason });
            return;
        }
        if let Some(other) = self.ready_holder_of(&hello.fingerprint.name, &hello.agent) {
            let name = &hello.fingerprint.name;
            let reason = format!("the name {name} is in use by node {other}; give this agent another name");
            out.push(Effect::Close { session, reason });
            return;
        }
        let id = match known {
            Some(id) => id,
            None if self.state.nodes.len() >= limits::NODES => {
                let reason = format!(
                    "the cluster has {} nodes, lost ones included, and takes no more; those that stay lost are forgotten \
                     after a while",
                    limits::NODES
                );
                out.push(Effect::Close { session, reason });
                return;
            }
            None => {
                self.state.meta.nodes += 1;
                NodeId::new(self.state.meta.incarnation, self.state.meta.nodes)
            }
        };
        let link = self.links.entry(id).or_insert_with(|| Link::new(self.now));
        let older = link.session.replace(session);
        link.heard = self.now;
        link.last = None;
        link.sent = None;
        if let Some(older) = older.filter(|older| *older != session) {
            self.sessions.remove(&older);
            out.push(Effect::Close {
                session: older,
                reason: "a newer stream of this agent took its place".to_owned(),
            });
        }
        self.sessions.insert(session, id);
        // From here on it has the time of any other.
        self.timers.set(self.now + self.settings.heartbeat_grace, Due::Heartbeat(id));
        self.register(id, hello);
        let order = Order::Welcome { epoch: self.state.meta.epoch, node: id, heartbeat: self.settings.heartbeat };
        self.when_durable(Held::Effect(Effect::Send { session, order }), out);
    }

    fn ready_holder_of(&self, name: &NodeName, agent: &AgentKey) -> Option<NodeId> {
        let named = self.state.index.named.get(name).into_iter().flatten();
        let mut others = named.filter_map(|id| self.state.nodes.get(id)).filter(|node| node.agent != *agent);
        others.find(|node| node.is_eligible()).map(|node| node.id)
    }

    /// Writes the node where it is new or its machine changed. A lost node stays lost until it has said what it still
    /// runs: until then nobody knows what room it has.
    fn register(&mut self, id: NodeId, hello: Hello) {
        match self.state.nodes.get(&id).cloned() {
            Some(node) if node.fingerprint == hello.fingerprint => {}
            Some(mut node) => {
                node.fingerprint = hello.fingerprint;
                self.state.put_node(node);
                self.mark_system_slots(id);
            }
            None => {
                let name = hello.fingerprint.name.clone();
                let state = NodeState::Ready { since: self.now };
                let conditions = BTreeMap::new();
                let (agent, fingerprint) = (hello.agent, hello.fingerprint);
                self.state.put_node(Node { id, agent, fingerprint, state, conditions, drain: None });
                self.now_ready(id, name, 0);
            }
        }
    }

    fn now_ready(&mut self, node: NodeId, name: NodeName, serial: u64) {
        let cause = Cause::Report { node, serial };
        let event = self.state.note(self.now, Key::Node(node), cause, Happening::NodeReady { node, name });
        self.root = Some(Cause::Event(event));
        self.timers.set(self.now + self.settings.heartbeat_grace, Due::Heartbeat(node));
        self.mark_system_slots(node);
    }

    /// A lost node has told what it runs: it may be given work again, unless its name was given away meanwhile.
    pub(crate) fn returned(&mut self, session: SessionId, id: NodeId, serial: u64, out: &mut Vec<Effect>) {
        let Some(node) = self.state.nodes.get(&id).filter(|node| !node.is_eligible()) else { return };
        let name = node.fingerprint.name.clone();
        if let Some(other) = self.ready_holder_of(&name, &node.agent) {
            let reason = format!("the name {name} was given to node {other} while this one was lost");
            self.disconnected(session);
            out.push(Effect::Close { session, reason });
            return;
        }
        let mut node = node.clone();
        node.state = NodeState::Ready { since: self.now };
        self.state.put_node(node);
        self.recall_ghosts(id);
        self.state.dirty.emptying.insert(id);
        self.now_ready(id, name, serial);
    }

    /// Writes down what is wrong with a node, where it is news, since now or since when it was.
    pub(crate) fn take_conditions(&mut self, id: NodeId, told: &BTreeSet<NodeCondition>) {
        let Some(node) = self.state.nodes.get(&id).filter(|node| !node.conditions.keys().eq(told)) else { return };
        let mut node = node.clone();
        let since = |condition: &NodeCondition| node.conditions.get(condition).copied().unwrap_or(self.now);
        node.conditions = told.iter().map(|condition| (*condition, since(condition))).collect();
        self.state.put_node(node);
    }

    pub(crate) fn disconnected(&mut self, session: SessionId) {
        let Some(node) = self.sessions.remove(&session) else { return };
        if let Some(link) = self.links.get_mut(&node).filter(|link| link.session == Some(session)) {
            link.session = None;
        }
    }

    /// The node may have been silent for too long. A wake-up that comes late tells that this server was asleep, and
    /// then the silence is not the node's: it gets another heartbeat's time.
    pub(crate) fn heartbeat_due(&mut self, id: NodeId, due: Timestamp) {
        let Some(node) = self.state.nodes.get(&id) else { return };
        if !node.is_eligible() {
            return;
        }
        let heard = self.links.get(&id).map_or(Timestamp(0), |link| link.heard);
        let deadline = heard + self.settings.heartbeat_grace;
        if deadline > self.now {
            self.timers.set(deadline, Due::Heartbeat(id));
        } else if self.now.since(due) > self.settings.heartbeat {
            self.timers.set(self.now + self.settings.heartbeat, Due::Heartbeat(id));
        } else {
            let cause = self.timer(Timer::Heartbeat, due);
            self.lose(id, cause);
        }
    }

    pub(crate) fn lose(&mut self, id: NodeId, cause: Cause) {
        let Some(mut node) = self.state.nodes.get(&id).cloned() else { return };
        let name = node.fingerprint.name.clone();
        node.state = NodeState::Lost { since: self.now, cause: cause.clone() };
        self.state.put_node(node);
        let event = self.state.note(self.now, Key::Node(id), cause, Happening::NodeLost { node: id, name });
        #[cfg(feature = "planted-bugs")]
        if self.state.bug == Some(crate::planted::Bug::LossForgetsAllocs) {
            return;
        }
        self.give_up_after(id, &Cause::Event(event));
        self.mark_system_slots(id);
    }

    /// What ended the work of a lost node: the entry of its loss, else what the node itself says.
    pub(crate) fn cause_of_loss(&self, id: NodeId) -> Option<Cause> {
        let entry = self
            .state
            .ledger
            .values()
            .rev()
            .find(|entry| matches!(&entry.what, Happening::NodeLost { node, .. } if *node == id));
        match (entry, &self.state.nodes.get(&id)?.state) {
            (Some(entry), _) => Some(Cause::Event(entry.id)),
            (None, NodeState::Lost { cause, .. }) => Some(cause.clone()),
            (None, NodeState::Ready { .. }) => None,
        }
    }

    /// Sends every changed desired state to its node, as soon as what it rests on is durable.
    pub(crate) fn push_desired(&mut self, out: &mut Vec<Effect>) {
        for node in std::mem::take(&mut self.state.dirty.touched) {
            if let Some(link) = self.links.get_mut(&node) {
                link.last = None;
            }
        }
        for node in std::mem::take(&mut self.state.dirty.desired) {
            if let Some(link) = self.links.get_mut(&node) {
                link.digest = None;
                self.push_desired_to(node, out);
            }
        }
    }

    pub(crate) fn push_desired_to(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let Some(session) = link.session else { return };
        if link.waiting != Waiting::No {
            link.waiting = Waiting::Outdated;
            return;
        }
        link.waiting = Waiting::Current;
        let desired = Box::new(self.desired(node));
        if let Some(link) = self.links.get_mut(&node) {
            link.digest = Some(desired.digest);
        }
        self.when_durable(Held::Desired { node, session, desired }, out);
    }

    /// A desired state may go out. Says whether its stream is still the node's; one that is out of date by now goes
    /// out all the same, so that a node whose wishes change all the time is told something, and the next follows.
    pub(crate) fn sent(&mut self, node: NodeId, session: SessionId, digest: Digest) -> bool {
        let Some(link) = self.links.get_mut(&node) else { return false };
        let again = link.waiting == Waiting::Outdated;
        link.waiting = Waiting::No;
        if again || link.session != Some(session) {
            self.state.dirty.desired.insert(node);
        }
        let same = link.session == Some(session);
        if same {
            link.sent = Some((session, digest, self.now));
        }
        same
    }

    /// What the node should have, by its digest.
    pub(crate) fn digest_of(&mut self, node: NodeId) -> Digest {
        if let Some(digest) = self.links.get(&node).and_then(|link| link.digest) {
            return digest;
        }
        let digest = self.desired(node).digest;
        if let Some(link) = self.links.get_mut(&node) {
            link.digest = Some(digest);
        }
        digest
    }

    /// The agent works towards something else than it should. Tells it, unless it was told just now.
    pub(crate) fn correct(&mut self, node: NodeId, session: SessionId, current: Digest, out: &mut Vec<Effect>) {
        let Some(link) = self.links.get(&node) else { return };
        let just_told = link.sent.is_some_and(|(to, digest, at)| {
            to == session && digest == current && self.now.since(at) < self.settings.heartbeat
        });
        if !just_told && link.waiting == Waiting::No {
            self.push_desired_to(node, out);
        }
    }

    /// The stream of a node's agent.
    pub(crate) fn session_of(&self, node: NodeId) -> Option<SessionId> {
        self.links.get(&node)?.session
    }

    /// All that should be on a node.
    pub fn desired(&self, node: NodeId) -> Desired {
        let live = self.state.index.live_on.get(&node).into_iter().flatten();
        let mut ids: Vec<AllocId> = live.copied().chain(self.ended_to_keep(node)).collect();
        ids.sort_unstable();
        let allocs: Vec<DesiredAlloc> = ids.iter().filter_map(|id| self.desired_alloc(self.alloc(*id))).collect();
        let Hash128(digest) = digest128(&allocs);
        Desired { epoch: self.state.meta.epoch, digest: Digest(digest), allocs }
    }

    /// The newest that have ended on a node, as many as it should keep.
    fn ended_to_keep(&self, node: NodeId) -> impl Iterator<Item = AllocId> {
        let newest = self.state.index.ended_on.get(&node).into_iter().flat_map(|ids| ids.iter().rev());
        let (mut classes, mut bytes) = (BTreeSet::new(), 0);
        newest.take(ENDED_PER_NODE).copied().take_while(move |id| {
            let alloc = self.alloc(*id);
            let group = self.state.spec(&alloc.job, alloc.version).and_then(|spec| spec.group(&alloc.group));
            if classes.insert((&alloc.job, alloc.version, &alloc.group)) {
                bytes += group.map_or(0, crate::size::of_group);
            }
            bytes <= ENDED_BYTES
        })
    }

    fn desired_alloc(&self, alloc: &Alloc) -> Option<DesiredAlloc> {
        let spec = self.state.spec(&alloc.job, alloc.version)?;
        let goal = match alloc.state {
            AllocState::Waiting { .. } => return None,
            AllocState::Placed { .. } | AllocState::Running { .. } => Goal::Run,
            AllocState::Stopping { .. } | AllocState::Ended { .. } => Goal::Stop,
        };
        Some(DesiredAlloc {
            id: alloc.id,
            job: alloc.job.clone(),
            kind: spec.kind,
            version: alloc.version,
            index: alloc.index,
            group: spec.group(&alloc.group)?.clone(),
            ports: alloc.placement()?.ports.clone(),
            devices: alloc.placement()?.devices.clone(),
            goal,
        })
    }
}
