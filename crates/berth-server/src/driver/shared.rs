//! What the loop and the requests share: the view of what is durable, the agents, the tunnels, the clock.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use berth_control::{SessionId, Settings};
use berth_model::{Bytes, Epoch, LedgerEntry, Mutation, Revision, Timestamp};
use berth_store::Server;
use tokio::sync::watch;

use crate::agents::Agents;
use crate::tunnels::Tunnels;
use crate::view::View;
use crate::{Clock, Config, StoreKind};

/// What a server is at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It decides.
    Leads,
    /// Another one does, which is reached at this address.
    Follows(String),
    /// Nobody does, as far as this server knows, and somebody will soon.
    Leaderless,
    /// Nobody does that this server knows of, since the store cannot be reached or read from here.
    Storeless,
}

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
    /// Whether there may be other servers on the store.
    shares_store: bool,
    /// The agents with an open stream.
    pub agents: Agents,
    /// Tunnels that wait for their agents.
    pub tunnels: Tunnels,
    view: RwLock<View>,
    /// Counts what was written to the ledger in the view, so that followers know when to look again.
    ledger: watch::Sender<u64>,
    /// Up to which revision the view has followed, for those who wait for one.
    revision: watch::Sender<Revision>,
    role: watch::Sender<Role>,
    servers: watch::Sender<Vec<Server>>,
    /// Counts the changes of whom the cluster trusts.
    trust: watch::Sender<u64>,
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
            shares_store: matches!(config.store, StoreKind::Etcd(_)),
            agents: Agents::default(),
            tunnels: Tunnels::new(),
            view: RwLock::default(),
            ledger: watch::Sender::new(0),
            revision: watch::Sender::default(),
            role: watch::Sender::new(Role::Leaderless),
            servers: watch::Sender::default(),
            trust: watch::Sender::new(0),
            sessions: AtomicU64::new(0),
        }
    }

    /// The view, to look something up. Not to be held while waiting for anything: the loop needs it too.
    pub fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().expect("nothing panics while it changes the view")
    }

    /// Shows what was loaded.
    pub fn show(&self, view: View) {
        let revision = view.revision;
        *self.view_mut() = view;
        self.revision.send_replace(revision);
        self.ledger_written();
        self.trust.send_modify(|count| *count += 1);
    }

    /// Follows the writes of one revision, and tells which entries of the ledger are among them.
    pub fn follow(&self, revision: Revision, mutations: Vec<Mutation>) -> Vec<LedgerEntry> {
        let mut entries = Vec::new();
        let mut trust = false;
        let mut view = self.view_mut();
        for mutation in mutations {
            trust |= matches!(mutation, Mutation::PutTrust(_) | Mutation::DeleteTrust(_));
            if let Mutation::PutLedger(entry) = &mutation {
                entries.push(entry.clone());
            }
            view.apply(mutation);
        }
        view.revision = view.revision.max(revision);
        drop(view);
        self.revision.send_replace(revision);
        if trust {
            self.trust.send_modify(|count| *count += 1);
        }
        if !entries.is_empty() {
            self.ledger_written();
        }
        entries
    }

    /// Shows that another reign has begun.
    pub fn reigned_by(&self, epoch: Epoch) {
        self.view_mut().epoch = epoch;
    }

    /// Waits until the view has followed up to a revision, for so long at most.
    pub async fn caught_up(&self, revision: Revision, longest: Duration) -> bool {
        let mut followed = self.revision.subscribe();
        let waiting = followed.wait_for(|followed| *followed >= revision);
        tokio::time::timeout(longest, waiting).await.is_ok_and(|waited| waited.is_ok())
    }

    /// What this server is now.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// This server is something else from now on.
    pub fn become_role(&self, role: Role) {
        self.role.send_if_modified(|held| {
            let changes = *held != role;
            *held = role;
            changes
        });
    }

    /// The servers that share the store, this one among them, as was seen last; none while they cannot be seen.
    pub fn servers(&self) -> &watch::Sender<Vec<Server>> {
        &self.servers
    }

    /// The servers that share the store, seen after this was asked for. None: they cannot be seen within this time.
    pub async fn look_at_servers(&self, longest: Duration) -> Option<Vec<Server>> {
        let mut seen = self.servers.subscribe();
        if self.shares_store {
            let twice = async {
                // The first of the two may have been under way.
                seen.changed().await.ok()?;
                seen.changed().await.ok()
            };
            tokio::time::timeout(longest, twice).await.ok()??;
        }
        let servers = seen.borrow().clone();
        (!servers.is_empty()).then_some(servers)
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().expect("nothing panics while it changes the view")
    }

    /// Wakes those who follow the ledger.
    fn ledger_written(&self) {
        self.ledger.send_modify(|count| *count += 1);
    }

    /// Tells when the ledger was written to.
    pub fn follow_ledger(&self) -> watch::Receiver<u64> {
        self.ledger.subscribe()
    }

    /// Tells when whom the cluster trusts has changed.
    pub fn follow_trust(&self) -> watch::Receiver<u64> {
        self.trust.subscribe()
    }

    /// A number for a new stream.
    pub fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
