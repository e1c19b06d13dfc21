//! Tunnels: a user's request waits here until the agent has opened a connection of its own to serve it.
//!
//! The two requests are then spliced: the body that one side sends is the body that the other side receives, so that
//! whoever is slow slows the other down, and whoever goes takes the other along.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use berth_api::wire::v1::TunnelId;
use berth_model::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::folder::random_text;

/// Tunnels that may be open or waiting at once.
const TUNNELS: usize = 512;
/// Bytes of randomness in a tunnel's name: who knows the name may serve the tunnel.
const NAME_BYTES: usize = 16;

/// An agent's half, handed to the waiting user.
#[derive(Debug)]
pub struct AgentHalf {
    /// What the agent sends.
    pub from_agent: Body,
    /// Takes what is sent to the agent.
    pub to_agent: oneshot::Sender<Body>,
}

/// By name: whose agent is waited for, and where its half goes.
type Waits = BTreeMap<TunnelId, (NodeId, oneshot::Sender<AgentHalf>)>;

/// The tunnels that wait for their agents.
#[derive(Clone, Debug)]
pub struct Tunnels {
    waiting: Arc<Mutex<Waits>>,
    open: Arc<Semaphore>,
}

/// A user's wait for an agent; gives its place back when dropped.
#[derive(Debug)]
pub struct Waiting {
    /// The tunnel's name.
    pub id: TunnelId,
    /// The agent's half, once it has come.
    pub arrival: oneshot::Receiver<AgentHalf>,
    /// Held for as long as the tunnel is open.
    pub permit: Arc<OwnedSemaphorePermit>,
    tunnels: Tunnels,
}

impl Tunnels {
    /// None yet.
    pub fn new() -> Tunnels {
        Tunnels { waiting: Arc::default(), open: Arc::new(Semaphore::new(TUNNELS)) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.waiting.lock().expect("nothing panics while it holds the tunnels")
    }

    /// Begins to wait for the agent of a node. None: there are as many tunnels as may be.
    pub fn wait(&self, node: NodeId) -> Option<Waiting> {
        let permit = Arc::new(self.open.clone().try_acquire_owned().ok()?);
        let id = TunnelId(random_text::<NAME_BYTES>());
        let (sender, arrival) = oneshot::channel();
        self.lock().insert(id.clone(), (node, sender));
        Some(Waiting { id, arrival, permit, tunnels: self.clone() })
    }

    /// Takes the place where the half of a node's agent is awaited. None: nobody waits for that one, or no longer.
    pub fn take(&self, id: &TunnelId, is_node: impl FnOnce(NodeId) -> bool) -> Option<oneshot::Sender<AgentHalf>> {
        let mut waiting = self.lock();
        let (node, _) = waiting.get(id)?;
        if !is_node(*node) {
            return None;
        }
        waiting.remove(id).map(|(_, place)| place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.tunnels.lock().remove(&self.id);
    }
}
