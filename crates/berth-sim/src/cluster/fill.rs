//! Drives the core: machines that register, jobs that arrive, tasks that run at once and end when chance says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use berth_control::{Beginning, CommitId, Core, Effect, Event, RequestId, SessionId, Settings};
use berth_model::{
    AllocId, Balance, BuiltIn, Command, CommandRequest, Desired, Digest, Ended, Epoch, Goal, Hello, IdempotencyKey,
    Incarnation, JobKind, JobSpec, Millis, Namespace, NodeReport, ObservedAlloc, Order, Phase, Principal, Revision,
    Snapshot, Timestamp,
};

use super::Meter;
use super::mix::Mix;

/// A year: no machine is silent for so long.
const NEVER: Millis = Millis::from_secs(365 * 24 * 3_600);

/// So many rounds the optimiser may take for its first look; more than a cluster of any size takes.
const MOST_FIRST_ROUNDS: u32 = 1_000;

/// A machine's agent.
struct Agent {
    serial: u64,
    digest: Digest,
    allocs: Vec<ObservedAlloc>,
}

/// How filling went.
pub(crate) struct Filling {
    /// Allocations that were placed.
    pub(crate) placed: u64,
    /// Time in the steps that placed them.
    pub(crate) took: Duration,
    /// Processor time that they ask for, of 1,000 that there is.
    pub(crate) cpu_permille: u64,
}

/// The times of one round of churn.
#[derive(Default)]
pub(crate) struct Times {
    /// Each request, from the command to its checked plan.
    pub(crate) requests: Vec<Duration>,
    /// The optimiser, from being told what has changed to proposals that were tried.
    pub(crate) optimiser: Duration,
    /// What it found out.
    pub(crate) balance: Option<Balance>,
    /// All of the round.
    pub(crate) round: Duration,
}

/// A core with obedient machines and a store that keeps everything at once.
pub(crate) struct Cluster<'a> {
    core: Core,
    meter: &'a mut dyn Meter,
    now: Timestamp,
    agents: Vec<Agent>,
    effects: VecDeque<Effect>,
    stale: Vec<usize>,
    revision: u64,
    requests: u64,
    /// Batch allocations that run, with their machine.
    ending: Vec<(usize, AllocId)>,
    cpu: u64,
    asked_cpu: u64,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(policy: BuiltIn, meter: &'a mut dyn Meter) -> Cluster<'a> {
        let settings = Settings { policy, heartbeat: NEVER, heartbeat_grace: NEVER, ..Settings::default() };
        let epoch = Epoch { incarnation: Incarnation(1), counter: 1 };
        let now = Timestamp(1);
        let mut out = Vec::new();
        let core = Core::load(Beginning { settings, snapshot: Snapshot::default(), epoch, now }, &mut out);
        let mut cluster = Cluster {
            core,
            meter,
            now,
            agents: Vec::new(),
            effects: out.into(),
            stale: Vec::new(),
            revision: 0,
            requests: 0,
            ending: Vec::new(),
            cpu: 0,
            asked_cpu: 0,
        };
        cluster.perform();
        cluster
    }

    pub(crate) fn say(&mut self, what: String) {
        self.meter.say(what);
    }

    /// Allocations without a place.
    pub(crate) fn waiting(&self) -> u32 {
        self.core.summary().waiting
    }

    pub(crate) fn add_machines(&mut self, mix: &mut Mix, machines: u32) {
        for number in 0..machines {
            if number.is_multiple_of(1_000) {
                self.say(format!("machine {number} of {machines}"));
            }
            let hello = mix.machine(number);
            self.connect(hello);
        }
    }

    fn connect(&mut self, hello: Hello) {
        self.cpu += hello.fingerprint.resources.cpu.0;
        let session = SessionId(self.agents.len() as u64);
        self.agents.push(Agent { serial: 0, digest: Digest::default(), allocs: Vec::new() });
        self.event(Event::AgentConnected { session, hello });
    }

    /// Jobs arrive until they ask for so many percent of the processor time.
    pub(crate) fn fill(&mut self, mix: &mut Mix, utilisation: u32) -> Filling {
        let wanted = u128::from(self.cpu) * u128::from(utilisation) / 100;
        let mut took = Duration::ZERO;
        while u128::from(self.asked_cpu) < wanted {
            // The last jobs are small, so that no large one goes far beyond.
            let left = (wanted - u128::from(self.asked_cpu)) / 1_000;
            let job = mix.job(u64::try_from(left / 4).expect("a part of 64 bits").max(1));
            took += self.ask(job);
            self.agents_report();
            if self.requests.is_multiple_of(100) {
                self.say(format!("filled to {} % of {utilisation} %", self.asked_cpu * 100 / self.cpu));
            }
        }
        let placed = self.core.allocs().values().filter(|alloc| alloc.occupies().is_some()).count() as u64;
        Filling { placed, took, cpu_permille: self.asked_cpu * 1_000 / self.cpu }
    }

    /// So many allocations end, and as many are asked for, one by one.
    pub(crate) fn churn(&mut self, mix: &mut Mix, churn: u32) -> Times {
        let mut times = Times::default();
        let begun = self.meter.elapsed();
        for _ in 0..churn {
            self.end_one(mix);
        }
        self.agents_report();
        for _ in 0..churn {
            times.requests.push(self.ask(mix.job(1)));
        }
        self.agents_report();
        self.balance(&mut times);
        times.round = self.meter.elapsed() - begun;
        times
    }

    /// The optimiser looks at the filled cluster, in as many rounds as that takes.
    pub(crate) fn settle(&mut self) {
        for round in 1..=MOST_FIRST_ROUNDS {
            self.say(format!("first look of the optimiser, round {round}"));
            let mut times = Times::default();
            self.balance(&mut times);
            if times.balance.is_some_and(|balance| balance.bound.is_some()) {
                return;
            }
        }
    }

    /// The optimiser looks at what the round has changed.
    fn balance(&mut self, times: &mut Times) {
        // Later than the core waits for further changes.
        self.now = self.now + Millis::from_secs(10);
        let begun = self.meter.elapsed();
        self.event(Event::Woke);
        times.optimiser = self.meter.elapsed() - begun;
        times.balance = self.core.balance().map(|(_, balance)| balance.clone());
    }

    /// Some batch allocation completes.
    fn end_one(&mut self, mix: &mut Mix) {
        if self.ending.is_empty() {
            return;
        }
        let index = mix.random().index(self.ending.len());
        let (machine, id) = self.ending.swap_remove(index);
        let observed = self.agents[machine].allocs.iter_mut().find(|observed| observed.id == id);
        observed.expect("what may end was reported").phase = Phase::Ended(Ended::Complete);
        self.stale.push(machine);
    }

    /// Asks for a job, and says how long its step took.
    fn ask(&mut self, job: JobSpec) -> Duration {
        let group = &job.groups[0];
        self.asked_cpu += group.resources().cpu.0 * u64::from(group.count);
        self.requests += 1;
        let command = CommandRequest {
            principal: Principal("admin".to_owned()),
            namespace: Namespace::default(),
            key: IdempotencyKey(format!("key-{}", self.requests)),
            command: Command::Run(Box::new(job)),
        };
        let event = Event::Command { request: RequestId(self.requests), command: Box::new(command) };
        let begun = self.meter.elapsed();
        self.step(event);
        let took = self.meter.elapsed() - begun;
        self.perform();
        took
    }

    fn event(&mut self, event: Event) {
        self.step(event);
        self.perform();
    }

    fn step(&mut self, event: Event) {
        let mut out = Vec::new();
        self.core.step(self.now, event, &mut out);
        self.effects.extend(out);
    }

    fn perform(&mut self) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Commit { commit, .. } => self.committed(commit),
                Effect::Send { session, order: Order::Desired(desired) } => self.obey(session, desired),
                Effect::Reply { result, .. } => {
                    result.expect("a good command to a core that leads and is not crowded is accepted");
                }
                Effect::Send { order: Order::Welcome { .. }, .. } | Effect::WakeAt(_) => {}
                Effect::Close { reason, .. } => unreachable!("no machine does anything wrong: {reason}"),
                Effect::StepDown(why) => unreachable!("no commit fails: {why:?}"),
            }
        }
    }

    fn committed(&mut self, commit: CommitId) {
        self.revision += 1;
        self.step(Event::Committed { commit, revision: Revision(self.revision) });
    }

    /// What should run runs, and what should end is gone.
    fn obey(&mut self, session: SessionId, desired: Desired) {
        let index = usize::try_from(session.0).expect("an index");
        let agent = &mut self.agents[index];
        agent.digest = desired.digest;
        let known = std::mem::take(&mut agent.allocs);
        for alloc in desired.allocs {
            let phase = if alloc.goal == Goal::Run { Phase::Running } else { Phase::Ended(Ended::Stopped) };
            let known = known.iter().find(|observed| observed.id == alloc.id);
            if known.is_none() && alloc.kind == JobKind::Batch {
                self.ending.push((index, alloc.id));
            }
            let ended = known.filter(|observed| matches!(observed.phase, Phase::Ended(_)));
            let observed = ObservedAlloc { id: alloc.id, phase, tasks: BTreeMap::new() };
            agent.allocs.push(ended.cloned().unwrap_or(observed));
        }
        self.stale.push(index);
    }

    /// Machines on which something has changed say so.
    fn agents_report(&mut self) {
        while !self.stale.is_empty() {
            let mut stale = std::mem::take(&mut self.stale);
            stale.sort_unstable();
            stale.dedup();
            for index in stale {
                let agent = &mut self.agents[index];
                agent.serial += 1;
                let report = NodeReport {
                    serial: agent.serial,
                    digest: agent.digest,
                    conditions: BTreeSet::new(),
                    allocs: agent.allocs.clone(),
                };
                self.event(Event::AgentReport { session: SessionId(index as u64), report });
            }
        }
    }
}
