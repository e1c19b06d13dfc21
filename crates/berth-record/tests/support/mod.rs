//! Values for the tests of the records: fixed samples of every kind and variant.

mod health;

use std::collections::BTreeMap;

use berth_model::*;

pub fn alloc_id(counter: u64) -> AllocId {
    AllocId::new(Incarnation(1), counter)
}

pub fn node_id(counter: u64) -> NodeId {
    NodeId::new(Incarnation(1), counter)
}

pub fn decision(counter: u64) -> DecisionId {
    DecisionId::new(Incarnation(1), counter)
}

pub fn by_command() -> Cause {
    Cause::Command(CommandId::new(Incarnation(1), 7))
}

fn by_event() -> Cause {
    Cause::Event(EventId::new(Incarnation(1), 99))
}

fn by_report() -> Cause {
    Cause::Report { node: node_id(2), serial: 41 }
}

fn by_timer(timer: Timer) -> Cause {
    Cause::Timer { timer, due: Timestamp(1_700_000_005_000) }
}

pub fn job_id() -> JobId {
    JobId { namespace: Namespace::default(), name: "web".parse().unwrap() }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, message: "the image `127.0.0.1:5000/web:1` is not there: push it, or name another".to_owned() }
}

fn constraint(attribute: &str, operator: Operator) -> Constraint {
    Constraint { attribute: attribute.to_owned(), operator }
}

/// One constraint with every operator.
fn constraints() -> Vec<Constraint> {
    let text = |value: &str| value.to_owned();
    vec![
        constraint("kernel.name", Operator::Is(text("linux"))),
        constraint("label.disk", Operator::IsNot(text("hdd"))),
        constraint("cpu.arch", Operator::In(vec![text("x86_64"), text("aarch64")])),
        constraint("label.zone", Operator::NotIn(vec![text("c")])),
        constraint("driver.container", Operator::Set),
        constraint("label.retired", Operator::Unset),
        constraint("cpu.cores", Operator::Compare(Ordering::Less, text("64"))),
        constraint("cgroup.version", Operator::Compare(Ordering::AtMost, text("2"))),
        constraint("kernel.version", Operator::Compare(Ordering::Greater, text("5.10"))),
        constraint("memory.gib", Operator::Compare(Ordering::AtLeast, text("2"))),
        constraint("node.name", Operator::Glob(text("rack-?-*"))),
    ]
}

fn task(name: &str, driver: Driver) -> TaskSpec {
    TaskSpec {
        name: name.parse().unwrap(),
        driver,
        command: vec!["/bin/server".to_owned(), "--port".to_owned(), "$BERTH_PORT_HTTP".to_owned()],
        env: texts(&[("MODE", "production")]),
        working_dir: Some("/srv".to_owned()),
        user: Some("www-data:www-data".to_owned()),
        resources: Resources { cpu: CpuMillis(250), memory: Bytes::mib(128), disk: Bytes::mib(300), network: Mbits(0) },
        pids_limit: 512,
        ports: vec![
            PortSpec { name: "http".parse().unwrap(), fixed: None },
            PortSpec { name: "admin".parse().unwrap(), fixed: Some(Port(9090)) },
        ],
        devices: vec![],
        checks: Vec::new(),
        kill: KillPolicy { signal: Some(15), timeout: Millis(5000) },
        meta: texts(&[("owner", "shop")]),
    }
}

pub fn group() -> GroupSpec {
    let container = ContainerSpec {
        image: "127.0.0.1:5000/web:1".to_owned(),
        credential: Some("registry".to_owned()),
        read_only_root: true,
        tmpfs: vec![("/tmp".to_owned(), Bytes::mib(16))],
        cap_add: vec!["NET_BIND_SERVICE".to_owned()],
    };
    let mut helper = task("helper", Driver::Exec);
    (helper.working_dir, helper.user, helper.ports) = (None, None, vec![]);
    GroupSpec {
        name: "front".parse().unwrap(),
        count: 3,
        constraints: vec![constraint("label.edge", Operator::Set)],
        rules: Rules::default(),
        network: NetworkMode::Host,
        tasks: vec![task("server", Driver::Container(container)), helper],
        restart: RestartPolicy { attempts: 3, interval: Millis(60_000), delay: Millis(500), max_delay: Millis(30_000) },
        update: UpdatePolicy { max_parallel: 1, min_ready: Millis(10_000) },
        on_partition: OnPartition::default(),
        meta: texts(&[("tier", "front")]),
    }
}

pub fn spec(kind: JobKind) -> JobSpec {
    let mut lonely = group();
    (lonely.name, lonely.network) = ("lonely".parse().unwrap(), NetworkMode::None);
    JobSpec {
        id: job_id(),
        kind,
        priority: Priority(50),
        preemptible: Preemptible::Yes,
        constraints: constraints(),
        groups: vec![group(), lonely],
        meta: texts(&[("team", "shop")]),
    }
}

fn job_on_partition(on_partition: OnPartition) -> Mutation {
    let mut spec = spec(JobKind::Service);
    spec.groups[0].on_partition = on_partition;
    let changed = (Timestamp(1_700_000_000_123), Cause::Command(CommandId::new(Incarnation(1), 7)));
    Mutation::PutJob(Box::new(Job { spec, version: JobVersion(4), changed, state: JobState::Active }))
}

fn job(kind: JobKind, state: JobState, cause: Cause) -> Mutation {
    let changed = (Timestamp(1_700_000_000_123), cause);
    Mutation::PutJob(Box::new(Job { spec: spec(kind), version: JobVersion(4), changed, state }))
}

fn jobs() -> Vec<(&'static str, Mutation)> {
    let ended = |outcome| JobState::Ended { at: Timestamp(1_700_000_009_000), outcome };
    let stopping = JobState::Stopping { since: Timestamp(1_700_000_008_000), cause: by_command() };
    vec![
        ("job-service-active", job(JobKind::Service, JobState::Active, by_command())),
        ("job-system-stopping", job(JobKind::System, stopping, by_event())),
        ("job-service-ended-stopped", job(JobKind::Service, ended(JobOutcome::Stopped), by_report())),
        ("job-batch-ended-complete", job(JobKind::Batch, ended(JobOutcome::Complete), by_timer(Timer::Collect))),
        ("job-batch-ended-failed", job(JobKind::Batch, ended(JobOutcome::Failed), by_timer(Timer::Reschedule))),
        ("job-version", Mutation::PutJobVersion(JobVersion(3), Box::new(spec(JobKind::Service)))),
    ]
}

/// Wishes of both kinds, and bandwidth.
pub fn group_with_devices() -> GroupSpec {
    let wish = |name: &str, amount, constraints| DeviceSpec {
        name: name.parse().unwrap(),
        kind: "gpu".parse().unwrap(),
        amount,
        constraints,
    };
    let model = constraint("model", Operator::In(vec!["a100".to_owned()]));
    let mut group = group();
    group.tasks[0].resources.network = Mbits(250);
    group.tasks[0].devices = vec![
        wish("train", DeviceAmount::Count(2), vec![model]),
        wish("show", DeviceAmount::Share(Thousandths(250)), vec![]),
    ];
    group
}

fn grants() -> DeviceGrants {
    let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
    BTreeMap::from([
        ("train".parse().unwrap(), ids(&["GPU-1", "GPU-2"])),
        ("show".parse().unwrap(), ids(&["0000:3b:00.0"])),
    ])
}

fn node_with_devices(since: Timestamp) -> Mutation {
    let Mutation::PutNode(mut node) = node(NodeState::Ready { since }) else { unreachable!("that is what it makes") };
    node.fingerprint.resources.network = Mbits::UNLIMITED;
    node.fingerprint.devices = vec![Device {
        kind: "gpu".parse().unwrap(),
        id: "0000:3b:00.0".parse().unwrap(),
        attributes: texts(&[("model", "a100")]),
        paths: vec!["/dev/nvidia0".to_owned()],
    }];
    Mutation::PutNode(node)
}

fn alloc_with_devices() -> Mutation {
    let placement = Placement { devices: grants(), ..placement("pack") };
    let since = Timestamp(1_700_000_002_000);
    Mutation::PutAlloc(Box::new(alloc(AllocState::Placed { placement, since }, by_event())))
}

fn alloc_without_devices() -> Mutation {
    let kind: DeviceKind = "gpu".parse().unwrap();
    let dimension = Dimension::Device(kind.clone());
    let reason = WaitReason::NoNodeFits {
        decision: decision(13),
        filtered: BTreeMap::from([
            (Filter::DeviceMissing(kind), 1),
            (Filter::Exhausted(Dimension::Network), 2),
            (Filter::Exhausted(dimension.clone()), 3),
        ]),
        nearest: Some((node_id(5), Shortfall { dimension, wanted: 2000, free: 1000, capacity: 8000 })),
        verdict: Verdict::Waiting,
    };
    let since = Timestamp(1_700_000_002_000);
    Mutation::PutAlloc(Box::new(alloc(AllocState::Waiting { since, reason }, by_event())))
}

/// A rule of every sort.
fn rules() -> Rules {
    let relation = |job: &str, group: Option<&str>, sense, within, strength| Relation {
        to: Peer { job: job.parse().unwrap(), group: group.map(|group| group.parse().unwrap()) },
        sense,
        within,
        strength,
    };
    Rules {
        at_most: vec![AtMost { count: 2, per: Domain::rack() }, AtMost { count: 1, per: Domain::Node }],
        relations: vec![
            relation("cache", Some("main"), Sense::Near, Domain::zone(), Strength::Required),
            relation("noisy", None, Sense::Apart, Domain::Node, Strength::Preferred(Weight(300))),
        ],
        preferences: vec![Preference {
            constraint: constraint("label.disk", Operator::Is("ssd".to_owned())),
            weight: Weight(1000),
        }],
        spread: vec![Spread {
            over: Domain::zone(),
            weight: Weight(500),
            targets: BTreeMap::from([("a".to_owned(), 60), ("b".to_owned(), 40)]),
        }],
        gang: Gang::Whole,
    }
}

fn job_that_stays() -> Mutation {
    let spec = JobSpec { preemptible: Preemptible::No, ..spec(JobKind::Batch) };
    let changed = (Timestamp(1_700_000_000_123), by_command());
    Mutation::PutJob(Box::new(Job { spec, version: JobVersion(4), changed, state: JobState::Active }))
}

fn alloc_preempting() -> Mutation {
    let victims = vec![alloc_id(7), alloc_id(9)];
    let reason = WaitReason::Preempting { decision: decision(13), node: node_id(2), victims };
    let since = Timestamp(1_700_000_002_000);
    Mutation::PutAlloc(Box::new(alloc(AllocState::Waiting { since, reason }, by_event())))
}

fn allocs_preempted() -> [Mutation; 2] {
    let (since, placement) = (Timestamp(1_700_000_002_000), placement("pack"));
    let cause = Cause::Preemption { by: alloc_id(23), job: job_id() };
    let outcome = Outcome::Preempted { by: alloc_id(23), job: job_id() };
    let stopping = AllocState::Stopping { placement: placement.clone(), since, cause };
    let ended = AllocState::Ended { placement: Some(placement), at: since, outcome, cause: by_report() };
    [stopping, ended].map(|state| Mutation::PutAlloc(Box::new(alloc(state, by_event()))))
}

fn allocs_drained() -> [Mutation; 2] {
    let (since, placement) = (Timestamp(1_700_000_002_000), placement("pack"));
    let (cause, outcome) = (Cause::Drain { node: node_id(2) }, Outcome::Drained(node_id(2)));
    let stopping = AllocState::Stopping { placement: placement.clone(), since, cause };
    let ended = AllocState::Ended { placement: Some(placement), at: since, outcome, cause: by_report() };
    [stopping, ended].map(|state| Mutation::PutAlloc(Box::new(alloc(state, by_event()))))
}

fn job_with_rules() -> Mutation {
    let spec = JobSpec { groups: vec![GroupSpec { rules: rules(), ..group() }], ..spec(JobKind::Service) };
    let changed = (Timestamp(1_700_000_000_123), by_command());
    Mutation::PutJob(Box::new(Job { spec, version: JobVersion(4), changed, state: JobState::Active }))
}

fn alloc_in_a_gang() -> Mutation {
    let Rules { mut at_most, mut relations, .. } = rules();
    let reason = WaitReason::GangIncomplete {
        decision: decision(13),
        fit: 2,
        wanted: 3,
        filtered: BTreeMap::from([
            (Filter::AtMost(at_most.remove(0)), 1),
            (Filter::Relation(relations.remove(0)), 2),
            (Filter::Shunned(job_id()), 3),
        ]),
        nearest: None,
        verdict: Verdict::Never,
    };
    let since = Timestamp(1_700_000_002_000);
    Mutation::PutAlloc(Box::new(alloc(AllocState::Waiting { since, reason }, by_event())))
}

fn alloc_by_preferences() -> Mutation {
    let mut placement = placement("spread");
    let term = |term, cost| CostTerm { term, cost };
    placement.explanation.chosen = vec![
        term(Term::Preference, 0),
        term(Term::Affinity, 300),
        term(Term::AntiAffinity, 0),
        term(Term::Spread, 125),
    ];
    let since = Timestamp(1_700_000_002_000);
    Mutation::PutAlloc(Box::new(alloc(AllocState::Placed { placement, since }, by_event())))
}

fn job_with_devices() -> Mutation {
    let spec = JobSpec { groups: vec![group_with_devices()], ..spec(JobKind::Batch) };
    let changed = (Timestamp(1_700_000_000_123), by_command());
    Mutation::PutJob(Box::new(Job { spec, version: JobVersion(4), changed, state: JobState::Active }))
}

fn node(state: NodeState) -> Mutation {
    Mutation::PutNode(Node {
        id: node_id(2),
        agent: AgentKey("6f1c9a52-63e5-4b44-9d1f-0b7b6a7f2a11".to_owned()),
        fingerprint: Fingerprint {
            name: "rack-a-1".parse().unwrap(),
            address: "10.0.0.11".to_owned(),
            resources: Resources {
                cpu: CpuMillis(8000),
                memory: Bytes::gib(31),
                disk: Bytes::gib(200),
                network: Mbits(0),
            },
            attributes: texts(&[("kernel.name", "linux"), ("label.disk", "ssd")]),
            devices: vec![],
            dynamic_ports: (Port(20_000), Port(32_000)),
            agent_version: "0.1.0".to_owned(),
        },
        state,
        conditions: BTreeMap::new(),
        drain: None,
    })
}

fn drained_node(since: Timestamp, asked: Timestamp) -> Mutation {
    let Mutation::PutNode(node) = node(NodeState::Ready { since }) else { unreachable!("that is what it makes") };
    let (deadline, done) = (Some(Timestamp(since.0 + 60_000)), Some(Timestamp(since.0 + 5_000)));
    let drain = Some(Drain { since, asked, cause: by_command(), deadline, done });
    Mutation::PutNode(Node { drain, ..node })
}

fn full_node(since: Timestamp) -> Mutation {
    let Mutation::PutNode(node) = node(NodeState::Ready { since }) else { unreachable!("that is what it makes") };
    Mutation::PutNode(Node { conditions: BTreeMap::from([(NodeCondition::DiskFull, since)]), ..node })
}

fn filtered() -> Filtered {
    BTreeMap::from([
        (Filter::NodeLost, 1),
        (Filter::DriverMissing("container".to_owned()), 2),
        (Filter::Constraint(constraint("label.disk", Operator::Is("ssd".to_owned()))), 3),
        (Filter::PortTaken(Port(9090)), 4),
        (Filter::DynamicPortsExhausted, 5),
        (Filter::Exhausted(Dimension::Cpu), 6),
        (Filter::Exhausted(Dimension::Memory), 7),
        (Filter::Exhausted(Dimension::Disk), 8),
    ])
}

pub fn placement(policy: &str) -> Placement {
    let term = |term, cost| CostTerm { term, cost };
    Placement {
        node: node_id(2),
        ports: BTreeMap::from([("http".parse().unwrap(), Port(20_001)), ("admin".parse().unwrap(), Port(9090))]),
        devices: BTreeMap::new(),
        decision: decision(12),
        explanation: Explanation {
            policy: policy.parse().unwrap(),
            policy_version: PolicyVersion(0),
            considered: 40,
            filtered: filtered(),
            chosen: vec![term(Term::Utilisation, 310), term(Term::SameGroup, -5), term(Term::FailedHere, 0)],
            runner_up: Some((node_id(5), vec![term(Term::Utilisation, 400), term(Term::FailedHere, 1000)])),
        },
    }
}

/// One task in every state and with every kind of exit.
fn tasks() -> BTreeMap<TaskName, TaskStatus> {
    let at = Timestamp(1_700_000_003_000);
    let exit = |how| Some(Exit { at, how });
    let states = [
        ("a-pending", TaskState::Pending, 0, None),
        ("b-running", TaskState::Running { pid: 4321, started: at }, 2, exit(ExitKind::Status(3))),
        ("c-back-off", TaskState::BackOff { until: at }, 1, exit(ExitKind::Signal(11))),
        ("d-done", TaskState::Done, 4, exit(ExitKind::OutOfMemory)),
        ("e-done", TaskState::Done, 0, exit(ExitKind::Failure(failure(FailureKind::NoSuchCommand)))),
    ];
    let status = |(name, state, restarts, last_exit): (&str, _, _, _)| {
        (name.parse().unwrap(), TaskStatus { state, restarts, last_exit, checks: BTreeMap::new() })
    };
    states.into_iter().map(status).collect()
}

pub fn alloc(state: AllocState, cause: Cause) -> Alloc {
    Alloc {
        id: alloc_id(23),
        job: job_id(),
        version: JobVersion(4),
        group: "front".parse().unwrap(),
        index: 1,
        bound_to: Some(node_id(2)),
        replaces: Some(alloc_id(11)),
        failures: 2,
        created: Timestamp(1_700_000_001_000),
        cause,
        state,
        tasks: tasks(),
    }
}

fn allocs() -> Vec<(String, Mutation)> {
    let since = Timestamp(1_700_000_002_000);
    let waiting = |reason| AllocState::Waiting { since, reason };
    let ended = |placement, outcome| AllocState::Ended { placement, at: since, outcome, cause: by_report() };
    let shortfall =
        Shortfall { dimension: Dimension::Memory, wanted: 1 << 40, free: 1 << 30, capacity: 9_007_199_254_740_993 };
    let no_fit =
        |verdict, nearest| WaitReason::NoNodeFits { decision: decision(13), filtered: filtered(), nearest, verdict };
    let drained = WaitReason::NoNodeFits {
        decision: decision(13),
        filtered: Filtered::from([(Filter::Draining, 2)]),
        nearest: None,
        verdict: Verdict::Waiting,
    };
    let disk_full = WaitReason::NoNodeFits {
        decision: decision(13),
        filtered: Filtered::from([(Filter::DiskFull, 2)]),
        nearest: None,
        verdict: Verdict::Waiting,
    };
    let back_off = WaitReason::BackOff { until: Timestamp(1_700_000_030_000), failed: alloc_id(11) };
    let placed = AllocState::Placed { placement: placement("spread"), since };
    let running = |ready| AllocState::Running { placement: placement("pack"), since, ready };
    let stopping = AllocState::Stopping { placement: placement("pack"), since, cause: by_timer(Timer::MinReady) };
    let there = || Some(placement("spread"));
    let mut states = vec![
        ("waiting-queued".to_owned(), waiting(WaitReason::Queued)),
        ("waiting-no-nodes".to_owned(), waiting(WaitReason::NoNodes)),
        ("waiting-no-fit".to_owned(), waiting(no_fit(Verdict::Waiting, Some((node_id(5), shortfall))))),
        ("waiting-never".to_owned(), waiting(no_fit(Verdict::Never, None))),
        ("waiting-back-off".to_owned(), waiting(back_off)),
        ("waiting-disk-full".to_owned(), waiting(disk_full)),
        ("waiting-drained".to_owned(), waiting(drained)),
        ("placed".to_owned(), placed),
        ("running".to_owned(), running(None)),
        ("ready".to_owned(), running(Some(Timestamp(1_700_000_012_000)))),
        ("stopping".to_owned(), stopping),
        ("ended-complete".to_owned(), ended(there(), Outcome::Complete)),
        ("ended-stopped-waiting".to_owned(), ended(None, Outcome::Stopped)),
        ("ended-lost".to_owned(), ended(there(), Outcome::Lost(node_id(2)))),
    ];
    for (name, kind) in failure_kinds() {
        states.push((format!("ended-failed-{name}"), ended(there(), Outcome::Failed(failure(kind)))));
    }
    states
        .into_iter()
        .map(|(name, state)| (format!("alloc-{name}"), Mutation::PutAlloc(Box::new(alloc(state, by_event())))))
        .collect()
}

fn failure_kinds() -> [(&'static str, FailureKind); 15] {
    [
        ("image", FailureKind::Image),
        ("image-digest", FailureKind::ImageDigest),
        ("disk-full", FailureKind::DiskFull),
        ("no-such-command", FailureKind::NoSuchCommand),
        ("no-such-user", FailureKind::NoSuchUser),
        ("port-taken", FailureKind::PortTaken),
        ("exit", FailureKind::Exit),
        ("out-of-memory", FailureKind::OutOfMemory),
        ("disk-exceeded", FailureKind::DiskExceeded),
        ("unhealthy", FailureKind::Unhealthy),
        ("shim-lost", FailureKind::ShimLost),
        ("runtime", FailureKind::Runtime),
        ("rebooted", FailureKind::Rebooted),
        ("device-missing", FailureKind::DeviceMissing),
        ("fenced", FailureKind::Fenced),
    ]
}

fn command(outcome: CommandOutcome) -> Mutation {
    Mutation::PutCommand(CommandRecord {
        id: CommandId::new(Incarnation(1), 7),
        principal: Principal("admin, the first".to_owned()),
        namespace: Namespace::default(),
        key: IdempotencyKey("6f1c/9a52".to_owned()),
        at: Timestamp(1_700_000_000_000),
        digest: u64::MAX - 1,
        outcome,
    })
}

fn ledger() -> Vec<(&'static str, Mutation)> {
    let (job, alloc, node) = (job_id(), alloc_id(23), node_id(2));
    let name: NodeName = "rack-a-1".parse().unwrap();
    let exit = Exit { at: Timestamp(1_700_000_003_000), how: ExitKind::Status(1) };
    let entry = |cause, what| {
        let id = EventId::new(Incarnation(2), 1000);
        Mutation::PutLedger(LedgerEntry { id, at: Timestamp(1_700_000_004_000), cause, what })
    };
    let of = |what| entry(by_event(), what);
    let draining = |deadline| Happening::NodeDraining { node, name: name.clone(), deadline };
    vec![
        ("event-job-version", entry(by_command(), Happening::JobVersion { job: job.clone(), version: JobVersion(4) })),
        ("event-job-stopping", of(Happening::JobStopping(job.clone()))),
        ("event-job-ended", of(Happening::JobEnded { job: job.clone(), outcome: JobOutcome::Complete })),
        ("event-job-collected", entry(by_timer(Timer::Collect), Happening::JobCollected(job.clone()))),
        ("event-node-ready", of(Happening::NodeReady { node, name: name.clone() })),
        ("event-node-lost", entry(by_timer(Timer::Heartbeat), Happening::NodeLost { node, name: name.clone() })),
        ("event-node-collected", of(Happening::NodeCollected { node, name: name.clone() })),
        ("event-node-draining", entry(by_command(), draining(None))),
        ("event-node-draining-by-then", entry(by_command(), draining(Some(Timestamp(1_700_000_100_000))))),
        ("event-node-drained", entry(by_command(), Happening::NodeDrained { node, name: name.clone() })),
        ("event-node-enabled", entry(by_command(), Happening::NodeEnabled { node, name: name.clone() })),
        ("event-finalised", entry(by_command(), Happening::Finalised(Format(2)))),
        ("event-node-abandoned", entry(by_command(), Happening::NodeAbandoned { node, name })),
        ("event-alloc-created", of(Happening::AllocCreated { alloc, job: job.clone(), replaces: Some(alloc_id(11)) })),
        ("event-alloc-waiting", of(Happening::AllocWaiting { alloc, job: job.clone() })),
        ("event-alloc-placed", of(Happening::AllocPlaced { alloc, job: job.clone(), node })),
        ("event-alloc-running", of(Happening::AllocRunning { alloc, job: job.clone(), node })),
        ("event-alloc-ready", entry(by_timer(Timer::MinReady), Happening::AllocReady { alloc, job: job.clone() })),
        (
            "event-task-restarting",
            of(Happening::TaskRestarting { alloc, job: job.clone(), task: "server".parse().unwrap(), exit }),
        ),
        ("event-check-failing", of(health::failing())),
        ("event-alloc-stopping", of(Happening::AllocStopping { alloc, job: job.clone() })),
        (
            "event-policy-changed",
            entry(by_command(), Happening::PolicyChanged { name: policy_name(), version: PolicyVersion(5) }),
        ),
        (
            "event-authority-added",
            entry(by_command(), Happening::Trust(TrustHappening::AuthorityAdded(authority_id()))),
        ),
        (
            "event-authority-retired",
            entry(by_command(), Happening::Trust(TrustHappening::AuthorityRetired(authority_id()))),
        ),
        (
            "event-token-made",
            entry(
                by_command(),
                Happening::Trust(TrustHappening::TokenMade {
                    role: Role::Agent,
                    node: Some(member_name()),
                    expires: Timestamp(1_700_000_100_000),
                }),
            ),
        ),
        (
            "event-joined",
            entry(by_command(), Happening::Trust(TrustHappening::Joined { role: Role::Agent, name: member_name() })),
        ),
        ("event-revoked", entry(by_command(), Happening::Trust(TrustHappening::Revoked(member_name())))),
        ("event-alloc-ended", of(Happening::AllocEnded { alloc, job, outcome: Outcome::Lost(node) })),
    ]
}

fn authority_id() -> AuthorityId {
    AuthorityId(Sha256([0xa5; 32]))
}

fn token_id() -> TokenId {
    TokenId(Sha256([0x5a; 32]))
}

fn key_id() -> KeyId {
    KeyId(Sha256([0x0f; 32]))
}

fn member_name() -> NodeName {
    "rack-a-1".parse().unwrap()
}

/// Whom a cluster trusts: an authority after another one, a token that was used, a node that was shut out.
fn trust() -> Vec<(&'static str, Mutation)> {
    let made = (Timestamp(1_700_000_000_000), by_command());
    let authority = |cross| {
        Trust::Authority(Authority {
            id: authority_id(),
            number: 2,
            certificate: vec![0x30, 0x82, 0, 255],
            cross,
            sealed_key: vec![1, 2, 3],
            not_after: Timestamp(2_015_000_000_000),
            made: made.clone(),
        })
    };
    let token = |node, used| {
        let (id, role, expires) = (token_id(), Role::Agent, Timestamp(1_700_003_600_000));
        Trust::Token(JoinToken { id, role, node, expires, made: made.clone(), used })
    };
    let server = JoinToken {
        id: token_id(),
        role: Role::Server,
        node: None,
        expires: Timestamp(1_700_003_600_000),
        made: made.clone(),
        used: None,
    };
    let member = |revoked| Trust::Member(Member { node: member_name(), key: key_id(), joined: made.clone(), revoked });
    let all = [
        ("authority-first", authority(None)),
        ("authority-next", authority(Some(vec![0x30, 0x81]))),
        ("token", token(None, None)),
        ("token-used", token(Some(member_name()), Some((Timestamp(1_700_000_001_000), key_id())))),
        ("token-for-a-server", Trust::Token(server)),
        ("member", member(None)),
        ("member-revoked", member(Some(made.clone()))),
    ];
    let outcomes = [
        ("command-signs", TrustOutcome::Signs(authority_id())),
        ("command-retired", TrustOutcome::Retired(authority_id())),
        ("command-token", TrustOutcome::Token(token_id())),
        ("command-joined", TrustOutcome::Joined { role: Role::Agent, name: member_name(), key: key_id() }),
        ("command-revoked", TrustOutcome::Revoked(member_name())),
    ];
    let stored = all.map(|(name, trust)| (name, Mutation::PutTrust(Box::new(trust))));
    let outcomes = outcomes.map(|(name, outcome)| (name, command(CommandOutcome::Trust(outcome))));
    stored.into_iter().chain(outcomes).collect()
}

fn policy_name() -> PolicyName {
    "quiet-nights".parse().unwrap()
}

fn policy() -> SetPolicy {
    let weights = Term::ALL.into_iter().zip(1..).fold(Weights::NONE, |weights, (term, n)| weights.with(term, 100 * n));
    let pools = BTreeMap::from([("gpu".parse().unwrap(), BuiltIn::Fragmentation.weights())]);
    let spec = PolicySpec { name: policy_name(), weights, pools, balance: BalanceMode::Off };
    SetPolicy {
        policy: Policy { version: PolicyVersion(5), spec },
        changed: (Timestamp(1_700_000_000_000), by_command()),
    }
}

fn policy_that_balances() -> Mutation {
    let SetPolicy { mut policy, changed } = policy();
    policy.spec.balance = BalanceMode::On { at_most: 4 };
    Mutation::PutPolicy(Box::new(SetPolicy { policy, changed }))
}

/// One that takes over, and one that was not ready in time.
fn allocs_moved() -> [Mutation; 2] {
    let (since, placement) = (Timestamp(1_700_000_002_000), placement("quiet-nights"));
    let cause = Cause::Balance { from: node_id(3), cost: 1_714, gain: 600 };
    let placed = alloc(AllocState::Placed { placement: placement.clone(), since }, cause.clone());
    let given_up = AllocState::Stopping { placement, since, cause: by_timer(Timer::Move) };
    [placed, alloc(given_up, cause)].map(|alloc| Mutation::PutAlloc(Box::new(alloc)))
}

/// Placed by a policy that somebody has set, with a term that only some have.
fn alloc_by_policy() -> Mutation {
    let mut placement = placement("quiet-nights");
    placement.explanation.policy_version = PolicyVersion(5);
    placement.explanation.chosen = vec![CostTerm { term: Term::Emptiness, cost: 690 }];
    let placed = AllocState::Placed { placement, since: Timestamp(1_700_000_002_000) };
    Mutation::PutAlloc(Box::new(alloc(placed, by_event())))
}

/// Every kind of record, with every variant in one of them.
pub fn samples() -> Vec<(String, Mutation)> {
    let epoch = Epoch { incarnation: Incarnation(1), counter: 9 };
    let meta = Meta {
        incarnation: Incarnation(1),
        epoch,
        allocs: 23,
        nodes: 5,
        commands: 7,
        decisions: 13,
        events: u64::MAX,
        ..Meta::default()
    };
    let changed = CommandOutcome::JobVersion { job: job_id(), version: JobVersion(4), changed: true };
    let since = Timestamp(1_700_000_000_000);
    let [preempted_stopping, preempted_ended] = allocs_preempted();
    let [drained_stopping, drained_ended] = allocs_drained();
    let [moved, moved_in_vain] = allocs_moved();
    let single = vec![
        ("meta", Mutation::PutMeta(meta)),
        ("node-ready", node(NodeState::Ready { since })),
        ("node-disk-full", full_node(since)),
        ("node-drained", drained_node(since, Timestamp(0))),
        ("node-drained-again", drained_node(since, Timestamp(since.0 + 1_000))),
        ("node-devices", node_with_devices(since)),
        ("job-devices", job_with_devices()),
        ("job-checks", health::job()),
        ("alloc-checks", health::alloc()),
        ("job-keep", job_on_partition(OnPartition::Keep)),
        ("job-replace-after", job_on_partition(OnPartition::Replace { after: Millis(60_000) })),
        ("job-fence", job_on_partition(OnPartition::Fence { lease: Millis(30_000) })),
        ("job-rules", job_with_rules()),
        ("job-not-preemptible", job_that_stays()),
        ("alloc-waiting-preempting", alloc_preempting()),
        ("alloc-stopping-preempted", preempted_stopping),
        ("alloc-ended-preempted", preempted_ended),
        ("alloc-stopping-drained", drained_stopping),
        ("alloc-ended-drained", drained_ended),
        ("alloc-waiting-gang", alloc_in_a_gang()),
        ("alloc-placed-preferences", alloc_by_preferences()),
        ("alloc-placed-devices", alloc_with_devices()),
        ("alloc-waiting-devices", alloc_without_devices()),
        ("node-lost", node(NodeState::Lost { since, cause: by_timer(Timer::Heartbeat) })),
        ("command-job-version", command(changed)),
        ("command-stopping", command(CommandOutcome::Stopping(job_id()))),
        ("alloc-placed-by-a-policy", alloc_by_policy()),
        ("policy", Mutation::PutPolicy(Box::new(policy()))),
        ("policy-that-balances", policy_that_balances()),
        ("alloc-moved", moved),
        ("alloc-moved-in-vain", moved_in_vain),
        (
            "command-policy",
            command(CommandOutcome::Policy { name: policy_name(), version: PolicyVersion(5), changed: true }),
        ),
        ("command-stopping-alloc", command(CommandOutcome::StoppingAlloc(alloc_id(23)))),
        ("command-draining", command(CommandOutcome::Draining([node_id(7), node_id(8)].into()))),
        ("command-enabled", command(CommandOutcome::Enabled([node_id(7)].into()))),
        ("command-finalised", command(CommandOutcome::Finalised { format: Format(2), changed: true })),
        ("command-abandoned", command(CommandOutcome::Abandoned([node_id(7)].into()))),
    ];
    let named =
        single.into_iter().chain(jobs()).chain(ledger()).chain(trust()).map(|(name, sample)| (name.to_owned(), sample));
    named.chain(allocs()).collect()
}

/// What an agent remembers, with every variant in one of them.
pub fn remembered() -> Vec<(String, Remembered)> {
    let restarts = vec![Timestamp(1_700_000_001_000), Timestamp(1_700_000_002_000)];
    let remember = |(name, status)| (name, RememberedTask { status, restarts: restarts.clone(), run: 3 });
    let of = |goal, kind, ended| {
        let desired = DesiredAlloc {
            id: alloc_id(23),
            job: job_id(),
            kind,
            version: JobVersion(4),
            index: 1,
            group: group(),
            ports: BTreeMap::from([("http".parse().unwrap(), Port(20_001))]),
            devices: BTreeMap::new(),
            goal,
        };
        Remembered { desired, tasks: tasks().into_iter().map(remember).collect(), ended }
    };
    let mut with_devices = of(Goal::Run, JobKind::Service, None);
    (with_devices.desired.group, with_devices.desired.devices) = (group_with_devices(), grants());
    let mut with_checks = of(Goal::Run, JobKind::Service, None);
    (with_checks.desired.group, with_checks.tasks) =
        (health::group(), health::tasks().into_iter().map(remember).collect());
    vec![
        ("remembered-checks".to_owned(), with_checks),
        ("remembered-devices".to_owned(), with_devices),
        ("remembered-running".to_owned(), of(Goal::Run, JobKind::Service, None)),
        ("remembered-complete".to_owned(), of(Goal::Run, JobKind::Batch, Some(Ended::Complete))),
        ("remembered-stopped".to_owned(), of(Goal::Stop, JobKind::System, Some(Ended::Stopped))),
        (
            "remembered-failed".to_owned(),
            of(Goal::Run, JobKind::Service, Some(Ended::Failed(failure(FailureKind::ShimLost)))),
        ),
    ]
}
