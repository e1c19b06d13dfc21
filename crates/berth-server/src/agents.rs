//! The agents with an open stream: how to reach them, and what they said that is not worth storing.

use std::collections::BTreeMap;
use std::sync::Mutex;

use berth_api::wire::v1::{ServerMessage, TunnelId, TunnelKind};
use berth_control::SessionId;
use berth_model::{AllocId, NodeId, NodeReport, Phase, Progress};
use tokio::sync::mpsc;

/// Messages that may wait for one agent. One that lets more come together is taken for lost.
pub const QUEUED_MESSAGES: usize = 64;

/// Where messages for one agent go in.
pub type Outbox = mpsc::Sender<ServerMessage>;

/// The agents with an open stream.
#[derive(Debug, Default)]
pub struct Agents {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_node: BTreeMap<NodeId, (SessionId, Outbox)>,
    progress: BTreeMap<SessionId, BTreeMap<AllocId, Progress>>,
}

/// Why an agent cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// It has no stream to this server.
    NotConnected,
    /// Too much is waiting for it already.
    Slow,
}

impl Agents {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the agents")
    }

    /// A session was welcomed as this node; an older one of the node is no longer asked.
    pub fn welcomed(&self, node: NodeId, session: SessionId, outbox: Outbox) {
        self.lock().by_node.insert(node, (session, outbox));
    }

    /// A session is over.
    pub fn gone(&self, session: SessionId) {
        let mut inner = self.lock();
        inner.by_node.retain(|_, (of_node, _)| *of_node != session);
        inner.progress.remove(&session);
    }

    /// Keeps what a report tells of the fetching of images.
    pub fn reported(&self, session: SessionId, report: &NodeReport) {
        let fetching = report.allocs.iter().filter_map(|alloc| match &alloc.phase {
            Phase::Preparing(progress) => Some((alloc.id, *progress)),
            Phase::Starting | Phase::Running | Phase::Stopping | Phase::Ended(_) => None,
        });
        let fetching: BTreeMap<_, _> = fetching.collect();
        self.lock().progress.insert(session, fetching);
    }

    /// How far the fetching of an allocation's images is.
    pub fn progress(&self, node: NodeId, alloc: AllocId) -> Option<Progress> {
        let inner = self.lock();
        let (session, _) = inner.by_node.get(&node)?;
        inner.progress.get(session)?.get(&alloc).copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().by_node.len()
    }

    /// Asks a node's agent to open a tunnel.
    pub fn open_tunnel(&self, node: NodeId, id: TunnelId, wanted: TunnelKind) -> Result<(), Unreached> {
        let inner = self.lock();
        let (_, outbox) = inner.by_node.get(&node).ok_or(Unreached::NotConnected)?;
        outbox.try_send(ServerMessage::OpenTunnel { id, wanted }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unreached::Slow,
            mpsc::error::TrySendError::Closed(_) => Unreached::NotConnected,
        })
    }
}
