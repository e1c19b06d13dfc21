//! One reign: the core from its loading to its stepping down, with the commits that are under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use berth_api::wire::v1::{ServerMessage, ToWire as _};
use berth_control::{Beginning, CommitError, CommitId, Core, Effect, Event, RequestId, SessionId, StepDown};
use berth_journal::Scribe;
use berth_model::{Epoch, LedgerEntry, Mutation, Order, Refusal, Revision, Timestamp};
use berth_record::{EPOCH_KEY, encode_commit, encode_epoch};
use berth_store::{Applied, Guard, Operation, StoreError, Transaction};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::lead::Lead;
use super::store::Mandate;
use super::{AnyStore, Input, Reply, Shared};
use crate::agents::Outbox;
use crate::view::View;

/// Commits handed to the store at once. Fewer than it lets wait, so that it is never too busy for one in the middle.
const COMMITS_UNDER_WAY: usize = 128;

/// How a reign ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server was told to stop.
    Shutdown,
    /// The lead was lost.
    SteppedDown,
}

/// A commit that is done, one way or the other.
#[derive(Debug)]
struct Done {
    commit: CommitId,
    mutations: Vec<Mutation>,
    result: Result<Applied, StoreError>,
}

/// An agent's open stream.
#[derive(Debug)]
struct Session {
    outbox: Outbox,
    /// Ends the stream when dropped.
    _guard: DropGuard,
}

/// One reign.
pub struct Reign<'a> {
    shared: Arc<Shared>,
    store: &'a AnyStore,
    epoch: Epoch,
    core: Core,
    journal: Scribe,
    effects: Vec<Effect>,
    requests: BTreeMap<RequestId, Reply>,
    last_request: u64,
    sessions: BTreeMap<SessionId, Session>,
    commits: FuturesOrdered<BoxFuture<'static, Done>>,
    /// Decided, and not yet handed to the store.
    queued: VecDeque<(CommitId, Vec<Mutation>)>,
    /// A commit has failed: none is handed in any more.
    broken: bool,
    wake_at: Option<Timestamp>,
    now: Timestamp,
    stepped_down: Option<StepDown>,
}

impl<'a> Reign<'a> {
    /// Loads the core; what it wants done at once is done when the reign runs.
    pub fn begin(shared: Arc<Shared>, store: &'a AnyStore, lead: Lead) -> Reign<'a> {
        let now = shared.clock.now();
        let mut effects = Vec::new();
        let beginning =
            Beginning { settings: shared.settings.clone(), snapshot: lead.snapshot, epoch: lead.epoch, now };
        let (folder, most) = &shared.journal;
        let core = Core::load(beginning.clone(), &mut effects);
        let journal = Scribe::begin(folder, *most, beginning, effects.clone());
        Reign {
            shared,
            store,
            epoch: lead.epoch,
            core,
            journal,
            effects,
            requests: BTreeMap::new(),
            last_request: 0,
            sessions: BTreeMap::new(),
            commits: FuturesOrdered::new(),
            queued: VecDeque::new(),
            broken: false,
            wake_at: None,
            now,
            stepped_down: None,
        }
    }

    /// Runs until the lead is lost or the server is told to stop.
    pub async fn run(
        mut self,
        inputs: &mut mpsc::Receiver<Input>,
        mandate: &mut Mandate,
        shutdown: &CancellationToken,
    ) -> End {
        self.perform();
        while self.stepped_down.is_none() {
            let nap = self.nap();
            tokio::select! {
                // What is durable first: it frees those who wait. Then reports and requests, in order of arrival.
                biased;
                () = shutdown.cancelled() => {
                    self.finish_commits().await;
                    self.close(Refusal::NotLeader, "the server is stopping");
                    return End::Shutdown;
                }
                () = mandate.lost() => {
                    self.finish_commits().await;
                    self.close(Refusal::NotLeader, "another server may lead");
                    return End::SteppedDown;
                }
                Some(done) = self.commits.next() => self.committed(done),
                () = std::future::ready(()), if self.journal.is_full() => {
                    tracing::info!(epoch = %self.epoch, "the journal's segment is full; the lead is taken anew");
                    self.finish_commits().await;
                    self.close(Refusal::NotLeader, "the server begins a new segment of its journal");
                    return End::SteppedDown;
                }
                () = tokio::time::sleep(nap), if self.wake_at.is_some() => self.wake(),
                Some(input) = inputs.recv() => self.take(input),
            }
        }
        let (refusal, reason) = match self.stepped_down {
            Some(StepDown::StoreFailed) => (Refusal::StoreUnavailable, "the store failed"),
            Some(StepDown::Conflict) | None => (Refusal::NotLeader, "the lead is lost"),
        };
        tracing::warn!(epoch = %self.epoch, reason, "stepped down");
        self.close(refusal, reason);
        End::SteppedDown
    }

    /// Time until the core wants to be woken. The clock can be shifted, so a long nap is taken in parts.
    fn nap(&self) -> Duration {
        const LONGEST: Duration = Duration::from_millis(100);
        let due = self.wake_at.map_or(LONGEST, |at| Duration::from_millis(at.since(self.shared.clock.now()).0));
        due.min(LONGEST)
    }

    fn wake(&mut self) {
        if self.wake_at.is_some_and(|at| at <= self.shared.clock.now()) {
            self.wake_at = None;
            self.step(Event::Woke);
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Command { command, reply } => {
                self.last_request += 1;
                let request = RequestId(self.last_request);
                self.requests.insert(request, reply);
                self.step(Event::Command { request, command });
            }
            Input::WaitReason { alloc, reply } => {
                // Whoever asked may have gone away since.
                let _ = reply.send(self.core.wait_reason(alloc));
            }
            Input::Advice { alloc, reply } => {
                // The same here.
                let _ = reply.send(self.core.advice(alloc));
            }
            Input::Balance { reply } => {
                // And here.
                let _ = reply.send(self.core.balance().cloned());
            }
            Input::Planner { reply } => drop(reply.send(self.core.planner())),
            Input::Connected { session, hello, outbox, guard } => {
                tracing::info!(session = session.0, node = %hello.fingerprint.name, "agent connected");
                self.sessions.insert(session, Session { outbox, _guard: guard });
                self.step(Event::AgentConnected { session, hello });
            }
            // What an agent says on a stream that this reign has not seen, or has ended, is too late.
            Input::Report { session, report, turn } if self.sessions.contains_key(&session) => {
                drop(turn);
                self.shared.agents.reported(session, &report);
                self.step(Event::AgentReport { session, report });
            }
            Input::Disconnected { session } if self.sessions.contains_key(&session) => {
                tracing::info!(session = session.0, "agent disconnected");
                self.end_session(session);
                self.step(Event::AgentDisconnected { session });
            }
            Input::Report { .. } | Input::Disconnected { .. } => {}
        }
    }

    fn step(&mut self, event: Event) {
        // A clock that was set back stands still here until it has caught up.
        self.now = self.now.max(self.shared.clock.now());
        let journalled = self.journal.is_open().then(|| event.clone());
        self.core.step(self.now, event, &mut self.effects);
        if let Some(event) = journalled {
            self.journal.step(self.now, event, &self.effects);
        }
        self.perform();
    }

    fn perform(&mut self) {
        let mut slow = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Commit { commit, mutations } => self.queued.push_back((commit, mutations)),
                Effect::Reply { request, result } => {
                    if let Some(reply) = self.requests.remove(&request) {
                        // Whoever asked may have gone away since.
                        let _ = reply.send(result);
                    }
                }
                Effect::Send { session, order } => slow.extend(self.send(session, order)),
                Effect::Close { session, reason } => {
                    tracing::warn!(session = session.0, reason, "agent's stream closed");
                    if let Some(open) = self.sessions.get(&session) {
                        // One who is too slow to be told finds the stream ended.
                        let _ = open.outbox.try_send(ServerMessage::Close { reason });
                    }
                    self.end_session(session);
                }
                Effect::WakeAt(at) => self.wake_at = Some(at),
                Effect::StepDown(why) => self.stepped_down = Some(why),
            }
        }
        self.hand_in();
        for session in slow {
            tracing::warn!(session = session.0, "agent takes no orders");
            self.end_session(session);
            self.step(Event::AgentDisconnected { session });
        }
    }

    /// Sends an order. The session comes back when it takes none.
    fn send(&mut self, session: SessionId, order: Order) -> Option<SessionId> {
        let open = self.sessions.get(&session)?;
        if let Order::Welcome { node, .. } = &order {
            self.shared.agents.welcomed(*node, session, open.outbox.clone());
        }
        open.outbox.try_send(order.into()).is_err().then_some(session)
    }

    fn end_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.shared.agents.gone(session);
    }

    /// Hands decided commits to the store, in order, as many as may be under way.
    fn hand_in(&mut self) {
        while self.commits.len() < COMMITS_UNDER_WAY && !self.broken {
            let Some((commit, mutations)) = self.queued.pop_front() else { break };
            let writing = self.store.commit(transaction(self.epoch, &mutations));
            self.commits.push_back(Box::pin(async move { Done { commit, mutations, result: writing.await } }));
        }
    }

    fn committed(&mut self, done: Done) {
        let Done { commit, mutations, result } = done;
        let event = match result {
            Ok(Applied::At(revision)) => {
                self.show(revision, mutations);
                Event::Committed { commit, revision }
            }
            Ok(Applied::Refused) => {
                self.broken = true;
                Event::CommitFailed { commit, error: CommitError::Conflict }
            }
            Err(error @ (StoreError::TooLarge { .. } | StoreError::DuplicateKey | StoreError::EmptyKey)) => {
                panic!("the core keeps to the store's limits: {error}")
            }
            Err(
                error @ (StoreError::Busy
                | StoreError::TooManyWatchers
                | StoreError::Compacted { .. }
                | StoreError::Engine { .. }
                | StoreError::Closed),
            ) => {
                tracing::error!(error = &error as &dyn std::error::Error, "commit failed");
                self.broken = true;
                Event::CommitFailed { commit, error: CommitError::Unavailable }
            }
        };
        self.step(event);
    }

    /// Makes what is durable visible, and tells it to the log.
    fn show(&self, revision: Revision, mutations: Vec<Mutation>) {
        let entries = self.shared.follow(revision, mutations);
        if entries.is_empty() {
            return;
        }
        let view = self.shared.view();
        for entry in &entries {
            log_entry(entry, &view);
        }
    }

    /// Waits for what is under way, so that what a client may have been told by nobody is still stored in order.
    async fn finish_commits(&mut self) {
        const LONGEST: Duration = Duration::from_secs(5);
        let finish = async {
            while self.stepped_down.is_none()
                && let Some(done) = self.commits.next().await
            {
                self.committed(done);
            }
        };
        if tokio::time::timeout(LONGEST, finish).await.is_err() {
            tracing::warn!("commits were still under way");
        }
    }

    /// Refuses whoever still waits, and ends every stream.
    fn close(&mut self, refusal: Refusal, reason: &str) {
        for (_, reply) in std::mem::take(&mut self.requests) {
            // Whoever asked may have gone away since.
            let _ = reply.send(Err(refusal.clone()));
        }
        for (session, open) in std::mem::take(&mut self.sessions) {
            let _ = open.outbox.try_send(ServerMessage::Close { reason: reason.to_owned() });
            self.shared.agents.gone(session);
        }
    }
}

/// What a commit means to the store: carried out only in the reign that decided it.
fn transaction(epoch: Epoch, mutations: &[Mutation]) -> Transaction {
    let operations = encode_commit(mutations).map(|write| match write.value {
        Some(value) => Operation::Put(write.key, value),
        None => Operation::Delete(write.key),
    });
    let guards = vec![Guard::ValueIs(EPOCH_KEY.to_vec(), encode_epoch(epoch))];
    Transaction { guards, operations: operations.collect() }
}

/// One line of the log for one state change.
fn log_entry(entry: &LedgerEntry, view: &View) {
    let what = entry.what.to_wire(view);
    tracing::info!(
        event = %entry.id,
        cause = %entry.cause,
        alloc = entry.what.alloc().map(|alloc| alloc.to_string()),
        job = entry.what.job().map(|job| job.to_string()),
        "{what}"
    );
}
