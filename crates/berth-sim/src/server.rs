//! Simulated servers: the driver loop around the control core, and how servers die and take over.

use std::collections::{BTreeMap, VecDeque};

use berth_control::{Beginning, CommitError, CommitId, Core, Effect, Event, RequestId, Settings};
use berth_model::{BuiltIn, Epoch, Mutation, Plan, PlanRequest, Principal, Refusal, Revision, Timestamp};

use crate::clock::Clock;
use crate::journal::Decision;
use crate::network::End;
use crate::profile::Profile;
use crate::world::{What, World};
use crate::{Invariant, checks};

/// The number of a server.
pub(crate) type ServerId = u32;

/// Effects of one step, at most: beyond it the core is taken to have lost its mind.
const MAX_EFFECTS: usize = 20_000;
/// Commits under way, at most.
const MAX_PIPELINE: usize = 4096;

/// One server.
pub(crate) struct Server {
    core: Core,
    pub(crate) epoch: Epoch,
    clock: Clock,
    /// The revision that its next commit is decided on.
    decided_on: Revision,
    pipeline: VecDeque<(CommitId, Vec<Mutation>)>,
    /// When the last thing that is under way in the store is done.
    busy_until: u64,
    /// Whether a commit failed: none after it is carried out.
    failed: bool,
    wake: u64,
    pub(crate) requests: BTreeMap<RequestId, usize>,
}

/// The settings under which clusters are simulated: ended objects are collected soon, and few are kept, so that
/// collecting is simulated too.
pub(crate) fn settings(profile: &Profile) -> Settings {
    if !profile.forgets {
        return Settings::default();
    }
    let keep_ended = berth_model::Millis::from_secs(30);
    // Where much is to be moved, it is put together first.
    let policy = if profile.balance_max > 0 { BuiltIn::Pack } else { BuiltIn::Balanced };
    Settings { policy, keep_ended, keep_ended_max: 20, keep_ledger: 1000, ..Settings::default() }
}

impl World {
    /// A server begins, if none leads.
    pub(crate) fn server_starts(&mut self) {
        if self.lead.is_some_and(|id| self.servers.contains_key(&id)) {
            return;
        }
        let counter = self.store.meta.epoch.counter.max(self.zombie_epoch()) + 1;
        self.load_server(counter);
    }

    /// The highest epoch of a server that lives; a lease would have given the next one after it.
    fn zombie_epoch(&self) -> u64 {
        self.servers.values().map(|s| s.epoch.counter).max().unwrap_or(0)
    }

    /// A second server takes the lead while the first still thinks that it has it.
    pub(crate) fn server_steals(&mut self) {
        if let Some(old) = self.lead.filter(|_| self.servers.len() == 1) {
            let delay = self.random.between(500, self.profile.unaware);
            self.after(delay, What::LeaseEnds(old));
            self.note(format_args!("a second server takes the lead"));
            let counter = self.store.meta.epoch.counter.max(self.zombie_epoch()) + 1;
            self.load_server(counter);
        }
    }

    /// A server that does not lead any more ends, if it has not found out by itself. Epochs keep the cluster safe
    /// from it until then; without an end of its lease the agents that it holds would stay with it.
    pub(crate) fn lease_ends(&mut self, id: ServerId) {
        if self.lead != Some(id) && self.servers.contains_key(&id) {
            self.note(format_args!("server {id}: its lease ends"));
            self.bury(id);
        }
    }

    fn load_server(&mut self, counter: u64) {
        self.servers_made += 1;
        let id = self.servers_made;
        let epoch = Epoch { incarnation: self.store.meta.incarnation, counter };
        let clock = Clock::random(&mut self.random);
        let mut out = Vec::new();
        let beginning = Beginning {
            settings: settings(&self.profile),
            snapshot: self.store.snapshot(),
            epoch,
            now: clock.read(self.now),
        };
        let journalled = self.journal.is_kept().then(|| beginning.clone());
        let core = self.load_core(beginning, &mut out);
        if let Some(beginning) = journalled {
            self.journal.tell(Decision::Begun { server: id, beginning: Box::new(beginning), effects: out.clone() });
        }
        let server = Server {
            core,
            epoch,
            clock,
            decided_on: self.store.revision,
            pipeline: VecDeque::new(),
            busy_until: self.now,
            failed: false,
            wake: 0,
            requests: BTreeMap::new(),
        };
        self.servers.insert(id, server);
        self.lead = Some(id);
        self.note(format_args!("server {id} leads with epoch {epoch}"));
        self.perform(id, out);
    }

    fn load_core(&self, beginning: Beginning, out: &mut Vec<Effect>) -> Core {
        #[cfg_attr(not(feature = "planted-bugs"), expect(unused_mut, reason = "only a planted bug changes it"))]
        let mut core = Core::load(beginning, out);
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = self.bug.and_then(crate::Bug::in_control) {
            core.plant(bug);
        }
        core
    }

    /// The leading server dies: what the store has not taken yet is lost, but for what it was just taking.
    pub(crate) fn server_dies(&mut self) {
        let Some(id) = self.lead.take() else { return };
        self.note(format_args!("server {id} dies"));
        let taking = self.random.chance(500);
        if taking {
            self.take_oldest(id);
        }
        #[cfg(feature = "planted-bugs")]
        self.lose_unsynced();
        self.bury(id);
        let delay = self.random.between(100, 12_000);
        self.after(delay, What::ServerStarts);
    }

    /// A store that says of a commit that it is durable and has not synced it loses it with the power.
    #[cfg(feature = "planted-bugs")]
    fn lose_unsynced(&mut self) {
        if self.bug == Some(crate::Bug::StoreDoesNotSync) {
            self.store = self.synced.clone();
        }
    }

    #[cfg(feature = "planted-bugs")]
    fn sync_now_and_then(&mut self) {
        if self.bug == Some(crate::Bug::StoreDoesNotSync) && self.store.revision.0.is_multiple_of(50) {
            self.synced = self.store.clone();
        }
    }

    /// Removes a server that is dead; agents notice in their own time.
    fn bury(&mut self, id: ServerId) {
        self.servers.remove(&id);
        if self.lead == Some(id) {
            self.lead = None;
        }
        let of_server: Vec<u64> = self.streams.iter().filter(|(_, s)| s.server == id).map(|(id, _)| *id).collect();
        for stream in of_server {
            if let Some(stream) = self.streams.get_mut(&stream) {
                stream.server_open = false;
            }
            self.break_stream(stream);
        }
    }

    /// The time by the leader's clock.
    pub(crate) fn leader_now(&self) -> Timestamp {
        let leader = self.lead.and_then(|id| self.servers.get(&id));
        leader.map_or(Timestamp(0), |leader| leader.clock.read(self.now))
    }

    /// What the leader's core says would come of a change.
    pub(crate) fn plan(&self, request: &PlanRequest) -> Result<Plan, Refusal> {
        let leader = self.lead.and_then(|id| self.servers.get(&id)).ok_or(Refusal::NotLeader)?;
        leader.core.plan(leader.clock.read(self.now), &Principal("admin".to_owned()), request)
    }

    /// Hands an event to a server's core and performs what it wants.
    pub(crate) fn step_server(&mut self, id: ServerId, event: Event) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        let now = server.clock.read(self.now);
        let mut out = Vec::new();
        checks::line_of(&mut self.log, self.now, id, &event);
        let journalled = self.journal.is_kept().then(|| event.clone());
        server.core.step(now, event, &mut out);
        if let Some(event) = journalled {
            self.journal.tell(Decision::Step { server: id, now, event, effects: out.clone() });
        }
        self.perform(id, out);
    }

    fn perform(&mut self, id: ServerId, effects: Vec<Effect>) {
        let many = effects.len();
        self.holds(Invariant::Bounded, many <= MAX_EFFECTS, format_args!("{many} effects of one step of server {id}"));
        for effect in effects {
            match effect {
                Effect::Commit { commit, mutations } => self.commit(id, commit, mutations),
                Effect::Reply { request, result } => self.reply(id, request, result),
                Effect::Send { session, order } => {
                    self.check_order(id, session.0, &order);
                    self.order(session.0, order);
                }
                Effect::Close { session, reason } => {
                    self.note(format_args!("server {id} closes stream {}: {reason}", session.0));
                    if let Some(stream) = self.streams.get_mut(&session.0) {
                        stream.server_open = false;
                    }
                    self.after(5, What::Noticed(session.0, End::Agent));
                }
                Effect::WakeAt(at) => self.wake_server_at(id, at),
                Effect::StepDown(why) => {
                    self.note(format_args!("server {id} steps down: {why:?}"));
                    self.bury(id);
                    let delay = self.random.between(10, 1000);
                    self.after(delay, What::ServerStarts);
                    return;
                }
            }
        }
    }

    fn wake_server_at(&mut self, id: ServerId, at: berth_model::Timestamp) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.wake += 1;
        let (number, moment) = (server.wake, server.clock.moment(at, self.now));
        self.at(moment, What::ServerWake(id, number));
    }

    /// A server's timer fires, unless it was set anew.
    pub(crate) fn server_wakes(&mut self, id: ServerId, number: u64) {
        if self.servers.get(&id).is_some_and(|server| server.wake == number) {
            self.step_server(id, Event::Woke);
        }
    }

    fn commit(&mut self, id: ServerId, commit: CommitId, mutations: Vec<Mutation>) {
        let many = mutations.len();
        self.holds(
            Invariant::Bounded,
            many <= checks::MAX_MUTATIONS,
            format_args!("{many} mutations in commit {} of server {id}", commit.0),
        );
        let delay = self.random.between(1, 8);
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.pipeline.push_back((commit, mutations));
        server.busy_until = server.busy_until.max(self.now + delay);
        let (at, under_way) = (server.busy_until, server.pipeline.len());
        self.holds(Invariant::Bounded, under_way <= MAX_PIPELINE, format_args!("{under_way} commits under way"));
        self.at(at, What::StoreApplies(id));
    }

    /// The store takes a server's oldest commit, and the server hears of it a little later.
    pub(crate) fn store_applies(&mut self, id: ServerId) {
        if self.servers.get(&id).is_none_or(|server| server.failed) {
            return;
        }
        let unavailable = self.fails(self.profile.store_fails);
        let result = if unavailable {
            let carried_out = self.random.chance(500);
            let commit = if carried_out { self.take_oldest(id).map(|(c, _)| c) } else { self.drop_oldest(id) };
            commit.map(|c| (c, Err(CommitError::Unavailable)))
        } else {
            self.take_oldest(id)
        };
        let Some((commit, result)) = result else { return };
        let delay = self.random.between(0, 3);
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.failed = result.is_err();
        // Answers keep their order.
        server.busy_until = server.busy_until.max(self.now + delay);
        let at = server.busy_until;
        let event = match result {
            Ok(revision) => Event::Committed { commit, revision },
            Err(error) => Event::CommitFailed { commit, error },
        };
        self.at(at, What::CommitDone(id, Box::new(event)));
    }

    fn drop_oldest(&mut self, id: ServerId) -> Option<CommitId> {
        self.servers.get_mut(&id)?.pipeline.pop_front().map(|(commit, _)| commit)
    }

    /// Carries out the oldest commit of a server if its guards hold.
    fn take_oldest(&mut self, id: ServerId) -> Option<(CommitId, Result<Revision, CommitError>)> {
        let server = self.servers.get_mut(&id)?;
        let (commit, mutations) = server.pipeline.pop_front()?;
        let guarded = self.store.guard(server.epoch, server.decided_on);
        #[cfg(feature = "planted-bugs")]
        let guarded = if self.bug == Some(crate::Bug::StoreIgnoresGuards) { Ok(()) } else { guarded };
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(crate::Bug::ProofsUnguarded) && mutations.is_empty() {
            return Some((commit, Ok(self.store.revision)));
        }
        if guarded.is_err() {
            self.note(format_args!("store: commit {} of server {id} meets a conflict", commit.0));
            return Some((commit, Err(CommitError::Conflict)));
        }
        let now = server.clock.read(self.now);
        self.check_commit(&mutations, now);
        let revision = self.store.apply(mutations);
        #[cfg(feature = "planted-bugs")]
        self.sync_now_and_then();
        self.check_store();
        if let Some(server) = self.servers.get_mut(&id) {
            server.decided_on = revision;
        }
        Some((commit, Ok(revision)))
    }
}
