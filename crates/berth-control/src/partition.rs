//! What becomes of allocations on a node that is lost, as their groups say (`on_partition`).
//!
//! Nobody can tell then whether they run. Until they are given up they stay as they were and hold their slots: nothing
//! takes their place. Those of `replace` are given up so long after the loss, those of `fence` when their leases
//! (see [`crate::leases`]) are over for sure, those of `keep` when an operator says so. A node that comes back before that
//! goes on as if it had not been lost.
//!
//! *Fenced slots hold one.* What is fenced is never started beside another of its slot, for no reason: an update or a drain
//! stops the old one first, and the next is made when that has ended.

use std::collections::BTreeSet;

use berth_model::control::Settings;
use berth_model::{
    Alloc, AllocId, AllocState, Cause, CommandId, CommandOutcome, GroupName, GroupSpec, Happening, JobId, Millis,
    NodeId, NodeState, OnPartition, Outcome, Refusal, Timestamp, limits,
};

use crate::commands::{Done, invalid};
use crate::core::Core;
use crate::index::Slot;
use crate::journal::{Key, Takes};
use crate::timers::Due;

/// How long a shim may take, when a lease has ended, until no process is left.
const KILLED_WITHIN: Millis = Millis(1_000);
/// A lease is as long as so many heartbeats at least: one report or two may be late.
const HEARTBEATS: u64 = 3;

impl Core {
    /// A node was lost: gives up what its group gives no more time, and sets timers for the rest.
    pub(crate) fn give_up_after(&mut self, id: NodeId, cause: &Cause) {
        for alloc in self.live_on(id) {
            match self.given_up_at(id, self.alloc(alloc)) {
                Some(at) if at <= self.now => self.end(alloc, Outcome::Lost(id), cause.clone()),
                Some(at) => self.timers.set(at, Due::GiveUp(id)),
                None => {}
            }
        }
    }

    /// Something on a lost node may have had its time. Also after a change of leader.
    pub(crate) fn give_up(&mut self, id: NodeId) {
        if let Some(cause) = self.cause_of_loss(id).filter(|_| self.is_lost(id)) {
            self.give_up_after(id, &cause);
        }
    }

    /// When an allocation on a lost node is given up. None: by an operator alone.
    fn given_up_at(&self, node: NodeId, alloc: &Alloc) -> Option<Timestamp> {
        let NodeState::Lost { since, .. } = self.state.nodes.get(&node)?.state else { return None };
        match self.state.speaks_for(alloc)?.group(&alloc.group)?.on_partition {
            OnPartition::Keep => None,
            // A clock that was set back between two leaders makes nobody wait longer.
            OnPartition::Replace { after } => Some(since.min(self.now) + after),
            OnPartition::Fence { lease } => Some(self.fenced_by(node, lease)),
        }
    }

    /// When nothing of this lease runs on the node any more, unless it is given another.
    fn fenced_by(&self, node: NodeId, lease: Millis) -> Timestamp {
        #[cfg(feature = "planted-bugs")]
        if self.state.bug == Some(crate::planted::Bug::LeaseNotWaitedFor) {
            return self.now;
        }
        self.leases.began(node) + self.settings.clock_drift.outlast(lease) + KILLED_WITHIN
    }

    /// Gives up at once what is not fenced on a lost node.
    pub(crate) fn give_up_kept(&mut self, id: NodeId, cause: &Cause) {
        let fenced = self.state.index.fenced_on.get(&id).cloned().unwrap_or_default();
        for alloc in self.live_on(id).into_iter().filter(|alloc| !fenced.contains(alloc)) {
            self.end(alloc, Outcome::Lost(id), cause.clone());
        }
    }

    /// An operator knows that nothing runs on lost nodes any more, or does not mind.
    pub(crate) fn abandon(&mut self, id: CommandId, nodes: BTreeSet<NodeId>) -> Result<Done, Refusal> {
        let first = self.known_nodes(&nodes)?;
        if let Some(there) = nodes.iter().find(|node| !self.is_lost(**node)) {
            let problem = format!("node {there} is not lost: its work is known");
            return Err(invalid("nodes", problem, "have it leave with `berth drain`, or shut the node out"));
        }
        for node in &nodes {
            let name = self.state.nodes[node].fingerprint.name.clone();
            self.state.journal.touch(Key::Node(*node), Takes::Nothing);
            let what = Happening::NodeAbandoned { node: *node, name };
            let event = self.state.note(self.now, Key::Node(*node), Cause::Command(id), what);
            self.give_up_kept(*node, &Cause::Event(event));
        }
        Ok((CommandOutcome::Abandoned(nodes), first))
    }

    fn is_lost(&self, id: NodeId) -> bool {
        self.state.nodes.get(&id).is_some_and(|node| !node.is_eligible())
    }

    /// Whether it is on a node of which nothing is heard: nobody can wait for what it does.
    pub(crate) fn is_out_of_reach(&self, id: AllocId) -> bool {
        self.alloc(id).occupies().is_some_and(|node| self.is_lost(node))
    }

    /// Whether a slot holds one instance at a time: it is fenced, or what runs in it is.
    pub(crate) fn holds_one(&self, job: &JobId, group: &GroupName, slot: Slot) -> bool {
        let newest = self.state.jobs.get(job).and_then(|job| job.spec.group(group));
        let is_fenced = |id: AllocId| self.state.index.is_fenced(job, self.alloc(id).version, group);
        newest.is_some_and(|group| group.lease().is_some()) || self.live_in(job, group, slot).into_iter().any(is_fenced)
    }

    /// Whether something in the slot was told to stop and is not gone.
    pub(crate) fn is_being_emptied(&self, job: &JobId, group: &GroupName, slot: Slot) -> bool {
        let stopping = |id: AllocId| matches!(self.alloc(id).state, AllocState::Stopping { .. });
        self.live_in(job, group, slot).into_iter().any(stopping)
    }
}

/// The limits of what a group may say of partitions.
pub(crate) fn check_partition(
    group: &GroupSpec,
    settings: &Settings,
    place: impl Fn(&str) -> String,
) -> Result<(), Refusal> {
    let wrong = |what: &str, problem, remedy: String| Err(invalid(place(what), problem, &remedy));
    let most = limits::ON_PARTITION;
    match group.on_partition {
        OnPartition::Keep => Ok(()),
        OnPartition::Replace { after } if after <= most => Ok(()),
        OnPartition::Replace { after } => {
            wrong(".replace_after", format!("{after} is too long"), format!("use {most} at most, or `keep`"))
        }
        OnPartition::Fence { lease } => {
            let least = limits::LEAST_LEASE.max(Millis(settings.heartbeat.0.saturating_mul(HEARTBEATS)));
            if (least..=most).contains(&lease) {
                return Ok(());
            }
            let problem = format!("a lease of {lease} is not from {least} to {most}");
            wrong(".lease", problem, format!("use {least} or more: agents report every {}", settings.heartbeat))
        }
    }
}
