//! The copy of a core that a plan is made on: it knows all that the core knows, commits under way included, and talks to
//! nobody.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::NodeId;
use berth_model::control::SessionId;

use crate::balance::Balancing;
use crate::core::Core;
use crate::leases::Leases;
use crate::pipeline::Pipeline;
use crate::state::State;
use crate::timers::Due;

impl Core {
    /// The copy. What only tells of the past (the ledger, outcomes of commands) is left out: nothing is decided on it.
    /// What is under way to the store counts as arrived, and nobody waits for an answer.
    pub(crate) fn copy(&self) -> Core {
        let mut links = BTreeMap::new();
        let mut sessions = BTreeMap::new();
        // One that is lost has nothing to say in it.
        let there = |id: &NodeId| self.state.nodes.get(id).is_some_and(berth_model::Node::is_eligible);
        for (id, link) in self.links.iter().filter(|(id, _)| there(id)) {
            let session = SessionId(id.counter);
            links.insert(*id, link.copied(self.now, session));
            sessions.insert(session, *id);
        }
        Core {
            settings: self.settings.clone(),
            state: self.state.copy(),
            pipeline: Pipeline::under_way(),
            timers: self.timers.only(|due| matches!(due, Due::MinReady(_) | Due::Reschedule(_) | Due::Proven)),
            sessions,
            links,
            leases: Leases::new(self.now),
            now: self.now,
            written: self.state.meta,
            pace: self.pace,
            root: None,
            balancing: Balancing::asleep(self.state.policy.spec.weights),
        }
    }

    /// Nodes that were not heard of for too long, all found silent when the core wakes next.
    pub(crate) fn silence(&mut self, nodes: &BTreeSet<NodeId>) {
        for node in nodes {
            if let Some(link) = self.links.get_mut(node) {
                link.heard = berth_model::Timestamp(0);
                self.timers.set(self.now, Due::Heartbeat(*node));
            }
        }
    }
}

impl State {
    fn copy(&self) -> State {
        State {
            meta: self.meta,
            nodes: self.nodes.clone(),
            jobs: self.jobs.clone(),
            versions: self.versions.clone(),
            allocs: self.allocs.clone(),
            index: self.index.copy(),
            board: self.board.clone(),
            policy: self.policy.clone(),
            policy_changed: self.policy_changed.clone(),
            held_back: self.held_back.clone(),
            // In step, what has been reported has its consequences yet to come.
            dirty: self.dirty.clone(),
            ..State::default()
        }
    }
}
