//! Simulated users: what they ask for, how they repeat it until it is answered, and what they were promised.

use std::collections::{BTreeMap, BTreeSet};

use berth_control::{Event, RequestId};
use berth_model::{
    AllocId, AllocState, AtMost, BalanceMode, BuiltIn, Bytes, CheckKind, CheckSpec, Command, CommandOutcome,
    CommandRequest, CommandResult, Constraint, CpuMillis, DeviceAmount, DeviceSpec, Domain, Driver, Gang, GroupSpec,
    IdempotencyKey, JobId, JobKind, JobSpec, KillPolicy, Mbits, Millis, Namespace, NetworkMode, NodeId, OnPartition,
    Operator, Peer, PlanId, PolicySpec, Port, PortSpec, Preemptible, Principal, Priority, Probe, Refusal, Relation,
    Resources, RestartPolicy, Rules, Sense, Spread, Strength, TaskSpec, Term, Thousandths, UpdatePolicy, Weight,
    Weights,
};

use crate::Invariant;
use crate::machine::ASK;
use crate::random::Random;
use crate::server::ServerId;
use crate::world::{What, World};

/// Jobs of a simulation, at most.
const MAX_JOBS: u64 = 40;

/// One command of some user.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: CommandRequest,
    pub(crate) tries: u32,
    /// What it was answered for good; `KeyReused` counts, a plea to ask again does not.
    pub(crate) answer: Option<CommandResult>,
}

/// All users.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) asked: Vec<Asked>,
    /// The newest specification that was asked for, of each job that nobody asked to stop since.
    specs: BTreeMap<JobId, JobSpec>,
    jobs: u64,
    allocs: u32,
    requests: u64,
}

impl Clients {
    /// What kind a job is that was asked for last.
    pub(crate) fn kind_of(&self, job: &JobId) -> Option<JobKind> {
        self.specs.get(job).map(|spec| spec.kind)
    }

    fn has_set_policy(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked.request.command, Command::SetPolicy { .. }))
    }

    /// Whether every command has its answer.
    pub(crate) fn all_answered(&self) -> bool {
        self.asked.iter().all(|asked| asked.answer.is_some())
    }
}

impl World {
    /// Some user wants something.
    pub(crate) fn user_acts(&mut self) {
        if !self.faulty {
            return;
        }
        let filling = self.clients.allocs < self.profile.allocs_asked;
        let command = match self.profile.balance_max {
            _ if filling => Some(self.new_job()),
            at_most if at_most > 0 && !self.clients.has_set_policy() => Some(balancing(eager(), at_most)),
            _ => self.random_command(),
        };
        if let Some(command) = command {
            self.ask(command);
        }
        let delay = if filling { self.random.between(50, 600) } else { self.random.between(300, 4000) };
        self.after(delay, What::UserActs);
    }

    fn random_command(&mut self) -> Option<Command> {
        // Where no user does so, nothing is drawn either.
        if self.profile.policies > 0 && self.random.chance(self.profile.policies) {
            return Some(self.set_policy());
        }
        if self.profile.partitions > 0 && self.random.chance(100) {
            return self.abandon();
        }
        if self.profile.drains > 0 && self.random.chance(self.profile.drains) {
            let within = Some(Millis(self.random.between(1_000, 60_000)));
            return self.drain_or_enable(&[None, Some(Millis(0)), within]);
        }
        match self.random.below(100) {
            0..20 if self.clients.jobs < MAX_JOBS => Some(self.new_job()),
            0..55 => self.update(),
            55..65 => self.pick_job().map(|spec| Command::Stop(spec.id)),
            65..85 => self.pick_alloc().map(Command::StopAlloc),
            85..95 => self.repeat(),
            _ => self.reuse_key(),
        }
    }

    pub(crate) fn new_job(&mut self) -> Command {
        self.clients.jobs += 1;
        let mut spec = random_spec(self.clients.jobs, &mut self.random);
        for group in spec.groups.iter_mut().filter(|_| self.profile.partitions > 0) {
            group.on_partition = random_on_partition(&mut self.random);
        }
        self.clients.allocs += match spec.kind {
            JobKind::Service | JobKind::Batch => spec.groups.iter().map(|g| g.count).sum(),
            JobKind::System => 0,
        };
        self.clients.specs.insert(spec.id.clone(), spec.clone());
        Command::Run(Box::new(spec))
    }

    /// A job that is not to be thought of any more.
    pub(crate) fn forget_job(&mut self) -> Option<JobId> {
        let job = self.pick_job()?.id;
        self.clients.specs.remove(&job);
        Some(job)
    }

    fn pick_job(&mut self) -> Option<JobSpec> {
        let specs = &self.clients.specs;
        (!specs.is_empty()).then(|| specs.values().nth(self.random.index(specs.len())).cloned()).flatten()
    }

    pub(crate) fn pick_alloc(&mut self) -> Option<AllocId> {
        let placed = |state: &AllocState| matches!(state, AllocState::Placed { .. } | AllocState::Running { .. });
        let ids: Vec<AllocId> = self.store.allocs.values().filter(|a| placed(&a.state)).map(|a| a.id).collect();
        (!ids.is_empty()).then(|| ids[self.random.index(ids.len())])
    }

    /// A new version of a job: another environment, another count, or another size.
    pub(crate) fn update(&mut self) -> Option<Command> {
        let mut spec = self.pick_job()?;
        let index = self.random.index(spec.groups.len());
        let group = &mut spec.groups[index];
        match self.random.below(4) {
            0 if spec.kind != JobKind::System => {
                group.count = u32::try_from(self.random.between(1, 25)).expect("small")
            }
            1 => group.tasks[0].resources.cpu.0 = self.random.between(1, 20) * 20,
            _ => _ = group.tasks[0].env.insert("RELEASE".to_owned(), self.random.below(1000).to_string()),
        }
        self.clients.specs.insert(spec.id.clone(), spec.clone());
        Some(Command::Run(Box::new(spec)))
    }

    /// A client that was answered asks the same again under the same key, as one that lost the answer does.
    fn repeat(&mut self) -> Option<Command> {
        let index = self.random.index(self.clients.asked.len().max(1));
        if self.clients.asked.get(index).is_some_and(|asked| asked.answer.is_some()) {
            self.send_request(index);
        }
        None
    }

    /// A client uses a key again for something else, which must be refused.
    fn reuse_key(&mut self) -> Option<Command> {
        let job = self.pick_job()?.id;
        let index = self.random.index(self.clients.asked.len().max(1));
        let first = self.clients.asked.get(index).filter(|asked| matches!(asked.answer, Some(Ok(_))))?;
        let command = Command::Stop(job);
        if first.request.command != command {
            let request = CommandRequest { command, ..first.request.clone() };
            self.submit(request);
        }
        None
    }

    /// A node is to be emptied by one of these deadlines; or one that was is given work again.
    pub(crate) fn drain_or_enable(&mut self, deadlines: &[Option<Millis>]) -> Option<Command> {
        let ids: Vec<NodeId> = self.store.nodes.keys().copied().collect();
        let node = *ids.get(self.random.index(ids.len().max(1)))?;
        let is_drained = self.store.nodes[&node].drain.is_some();
        if is_drained && self.random.chance(700) {
            return Some(Command::Enable([node].into()));
        }
        let deadline = deadlines[self.random.index(deadlines.len())];
        Some(Command::Drain { nodes: [node].into(), deadline })
    }

    /// Somebody gives up what is kept on a lost node, where one is.
    fn abandon(&mut self) -> Option<Command> {
        let lost: Vec<NodeId> = self.store.nodes.values().filter(|node| !node.is_eligible()).map(|n| n.id).collect();
        let node = *lost.get(self.random.index(lost.len().max(1)))?;
        Some(Command::Abandon([node].into()))
    }

    /// Whatever was drained takes work again: at the end everything is to be as it should be everywhere.
    pub(crate) fn enable_all(&mut self) {
        let drained = self.store.nodes.values().filter(|node| node.drain.is_some());
        let nodes: BTreeSet<NodeId> = drained.map(|node| node.id).collect();
        if !nodes.is_empty() && self.clients.all_answered() {
            self.ask(Command::Enable(nodes));
        }
    }

    /// Another policy: one that Berth brings along, or any mixture, with another one for a pool.
    fn set_policy(&mut self) -> Command {
        let brought = BuiltIn::ALL[self.random.index(BuiltIn::ALL.len())];
        let mut spec = brought.spec();
        if self.random.chance(500) {
            let weights = Term::ALL.into_iter().fold(brought.weights(), |weights, term| {
                let weight = if self.random.chance(500) { weights.of(term) } else { self.random.below(2000) as u32 };
                weights.with(term, weight)
            });
            let pool = BuiltIn::ALL[self.random.index(BuiltIn::ALL.len())].weights();
            spec.name = format!("mixed-{}", self.random.below(5)).parse().expect("a name");
            (spec.weights, spec.pools) = (weights, BTreeMap::from([("a".parse().expect("a name"), pool)]));
        }
        match self.random.below(8) {
            at_most @ 1..4 => balancing(spec, u32::try_from(at_most).expect("small")),
            _ => Command::SetPolicy { spec: Box::new(spec), after: None },
        }
    }

    fn ask(&mut self, command: Command) {
        self.ask_as_planned(command, None);
    }

    /// A command that is to be carried out only as the plan says, where there is one.
    pub(crate) fn ask_as_planned(&mut self, command: Command, plan: Option<PlanId>) {
        let key = IdempotencyKey(format!("key-{}", self.clients.asked.len()));
        let (principal, namespace) = (Principal("admin".to_owned()), Namespace::default());
        self.submit(CommandRequest { principal, namespace, key, plan, command });
    }

    fn submit(&mut self, request: CommandRequest) {
        let index = self.clients.asked.len();
        let what = match &request.command {
            Command::Run(spec) => format!("run {} {:?}", spec.id, spec.kind),
            Command::Stop(job) => format!("stop {job}"),
            Command::StopAlloc(alloc) => format!("stop {alloc}"),
            Command::Drain { nodes, deadline } => format!("drain {nodes:?} within {deadline:?}"),
            Command::Enable(nodes) => format!("enable {nodes:?}"),
            Command::SetPolicy { spec, .. } => format!("place by {}", spec.name),
            Command::Trust(command) => format!("{command:?}"),
            Command::Abandon(nodes) => format!("abandon {nodes:?}"),
            Command::Finalise(format) => format!("finalise format {format}"),
        };
        self.note(format_args!("user asks {} as command {index}: {what}", request.key.0));
        self.clients.asked.push(Asked { request, tries: 0, answer: None });
        self.send_request(index);
    }

    fn send_request(&mut self, index: usize) {
        let asked = &mut self.clients.asked[index];
        asked.tries += 1;
        let tries = asked.tries;
        let delay = self.random.between(1, 20);
        if !self.fails(self.profile.loss * 5) {
            self.after(delay, What::Request(index));
        }
        if self.fails(self.profile.duplicate) {
            self.after(delay + 5, What::Request(index));
        }
        let patience = self.random.between(2000, 6000);
        self.after(patience, What::ClientTimeout(index, tries));
    }

    /// A request reaches whoever leads; where nobody does, the client hears nothing.
    pub(crate) fn request_arrives(&mut self, index: usize) {
        let Some(id) = self.lead else { return };
        self.clients.requests += 1;
        let request = RequestId(self.clients.requests);
        let command = Box::new(self.clients.asked[index].request.clone());
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.requests.insert(request, index);
        self.step_server(id, Event::Command { request, command });
    }

    /// A server answers a request.
    pub(crate) fn reply(&mut self, id: ServerId, request: RequestId, result: CommandResult) {
        let Some(index) = self.servers.get_mut(&id).and_then(|server| server.requests.remove(&request)) else {
            let what = format_args!("server {id} answers request {} that is not waiting", request.0);
            self.broken(Invariant::AnsweredOnce, what);
            return;
        };
        self.check_reply(index, &result);
        let delay = self.random.between(1, 20);
        if !self.fails(self.profile.loss * 5) {
            self.after(delay, What::Answer(index, Box::new(result)));
        }
    }

    /// An answer reaches its client.
    pub(crate) fn answer_arrives(&mut self, index: usize, result: CommandResult) {
        if let Err(Refusal::NotLeader | Refusal::StoreUnavailable | Refusal::Overloaded) = result {
            return; // The client asks again when its patience ends.
        }
        self.note(format_args!("command {index} is answered: {result:?}"));
        let asked = &mut self.clients.asked[index];
        match (&asked.answer, &result) {
            (Some(Ok(first)), again) if again.as_ref().ok() != Some(first) => {
                let what = format!("command {index} was answered {first:?} and then {again:?}");
                self.broken(Invariant::AnsweredOnce, format_args!("{what}"));
            }
            _ => asked.answer = Some(result),
        }
    }

    /// A client has waited long enough.
    pub(crate) fn client_timeout(&mut self, index: usize, tries: u32) {
        let asked = &self.clients.asked[index];
        if asked.answer.is_none() && asked.tries == tries {
            self.send_request(index);
        }
    }
}

/// The job that an outcome is about, if any.
pub(crate) fn job_of(outcome: &CommandOutcome) -> Option<&JobId> {
    match outcome {
        CommandOutcome::JobVersion { job, .. } | CommandOutcome::Stopping(job) => Some(job),
        CommandOutcome::StoppingAlloc(_)
        | CommandOutcome::Draining(_)
        | CommandOutcome::Enabled(_)
        | CommandOutcome::Policy { .. }
        | CommandOutcome::Trust(_)
        | CommandOutcome::Abandoned(_)
        | CommandOutcome::Finalised { .. } => None,
    }
}
/// Even load that counts for so much that small gains are worth a move.
fn eager() -> PolicySpec {
    let usual = BuiltIn::Balanced.spec();
    let weights = usual.weights.terms().fold(Weights::NONE, |all, (term, weight)| all.with(term, 20 * weight));
    PolicySpec { weights, ..usual }
}

/// The same policy under another name, with which services are moved.
fn balancing(spec: PolicySpec, at_most: u32) -> Command {
    let name = format!("{}-moving-{at_most}", spec.name).parse().expect("a name");
    Command::SetPolicy {
        spec: Box::new(PolicySpec { name, balance: BalanceMode::On { at_most }, ..spec }),
        after: None,
    }
}

fn random_spec(number: u64, random: &mut Random) -> JobSpec {
    let kind = match number {
        1 | 2 => JobKind::Service,
        3 => JobKind::Batch,
        4 => JobKind::System,
        _ => [JobKind::Service, JobKind::Service, JobKind::Batch, JobKind::System][random.index(4)],
    };
    let groups = (0..random.between(1, 2)).map(|index| random_group(kind, index, number, random)).collect();
    let picky = random.chance(200);
    let ssd = Constraint { attribute: "label.disk".to_owned(), operator: Operator::Is("ssd".to_owned()) };
    JobSpec {
        id: JobId { namespace: Namespace::default(), name: format!("job-{number}").parse().expect("a valid name") },
        kind,
        priority: Priority(if random.chance(150) { 80 } else { 50 }),
        preemptible: if random.chance(100) { Preemptible::No } else { Preemptible::Yes },
        constraints: if picky { vec![ssd] } else { Vec::new() },
        groups,
        meta: BTreeMap::new(),
    }
}

fn random_group(kind: JobKind, index: u64, job: u64, random: &mut Random) -> GroupSpec {
    let tasks = random.between(1, 2);
    GroupSpec {
        name: format!("group-{index}").parse().expect("a valid name"),
        count: match kind {
            JobKind::Service | JobKind::Batch => u32::try_from(random.between(4, 24)).expect("small"),
            JobKind::System => 1,
        },
        constraints: Vec::new(),
        rules: random_rules(kind, job, random),
        network: NetworkMode::Host,
        tasks: (0..tasks).map(|task| random_task(kind, task, job * 10 + index, random)).collect(),
        restart: RestartPolicy {
            attempts: u32::try_from(random.below(4)).expect("small"),
            interval: Millis::from_secs(random.between(20, 60)),
            delay: Millis(random.between(200, 2000)),
            max_delay: Millis(random.between(4000, 8000)),
        },
        update: UpdatePolicy {
            max_parallel: u32::try_from(random.between(1, 4)).expect("small"),
            min_ready: Millis(random.between(500, 4000)),
        },
        on_partition: OnPartition::default(),
        meta: BTreeMap::new(),
    }
}

fn random_on_partition(random: &mut Random) -> OnPartition {
    match random.below(10) {
        0..5 => OnPartition::Fence { lease: Millis(random.between(3_000, 15_000)) },
        5..7 => OnPartition::Keep,
        7 | 8 => OnPartition::Replace { after: Millis(random.between(1, 20_000)) },
        _ => OnPartition::default(),
    }
}

fn random_task(kind: JobKind, task: u64, unique: u64, random: &mut Random) -> TaskSpec {
    // Now and then something large, so that nodes get full.
    let cpu = if random.chance(60) { random.between(1000, 3000) } else { random.between(1, 16) * 20 };
    let fixed = kind == JobKind::System && task == 0 && random.chance(500);
    let number = 8000 + u16::try_from(unique % 10_000).expect("below 10000");
    let port = |name: &str, fixed| PortSpec { name: name.parse().expect("a valid name"), fixed };
    let ports = match (task, fixed) {
        (0, true) => vec![port("http", Some(Port(number)))],
        (0, false) if random.chance(500) => vec![port("http", None), port("admin", None)],
        _ => Vec::new(),
    };
    TaskSpec {
        name: format!("task-{task}").parse().expect("a valid name"),
        driver: Driver::Exec,
        command: vec!["work".to_owned()],
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        resources: Resources {
            cpu: CpuMillis(cpu),
            memory: Bytes::mib(random.between(16, 512)),
            disk: Bytes::mib(10),
            network: Mbits(random.below(60)),
        },
        pids_limit: 64,
        ports,
        devices: if task == 0 && random.chance(150) { vec![random_wish(random)] } else { Vec::new() },
        checks: if task == 0 { checks_of(kind, unique) } else { Vec::new() },
        kill: KillPolicy { signal: Some(ASK), timeout: Millis(random.between(0, 6000)) },
        meta: BTreeMap::new(),
    }
}

/// Every third job has checks, which by its number.
fn checks_of(kind: JobKind, unique: u64) -> Vec<CheckSpec> {
    if kind == JobKind::Batch || !unique.is_multiple_of(3) {
        return Vec::new();
    }
    let kinds: &[CheckKind] = match unique / 3 % 4 {
        0 => &[CheckKind::Readiness],
        1 => &[CheckKind::Liveness],
        2 => &[CheckKind::Startup, CheckKind::Readiness],
        _ => &[CheckKind::Readiness, CheckKind::Liveness],
    };
    let check = |kind: &CheckKind| CheckSpec {
        name: kind.to_string().parse().expect("a valid name"),
        kind: *kind,
        probe: Probe::File { path: "/ready".to_owned() },
        interval: Millis(1000 + unique % 5 * 1000),
        timeout: Millis(1000),
        successes: 1 + u32::from(unique.is_multiple_of(2)),
        failures: if *kind == CheckKind::Startup { 20 } else { 3 },
    };
    kinds.iter().map(check).collect()
}

fn random_wish(random: &mut Random) -> DeviceSpec {
    let amount = if random.chance(500) {
        DeviceAmount::Count(u32::try_from(random.between(1, 2)).expect("small"))
    } else {
        DeviceAmount::Share(Thousandths(u16::try_from(random.between(100, 600)).expect("small")))
    };
    let parsed = "a valid name";
    let (name, kind) = ("gpu".parse().expect(parsed), "gpu".parse().expect(parsed));
    DeviceSpec { name, kind, amount, constraints: Vec::new() }
}

/// What a group of few demands of where others are. A system job is everywhere as it is.
fn random_rules(kind: JobKind, job: u64, random: &mut Random) -> Rules {
    let mut rules = Rules::default();
    if kind == JobKind::System {
        return rules;
    }
    let domain = |random: &mut Random| if random.chance(500) { Domain::rack() } else { Domain::Node };
    if random.chance(150) {
        let count = u32::try_from(random.between(2, 8)).expect("small");
        rules.at_most.push(AtMost { count, per: domain(random) });
    }
    if random.chance(100) {
        let other = format!("job-{}", random.between(1, 6));
        if other != format!("job-{job}") {
            let to = Peer { job: other.parse().expect("a valid name"), group: None };
            let strength = if random.chance(500) { Strength::Required } else { Strength::Preferred(Weight(400)) };
            rules.relations.push(Relation { to, sense: Sense::Apart, within: Domain::Node, strength });
        }
    }
    if random.chance(150) {
        rules.spread.push(Spread { over: Domain::rack(), weight: Weight(700), targets: BTreeMap::new() });
    }
    if random.chance(80) {
        rules.gang = Gang::Whole;
    }
    rules
}
