//! The trace in production's words: machines that say hello, and services whose count follows the trace.

use std::collections::BTreeMap;

use berth_model::{
    AgentKey, AtMost, Bytes, Constraint, CpuMillis, Device, DeviceAmount, DeviceSpec, Domain, Driver, Fingerprint,
    GroupSpec, Hello, JobId, JobKind, JobSpec, KillPolicy, Mbits, Millis, Namespace, NetworkMode, OnPartition,
    Operator, Port, Preemptible, Priority, Resources, RestartPolicy, Rules, TaskSpec, UpdatePolicy,
};

use super::read::{Alike, Amounts, Machines};

/// The attribute of a node that says which instances it takes.
const ROLE: &str = "label.role";

/// What the agent of a machine says first.
pub(super) fn hello(number: u64, machines: &Machines) -> Hello {
    let device = |at: u64| Device {
        kind: named("gpu"),
        id: named(&format!("gpu-{at:02}")),
        attributes: BTreeMap::new(),
        paths: Vec::new(),
    };
    let attributes = [("driver.exec", "true".to_owned()), (ROLE, machines.role.clone())];
    Hello {
        agent: AgentKey(format!("agent-{number}")),
        fingerprint: Fingerprint {
            name: named(&format!("node-{number}")),
            address: String::new(),
            resources: resources(machines.each),
            attributes: attributes.map(|(key, value)| (key.to_owned(), value)).into(),
            devices: (0..machines.each.gpus).map(device).collect(),
            dynamic_ports: (Port(20_000), Port(20_000)),
            agent_version: String::new(),
        },
    }
}

/// The service of instances that are alike, with so many of them. Services of one application are jobs of their own where
/// their instances differ.
pub(super) fn service(number: usize, alike: &Alike, count: u32) -> JobSpec {
    let role = Constraint { attribute: ROLE.to_owned(), operator: Operator::Is(alike.role.clone()) };
    let per_node = alike.per_node.map(|count| AtMost { count, per: Domain::Node });
    let group = GroupSpec {
        name: named("main"),
        count,
        constraints: Vec::new(),
        rules: Rules { at_most: per_node.into_iter().collect(), ..Rules::default() },
        network: NetworkMode::Host,
        tasks: vec![task(alike.each)],
        restart: RestartPolicy { attempts: 0, interval: Millis(1), delay: Millis(1), max_delay: Millis(1) },
        update: UpdatePolicy { max_parallel: 1, min_ready: Millis(0) },
        on_partition: OnPartition::default(),
        meta: BTreeMap::new(),
    };
    JobSpec {
        id: JobId { namespace: Namespace::default(), name: named(&format!("service-{number}")) },
        kind: JobKind::Service,
        priority: Priority(50),
        preemptible: Preemptible::default(),
        constraints: vec![role],
        groups: vec![group],
        meta: BTreeMap::new(),
    }
}

fn task(asks: Amounts) -> TaskSpec {
    let count = u32::try_from(asks.gpus).expect("a machine has few GPUs");
    let gpus = DeviceSpec {
        name: named("gpu"),
        kind: named("gpu"),
        amount: DeviceAmount::Count(count),
        constraints: Vec::new(),
    };
    TaskSpec {
        name: named("main"),
        driver: Driver::Exec,
        command: Vec::new(),
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        resources: resources(asks),
        pids_limit: 1,
        ports: Vec::new(),
        devices: if count == 0 { Vec::new() } else { vec![gpus] },
        checks: Vec::new(),
        kill: KillPolicy { signal: None, timeout: Millis(0) },
        meta: BTreeMap::new(),
    }
}

/// A percent of a network card counts as a megabit: the scheduler compares, and needs no speed.
fn resources(amounts: Amounts) -> Resources {
    Resources {
        cpu: CpuMillis(amounts.cpu_milli),
        memory: Bytes::mib(amounts.memory_mib),
        disk: Bytes::mib(amounts.disk_mib),
        network: Mbits(amounts.rdma_pct),
    }
}

/// A name of our own making.
fn named<T: std::str::FromStr>(text: &str) -> T {
    let Ok(name) = text.parse() else { unreachable!("`{text}` is a name") };
    name
}
