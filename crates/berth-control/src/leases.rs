//! Leases: for how long what is fenced on a node may run on although nobody hears of it.
//!
//! A report is answered by leases that begin at the moment at which the agent had sent it. The moment at which it came here
//! is no earlier, so that this server knows when they end at the latest, by its own clock and less the drift of both.
//!
//! *Other leaders.* A server may believe that it leads when another already does. So it answers only after a commit, issued
//! when the report was here, has been carried out in its reign. A new leader's reign begins later than any report that one
//! before it has answered; to it, every lease begins with its reign.

use std::collections::BTreeMap;

use berth_model::control::{Effect, SessionId};
use berth_model::{AllocId, Millis, NodeId, NodeReport, Order, Timestamp};

use crate::core::Core;
use crate::pipeline::Held;
use crate::timers::Due;

/// Leases of many nodes are given with one commit: no two rounds of them are closer to each other.
const GAP: Millis = Millis(100);

/// A report that is to be answered by leases.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    session: SessionId,
    serial: u64,
    /// What is fenced of all that it showed: that the agent has it tells that its placement is durable.
    fenced: Vec<AllocId>,
    /// When it came.
    at: Timestamp,
}

/// What this reign has promised to agents.
#[derive(Debug)]
pub(crate) struct Leases {
    /// When the reign began.
    began: Timestamp,
    /// When the leases of a node began, the newest that were given in this reign.
    given: BTreeMap<NodeId, Timestamp>,
    /// The newest report of each node that has not been answered.
    asked: BTreeMap<NodeId, Asked>,
    /// When the next round may begin.
    next: Timestamp,
}

impl Leases {
    /// Nothing is promised yet.
    pub(crate) fn new(began: Timestamp) -> Leases {
        Leases { began, given: BTreeMap::new(), asked: BTreeMap::new(), next: began }
    }

    /// When the leases of a node began at the latest, whoever gave them.
    pub(crate) fn began(&self, node: NodeId) -> Timestamp {
        self.given.get(&node).copied().unwrap_or(self.began)
    }

    /// A node is no more.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.given.remove(&node);
        self.asked.remove(&node);
    }
}

impl Core {
    /// A report has come. It is answered where something is fenced on its node.
    pub(crate) fn ask_for_leases(&mut self, node: NodeId, session: SessionId, report: &NodeReport) {
        let Some(fenced) = self.state.index.fenced_on.get(&node) else { return };
        let shown = report.allocs.iter().map(|observed| observed.id);
        let fenced = shown.filter(|id| fenced.contains(id)).collect();
        let first = self.leases.asked.is_empty();
        self.leases.asked.insert(node, Asked { session, serial: report.serial, fenced, at: self.now });
        if self.leases.next <= self.now {
            self.leases_due();
        } else if first {
            self.timers.set(self.leases.next, Due::Lease);
        }
    }

    /// A round of leases may begin.
    pub(crate) fn leases_due(&mut self) {
        if self.leases.next > self.now || self.leases.asked.is_empty() {
            return;
        }
        self.leases.next = self.now + GAP;
        for (node, asked) in std::mem::take(&mut self.leases.asked) {
            self.pipeline.hold_for_proof(Held::Lease { node, asked });
        }
    }

    /// This reign went on when the report was here: it can be answered, unless the node was lost meanwhile.
    pub(crate) fn lease(&mut self, node: NodeId, asked: Asked, out: &mut Vec<Effect>) {
        let Asked { session, serial, fenced: mut allocs, at } = asked;
        let is_there = self.state.nodes.get(&node).is_some_and(berth_model::Node::is_eligible);
        let still_there = self.state.index.fenced_on.get(&node).filter(|_| is_there);
        allocs.retain(|id| still_there.is_some_and(|there| there.contains(id)));
        if allocs.is_empty() || self.session_of(node) != Some(session) {
            return;
        }
        self.leases.given.insert(node, at);
        out.push(Effect::Send { session, order: Order::Lease { serial, allocs } });
    }
}
