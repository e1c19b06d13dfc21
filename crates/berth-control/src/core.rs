//! The core itself: one event in, its consequences settled, effects out.

use std::collections::BTreeMap;

use berth_model::control::{Beginning, CommitId, Effect, Event, SessionId};
use berth_model::{Cause, Meta, NodeId, Order, Timer, Timestamp};

use crate::Settings;
use crate::balance::Balancing;
use crate::leases::Leases;
use crate::nodes::Link;
use crate::pace::Pace;
use crate::pipeline::{Held, Lead, Pipeline};
use crate::state::{Room, State};
use crate::timers::{Due, Timers};

/// Rounds of reconciling and placing within one step. Each round exists because the one before changed something that
/// it did not know of; a handful is usual, and a loop is a fault of ours.
const MAX_ROUNDS: u32 = 256;

/// The core.
///
/// What it shows ([`Core::nodes`] and the rest) is its memory, which may be ahead of the store by the commits under
/// way. A reader that must not see what could still be undone follows the commits instead.
#[derive(Debug)]
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) state: State,
    pub(crate) pipeline: Pipeline,
    pub(crate) timers: Timers,
    pub(crate) sessions: BTreeMap<SessionId, NodeId>,
    pub(crate) links: BTreeMap<NodeId, Link>,
    pub(crate) leases: Leases,
    pub(crate) now: Timestamp,
    /// The counters of the last commit that went out, or of the store.
    pub(crate) written: Meta,
    pub(crate) pace: Pace,
    /// What set off the step.
    pub(crate) root: Option<Cause>,
    pub(crate) balancing: Balancing,
}

impl Core {
    /// A new leader's core over what the store holds. Writes its epoch with its first commit.
    ///
    /// # Panics
    /// When the epoch is not newer than the one that the store holds: the driver has to raise it.
    pub fn load(beginning: Beginning, out: &mut Vec<Effect>) -> Core {
        let Beginning { settings, snapshot, epoch, now } = beginning;
        let mut state = State::load(snapshot, settings.policy);
        let written = state.meta;
        assert!(epoch > state.meta.epoch, "epoch {epoch} is not newer than the store's {}", state.meta.epoch);
        if epoch.incarnation != state.meta.incarnation {
            state.meta = Meta { incarnation: epoch.incarnation, format: state.meta.format, ..Meta::default() };
        }
        state.meta.epoch = epoch;
        let mut core = Core {
            balancing: Balancing::new(state.policy.spec.weights),
            settings,
            state,
            pipeline: Pipeline::new(),
            timers: Timers::default(),
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            leases: Leases::new(now),
            now,
            written,
            pace: Pace::Free,
            root: None,
        };
        core.resume();
        core.settle();
        core.finish(out);
        core
    }

    /// Takes one event.
    pub fn step(&mut self, now: Timestamp, event: Event, out: &mut Vec<Effect>) {
        // A clock that was set back does not make anything younger.
        self.now = self.now.max(now);
        self.root = None;
        if self.pipeline.lead != Lead::Ours {
            if let Event::Command { request, .. } = event {
                out.push(Effect::Reply { request, result: Err(berth_model::Refusal::NotLeader) });
            }
            return;
        }
        match event {
            Event::Command { request, command } => self.command(request, *command, out),
            Event::AgentConnected { session, hello } => self.connected(session, hello, out),
            Event::AgentReport { session, report } => self.report(session, report, out),
            Event::AgentDisconnected { session } => self.disconnected(session),
            Event::Committed { commit, .. } => self.committed(commit, out),
            Event::CommitFailed { error, .. } => {
                self.pipeline.fail(&mut self.state, error, out);
                return;
            }
            Event::Woke => self.woke(),
        }
        self.settle();
        self.finish(out);
    }

    /// Marks everything for a look, as after a crash between any two commits.
    fn resume(&mut self) {
        for (id, node) in &self.state.nodes {
            if node.is_eligible() {
                let grace = self.settings.heartbeat_grace.max(crate::nodes::RETURN);
                self.timers.set(self.now + grace, Due::Heartbeat(*id));
                self.links.insert(*id, Link::new(self.now));
            }
        }
        let nodes: Vec<NodeId> = self.state.nodes.keys().copied().collect();
        for node in nodes {
            self.resume_drain(node);
        }
        // Soon, or a cluster whose leaders do not last would never collect.
        self.timers.set(self.now + crate::collect::SOON, Due::Collect);
        self.resume_allocs();
        self.recall_all_ghosts();
        let jobs: Vec<_> = self.state.jobs.keys().cloned().collect();
        for job in jobs {
            self.mark_job(&job);
        }
        self.state.dirty.room = Room::Everywhere;
    }

    /// Reconciles and places until nothing is left to do.
    fn settle(&mut self) {
        if !self.is_time_to_decide() {
            return;
        }
        for _ in 0..MAX_ROUNDS {
            let slots = std::mem::take(&mut self.state.dirty.slots);
            let jobs = std::mem::take(&mut self.state.dirty.jobs);
            let due = !slots.is_empty() || !jobs.is_empty();
            self.advance_drains();
            self.reconcile(slots, jobs);
            let placed = self.schedule();
            if !due && !placed && self.state.dirty.slots.is_empty() && !self.decided() {
                return;
            }
        }
        panic!("a step does not settle after {MAX_ROUNDS} rounds");
    }

    /// Checks what was planned, lets it go out, and asks to be woken.
    fn finish(&mut self, out: &mut Vec<Effect>) {
        self.verify();
        self.push_desired(out);
        let before = out.len();
        self.pipeline.flush(&mut self.state, out);
        self.plan_to_balance();
        self.verify_commits(&out[before..]);
        if let Some(at) = self.timers.wish() {
            out.push(Effect::WakeAt(at));
        }
    }

    /// Does an effect as soon as everything decided so far is durable.
    pub(crate) fn when_durable(&mut self, effect: Held, out: &mut Vec<Effect>) {
        #[cfg(feature = "planted-bugs")]
        if self.state.bug == Some(crate::planted::Bug::OrdersBeforeDurable) {
            self.release(effect, out);
            return;
        }
        if let Some(effect) = self.pipeline.hold_for_all(&mut self.state, effect) {
            self.release(effect, out);
        }
    }

    fn committed(&mut self, commit: CommitId, out: &mut Vec<Effect>) {
        for held in self.pipeline.committed(commit) {
            self.release(held, out);
        }
    }

    fn release(&mut self, held: Held, out: &mut Vec<Effect>) {
        match held {
            Held::Effect(effect) => {
                if let Effect::Reply { request, .. } = &effect {
                    self.pipeline.replied(*request);
                }
                out.push(effect);
            }
            Held::Desired { node, session, desired } => {
                if self.sent(node, session, desired.digest) {
                    out.push(Effect::Send { session, order: Order::Desired(*desired) });
                }
            }
            Held::Lease { node, asked } => self.lease(node, asked, out),
        }
    }

    fn woke(&mut self) {
        self.timers.woke();
        while let Some((due, what)) = self.timers.pop(self.now) {
            match what {
                Due::Heartbeat(node) => self.heartbeat_due(node, due),
                Due::MinReady(alloc) => self.min_ready_due(alloc, due),
                Due::Reschedule(alloc) => self.reschedule_due(alloc, due),
                Due::Proven => self.proven(),
                Due::Move(alloc) => self.move_due(alloc, due),
                Due::Rested(alloc) => self.rested(alloc),
                Due::Drain(node) => self.drain_due(node),
                Due::GiveUp(node) => self.give_up(node),
                Due::Lease => self.leases_due(),
                Due::Collect => self.collect(due),
                Due::Balance => self.balance_due(),
                Due::OutOfPatience => self.out_of_patience(due),
            }
        }
    }

    /// A time that had come as a cause; the root of the step where nothing else is.
    pub(crate) fn timer(&mut self, timer: Timer, due: Timestamp) -> Cause {
        let cause = Cause::Timer { timer, due };
        self.root.get_or_insert_with(|| cause.clone());
        cause
    }
}
