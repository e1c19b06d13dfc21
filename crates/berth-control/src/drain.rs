//! Draining: nodes are emptied, for maintenance or for good.
//!
//! Nothing new is placed on a node that is drained. Services leave it through the *replace* primitive, see
//! [`crate::replace`], within the budgets of their groups: the new instance is ready elsewhere before the old one stops, and
//! where it fits nowhere the old one stays, and the new one's wait reason tells why. Batch work may finish. System jobs go
//! when nothing else is left. What is still there at the deadline is stopped, and made anew elsewhere as after any stop
//! that nobody wished for.
//!
//! A node is *drained* when its agent has confirmed that nothing is left: every allocation has ended by its report, and
//! none that was given up while the node was lost still runs there. It stays so until somebody enables it; what has moved
//! stays where it is.
//!
//! A plan looks ahead to no deadline but one that has come: until then it is not known what of the batch work is left.

use std::collections::BTreeSet;

use berth_model::{
    Alloc, Cause, CommandId, CommandOutcome, Drain, Happening, JobKind, Millis, NodeId, Refusal, limits,
};

use crate::commands::{Done, invalid};
use crate::core::Core;
use crate::index::Slot;
use crate::journal::{Key, Takes};
use crate::state::State;
use crate::timers::Due;

impl Core {
    /// Begins to empty nodes. Asked again, only the deadline is another.
    pub(crate) fn drain(
        &mut self,
        id: CommandId,
        nodes: BTreeSet<NodeId>,
        deadline: Option<Millis>,
    ) -> Result<Done, Refusal> {
        let first = self.known_nodes(&nodes)?;
        for node in &nodes {
            self.begin_drain(*node, deadline, Cause::Command(id));
        }
        Ok((CommandOutcome::Draining(nodes), first))
    }

    /// Has nodes take work again.
    pub(crate) fn enable(&mut self, id: CommandId, nodes: BTreeSet<NodeId>) -> Result<Done, Refusal> {
        let first = self.known_nodes(&nodes)?;
        for id_of in &nodes {
            let mut node = self.state.nodes[id_of].clone();
            self.state.journal.touch(Key::Node(*id_of), Takes::Nothing);
            if node.drain.take().is_some() {
                let name = node.fingerprint.name.clone();
                self.state.put_node(node);
                let what = Happening::NodeEnabled { node: *id_of, name };
                self.state.note(self.now, Key::Node(*id_of), Cause::Command(id), what);
                self.mark_node(*id_of);
            }
        }
        Ok((CommandOutcome::Enabled(nodes), first))
    }

    /// Refuses what names no node, too many, or one that is not there. Gives the first.
    pub(crate) fn known_nodes(&self, nodes: &BTreeSet<NodeId>) -> Result<Key, Refusal> {
        let few = "name at least one node, and at most 10000 at once";
        let first = nodes.first().ok_or_else(|| invalid("nodes", "no node is named".to_owned(), few))?;
        if nodes.len() > limits::NODES_OF_COMMAND {
            return Err(invalid("nodes", format!("{} nodes are named", nodes.len()), few));
        }
        match nodes.iter().find(|node| !self.state.nodes.contains_key(node)) {
            Some(missing) => Err(Refusal::NoSuchNode(*missing)),
            None => Ok(Key::Node(*first)),
        }
    }

    fn begin_drain(&mut self, id: NodeId, deadline: Option<Millis>, cause: Cause) {
        let mut node = self.state.nodes[&id].clone();
        let name = node.fingerprint.name.clone();
        let deadline = deadline.map(|after| self.now + after);
        let before = node.drain.take();
        let (since, done) = before.as_ref().map_or((self.now, None), |drain| (drain.since, drain.done));
        node.drain = Some(Drain { since, asked: self.now, cause: cause.clone(), deadline, done });
        self.state.put_node(node);
        if before.as_ref().is_none_or(|drain| drain.deadline != deadline) {
            let what = Happening::NodeDraining { node: id, name, deadline };
            self.state.note(self.now, Key::Node(id), cause, what);
        }
        if before.is_none() {
            self.mark_node(id);
        }
        self.wait_for_deadline(id);
    }

    /// Goes on with a drain after a change of leader.
    pub(crate) fn resume_drain(&mut self, id: NodeId) {
        self.clamp_deadline(id);
        self.wait_for_deadline(id);
    }

    /// A clock that was set back between two leaders makes a deadline no later than it would be from now on.
    fn clamp_deadline(&mut self, id: NodeId) {
        let Some(mut node) = self.state.nodes.get(&id).cloned() else { return };
        let Some(drain) = node.drain.as_mut().filter(|drain| drain.asked > self.now) else { return };
        drain.deadline = drain.deadline.map(|deadline| self.now + deadline.since(drain.asked));
        drain.asked = self.now;
        self.state.put_node(node);
    }

    /// Stops what is left if the time of a drain is over, and sets the timer if it is yet to be.
    fn wait_for_deadline(&mut self, id: NodeId) {
        let Some(drain) = self.state.drain_of(id).filter(|drain| drain.done.is_none()) else { return };
        let deadline = drain.deadline;
        self.state.dirty.emptying.insert(id);
        match deadline {
            Some(deadline) if deadline <= self.now => self.stop_all_on(id),
            Some(deadline) => self.timers.set(deadline, Due::Drain(id)),
            None => {}
        }
    }

    /// The deadline of a drain may have come.
    pub(crate) fn drain_due(&mut self, id: NodeId) {
        if self.state.drain_of(id).is_some_and(|drain| drain.is_over(self.now)) {
            self.state.dirty.unforeseen = true;
            self.stop_all_on(id);
        }
    }

    fn stop_all_on(&mut self, id: NodeId) {
        for alloc in self.live_on(id) {
            self.stop(alloc, Cause::Drain { node: id });
        }
    }

    /// Every slot with something on the node is looked at again, and those of system jobs.
    fn mark_node(&mut self, id: NodeId) {
        let slot = |alloc: &Alloc| (alloc.job.clone(), alloc.group.clone(), Slot::of(alloc));
        let slots: Vec<_> = self.live_on(id).into_iter().map(|on| slot(self.alloc(on))).collect();
        self.state.dirty.slots.extend(slots);
        self.mark_system_slots(id);
    }

    /// Sends system jobs away where nothing else is left, and notes the nodes on which nothing is.
    pub(crate) fn advance_drains(&mut self) {
        for id in std::mem::take(&mut self.state.dirty.emptying) {
            let waits = self.state.drain_of(id).is_some_and(|drain| drain.done.is_none());
            if !waits {
                continue;
            }
            match self.state.remains_on(id) {
                Remains::Work => {}
                Remains::SystemJobs => self.mark_system_slots(id),
                Remains::Nothing if self.is_confirmed(id) => self.drained(id),
                Remains::Nothing => {}
            }
        }
    }

    /// Whether the node's agent is there, and has shown since it came that nothing given up runs on.
    fn is_confirmed(&self, id: NodeId) -> bool {
        let is_ready = self.state.nodes.get(&id).is_some_and(berth_model::Node::is_eligible);
        let link = self.links.get(&id).filter(|link| link.session.is_some());
        is_ready && link.is_some_and(|link| link.ghosts.is_empty())
    }

    fn drained(&mut self, id: NodeId) {
        let Some(mut node) = self.state.nodes.get(&id).cloned() else { return };
        let Some(drain) = &mut node.drain else { return };
        drain.done = Some(self.now);
        let (cause, name) = (drain.cause.clone(), node.fingerprint.name.clone());
        self.state.put_node(node);
        self.state.note(self.now, Key::Node(id), cause, Happening::NodeDrained { node: id, name });
    }
}

/// What is left on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    Nothing,
    SystemJobs,
    Work,
}

impl State {
    /// The drain of a node, if it is or was emptied and not enabled since.
    pub(crate) fn drain_of(&self, id: NodeId) -> Option<&Drain> {
        self.nodes.get(&id)?.drain.as_ref()
    }

    /// Whether nothing of a system job should be on the node any more: it is drained, and all else has gone.
    pub(crate) fn is_closed_to_system_jobs(&self, id: NodeId) -> bool {
        self.drain_of(id).is_some() && self.remains_on(id) != Remains::Work
    }

    /// Whether a service has to leave the node that this allocation is on.
    pub(crate) fn has_to_leave(&self, alloc: &Alloc) -> bool {
        let is_drained = alloc.occupies().is_some_and(|node| self.drain_of(node).is_some());
        is_drained && self.jobs.get(&alloc.job).is_some_and(|job| job.spec.kind == JobKind::Service)
    }

    /// The drain of the node that this allocation is on, as a cause.
    pub(crate) fn drain_cause(&self, alloc: &Alloc) -> Option<Cause> {
        let node = alloc.occupies()?;
        self.drain_of(node).map(|_| Cause::Drain { node })
    }

    pub(crate) fn remains_on(&self, id: NodeId) -> Remains {
        let on = self.index.live_on.get(&id).into_iter().flatten().map(|alloc| &self.allocs[alloc]);
        let is_system = |alloc: &Alloc| self.jobs.get(&alloc.job).is_some_and(|job| job.spec.kind == JobKind::System);
        on.fold(Remains::Nothing, |remains, alloc| match remains {
            Remains::Work => Remains::Work,
            Remains::Nothing | Remains::SystemJobs if is_system(alloc) => Remains::SystemJobs,
            Remains::Nothing | Remains::SystemJobs => Remains::Work,
        })
    }
}
