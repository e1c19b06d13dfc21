//! The cluster as it would have been: a core with the other policy, and agents on which instances fare as they did.

use std::collections::{BTreeMap, VecDeque};

use berth_control::{Beginning, Core, Effect, Event, RequestId, SessionId};
use berth_model::{
    AgentKey, AllocId, AllocState, Command, CommandRequest, Desired, Digest, Goal, Millis, NodeReport, ObservedAlloc,
    Order, Phase, Progress, Revision, Timestamp,
};

use super::lives::{Life, Lives, Moment, STOPPED};
use super::slot::Slot;
use super::tally::{Measures, Placed, Tally};
use crate::reader::Happened;

/// An allocation on a machine.
#[derive(Debug)]
struct Instance<'a> {
    /// `None`: nobody knows; it runs on.
    life: Option<&'a Life>,
    begun: Timestamp,
    told_to_stop: Option<Timestamp>,
    last: ObservedAlloc,
}

/// What an agent has on its machine.
#[derive(Debug, Default)]
struct Machine<'a> {
    digest: Digest,
    instances: BTreeMap<AllocId, Instance<'a>>,
}

/// The cluster.
pub struct World<'a> {
    core: Core,
    lives: &'a Lives,
    tally: Tally,
    wake: Option<Timestamp>,
    revision: u64,
    sessions: BTreeMap<SessionId, AgentKey>,
    machines: BTreeMap<AgentKey, Machine<'a>>,
    /// How many instances each slot has had.
    begun: BTreeMap<Slot, usize>,
    /// Commands so far that stop one allocation.
    stops: usize,
    assumed: u64,
}

impl<'a> World<'a> {
    /// The cluster with which the segment begins.
    pub fn begin(beginning: Beginning, lives: &'a Lives) -> World<'a> {
        let now = beginning.now;
        let mut effects = Vec::new();
        let core = Core::load(beginning, &mut effects);
        let tally = Tally::of(&core, now);
        let mut world = World {
            core,
            lives,
            tally,
            wake: None,
            revision: 0,
            sessions: BTreeMap::new(),
            machines: BTreeMap::new(),
            begun: BTreeMap::new(),
            stops: 0,
            assumed: 0,
        };
        let committed = world.perform(now, effects);
        world.settle(now, committed);
        world
    }

    /// What happened then, as it would have been.
    pub fn hear(&mut self, happened: Happened) {
        let Happened { now, event, .. } = happened;
        self.wake_until(now);
        match event {
            Event::Command { request, command } => self.command(now, request, *command),
            Event::AgentConnected { session, hello } => {
                self.sessions.insert(session, hello.agent.clone());
                self.machines.entry(hello.agent.clone()).or_default();
                self.step(now, Event::AgentConnected { session, hello });
            }
            Event::AgentReport { session, report } => self.report(now, session, report),
            Event::AgentDisconnected { session } => {
                self.sessions.remove(&session);
                self.step(now, Event::AgentDisconnected { session });
            }
            // The store and the timers are this world's own.
            Event::Committed { .. } | Event::CommitFailed { .. } | Event::Woke => {}
        }
    }

    /// What it has come to, where things went, and how many instances fared nobody knows how.
    pub fn finish(mut self, until: Timestamp) -> (Measures, Placed, u64) {
        self.wake_until(until);
        let (measures, placed) = self.tally.finish(until, &self.core);
        (measures, placed, self.assumed)
    }

    fn wake_until(&mut self, now: Timestamp) {
        while let Some(at) = self.wake.filter(|at| *at <= now) {
            self.wake = None;
            self.step(at, Event::Woke);
        }
    }

    /// A command, with the allocation of this world that it means.
    fn command(&mut self, now: Timestamp, request: RequestId, mut command: CommandRequest) {
        if matches!(command.command, Command::SetPolicy { .. }) {
            // This world has one policy throughout.
            return;
        }
        if let Command::StopAlloc(id) = &mut command.command {
            let slot = self.lives.stops.get(self.stops).cloned().flatten();
            self.stops += 1;
            let Some(meant) = slot.and_then(|slot| self.live_in(&slot)) else { return };
            *id = meant;
        }
        // A plan was made by the policy that was.
        command.plan = None;
        self.step(now, Event::Command { request, command: Box::new(command) });
    }

    fn live_in(&self, slot: &Slot) -> Option<AllocId> {
        let allocs = self.core.job_allocs(&slot.job).into_iter().rev();
        let stops = |state: &AllocState| matches!(state, AllocState::Stopping { .. } | AllocState::Ended { .. });
        allocs.filter(|alloc| Slot::of(alloc) == *slot).find(|alloc| !stops(&alloc.state)).map(|alloc| alloc.id)
    }

    /// An agent reports when it did then, and what is on its machine here.
    fn report(&mut self, now: Timestamp, session: SessionId, then: NodeReport) {
        let machine = self.sessions.get(&session).and_then(|agent| self.machines.get_mut(agent));
        let Some(machine) = machine else { return };
        let allocs = machine.instances.values_mut().map(|instance| instance.observe(now)).collect();
        let report = NodeReport { digest: machine.digest, allocs, ..then };
        self.step(now, Event::AgentReport { session, report });
    }

    /// An event, and all that the store says to it.
    fn step(&mut self, now: Timestamp, event: Event) {
        self.settle(now, VecDeque::from([event]));
    }

    fn settle(&mut self, now: Timestamp, mut events: VecDeque<Event>) {
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.core.step(now, event, &mut effects);
            events.extend(self.perform(now, effects));
        }
    }

    /// Performs effects; the store's answers are events.
    fn perform(&mut self, now: Timestamp, effects: Vec<Effect>) -> VecDeque<Event> {
        self.tally.step(now, &effects, &self.core);
        let mut events = VecDeque::new();
        for effect in effects {
            match effect {
                Effect::Commit { commit, .. } => {
                    self.revision += 1;
                    events.push_back(Event::Committed { commit, revision: Revision(self.revision) });
                }
                Effect::Send { session, order: Order::Desired(desired) } => self.desired(now, session, desired),
                Effect::Close { session, .. } => {
                    self.sessions.remove(&session);
                }
                Effect::WakeAt(at) => self.wake = Some(at),
                // Nobody is ever cut off here.
                Effect::Send { order: Order::Welcome { .. } | Order::Lease { .. }, .. }
                | Effect::Reply { .. }
                | Effect::StepDown(_) => {}
            }
        }
        events
    }

    fn desired(&mut self, now: Timestamp, session: SessionId, desired: Desired) {
        let machine = self.sessions.get(&session).and_then(|agent| self.machines.get_mut(agent));
        let Some(machine) = machine else { return };
        machine.digest = desired.digest;
        machine.instances.retain(|id, _| desired.allocs.iter().any(|wanted| wanted.id == *id));
        for wanted in desired.allocs {
            match (wanted.goal, machine.instances.get_mut(&wanted.id)) {
                (Goal::Run, Some(_)) | (Goal::Stop, None) => {}
                (Goal::Stop, Some(instance)) => {
                    instance.told_to_stop.get_or_insert(now);
                }
                (Goal::Run, None) => {
                    let Some(alloc) = self.core.allocs().get(&wanted.id) else { continue };
                    let slot = Slot::of(alloc);
                    let number = self.begun.entry(slot.clone()).or_default();
                    let life = self.lives.of(&slot, *number);
                    *number += 1;
                    self.assumed += u64::from(!life.is_some_and(|(_, itself)| itself));
                    let phase = Phase::Preparing(Progress::default());
                    let last = ObservedAlloc { id: wanted.id, phase, tasks: BTreeMap::new() };
                    let life = life.map(|(life, _)| life);
                    machine.instances.insert(wanted.id, Instance { life, begun: now, told_to_stop: None, last });
                }
            }
        }
    }
}

impl Instance<'_> {
    /// What its agent says of it now.
    fn observe(&mut self, now: Timestamp) -> ObservedAlloc {
        let over = matches!(self.last.phase, Phase::Ended(_));
        match (self.told_to_stop, self.life) {
            _ if over => {}
            (Some(told), life) => {
                let takes = life.and_then(|life| life.stop).unwrap_or(Millis(0));
                self.last.phase = if now.since(told) >= takes { STOPPED } else { Phase::Stopping };
            }
            (None, Some(life)) => {
                if let Some(Moment { phase, tasks, .. }) = life.at(now.since(self.begun)) {
                    (self.last.phase, self.last.tasks) = (phase.clone(), tasks.clone());
                }
            }
            (None, None) => self.last.phase = Phase::Running,
        }
        self.last.clone()
    }
}
