//! Simulated machines: shims with their processes, and the driver loop around the node core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use berth_model::{
    AGENT_PROTOCOL_ATTRIBUTE, AgentKey, AllocId, BootTime, Bytes, CpuMillis, DesiredAlloc, Device, Domain, Epoch, Exit,
    ExitKind, Failure, FailureKind, Fingerprint, Found, FoundShim, Hello, JobKind, Kill, Mbits, NodeReport, NotReady,
    POOL, Port, Remembered, Resources, Retry, ShimTask, ShimTaskState, TaskName, Timestamp,
};
use berth_node::{Core, Effect, Event, Question};

use crate::Invariant;
use crate::clock::Clock;
use crate::network::{Said, StreamId};
use crate::random::Random;
use crate::world::{MachineId, What, World};

/// The signal that a polite kill sends in this world.
pub(crate) const ASK: u8 = 15;
/// The signal that ends every process.
const FORCE: u8 = 9;
/// Effects of one step of an agent, for each allocation it knows: beyond it the core has lost its mind.
const EFFECTS_PER_ALLOC: usize = 40;

/// A run of a task.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// As the shim knows it.
    pub(crate) known: ShimTask,
    /// Whether it lives, whatever the shim knows.
    pub(crate) alive: bool,
    /// Until then its checks fail.
    ill_until: u64,
}

/// A shim, or what a killed one left.
#[derive(Clone, Debug)]
pub(crate) struct Shim {
    pub(crate) killed: bool,
    lease: Lease,
    pub(crate) desired: DesiredAlloc,
    pub(crate) tasks: BTreeMap<TaskName, Process>,
}

/// The lease of an allocation, as its shim knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lease {
    None,
    Until(Timestamp),
    Over,
}

impl Shim {
    /// Whether a run may begin.
    fn may_start(&self, now: Timestamp) -> bool {
        match self.lease {
            _ if self.desired.group.lease().is_none() => true,
            Lease::Until(until) => until > now,
            Lease::None | Lease::Over => false,
        }
    }

    /// Whether any process lives.
    pub(crate) fn is_live(&self) -> bool {
        self.tasks.values().any(|process| process.alive)
    }

    fn told(&self) -> BTreeMap<TaskName, ShimTask> {
        self.tasks.iter().map(|(name, process)| (name.clone(), process.known.clone())).collect()
    }
}

/// A machine with its agent.
pub(crate) struct Machine {
    pub(crate) key: AgentKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) clock: Clock,
    pub(crate) powered: bool,
    pub(crate) boot: u32,
    /// Counts the lives of the agent.
    pub(crate) life: u32,
    core: Option<Core>,
    effects: VecDeque<Effect>,
    performing: bool,
    wake: u64,
    pub(crate) stream: Option<StreamId>,
    pub(crate) cut_off_until: u64,
    /// Until then the ledger cannot be written.
    pub(crate) disk_full_until: u64,
    /// What this life of the agent said last.
    last_report: Option<NodeReport>,
    /// When the reports of this stream were sent.
    pub(crate) sent: BTreeMap<u64, Timestamp>,
    /// The highest epoch that the agent has obeyed.
    pub(crate) epoch: Epoch,
    pub(crate) ledger: BTreeMap<AllocId, Remembered>,
    /// The epoch in the ledger.
    remembered_epoch: Epoch,
    pub(crate) shims: BTreeMap<AllocId, Shim>,
    /// In which boot an allocation was last prepared; kept in its folder.
    boots: BTreeMap<AllocId, u32>,
    preparing: BTreeSet<AllocId>,
    next_pid: u32,
}

fn gpu(number: u64) -> Device {
    let parsed = "a valid name";
    Device {
        kind: "gpu".parse().expect(parsed),
        id: format!("gpu-{number}").parse().expect(parsed),
        attributes: BTreeMap::new(),
        paths: Vec::new(),
    }
}

impl Machine {
    pub(crate) fn random(number: MachineId, random: &mut Random) -> Machine {
        let disk = if number.is_multiple_of(2) { "ssd" } else { "hdd" };
        let rack = ["r0", "r1", "r2"][number % 3];
        let attributes = [
            (AGENT_PROTOCOL_ATTRIBUTE, "2"),
            ("driver.exec", "1"),
            ("driver.container", "1"),
            ("kernel.name", "linux"),
            ("label.disk", disk),
            (POOL, if disk == "ssd" { "a" } else { "b" }),
            (Domain::RACK, rack),
        ];
        let fingerprint = Fingerprint {
            name: format!("node-{number}").parse().expect("a valid name"),
            address: format!("10.0.0.{}", number + 1),
            resources: Resources {
                cpu: CpuMillis(1000 * random.between(5, 16)),
                memory: Bytes::gib(random.between(8, 32)),
                disk: Bytes::gib(100),
                network: Mbits(1000 * random.between(1, 10)),
            },
            attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            devices: (0..random.below(4)).map(gpu).collect(),
            dynamic_ports: (Port(20_000), Port(20_199)),
            agent_version: "0.1.0".to_owned(),
        };
        Machine {
            key: AgentKey(format!("agent-{number}")),
            fingerprint,
            clock: Clock::random(random),
            powered: true,
            boot: 1,
            life: 0,
            core: None,
            effects: VecDeque::new(),
            performing: false,
            wake: 0,
            stream: None,
            cut_off_until: 0,
            disk_full_until: 0,
            last_report: None,
            sent: BTreeMap::new(),
            epoch: Epoch::default(),
            ledger: BTreeMap::new(),
            remembered_epoch: Epoch::default(),
            shims: BTreeMap::new(),
            boots: BTreeMap::new(),
            preparing: BTreeSet::new(),
            next_pid: 100,
        }
    }

    /// Whether this life of the agent goes on.
    pub(crate) fn is_alive(&self, life: u32) -> bool {
        self.life == life && self.has_agent()
    }

    /// Whether an agent runs.
    pub(crate) fn has_agent(&self) -> bool {
        self.core.is_some()
    }

    /// What the agent says first on a stream.
    pub(crate) fn hello(&self) -> Hello {
        Hello { agent: self.key.clone(), fingerprint: self.fingerprint.clone() }
    }

    /// The allocations of which processes live, with what they were promised.
    pub(crate) fn live(&self) -> impl Iterator<Item = &DesiredAlloc> {
        self.shims.values().filter(|shim| shim.is_live()).map(|shim| &shim.desired)
    }

    fn find(&self, alloc: AllocId) -> FoundShim {
        if self.boots.get(&alloc).is_some_and(|boot| *boot != self.boot) {
            return FoundShim::Rebooted;
        }
        match self.shims.get(&alloc) {
            None => FoundShim::Gone(BTreeMap::new()),
            Some(shim) if shim.killed => FoundShim::Orphaned(shim.told()),
            Some(shim) => FoundShim::Alive(shim.told()),
        }
    }
}

impl World {
    /// An agent begins, if its machine has power and it does not run.
    pub(crate) fn agent_starts(&mut self, number: MachineId) {
        let now = self.now;
        let machine = &mut self.machines[number];
        if !machine.powered || machine.has_agent() {
            return;
        }
        machine.life += 1;
        machine.epoch = machine.remembered_epoch;
        let found = machine.ledger.values().map(|r| Found { remembered: r.clone(), shim: machine.find(r.desired.id) });
        let mut out = Vec::new();
        machine.core = Some(Core::load(machine.remembered_epoch, found.collect(), machine.clock.read(now), &mut out));
        #[cfg(feature = "planted-bugs")]
        self.plant_in_agent(number);
        let life = self.machines[number].life;
        self.note(format_args!("machine {number}: agent begins its life {life}"));
        self.enqueue(number, out);
        let delay = self.random.between(1, 300);
        self.after(delay, What::Connect(number, life));
    }

    #[cfg(feature = "planted-bugs")]
    fn plant_in_agent(&mut self, number: MachineId) {
        let bug = self.bug.and_then(crate::Bug::in_node);
        if let (Some(bug), Some(core)) = (bug, self.machines[number].core.as_mut()) {
            core.plant(bug);
        }
    }

    /// An agent is killed. Its shims and their processes do not notice.
    pub(crate) fn agent_dies(&mut self, number: MachineId) {
        if !self.machines[number].has_agent() {
            return;
        }
        self.end_agent(number);
        self.note(format_args!("machine {number}: agent is killed"));
        let delay = self.random.between(100, 8000);
        self.after(delay, What::AgentStarts(number));
    }

    /// The disk of an agent's ledger is full for a while.
    pub(crate) fn disk_fills(&mut self, number: MachineId) {
        let length = self.random.between(100, 40_000);
        self.note(format_args!("machine {number}: its disk is full for {length} ms"));
        self.machines[number].disk_full_until = self.now + length;
    }

    fn end_agent(&mut self, number: MachineId) {
        let machine = &mut self.machines[number];
        machine.core = None;
        machine.effects.clear();
        machine.preparing.clear();
        machine.last_report = None;
        machine.performing = false;
        machine.wake += 1;
        if let Some(id) = machine.stream.take() {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.agent_open = false;
            }
            self.break_stream(id);
        }
    }

    /// A machine loses power: every process and the agent are gone at once, and nobody is told.
    pub(crate) fn power_fails(&mut self, number: MachineId) {
        if !self.machines[number].powered {
            return;
        }
        self.unplug(number);
        let delay = self.random.between(2000, 60_000);
        self.after(delay, What::PowerReturns(number));
    }

    /// The same, until somebody sees to it.
    pub(crate) fn unplug(&mut self, number: MachineId) {
        self.note(format_args!("machine {number} loses power"));
        self.end_agent(number);
        let machine = &mut self.machines[number];
        machine.powered = false;
        machine.shims.clear();
    }

    /// A machine has power again.
    pub(crate) fn power_returns(&mut self, number: MachineId) {
        let machine = &mut self.machines[number];
        if machine.powered {
            return;
        }
        machine.powered = true;
        machine.boot += 1;
        self.note(format_args!("machine {number} has power again"));
        let delay = self.random.between(500, 4000);
        self.after(delay, What::AgentStarts(number));
    }

    /// Hands an event to an agent's core. Says how much it asked for, timers and reports apart.
    pub(crate) fn step_agent(&mut self, number: MachineId, event: Event) -> usize {
        let machine = &mut self.machines[number];
        let now = machine.clock.read(self.now);
        let Some(core) = machine.core.as_mut() else { return 0 };
        let mut out = Vec::new();
        core.step(now, event, &mut out);
        let (many, known) = (out.len(), machine.ledger.len() + machine.effects.len() + 64);
        self.holds(
            Invariant::Bounded,
            many <= EFFECTS_PER_ALLOC * known,
            format_args!("{many} effects of one step of the agent of machine {number}"),
        );
        let idle =
            |effect: &Effect| matches!(effect, Effect::WakeAt(_) | Effect::Report(_) | Effect::ReportAgain { .. });
        let asked = out.iter().filter(|effect| !idle(effect)).count();
        self.enqueue(number, out);
        asked
    }

    fn enqueue(&mut self, number: MachineId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                // A timer is set at once; everything else keeps its order.
                Effect::WakeAt(at) => self.wake_agent_at(number, at),
                effect => self.machines[number].effects.push_back(effect),
            }
        }
        self.perform_next(number);
    }

    fn perform_next(&mut self, number: MachineId) {
        let machine = &mut self.machines[number];
        if !machine.performing
            && let Some(next) = machine.effects.front()
        {
            machine.performing = true;
            // Writing to the ledger waits for the disk.
            let delay = if matches!(next, Effect::Remember(_)) { self.random.between(0, 2) } else { 0 };
            let life = self.machines[number].life;
            self.after(delay, What::AgentPerforms(number, life));
        }
    }

    fn wake_agent_at(&mut self, number: MachineId, at: Timestamp) {
        let machine = &mut self.machines[number];
        machine.wake += 1;
        let (life, wake, moment) = (machine.life, machine.wake, machine.clock.moment(at, self.now));
        self.at(moment, What::AgentWake(number, life, wake));
    }

    /// An agent's timer fires, unless it was set anew.
    pub(crate) fn agent_wakes(&mut self, number: MachineId, life: u32, wake: u64) {
        if self.machines[number].is_alive(life) && self.machines[number].wake == wake {
            self.step_agent(number, Event::Woke);
        }
    }

    /// An agent hears something of its machine, if it still lives.
    pub(crate) fn agent_hears(&mut self, number: MachineId, life: u32, event: Event) {
        if self.machines[number].is_alive(life) {
            self.step_agent(number, event);
        }
    }

    /// Tells the agent that runs now, if one does.
    fn tell(&mut self, number: MachineId, delay: u64, event: Event) {
        if self.machines[number].has_agent() {
            let life = self.machines[number].life;
            self.after(delay, What::AgentHears(number, life, Box::new(event)));
        }
    }

    /// An agent performs its oldest effect.
    pub(crate) fn agent_performs(&mut self, number: MachineId, life: u32) {
        let machine = &mut self.machines[number];
        if !machine.is_alive(life) {
            return;
        }
        machine.performing = false;
        if machine.disk_full_until > self.now && machine.effects.front().is_some_and(is_write) {
            let given_back = machine.effects.drain(..).collect();
            self.step_agent(number, Event::NotRemembered(given_back));
        } else if let Some(effect) = machine.effects.pop_front() {
            self.perform_on(number, effect);
            self.perform_next(number);
        }
    }

    fn perform_on(&mut self, number: MachineId, effect: Effect) {
        let machine = &mut self.machines[number];
        match effect {
            Effect::Remember(remembered) => self.remember(number, *remembered),
            Effect::RememberEpoch(epoch) => machine.remembered_epoch = epoch,
            Effect::Forget(alloc) => {
                machine.ledger.remove(&alloc);
                machine.boots.remove(&alloc);
            }
            Effect::Prepare(desired) => {
                let (life, alloc) = (machine.life, desired.id);
                machine.preparing.insert(alloc);
                let delay =
                    if self.random.chance(100) { self.random.between(500, 8000) } else { self.random.between(2, 200) };
                self.after(delay, What::Prepared(number, life, alloc));
            }
            Effect::Lease { alloc, until } => self.extend_lease(number, alloc, Timestamp(until.0)),
            Effect::Start { alloc, task, run } => self.begin_run(number, alloc, task, run),
            Effect::Ask(question) => self.answer(number, *question),
            Effect::Signal { alloc, task, run, signal } => self.signal(number, alloc, &task, run, signal),
            Effect::EndOrphans(alloc) => {
                machine.shims.remove(&alloc);
                let delay = self.random.between(1, 50);
                self.tell(number, delay, Event::OrphansEnded { alloc });
            }
            Effect::Remove(alloc) => {
                machine.shims.remove(&alloc);
                machine.preparing.remove(&alloc);
                self.note(format_args!("machine {number}: {alloc} is removed"));
                let delay = self.random.between(1, 50);
                self.tell(number, delay, Event::Removed { alloc });
            }
            Effect::Purge(alloc) => self.note(format_args!("machine {number}: {alloc} is purged")),
            Effect::Report(report) => {
                machine.sent.insert(report.serial, machine.clock.read(self.now));
                if let Some(stream) = machine.stream {
                    machine.last_report = Some(report.clone());
                    self.say(stream, Said::Report(report));
                }
            }
            Effect::ReportAgain { serial, conditions } => {
                machine.sent.insert(serial, machine.clock.read(self.now));
                if let (Some(stream), Some(last)) = (machine.stream, machine.last_report.clone()) {
                    self.say(stream, Said::Report(NodeReport { serial, conditions, ..last }));
                }
            }
            Effect::WakeAt(_) => unreachable!("timers are set when they are asked for"),
        }
    }

    fn remember(&mut self, number: MachineId, remembered: Remembered) {
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(crate::Bug::LedgerLosesWrites) && self.random.chance(50) {
            return;
        }
        self.machines[number].ledger.insert(remembered.desired.id, remembered);
    }

    /// A preparation ends, unless its agent died or it was called off.
    pub(crate) fn prepared(&mut self, number: MachineId, life: u32, alloc: AllocId) {
        if !self.machines[number].is_alive(life) || !self.machines[number].preparing.remove(&alloc) {
            return;
        }
        let result = if self.fails(self.profile.prepare_fails) {
            let failure = Failure { kind: FailureKind::Image, message: format!("no image for {alloc}") };
            Err(NotReady { failure, retry: Retry::MayHelp })
        } else {
            let machine = &mut self.machines[number];
            let Some(remembered) = machine.ledger.get(&alloc) else { return };
            let shim =
                Shim { killed: false, lease: Lease::None, desired: remembered.desired.clone(), tasks: BTreeMap::new() };
            machine.boots.insert(alloc, machine.boot);
            // An agent that prepares again finds the shim that its earlier life had made.
            if machine.shims.get(&alloc).is_none_or(|shim| !shim.is_live()) {
                machine.shims.insert(alloc, shim);
            }
            Ok(())
        };
        self.step_agent(number, Event::Prepared { alloc, result });
    }

    /// A shim begins a run, unless it began it before.
    fn begin_run(&mut self, number: MachineId, alloc: AllocId, task: TaskName, run: u32) {
        let machine = &mut self.machines[number];
        let boot = machine.boot;
        let Some(shim) = machine.shims.get_mut(&alloc).filter(|shim| !shim.killed) else { return };
        if shim.tasks.get(&task).is_some_and(|process| process.known.run >= run) {
            return;
        }
        if !shim.may_start(machine.clock.read(self.now)) {
            let exit = Exit { at: machine.clock.read(self.now), how: ExitKind::Failure(fenced()) };
            self.shim_says(number, alloc, &task, ShimTask { run, state: ShimTaskState::Exited(exit) });
            return;
        }
        let beside = shim.tasks.get(&task).is_some_and(|process| process.alive);
        let known = ShimTask { run, state: ShimTaskState::Starting };
        shim.tasks.insert(task.clone(), Process { known, alive: true, ill_until: 0 });
        self.holds(Invariant::OneRun, !beside, format_args!("run {run} of {task} of {alloc} begins beside another"));
        self.check_start(number, alloc, &task);
        self.note(format_args!("machine {number}: {alloc}/{task} begins run {run}"));
        let delay = self.random.between(1, 40);
        self.after(delay, What::ShimStarts(number, boot, alloc, task, run));
    }

    /// A check is answered, late or never if need be. Processes fall ill for a while as long as there are faults.
    fn answer(&mut self, number: MachineId, question: Question) {
        let Question { alloc, task, run, check, timeout, .. } = question;
        let is_ill_for = match self.now < self.profile.faults_until && self.random.chance(self.profile.task_fails / 4) {
            true => self.random.between(200, 10_000),
            false => 0,
        };
        let delay = self.random.between(1, timeout.0);
        if self.now < self.profile.faults_until && self.random.chance(self.profile.loss) {
            return;
        }
        let now = self.now;
        let shim = self.machines[number].shims.get_mut(&alloc);
        let process = shim.and_then(|shim| shim.tasks.get_mut(&task)).filter(|p| p.known.run == run && p.alive);
        let answer = match process {
            None => Err("nobody is there".to_owned()),
            Some(process) => {
                process.ill_until = process.ill_until.max(now + is_ill_for);
                if process.ill_until > now { Err("it is ill".to_owned()) } else { Ok("it is well".to_owned()) }
            }
        };
        self.tell(number, delay, Event::Answered { alloc, task, run, check, answer });
    }

    /// The server has answered a report.
    pub(crate) fn agent_leased(&mut self, number: MachineId, serial: u64, allocs: Vec<AllocId>) {
        let Some(since) = self.machines[number].sent.get(&serial).map(|at| BootTime(at.0)) else { return };
        self.step_agent(number, Event::Leased { since, allocs });
    }

    /// A shim hears of a lease.
    fn extend_lease(&mut self, number: MachineId, alloc: AllocId, until: Timestamp) {
        let (now, machine) = (self.now, &mut self.machines[number]);
        let (boot, read) = (machine.boot, machine.clock.read(now));
        let Some(shim) = machine.shims.get_mut(&alloc).filter(|shim| !shim.killed) else { return };
        match shim.lease {
            Lease::Over => return,
            Lease::Until(known) if known >= until || known <= read => return,
            Lease::None | Lease::Until(_) => shim.lease = Lease::Until(until),
        }
        let moment = machine.clock.moment(until, now);
        self.at(moment, What::LeaseOfShimEnds(number, boot, alloc));
    }

    /// A lease may have ended: its shim kills what runs by it, which takes a moment.
    pub(crate) fn lease_of_shim_ends(&mut self, number: MachineId, boot: u32, alloc: AllocId) {
        let now = self.machines[number].clock.read(self.now);
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(crate::Bug::ShimIgnoresLease) {
            return;
        }
        let machine = &mut self.machines[number];
        let Some(shim) = machine.shims.get_mut(&alloc).filter(|shim| machine.boot == boot && !shim.killed) else {
            return;
        };
        if !matches!(shim.lease, Lease::Until(until) if until <= now) {
            return;
        }
        shim.lease = Lease::Over;
        let live = shim.tasks.iter().filter(|(_, process)| process.alive);
        let live: Vec<(TaskName, u32)> = live.map(|(name, process)| (name.clone(), process.known.run)).collect();
        self.note(format_args!("machine {number}: the lease of {alloc} has ended"));
        for (task, run) in live {
            let delay = self.random.between(1, 900);
            self.after(delay, What::TaskExits(number, boot, alloc, task, run, ExitKind::Failure(fenced())));
        }
    }

    fn process(
        &mut self,
        number: MachineId,
        boot: u32,
        alloc: AllocId,
        task: &TaskName,
        run: u32,
    ) -> Option<&mut Process> {
        let machine = self.machines.get_mut(number).filter(|m| m.boot == boot)?;
        machine.shims.get_mut(&alloc)?.tasks.get_mut(task).filter(|p| p.known.run == run && p.alive)
    }

    /// A run that was asked for runs, or could not be started.
    pub(crate) fn shim_starts(&mut self, number: MachineId, boot: u32, alloc: AllocId, task: TaskName, run: u32) {
        if self.fails(10) {
            let failure = Failure { kind: FailureKind::NoSuchCommand, message: "no such command `work`".to_owned() };
            self.end_run(number, boot, alloc, &task, run, ExitKind::Failure(failure));
            return;
        }
        let started = self.machines[number].clock.read(self.now);
        self.machines[number].next_pid += 1;
        let pid = self.machines[number].next_pid;
        let Some(process) = self.process(number, boot, alloc, &task, run) else { return };
        process.known.state = ShimTaskState::Running { pid, started };
        let known = process.known.clone();
        self.shim_says(number, alloc, &task, known);
        self.plan_exit(number, boot, alloc, task, run);
    }

    fn shim_says(&mut self, number: MachineId, alloc: AllocId, task: &TaskName, known: ShimTask) {
        if self.machines[number].shims.get(&alloc).is_some_and(|shim| !shim.killed) {
            let event = Event::Task { alloc, task: task.clone(), shim: known };
            // Of one shim the order is kept: its words take no time.
            self.tell(number, 0, event);
        }
    }

    /// Decides how a run will end by itself, if it will.
    fn plan_exit(&mut self, number: MachineId, boot: u32, alloc: AllocId, task: TaskName, run: u32) {
        let kind = self.machines[number].shims.get(&alloc).map(|shim| shim.desired.kind);
        let fails = self.fails(self.profile.task_fails);
        let (how, delay) = match (kind, fails) {
            (_, true) => {
                let ways = [ExitKind::Status(3), ExitKind::Signal(11), ExitKind::OutOfMemory, ExitKind::Status(0)];
                let index = self.random.index(ways.len());
                (ways[index].clone(), self.random.between(1, 30_000))
            }
            (Some(JobKind::Batch), false) => (ExitKind::Status(0), self.random.between(100, 15_000)),
            (Some(JobKind::Service | JobKind::System) | None, false) => return,
        };
        self.after(delay, What::TaskExits(number, boot, alloc, task, run, how));
    }

    /// A run ends: as planned, unless things have stopped to fail in the meantime.
    pub(crate) fn task_exits(
        &mut self,
        number: MachineId,
        boot: u32,
        alloc: AllocId,
        task: &TaskName,
        run: u32,
        how: ExitKind,
    ) {
        let killed = matches!(how, ExitKind::Signal(ASK | FORCE)) || how == ExitKind::Failure(fenced());
        let kind = self.machines[number].shims.get(&alloc).map(|shim| shim.desired.kind);
        if killed || self.faulty {
            self.end_run(number, boot, alloc, task, run, how);
        } else if kind == Some(JobKind::Batch) && self.profile.batch_ends {
            self.end_run(number, boot, alloc, task, run, ExitKind::Status(0));
        }
    }

    fn end_run(&mut self, number: MachineId, boot: u32, alloc: AllocId, task: &TaskName, run: u32, how: ExitKind) {
        let at = self.machines[number].clock.read(self.now);
        let orphaned = self.machines[number].shims.get(&alloc).is_some_and(|shim| shim.killed);
        let Some(process) = self.process(number, boot, alloc, task, run) else { return };
        process.alive = false;
        if orphaned {
            return; // Nobody is there to see how.
        }
        process.known.state = ShimTaskState::Exited(Exit { at, how: how.clone() });
        let known = process.known.clone();
        self.note(format_args!("machine {number}: run {run} of {alloc}/{task} ends: {how:?}"));
        self.shim_says(number, alloc, task, known);
    }

    fn signal(&mut self, number: MachineId, alloc: AllocId, task: &TaskName, run: u32, signal: Kill) {
        let boot = self.machines[number].boot;
        let (how, delay) = match signal {
            Kill::Force => (FORCE, self.random.between(1, 20)),
            Kill::Ask(_) if self.random.chance(150) => return, // It does not listen.
            Kill::Ask(signal) => (signal.unwrap_or(ASK), self.random.between(1, 2000)),
        };
        if self.process(number, boot, alloc, task, run).is_some() {
            self.after(delay, What::TaskExits(number, boot, alloc, task.clone(), run, ExitKind::Signal(how)));
        }
    }

    /// Some shim of a machine is killed; what it kept lives on.
    pub(crate) fn shim_dies(&mut self, number: MachineId) {
        // Where both its shim and its agent are killed nobody ends what is fenced, which is documented.
        let may_die = |shim: &Shim| !shim.killed && shim.desired.group.lease().is_none();
        let living = self.machines[number].shims.iter().filter(|(_, shim)| may_die(shim)).map(|(id, _)| *id);
        let living: Vec<AllocId> = living.collect();
        if living.is_empty() {
            return;
        }
        let alloc = living[self.random.index(living.len())];
        if let Some(shim) = self.machines[number].shims.get_mut(&alloc) {
            shim.killed = true;
        }
        self.note(format_args!("machine {number}: the shim of {alloc} is killed"));
        self.tell(number, 1, Event::ShimLost { alloc });
    }
}

/// How a run ends with its lease.
fn fenced() -> Failure {
    Failure { kind: FailureKind::Fenced, message: "its lease has ended".to_owned() }
}

fn is_write(effect: &Effect) -> bool {
    matches!(effect, Effect::Remember(_) | Effect::RememberEpoch(_) | Effect::Forget(_))
}
