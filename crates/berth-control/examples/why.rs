//! How long `why` takes to advise about what waits, in a large cluster.
//!
//! `cargo run --release -p berth-control --example why -- [NODES]`: nodes of 16 cores and 64 GiB in racks of 40, twelve
//! allocations on each, full but for a little; jobs that wait for every sort of reason; of each the slowest of ten answers.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "measures, and reads its arguments")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use berth_control::Core;
use berth_model::control::{Beginning, Effect, Event, RequestId, Settings};
use berth_model::testkit::{Spec, machine, service};
use berth_model::*;

const LIFE: Incarnation = Incarnation(1);
const PER_NODE: u64 = 12;
const NOW: Timestamp = Timestamp(10_000_000);
const ANSWERS: u32 = 10;

fn node(at: u64) -> Node {
    let rack = format!("r{}", at / 40);
    let pool = if at.is_multiple_of(10) { "gold" } else { "iron" };
    let mut machine = machine(&format!("m{at}")).cpu(16_000).memory(64 << 10).attribute(Domain::RACK, &rack);
    machine = machine.attribute("label.pool", pool);
    if at.is_multiple_of(10) {
        machine = machine.device("gpu", "g0", "a100").device("gpu", "g1", "a100");
    }
    Node {
        id: NodeId::new(LIFE, at + 1),
        agent: AgentKey(format!("key-{at}")),
        fingerprint: machine.0,
        state: NodeState::Ready { since: Timestamp(1) },
        conditions: BTreeMap::new(),
        drain: None,
    }
}

/// Jobs of different sizes and priorities that fill the nodes, one allocation of each on every node.
fn filling(nodes: u64) -> Vec<Spec> {
    let size = |nth: u64| service(&format!("job-{nth}")).count(u32::try_from(nodes).unwrap_or(u32::MAX));
    (0..PER_NODE)
        .map(|nth| {
            size(nth).cpu(1_000 + 20 * nth).memory(4_000 + 100 * nth).priority(40 + 2 * u8::try_from(nth).unwrap_or(0))
        })
        .collect()
}

fn running(id: u64, spec: &Spec, index: u64) -> Alloc {
    let placement = Placement {
        node: NodeId::new(LIFE, index + 1),
        ports: BTreeMap::new(),
        devices: DeviceGrants::new(),
        decision: DecisionId::new(LIFE, 1),
        explanation: Explanation {
            policy: BuiltIn::Balanced.spec().name,
            policy_version: PolicyVersion(0),
            considered: 0,
            filtered: Filtered::new(),
            chosen: Vec::new(),
            runner_up: None,
        },
    };
    let tasks = spec.0.groups[0].tasks.iter().map(|task| {
        let state = TaskState::Running { pid: 7, started: Timestamp(1) };
        (task.name.clone(), TaskStatus { state, restarts: 0, last_exit: None, checks: BTreeMap::new() })
    });
    Alloc {
        id: AllocId::new(LIFE, id),
        job: spec.0.id.clone(),
        version: JobVersion(1),
        group: spec.0.groups[0].name.clone(),
        index: u32::try_from(index).unwrap_or(u32::MAX),
        bound_to: None,
        replaces: None,
        failures: 0,
        created: Timestamp(1),
        cause: Cause::Command(CommandId::new(LIFE, 1)),
        state: AllocState::Running { placement, since: Timestamp(1), ready: Some(Timestamp(1)) },
        tasks: tasks.collect(),
    }
}

fn cluster(nodes: u64) -> Core {
    let specs = filling(nodes);
    let jobs = specs.iter().map(|spec| Job {
        spec: spec.0.clone(),
        version: JobVersion(1),
        changed: (Timestamp(1), Cause::Command(CommandId::new(LIFE, 1))),
        state: JobState::Active,
    });
    let ids = (1..).zip(specs.iter().flat_map(|spec| (0..nodes).map(move |index| (spec, index))));
    let snapshot = Snapshot {
        meta: Meta { incarnation: LIFE, nodes, allocs: nodes * PER_NODE, commands: 1, decisions: 1, ..Meta::default() },
        nodes: (0..nodes).map(node).collect(),
        jobs: jobs.collect(),
        job_versions: Vec::new(),
        allocs: ids.map(|(id, (spec, index))| running(id, spec, index)).collect(),
        commands: Vec::new(),
        ledger: Vec::new(),
        policy: None,
        trust: Vec::new(),
    };
    let epoch = Epoch { incarnation: LIFE, counter: 1 };
    Core::load(Beginning { settings: Settings::default(), snapshot, epoch, now: NOW }, &mut Vec::<Effect>::new())
}

/// What waits, and why.
fn questions() -> Vec<(&'static str, Spec)> {
    let gold = || Operator::Is("gold".to_owned());
    vec![
        ("cpu", service("waits").cpu(9_000)),
        ("cpu, lowest priority", service("waits").cpu(9_000).priority(0)),
        ("cpu and memory", service("waits").cpu(9_000).memory(30_000)),
        ("more than a node", service("waits").cpu(20_000)),
        ("wrong pool", service("waits").constraint("label.pool", Operator::Is("lead".to_owned()))),
        ("devices", service("waits").cpu(100).devices("g", "gpu", 3)),
        ("affinity to nothing", service("waits").relation(Sense::Near, "ghost", Domain::rack(), Strength::Required)),
        (
            "everything at once",
            service("waits")
                .cpu(9_000)
                .memory(30_000)
                .constraint("label.pool", gold())
                .at_most(1, Domain::rack())
                .fixed_port("http", 80)
                .devices("g", "gpu", 1)
                .device_model("a100")
                .relation(Sense::Apart, "job-1", Domain::Node, Strength::Required),
        ),
        ("a gang of 100", service("waits").count(100).cpu(9_000).gang()),
        ("the tenth of its group", service("waits").count(10).cpu(9_000)),
    ]
}

fn run(core: &mut Core, nth: u64, spec: Spec) {
    let request = CommandRequest {
        principal: Principal("root".to_owned()),
        namespace: Namespace::default(),
        key: IdempotencyKey(format!("key-{nth}")),
        plan: None,
        command: Command::Run(Box::new(spec.0)),
    };
    core.step(NOW, Event::Command { request: RequestId(nth), command: Box::new(request) }, &mut Vec::new());
}

fn main() {
    let nodes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5_000);
    for (cause, spec) in questions() {
        let mut core = cluster(nodes);
        let job = spec.0.id.clone();
        run(&mut core, 1, spec);
        let waits = |alloc: &&&Alloc| matches!(alloc.state, AllocState::Waiting { .. });
        let Some(id) = core.job_allocs(&job).iter().rfind(waits).map(|alloc| alloc.id) else {
            println!("{cause:<24} does not wait");
            continue;
        };
        let mut slowest = Duration::ZERO;
        let mut told = None;
        for _ in 0..ANSWERS {
            let began = Instant::now();
            told = core.advice(id);
            slowest = slowest.max(began.elapsed());
        }
        let (held, remedies) = told.map_or((0, 0), |advice| (advice.held.len(), advice.remedies.len()));
        println!("{cause:<24} {:>6} us  {held} nodes with holders, {remedies} remedies", slowest.as_micros());
    }
}
