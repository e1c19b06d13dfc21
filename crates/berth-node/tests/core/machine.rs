//! A small machine under the node core: a ledger that survives, shims that survive the agent, and a clock that
//! the test moves. It performs effects one at a time, so that a test can crash the agent between any two.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use berth_model::*;
use berth_node::{Core, Effect, Event, Question};

/// One shim with the newest run of each task.
#[derive(Clone, Debug, Default)]
pub struct Shim {
    /// None once killed: what its tasks left is orphaned.
    pub dead: bool,
    pub tasks: BTreeMap<TaskName, ShimTask>,
}

/// The machine with its agent.
pub struct Machine {
    pub core: Core,
    pub now: Timestamp,
    wake: Option<Timestamp>,
    effects: VecDeque<Effect>,
    events: VecDeque<Event>,
    epoch: Epoch,
    pub ledger: BTreeMap<AllocId, Remembered>,
    pub shims: BTreeMap<AllocId, Shim>,
    pub logs: BTreeSet<AllocId>,
    pub reports: Vec<NodeReport>,
    /// Everything asked for, for tests that compare.
    pub trace: Vec<Effect>,
    /// The goals that the agent was last told and had to obey.
    pub goals: BTreeMap<AllocId, Goal>,
    pub prepare_fails: u32,
    /// What these say of another try.
    pub prepare_retry: Retry,
    /// Whether the disk of the ledger is full.
    pub ledger_fails: bool,
    /// How often the ledger could not be written.
    pub ledger_failures: u32,
    /// Signals that get lost on their way to a shim.
    pub signals_lost: u32,
    /// Questions of checks that wait for their answers.
    pub asked: Vec<Question>,
    next_pid: u32,
    connected: bool,
}

impl Machine {
    pub fn new() -> Machine {
        let mut effects = Vec::new();
        let now = Timestamp(1_000_000);
        let core = Core::load(Epoch::default(), Vec::new(), now, &mut effects);
        Machine {
            core,
            now,
            wake: None,
            effects: effects.into(),
            events: VecDeque::new(),
            epoch: Epoch::default(),
            ledger: BTreeMap::new(),
            shims: BTreeMap::new(),
            logs: BTreeSet::new(),
            reports: Vec::new(),
            trace: Vec::new(),
            goals: BTreeMap::new(),
            prepare_fails: 0,
            prepare_retry: Retry::MayHelp,
            ledger_fails: false,
            ledger_failures: 0,
            signals_lost: 0,
            asked: Vec::new(),
            next_pid: 100,
            connected: false,
        }
    }

    /// Hands an event to the core and checks what must hold of every step.
    pub fn step(&mut self, event: Event) {
        match &event {
            Event::Welcome { .. } => self.connected = true,
            Event::Disconnected => self.connected = false,
            _ => {}
        }
        let mut out = Vec::new();
        self.core.step(self.now, event, &mut out);
        self.check_step(&out);
        self.trace.extend(out.iter().cloned());
        self.effects.extend(out);
    }

    fn check_step(&self, out: &[Effect]) {
        self.check_reports(out);
        let known = self.ledger.len() + self.goals.len() + 1;
        assert!(out.len() <= 2 + 8 * known, "{} effects of one step over {known} allocations", out.len());
        for effect in out {
            match effect {
                Effect::Start { alloc, .. } => {
                    assert_eq!(self.goals.get(alloc), Some(&Goal::Run), "started {alloc}, whose goal is not to run");
                }
                Effect::Report(_) => assert!(self.connected, "reported without a stream"),
                _ => {}
            }
        }
    }

    /// An end that is told is on the ledger, or gets there before the telling.
    fn check_reports(&self, out: &[Effect]) {
        let queued = self.effects.iter().chain(out);
        let mut ended: BTreeSet<AllocId> =
            self.ledger.values().filter(|r| r.ended.is_some()).map(|r| r.desired.id).collect();
        for effect in queued {
            match effect {
                Effect::Remember(r) if r.ended.is_some() => _ = ended.insert(r.desired.id),
                Effect::Report(report) => {
                    for alloc in &report.allocs {
                        let told = matches!(alloc.phase, Phase::Ended(_));
                        assert!(!told || ended.contains(&alloc.id), "the end of {} is told and not known", alloc.id);
                    }
                }
                _ => {}
            }
        }
    }

    /// Tells the core what should be. The test says whether it has to obey.
    pub fn desire(&mut self, epoch: u64, allocs: Vec<DesiredAlloc>, obeyed: bool) {
        if obeyed {
            for goal in self.goals.values_mut() {
                *goal = Goal::Stop;
            }
            for alloc in &allocs {
                let stopped_before = self.ledger.get(&alloc.id).is_some_and(|r| r.desired.goal == Goal::Stop);
                let goal = if stopped_before { Goal::Stop } else { alloc.goal };
                self.goals.insert(alloc.id, goal);
            }
        }
        let digest = Digest(u128::from(epoch) << 64 | allocs.len() as u128);
        self.step(Event::Desired(Desired { epoch: epoch_of(epoch), digest, allocs }));
    }

    pub fn welcome(&mut self, epoch: u64) {
        self.step(Event::Welcome {
            epoch: epoch_of(epoch),
            node: NodeId::new(Incarnation(1), 1),
            heartbeat: Millis(1000),
        });
    }

    /// Performs the oldest effect. False when there is none.
    pub fn perform(&mut self) -> bool {
        let Some(effect) = self.effects.pop_front() else { return false };
        let writes = matches!(effect, Effect::Remember(_) | Effect::RememberEpoch(_) | Effect::Forget(_));
        if writes && self.ledger_fails {
            let rest = std::iter::once(effect).chain(self.effects.drain(..)).collect();
            self.ledger_failures += 1;
            self.step(Event::NotRemembered(rest));
            return true;
        }
        match effect {
            Effect::Remember(remembered) => _ = self.ledger.insert(remembered.desired.id, *remembered),
            Effect::RememberEpoch(epoch) => {
                assert!(epoch >= self.epoch, "epoch {epoch} is remembered after {}", self.epoch);
                self.epoch = epoch;
            }
            Effect::Forget(alloc) => _ = self.ledger.remove(&alloc),
            Effect::Prepare(desired) => self.prepare(desired.id),
            Effect::Start { alloc, task, run } => self.start(alloc, task, run),
            Effect::Lease { .. } => {}
            Effect::Ask(question) => self.asked.push(*question),
            Effect::Signal { alloc, task, run, signal } => self.signal(alloc, task, run, signal),
            Effect::EndOrphans(alloc) => {
                self.shims.remove(&alloc);
                self.events.push_back(Event::OrphansEnded { alloc });
            }
            Effect::Remove(alloc) => {
                self.shims.remove(&alloc);
                self.events.push_back(Event::Removed { alloc });
            }
            Effect::Purge(alloc) => _ = self.logs.remove(&alloc),
            Effect::Report(report) => self.reports.push(report),
            Effect::ReportAgain { serial, conditions } => {
                if let Some(last) = self.reports.last().cloned() {
                    self.reports.push(NodeReport { serial, conditions, ..last });
                }
            }
            Effect::WakeAt(at) => self.wake = Some(at),
        }
        true
    }

    fn prepare(&mut self, alloc: AllocId) {
        let result = if self.prepare_fails > 0 {
            self.prepare_fails -= 1;
            let failure = Failure { kind: FailureKind::Image, message: "no such image".to_owned() };
            Err(NotReady { failure, retry: self.prepare_retry })
        } else {
            self.logs.insert(alloc);
            assert!(self.shims.insert(alloc, Shim::default()).is_none(), "a second shim for {alloc}");
            Ok(())
        };
        self.events.push_back(Event::Prepared { alloc, result });
    }

    fn start(&mut self, alloc: AllocId, task: TaskName, run: u32) {
        let Some(shim) = self.shims.get_mut(&alloc).filter(|shim| !shim.dead) else { return };
        if let Some(known) = shim.tasks.get(&task) {
            if known.run >= run {
                return;
            }
            assert!(matches!(known.state, ShimTaskState::Exited(_)), "two runs of {task} of {alloc} at once");
        }
        self.next_pid += 1;
        let state = ShimTaskState::Running { pid: self.next_pid, started: self.now };
        let known = ShimTask { run, state };
        shim.tasks.insert(task.clone(), known.clone());
        self.events.push_back(Event::Task { alloc, task, shim: known });
    }

    fn signal(&mut self, alloc: AllocId, task: TaskName, run: u32, signal: Kill) {
        if self.signals_lost > 0 {
            self.signals_lost -= 1;
            return;
        }
        // A task of this world ignores being asked every second time: by the parity of its run.
        let dies = match signal {
            Kill::Ask(_) => run.is_multiple_of(2),
            Kill::Force => true,
        };
        let current = self.shims.get(&alloc).and_then(|s| s.tasks.get(&task)).map(|t| t.run);
        if dies && current == Some(run) {
            self.exit(alloc, &task, ExitKind::Signal(9));
        }
    }

    /// Ends a task's run by itself.
    pub fn exit(&mut self, alloc: AllocId, task: &TaskName, how: ExitKind) {
        let Some(shim) = self.shims.get_mut(&alloc).filter(|s| !s.dead) else { return };
        let Some(known) = shim.tasks.get_mut(task) else { return };
        if matches!(known.state, ShimTaskState::Running { .. }) {
            known.state = ShimTaskState::Exited(Exit { at: self.now, how });
            let event = Event::Task { alloc, task: task.clone(), shim: known.clone() };
            self.events.push_back(event);
        }
    }

    /// Kills a shim; its tasks live on without a keeper.
    pub fn kill_shim(&mut self, alloc: AllocId) {
        if let Some(shim) = self.shims.get_mut(&alloc).filter(|s| !s.dead) {
            shim.dead = true;
            self.events.push_back(Event::ShimLost { alloc });
        }
    }

    /// Hands the oldest event to the core. False when there is none.
    pub fn deliver(&mut self) -> bool {
        let Some(event) = self.events.pop_front() else { return false };
        self.step(event);
        true
    }

    /// Hands the oldest event to the core twice.
    pub fn deliver_twice(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.step(event.clone());
            self.step(event);
        }
    }

    /// Moves the clock, waking the core on the way when it asked for it.
    pub fn pass(&mut self, time: Millis) {
        self.now = self.now + time;
        if self.wake.is_some_and(|at| at <= self.now) {
            self.wake = None;
            self.step(Event::Woke);
        }
    }

    /// The agent is killed and begins anew; shims live on. What it had asked for and not done is lost.
    pub fn restart_agent(&mut self) {
        let found = self.ledger.values().map(|r| Found { remembered: r.clone(), shim: self.find(r.desired.id) });
        self.begin(found.collect());
    }

    fn find(&self, alloc: AllocId) -> FoundShim {
        match self.shims.get(&alloc) {
            None => FoundShim::Gone(BTreeMap::new()),
            Some(shim) if shim.dead => FoundShim::Orphaned(shim.tasks.clone()),
            Some(shim) => FoundShim::Alive(shim.tasks.clone()),
        }
    }

    /// The machine loses power and comes back.
    pub fn reboot(&mut self) {
        self.shims.clear();
        let found = self.ledger.values().map(|r| Found { remembered: r.clone(), shim: FoundShim::Rebooted });
        self.begin(found.collect());
    }

    fn begin(&mut self, found: Vec<Found>) {
        let mut out = Vec::new();
        self.core = Core::load(self.epoch, found, self.now, &mut out);
        (self.wake, self.connected) = (None, false);
        // What was heard and not yet written down is not known any more.
        self.goals = self.ledger.values().map(|r| (r.desired.id, r.desired.goal)).collect();
        self.events.clear();
        self.asked.clear();
        // A shim that was made and not remembered as such is made again from what is there.
        self.effects = out.iter().cloned().collect();
        self.trace.extend(out.iter().cloned());
        self.check_step(&out);
    }

    /// Nothing fails from here on, and the ledger has been tried again.
    pub fn faults_stop(&mut self) {
        (self.prepare_fails, self.signals_lost, self.ledger_fails) = (0, 0, false);
        self.pass(Millis(10_000));
    }

    /// Goes on without faults until nothing happens for `quiet`.
    pub fn settle(&mut self) {
        for _ in 0..20_000 {
            if self.perform() || self.deliver() {
                continue;
            }
            if self.wake.is_none() || self.quiet() {
                return;
            }
            let wake = self.wake.unwrap();
            self.pass(wake.since(self.now));
        }
        panic!("does not settle");
    }

    /// Whether the next wake is only a heartbeat.
    fn quiet(&self) -> bool {
        let Some(report) = self.reports.last() else { return false };
        self.connected
            && report.allocs.iter().all(|a| matches!(a.phase, Phase::Running | Phase::Ended(_)))
            && self.wake.is_some_and(|at| at.since(self.now) > Millis(900))
    }

    pub fn phase(&self, alloc: AllocId) -> Option<&Phase> {
        self.reports.last()?.allocs.iter().find(|a| a.id == alloc).map(|a| &a.phase)
    }

    /// How many processes of an allocation live.
    pub fn live(&self, alloc: AllocId) -> usize {
        let tasks = self.shims.get(&alloc).into_iter().flat_map(|s| s.tasks.values());
        tasks.filter(|t| matches!(t.state, ShimTaskState::Running { .. })).count()
    }
}

pub fn epoch_of(counter: u64) -> Epoch {
    Epoch { incarnation: Incarnation(1), counter }
}

pub fn alloc_id(n: u64) -> AllocId {
    AllocId::new(Incarnation(1), n)
}

pub fn name(text: &str) -> TaskName {
    text.parse().unwrap()
}

/// An allocation of these tasks that should run: two restarts a minute, one second apart and doubling.
pub fn desired(n: u64, kind: JobKind, tasks: &[&str]) -> DesiredAlloc {
    let task = |text: &&str| TaskSpec {
        name: name(text),
        driver: Driver::Exec,
        command: vec!["/bin/true".to_owned()],
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        resources: Resources::default(),
        pids_limit: 10,
        ports: Vec::new(),
        devices: Vec::new(),
        checks: Vec::new(),
        kill: KillPolicy { signal: Some(15), timeout: Millis(5000) },
        meta: BTreeMap::new(),
    };
    let group = GroupSpec {
        name: "g".parse().unwrap(),
        count: 1,
        constraints: Vec::new(),
        rules: Rules::default(),
        network: NetworkMode::Host,
        tasks: tasks.iter().map(task).collect(),
        restart: RestartPolicy {
            attempts: 2,
            interval: Millis::from_secs(60),
            delay: Millis(1000),
            max_delay: Millis(10_000),
        },
        update: UpdatePolicy { max_parallel: 1, min_ready: Millis(1000) },
        on_partition: OnPartition::default(),
        meta: BTreeMap::new(),
    };
    let job = JobId { namespace: Namespace::default(), name: "job".parse().unwrap() };
    DesiredAlloc {
        id: alloc_id(n),
        job,
        kind,
        version: JobVersion(1),
        index: 0,
        group,
        ports: BTreeMap::new(),
        devices: BTreeMap::new(),
        goal: Goal::Run,
    }
}

/// The same allocation, to be stopped.
pub fn stopped(desired: DesiredAlloc) -> DesiredAlloc {
    DesiredAlloc { goal: Goal::Stop, ..desired }
}
