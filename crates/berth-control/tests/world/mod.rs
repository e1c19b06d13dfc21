//! A language for tests of the core: nodes with obedient agents, a store that keeps what is committed, a clock that is
//! moved by hand. Every test that ends checks that the store holds what the core believes.
#![expect(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use berth_control::*;
use berth_model::testkit::{Machine, Spec};
use berth_model::*;

/// What the store holds.
#[derive(Clone, Default)]
pub struct Disk {
    pub meta: Meta,
    pub nodes: BTreeMap<NodeId, Node>,
    pub jobs: BTreeMap<JobId, Job>,
    pub versions: BTreeMap<(JobId, JobVersion), JobSpec>,
    pub allocs: BTreeMap<AllocId, Alloc>,
    pub commands: BTreeMap<(Principal, Namespace, IdempotencyKey), CommandRecord>,
    pub ledger: BTreeMap<EventId, LedgerEntry>,
    pub policy: Option<SetPolicy>,
    pub trust: BTreeMap<TrustId, Trust>,
}

impl Disk {
    pub fn write(&mut self, mutation: Mutation) {
        match mutation {
            Mutation::PutMeta(meta) => self.meta = meta,
            Mutation::PutNode(node) => drop(self.nodes.insert(node.id, node)),
            Mutation::DeleteNode(id) => drop(self.nodes.remove(&id)),
            Mutation::PutJob(job) => drop(self.jobs.insert(job.spec.id.clone(), *job)),
            Mutation::DeleteJob(id) => drop(self.jobs.remove(&id)),
            Mutation::PutJobVersion(v, spec) => drop(self.versions.insert((spec.id.clone(), v), *spec)),
            Mutation::DeleteJobVersion(id, v) => drop(self.versions.remove(&(id, v))),
            Mutation::PutAlloc(alloc) => drop(self.allocs.insert(alloc.id, *alloc)),
            Mutation::DeleteAlloc(id) => drop(self.allocs.remove(&id)),
            Mutation::PutCommand(r) => {
                drop(self.commands.insert((r.principal.clone(), r.namespace.clone(), r.key.clone()), r));
            }
            Mutation::DeleteCommand(p, n, k) => drop(self.commands.remove(&(p, n, k))),
            Mutation::PutLedger(entry) => drop(self.ledger.insert(entry.id, entry)),
            Mutation::DeleteLedger(id) => drop(self.ledger.remove(&id)),
            Mutation::PutPolicy(policy) => self.policy = Some(*policy),
            Mutation::PutTrust(trust) => drop(self.trust.insert(trust.id(), *trust)),
            Mutation::DeleteTrust(id) => drop(self.trust.remove(&id)),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            meta: self.meta,
            nodes: self.nodes.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            job_versions: self.versions.iter().map(|((_, v), s)| (*v, s.clone())).collect(),
            allocs: self.allocs.values().cloned().collect(),
            commands: self.commands.values().cloned().collect(),
            ledger: self.ledger.values().cloned().collect(),
            policy: self.policy.clone(),
            trust: self.trust.values().cloned().collect(),
        }
    }
}

/// What the agent of a test does about an allocation, beside obeying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Run,
    /// It runs, and its checks fail.
    Ail,
    Fail,
    Complete,
    Hang,
}

/// An agent that does at once what it is told.
pub struct Agent {
    pub hello: Hello,
    pub session: Option<SessionId>,
    pub node: Option<NodeId>,
    pub serial: u64,
    pub desired: Option<Desired>,
    /// The newest leases that it was given: for which report, and of what.
    pub leased: Option<(u64, Vec<AllocId>)>,
    pub up: bool,
    pub conditions: BTreeSet<NodeCondition>,
}

/// A whole small cluster.
pub struct World {
    pub core: Core,
    pub disk: Disk,
    pub now: Timestamp,
    pub agents: BTreeMap<String, Agent>,
    pub commits: VecDeque<(CommitId, Vec<Mutation>)>,
    pub replies: BTreeMap<RequestId, CommandResult>,
    pub closed: Vec<(SessionId, String)>,
    pub fates: BTreeMap<String, Fate>,
    pub wake: Option<Timestamp>,
    pub stepped_down: Option<StepDown>,
    pub store_stalled: bool,
    pub revision: u64,
    pub commit_count: usize,
    next_request: u64,
    next_session: u64,
}

pub const EPOCH: Epoch = Epoch { incarnation: Incarnation(1), counter: 1 };

impl World {
    pub fn new() -> World {
        World::with(Settings::default())
    }

    pub fn with(settings: Settings) -> World {
        let mut out = Vec::new();
        let now = Timestamp(1_000_000);
        let core = Core::load(Beginning { settings, snapshot: Snapshot::default(), epoch: EPOCH, now }, &mut out);
        let mut world = World {
            core,
            disk: Disk::default(),
            now,
            agents: BTreeMap::new(),
            commits: VecDeque::new(),
            replies: BTreeMap::new(),
            closed: Vec::new(),
            fates: BTreeMap::new(),
            wake: None,
            stepped_down: None,
            store_stalled: false,
            revision: 0,
            commit_count: 0,
            next_request: 0,
            next_session: 0,
        };
        world.perform(out);
        world
    }

    pub fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.core.step(self.now, event, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Commit { commit, mutations } => self.commits.push_back((commit, mutations)),
                Effect::Reply { request, result } => drop(self.replies.insert(request, result)),
                Effect::Send { session, order } => self.deliver(session, order),
                Effect::Close { session, reason } => self.closed.push((session, reason)),
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::StepDown(why) => self.stepped_down = Some(why),
            }
        }
        if !self.store_stalled {
            self.drain();
        }
    }

    /// The store does what it was asked.
    pub fn drain(&mut self) {
        while let Some((commit, mutations)) = self.commits.pop_front() {
            assert!(mutations.len() <= 100);
            self.commit_count += 1;
            for mutation in mutations {
                self.disk.write(mutation);
            }
            self.revision += 1;
            self.event(Event::Committed { commit, revision: Revision(self.revision) });
        }
    }

    fn deliver(&mut self, session: SessionId, order: Order) {
        let agent = self.agents.values_mut().find(|a| a.up && a.session == Some(session));
        let Some(agent) = agent else { return };
        match order {
            Order::Welcome { node, .. } => agent.node = Some(node),
            Order::Desired(desired) => agent.desired = Some(desired),
            Order::Lease { serial, allocs } => agent.leased = Some((serial, allocs)),
        }
    }

    pub fn node(&mut self, machine: Machine) -> NodeId {
        let name = machine.0.name.to_string();
        let agent = Agent {
            hello: machine.hello(),
            session: None,
            node: None,
            serial: 0,
            desired: None,
            leased: None,
            up: true,
            conditions: BTreeSet::new(),
        };
        self.agents.insert(name.clone(), agent);
        self.connect(&name);
        self.agents[&name].node.unwrap_or(NodeId::new(Incarnation(0), 0))
    }

    pub fn connect(&mut self, name: &str) {
        self.next_session += 1;
        let session = SessionId(self.next_session);
        let agent = self.agents.get_mut(name).unwrap();
        agent.session = Some(session);
        agent.serial = 0;
        agent.up = true;
        let hello = agent.hello.clone();
        self.event(Event::AgentConnected { session, hello });
        self.report(name);
    }

    /// Another server takes the lead; every agent that is up comes to it.
    pub fn lead_anew(&mut self) {
        self.restart(|_| ());
    }

    /// The same with other settings.
    pub fn restart(&mut self, change: impl FnOnce(&mut Settings)) {
        let epoch = Epoch { counter: self.core.meta().epoch.counter + 1, ..EPOCH };
        let mut settings = self.core.settings().clone();
        change(&mut settings);
        let mut out = Vec::new();
        self.core = Core::load(Beginning { settings, snapshot: self.disk.snapshot(), epoch, now: self.now }, &mut out);
        self.wake = None;
        self.perform(out);
        let up: Vec<String> = self.agents.iter().filter(|(_, a)| a.up).map(|(name, _)| name.clone()).collect();
        up.iter().for_each(|name| self.connect(name));
    }

    /// The agent falls silent.
    pub fn cut(&mut self, name: &str) {
        self.agents.get_mut(name).unwrap().up = false;
    }

    pub fn report(&mut self, name: &str) {
        let agent = self.agents.get_mut(name).unwrap();
        let Some(session) = agent.session.filter(|_| agent.up) else { return };
        agent.serial += 1;
        let fates = &self.fates;
        let allocs = agent.desired.iter().flat_map(|d| d.allocs.iter()).map(|d| observe(d, fates, self.now)).collect();
        let digest = agent.desired.as_ref().map(|d| d.digest).unwrap_or_default();
        let report = NodeReport { serial: agent.serial, digest, conditions: agent.conditions.clone(), allocs };
        self.event(Event::AgentReport { session, report });
    }

    /// The agent says this of its allocations, whatever it was told.
    pub fn say(&mut self, name: &str, allocs: Vec<ObservedAlloc>) {
        let agent = self.agents.get_mut(name).unwrap();
        agent.serial += 1;
        let digest = agent.desired.as_ref().map(|d| d.digest).unwrap_or_default();
        let report = NodeReport { serial: agent.serial, digest, conditions: agent.conditions.clone(), allocs };
        let session = agent.session.unwrap();
        self.event(Event::AgentReport { session, report });
    }

    /// Every agent reports, and once more what that led to.
    pub fn reports(&mut self) {
        let names: Vec<String> = self.agents.keys().cloned().collect();
        for _ in 0..2 {
            for name in &names {
                self.report(name);
            }
        }
    }

    /// Time passes in steps of half a second, with reports and wake-ups on the way.
    pub fn pass(&mut self, millis: u64) {
        let end = self.now + Millis(millis);
        while self.now < end {
            self.now = (self.now + Millis(500)).min(end);
            self.reports();
            while self.wake.is_some_and(|at| at <= self.now) {
                self.wake = None;
                self.event(Event::Woke);
            }
        }
        self.reports();
    }

    pub fn ask(&mut self, key: &str, command: Command) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let command = Box::new(CommandRequest {
            principal: Principal("root".to_owned()),
            namespace: Namespace::default(),
            key: IdempotencyKey(key.to_owned()),
            plan: None,
            command,
        });
        self.event(Event::Command { request, command });
        request
    }

    pub fn answer(&mut self, command: Command) -> CommandResult {
        let key = format!("key-{}", self.next_request + 1);
        let request = self.ask(&key, command);
        self.replies.get(&request).cloned().expect("answered")
    }

    pub fn run(&mut self, spec: Spec) -> CommandResult {
        self.answer(Command::Run(Box::new(spec.0)))
    }

    pub fn stop(&mut self, job: &str) -> CommandResult {
        self.answer(Command::Stop(job_id(job)))
    }

    /// One line per allocation of the job that has not ended: index, version, state, node.
    pub fn live(&self, job: &str) -> Vec<String> {
        let allocs = self.core.job_allocs(&job_id(job));
        allocs.into_iter().filter(|a| !a.is_ended()).map(|a| self.line(a)).collect()
    }

    pub fn all(&self, job: &str) -> Vec<String> {
        self.core.job_allocs(&job_id(job)).into_iter().map(|a| self.line(a)).collect()
    }

    pub fn line(&self, alloc: &Alloc) -> String {
        let state = match &alloc.state {
            AllocState::Waiting { reason, .. } => format!("waiting {}", reason_word(reason)),
            AllocState::Placed { .. } => "placed".to_owned(),
            AllocState::Running { ready: None, .. } => "running".to_owned(),
            AllocState::Running { ready: Some(_), .. } => "ready".to_owned(),
            AllocState::Stopping { .. } => "stopping".to_owned(),
            AllocState::Ended { outcome, .. } => match outcome {
                Outcome::Complete => "complete".to_owned(),
                Outcome::Stopped => "stopped".to_owned(),
                Outcome::Preempted { .. } => "preempted".to_owned(),
                Outcome::Drained(_) => "drained".to_owned(),
                Outcome::Failed(_) => "failed".to_owned(),
                Outcome::Lost(_) => "lost".to_owned(),
            },
        };
        let node = alloc.placement().map_or("-".to_owned(), |p| self.node_name(p.node));
        format!("{}[{}] v{} {state} {node}", alloc.job.name, alloc.index, alloc.version)
    }

    pub fn node_name(&self, id: NodeId) -> String {
        self.core.nodes().get(&id).map_or(id.to_string(), |n| n.fingerprint.name.to_string())
    }

    /// The laws that hold at every quiet moment.
    pub fn check(&self) {
        if !self.commits.is_empty() || self.stepped_down.is_some() {
            return;
        }
        // A run that changed nothing is not recorded, and its number not written: the next leader issues it again.
        let mut believed = self.core.snapshot();
        believed.meta.decisions = self.disk.snapshot().meta.decisions;
        assert!(believed.meta.decisions <= self.core.meta().decisions);
        assert_eq!(self.disk.snapshot(), believed, "the store holds what the core believes");
        for (id, node) in self.core.nodes() {
            let used: Resources = self.core.node_allocs(*id).map(|a| self.group(a).resources()).sum();
            assert!(used.fits_in(&node.fingerprint.resources), "node {id} is over capacity");
            let ports: Vec<Port> =
                self.core.node_allocs(*id).flat_map(|a| a.placement().unwrap().ports.values().copied()).collect();
            assert_eq!(ports.len(), ports.iter().collect::<BTreeSet<_>>().len(), "a port of {id} is given twice");
        }
    }

    fn group(&self, alloc: &Alloc) -> GroupSpec {
        self.core.job_version(&alloc.job, alloc.version).unwrap().group(&alloc.group).unwrap().clone()
    }
}

fn observe(desired: &DesiredAlloc, fates: &BTreeMap<String, Fate>, now: Timestamp) -> ObservedAlloc {
    let version = format!("{} v{}", desired.job.name, desired.version);
    let names = [&desired.id.to_string(), &version, desired.job.name.as_str()];
    let named = names.into_iter().find_map(|name| fates.get(name));
    let fate = named.copied().unwrap_or(Fate::Run);
    let (phase, state) = match (desired.goal, fate) {
        (Goal::Stop, _) => (Phase::Ended(Ended::Stopped), TaskState::Done),
        (Goal::Run, Fate::Run | Fate::Ail) => (Phase::Running, TaskState::Running { pid: 7, started: Timestamp(1) }),
        (Goal::Run, Fate::Hang) => (Phase::Preparing(Progress::default()), TaskState::Pending),
        (Goal::Run, Fate::Complete) => (Phase::Ended(Ended::Complete), TaskState::Done),
        (Goal::Run, Fate::Fail) => {
            let failure = Failure { kind: FailureKind::Exit, message: "exit status 1".to_owned() };
            (Phase::Ended(Ended::Failed(failure)), TaskState::Done)
        }
    };
    let (check, output) = if fate == Fate::Ail { (CheckState::Failing, "ill") } else { (CheckState::Passing, "well") };
    let status = CheckStatus { state: check, since: now, failures: 0, output: output.to_owned() };
    let spec = &desired.group.tasks[0];
    let checks = spec.checks.iter().map(|check| (check.name.clone(), status.clone())).collect();
    let task = (spec.name.clone(), TaskStatus { state, restarts: 0, last_exit: None, checks });
    ObservedAlloc { id: desired.id, phase, tasks: BTreeMap::from([task]) }
}

pub fn job_id(job: &str) -> JobId {
    JobId { namespace: Namespace::default(), name: job.parse().unwrap() }
}

pub fn reason_word(reason: &WaitReason) -> &'static str {
    match reason {
        WaitReason::Queued => "queued",
        WaitReason::NoNodes => "no-nodes",
        WaitReason::NoNodeFits { verdict: Verdict::Waiting, .. } => "no-room",
        WaitReason::NoNodeFits { verdict: Verdict::Never, .. } => "never",
        WaitReason::GangIncomplete { .. } => "gang-incomplete",
        WaitReason::Preempting { .. } => "preempting",
        WaitReason::BackOff { .. } => "back-off",
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}
