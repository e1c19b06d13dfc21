//! What the loop and the requests share: the view of what is durable, the agents, the tunnels, the clock.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use berth_control::{SessionId, Settings};
use berth_model::{Bytes, Timestamp};
use tokio::sync::watch;

use super::lead::Lead;
use crate::agents::Agents;
use crate::tunnels::Tunnels;
use crate::view::View;
use crate::{Clock, Config};

/// What the loop and the requests share.
#[derive(Debug)]
pub struct Shared {
    /// The clock.
    pub clock: Clock,
    /// For the core.
    pub settings: Settings,
    /// Where the journal is, and what it may take.
    pub journal: (PathBuf, Bytes),
    /// When the server began.
    pub started: Timestamp,
    /// The agents with an open stream.
    pub agents: Agents,
    /// Tunnels that wait for their agents.
    pub tunnels: Tunnels,
    view: RwLock<View>,
    /// Counts what was written to the ledger in the view, so that followers know when to look again.
    ledger: watch::Sender<u64>,
    sessions: AtomicU64,
}

impl Shared {
    /// With an empty view.
    pub fn new(config: &Config) -> Shared {
        Shared {
            clock: config.clock.clone(),
            settings: config.settings.clone(),
            journal: (config.data_dir.join("journal"), config.journal_max),
            started: config.clock.now(),
            agents: Agents::default(),
            tunnels: Tunnels::new(),
            view: RwLock::default(),
            ledger: watch::Sender::new(0),
            sessions: AtomicU64::new(0),
        }
    }

    /// The view, to look something up. Not to be held while waiting for anything: the loop needs it too.
    pub fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().expect("nothing panics while it changes the view")
    }

    /// Shows what a new lead has loaded.
    pub fn show(&self, lead: &Lead) {
        *self.view_mut() = View::load(&lead.snapshot, lead.epoch);
        self.ledger_written();
    }

    /// The view, to follow a commit.
    pub fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().expect("nothing panics while it changes the view")
    }

    /// Wakes those who follow the ledger.
    pub fn ledger_written(&self) {
        self.ledger.send_modify(|count| *count += 1);
    }

    /// Tells when the ledger was written to.
    pub fn follow_ledger(&self) -> watch::Receiver<u64> {
        self.ledger.subscribe()
    }

    /// A number for a new stream.
    pub fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
