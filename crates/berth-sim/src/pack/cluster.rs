//! The trace's cluster as production sees it: a board of nodes, and pods as jobs of one allocation.

use std::collections::BTreeMap;

use berth_model::{
    AllocId, BuiltIn, Bytes, Constraint, CpuMillis, DecisionId, Device, DeviceAmount, DeviceSpec, Driver, Fingerprint,
    GroupName, GroupSpec, Incarnation, JobId, JobKind, JobSpec, KillPolicy, Mbits, Millis, Namespace, NetworkMode,
    NodeId, OnPartition, Operator, Policy, Port, Preemptible, Priority, Resources, RestartPolicy, Rules, TaskSpec,
    Thousandths, UpdatePolicy,
};
use berth_placement::{Board, Class, Eligibility, Move, Want, best_move, move_for, place};

use super::trace::{Gpus, TraceNode, TracePod};

/// Ids of this experiment.
const LIFE: Incarnation = Incarnation(1);

/// The board, and the policy by which it is filled.
pub(super) struct Cluster {
    board: Board,
    policy: Policy,
    arrivals: u64,
    /// What runs, by what it asks for.
    running: BTreeMap<TracePod, Alike>,
}

/// Allocations that are alike, in the order in which they arrived.
struct Alike {
    job: JobSpec,
    allocs: Vec<AllocId>,
}

impl Cluster {
    /// All nodes, empty.
    pub(super) fn new(nodes: &[TraceNode], policy: BuiltIn) -> Cluster {
        let mut board = Board::default();
        for (number, node) in (1..).zip(nodes) {
            board.put_node(NodeId::new(LIFE, number), &fingerprint(number, node), Eligibility::Ready);
        }
        Cluster { board, policy: policy.policy(), arrivals: 0, running: BTreeMap::new() }
    }

    /// Tells the policy that pods like this one come.
    pub(super) fn expect(&mut self, pod: &TracePod) {
        let job = job(0, pod);
        self.board.expect(class(&job), 1);
    }

    /// Places the pod, on the node with this place in the list. None: it fits nowhere.
    pub(super) fn place(&mut self, pod: &TracePod) -> Option<usize> {
        self.arrivals += 1;
        let job = job(self.arrivals, pod);
        let alloc = AllocId::new(LIFE, self.arrivals);
        let node = self.put(&job, alloc, None)?;
        let alike = self.running.entry(pod.clone()).or_insert_with(|| Alike { job, allocs: Vec::new() });
        alike.allocs.push(alloc);
        usize::try_from(node.counter - 1).ok()
    }

    fn put(&mut self, job: &JobSpec, alloc: AllocId, only: Option<NodeId>) -> Option<NodeId> {
        let want = Want { alloc, only, avoid: Vec::new(), leaving: None };
        let decision = DecisionId::new(LIFE, self.arrivals);
        let outcome = place(&mut self.board, class(job), &[want], &self.policy, decision);
        outcome.placed.first().map(|(_, placement)| placement.node)
    }

    /// Makes the move of one running allocation that gains most. False: none gains anything.
    pub(super) fn improve(&mut self) -> bool {
        let found = best_move(&self.board, self.classes(), &self.policy);
        found.map(|found| self.carry_out(found)).is_some()
    }

    /// Makes one move after which the pod fits. False: there is none.
    pub(super) fn make_room(&mut self, pod: &TracePod) -> bool {
        let job = job(0, pod);
        let found = move_for(&self.board, class(&job), self.classes(), &self.policy);
        found.map(|found| self.carry_out(found)).is_some()
    }

    fn classes(&self) -> impl Iterator<Item = (Class<'_>, &[AllocId])> {
        self.running.values().map(|alike| (class(&alike.job), &alike.allocs[..]))
    }

    fn carry_out(&mut self, Move { alloc, to, .. }: Move) {
        let mover = self.running.values().find(|alike| alike.allocs.contains(&alloc)).expect("what moves runs");
        let job = mover.job.clone();
        self.board.release(alloc);
        self.put(&job, alloc, Some(to)).expect("a move goes where there is room");
    }
}

fn class(job: &JobSpec) -> Class<'_> {
    Class { job, group: &job.groups[0] }
}

fn fingerprint(number: u64, node: &TraceNode) -> Fingerprint {
    let attributes = BTreeMap::from([("model".to_owned(), node.model.clone())]);
    let device = |at: u16| Device {
        kind: named("gpu"),
        id: named(&format!("gpu-{at:02}")),
        attributes: attributes.clone(),
        paths: Vec::new(),
    };
    Fingerprint {
        name: named(&format!("node-{number}")),
        address: String::new(),
        resources: resources(node.cpu_milli, node.memory_mib),
        attributes: BTreeMap::from([("driver.exec".to_owned(), "true".to_owned())]),
        devices: (0..node.gpus).map(device).collect(),
        dynamic_ports: (Port(20_000), Port(20_000)),
        agent_version: String::new(),
    }
}

/// A job of one allocation. Each pod is a job of its own: pods of a trace have nothing to do with each other.
fn job(number: u64, pod: &TracePod) -> JobSpec {
    let task = TaskSpec {
        name: named("pod"),
        driver: Driver::Exec,
        command: Vec::new(),
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        resources: resources(pod.cpu_milli, pod.memory_mib),
        pids_limit: 1,
        ports: Vec::new(),
        devices: devices(pod),
        checks: Vec::new(),
        kill: KillPolicy { signal: None, timeout: Millis(0) },
        meta: BTreeMap::new(),
    };
    let restart = RestartPolicy { attempts: 0, interval: Millis(1), delay: Millis(1), max_delay: Millis(1) };
    let group = GroupSpec {
        name: named::<GroupName>("pod"),
        count: 1,
        constraints: Vec::new(),
        rules: Rules::default(),
        network: NetworkMode::Host,
        tasks: vec![task],
        restart,
        update: UpdatePolicy { max_parallel: 1, min_ready: Millis(0) },
        on_partition: OnPartition::default(),
        meta: BTreeMap::new(),
    };
    JobSpec {
        id: JobId { namespace: Namespace::default(), name: named(&format!("pod-{number}")) },
        kind: JobKind::Batch,
        priority: Priority(50),
        preemptible: Preemptible::default(),
        constraints: Vec::new(),
        groups: vec![group],
        meta: BTreeMap::new(),
    }
}

fn devices(pod: &TracePod) -> Vec<DeviceSpec> {
    let amount = match pod.gpus {
        Gpus::None => return Vec::new(),
        Gpus::Share(milli) => DeviceAmount::Share(Thousandths(milli)),
        Gpus::Whole(count) => DeviceAmount::Count(u32::from(count)),
    };
    let model = Constraint { attribute: "model".to_owned(), operator: Operator::In(pod.models.clone()) };
    let constraints = if pod.models.is_empty() { Vec::new() } else { vec![model] };
    vec![DeviceSpec { name: named("gpu"), kind: named("gpu"), amount, constraints }]
}

fn resources(cpu_milli: u64, memory_mib: u64) -> Resources {
    Resources { cpu: CpuMillis(cpu_milli), memory: Bytes::mib(memory_mib), disk: Bytes(0), network: Mbits(0) }
}

/// A name of our own making.
fn named<T: std::str::FromStr>(text: &str) -> T {
    let Ok(name) = text.parse() else { unreachable!("`{text}` is a name") };
    name
}
