//! The simulated world: what exists, and the loop that jumps from one happening to the next.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;

use berth_control::Event as ControlEvent;
use berth_model::{AllocId, TaskName};
use berth_node::Event as NodeEvent;

use crate::clients::Clients;
use crate::facts::Facts;
use crate::journal::Journal;
use crate::log::Log;
use crate::machine::Machine;
use crate::network::{End, Stream, StreamId};
use crate::profile::Profile;
use crate::random::Random;
use crate::server::{Server, ServerId};
use crate::store::Store;
use crate::{Invariant, Options};

/// Happenings in one millisecond, at most: beyond it something wakes itself without end.
const MAX_AT_ONCE: u32 = 100_000;

/// The number of a machine.
pub(crate) type MachineId = usize;

/// What can happen next.
#[derive(Debug)]
pub(crate) enum What {
    /// The oldest message of a stream reaches this end.
    Deliver(StreamId, End),
    /// This end of a stream notices that it is broken.
    Noticed(StreamId, End),
    /// An agent tries to reach a server.
    Connect(MachineId, u32),
    /// A client's request reaches whoever leads.
    Request(usize),
    /// An answer reaches its client.
    Answer(usize, Box<berth_model::CommandResult>),
    /// A client has waited long enough for the answer to this try.
    ClientTimeout(usize, u32),
    /// Some user wants something.
    UserActs,
    /// A server's timer.
    ServerWake(ServerId, u64),
    /// The store takes a server's oldest commit.
    StoreApplies(ServerId),
    /// A server hears what came of a commit.
    CommitDone(ServerId, Box<ControlEvent>),
    /// A server begins.
    ServerStarts,
    /// The lease of a server that lost the lead ends, and with it the server.
    LeaseEnds(ServerId),
    /// An agent's timer.
    AgentWake(MachineId, u32, u64),
    /// An agent performs its oldest effect.
    AgentPerforms(MachineId, u32),
    /// An agent of this life hears something of its machine.
    AgentHears(MachineId, u32, Box<NodeEvent>),
    /// A preparation ends, if the agent that does it lives.
    Prepared(MachineId, u32, AllocId),
    /// An agent begins.
    AgentStarts(MachineId),
    /// It has power again.
    PowerReturns(MachineId),
    /// A shim gets an agent's wish to start a run.
    ShimStarts(MachineId, u32, AllocId, TaskName, u32),
    /// The lease that a shim was told of may have ended.
    LeaseOfShimEnds(MachineId, u32, AllocId),
    /// A run of a task ends.
    TaskExits(MachineId, u32, AllocId, TaskName, u32, berth_model::ExitKind),
    /// The next fault is due.
    FaultStrikes,
    /// Nothing fails from here on.
    FaultsStop,
    /// Look whether everything has settled.
    Look,
}

struct Entry {
    at: u64,
    sequence: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) at: u64,
    pub(crate) what: String,
}

/// Everything.
pub(crate) struct World {
    /// Milliseconds since the simulation began.
    pub(crate) now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    pub(crate) random: Random,
    pub(crate) log: Log,
    pub(crate) profile: Profile,
    pub(crate) journal: Journal,
    pub(crate) store: Store,
    pub(crate) servers: BTreeMap<ServerId, Server>,
    pub(crate) lead: Option<ServerId>,
    pub(crate) servers_made: u32,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    pub(crate) streams_made: u64,
    pub(crate) machines: Vec<Machine>,
    pub(crate) clients: Clients,
    pub(crate) facts: Facts,
    /// Allocations and counters of the commit that is being checked.
    pub(crate) touched: Vec<AllocId>,
    pub(crate) next_meta: berth_model::Meta,
    pub(crate) violation: Option<Violation>,
    /// Whether things still fail.
    pub(crate) faulty: bool,
    /// Since when everything is as it should be.
    pub(crate) settled_since: Option<u64>,
    pub(crate) done: bool,
    /// What the store would hold after losing what was never synced.
    #[cfg(feature = "planted-bugs")]
    pub(crate) synced: Store,
    #[cfg(feature = "planted-bugs")]
    pub(crate) bug: Option<crate::Bug>,
}

impl World {
    /// A world as it is before anything has happened.
    pub(crate) fn new(seed: u64, options: &Options) -> World {
        let mut random = Random::new(seed);
        let profile = Profile::of(options.profile, &mut random);
        let machines = (0..profile.machines).map(|number| Machine::random(number, &mut random)).collect();
        let mut world = World {
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            random,
            log: Log::new(),
            profile,
            journal: options.journal.clone(),
            store: Store::new(),
            servers: BTreeMap::new(),
            lead: None,
            servers_made: 0,
            streams: BTreeMap::new(),
            streams_made: 0,
            machines,
            clients: Clients::default(),
            facts: Facts::default(),
            touched: Vec::new(),
            next_meta: berth_model::Meta::default(),
            violation: None,
            faulty: true,
            settled_since: None,
            done: false,
            #[cfg(feature = "planted-bugs")]
            synced: Store::new(),
            #[cfg(feature = "planted-bugs")]
            bug: options.bug,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.after(0, What::ServerStarts);
        for machine in 0..self.machines.len() {
            let delay = self.random.between(0, 3000);
            self.after(delay, What::AgentStarts(machine));
        }
        self.after(500, What::UserActs);
        self.after(self.profile.calm, What::FaultStrikes);
        self.after(self.profile.faults_until, What::FaultsStop);
    }

    /// Runs to the end, or to the first broken invariant.
    pub(crate) fn run(&mut self) {
        let mut at_once = 0_u32;
        while !self.done && self.violation.is_none() {
            let Some(Reverse(entry)) = self.queue.pop() else {
                self.broken(Invariant::Settles, format_args!("nothing will ever happen again"));
                return;
            };
            at_once = if entry.at == self.now { at_once + 1 } else { 0 };
            if at_once > MAX_AT_ONCE {
                self.broken(
                    Invariant::Bounded,
                    format_args!("time stands still: {:?} happens again and again", entry.what),
                );
                return;
            }
            self.now = entry.at;
            self.happen(entry.what);
        }
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn advance(&mut self, millis: u64) {
        let until = self.now + millis;
        while let Some(Reverse(entry)) = self.queue.peek_mut().filter(|next| next.0.at <= until).map(PeekMut::pop) {
            self.now = entry.at;
            self.happen(entry.what);
        }
        self.now = until;
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver(stream, end) => self.deliver(stream, end),
            What::Noticed(stream, end) => self.noticed(stream, end),
            What::Connect(machine, life) => self.connect(machine, life),
            What::Request(command) => self.request_arrives(command),
            What::Answer(command, result) => self.answer_arrives(command, *result),
            What::ClientTimeout(command, attempt) => self.client_timeout(command, attempt),
            What::UserActs => self.user_acts(),
            What::ServerWake(server, number) => self.server_wakes(server, number),
            What::StoreApplies(server) => self.store_applies(server),
            What::CommitDone(server, event) => self.step_server(server, *event),
            What::ServerStarts => self.server_starts(),
            What::LeaseEnds(server) => self.lease_ends(server),
            What::AgentWake(machine, life, number) => self.agent_wakes(machine, life, number),
            What::AgentPerforms(machine, life) => self.agent_performs(machine, life),
            What::AgentHears(machine, life, event) => self.agent_hears(machine, life, *event),
            What::Prepared(machine, life, alloc) => self.prepared(machine, life, alloc),
            What::AgentStarts(machine) => self.agent_starts(machine),
            What::PowerReturns(machine) => self.power_returns(machine),
            What::ShimStarts(machine, boot, alloc, task, run) => self.shim_starts(machine, boot, alloc, task, run),
            What::LeaseOfShimEnds(machine, boot, alloc) => self.lease_of_shim_ends(machine, boot, alloc),
            What::TaskExits(machine, boot, alloc, task, run, how) => {
                self.task_exits(machine, boot, alloc, &task, run, how);
            }
            What::FaultStrikes => self.fault_strikes(),
            What::FaultsStop => self.faults_stop(),
            What::Look => self.look(),
        }
    }

    /// Lets something happen in `delay` milliseconds.
    pub(crate) fn after(&mut self, delay: u64, what: What) {
        self.at(self.now + delay, what);
    }

    /// Lets something happen at a time that is not past.
    pub(crate) fn at(&mut self, at: u64, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse(Entry { at: at.max(self.now), sequence: self.sequence, what }));
    }

    /// Adds a line to the log.
    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.log.line(self.now, what);
    }

    /// An invariant does not hold. The first one found is the one that is told.
    pub(crate) fn broken(&mut self, invariant: Invariant, what: fmt::Arguments<'_>) {
        self.log.line(self.now, format_args!("invariant {}: {what}", invariant.number()));
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, at: self.now, what: what.to_string() });
        }
    }

    /// Holds an invariant up.
    pub(crate) fn holds(&mut self, invariant: Invariant, holds: bool, what: fmt::Arguments<'_>) {
        if !holds {
            self.broken(invariant, what);
        }
    }

    /// True `permille` times in a thousand while things fail, and never afterwards.
    pub(crate) fn fails(&mut self, permille: u64) -> bool {
        self.faulty && self.random.chance(permille)
    }
}
