//! Machines and jobs as in a large shared cluster: few kinds of machines, heavy-tailed sizes of tasks and jobs, a
//! tenth of the jobs with constraints.
//!
//! The shape follows what is published of Google's clusters (Reiss et al., SoCC 2012; Tirmazi et al., EuroSys 2020):
//! most jobs have one task and most tasks belong to large jobs; a machine holds about twelve tasks; requests for
//! memory go with those for processor time, and are far from proportional. The numbers are ours.

use std::collections::BTreeMap;

use berth_model::{
    AgentKey, Bytes, Constraint, CpuMillis, Driver, Fingerprint, GroupSpec, Hello, JobId, JobKind, JobSpec, KillPolicy,
    Mbits, Millis, Namespace, NetworkMode, OnPartition, Operator, Port, Preemptible, Priority, Resources,
    RestartPolicy, Rules, TaskSpec, UpdatePolicy,
};

use crate::random::Random;

/// Kinds of machines: weight in percent, cores, GiB of memory, platform.
const MACHINES: [(u64, u64, u64, &str); 5] =
    [(50, 32, 128, "a"), (28, 32, 64, "b"), (8, 32, 192, "b"), (8, 64, 256, "c"), (6, 16, 64, "d")];
/// Processor time that a task asks for, in thousandths of a core, with weights in percent.
const CPU: [(u64, u64); 8] =
    [(10, 250), (17, 500), (22, 1_000), (19, 2_000), (14, 3_000), (11, 4_000), (5, 8_000), (2, 16_000)];
/// MiB of memory for each thousandth of a core, as a ratio of 1,024, with weights in percent.
const MEMORY: [(u64, u64); 5] = [(20, 1_024), (35, 2_048), (30, 3_072), (10, 4_096), (5, 8_192)];
/// Tasks of a job, from and to, with weights in thousandths.
const TASKS: [(u64, u64, u64); 5] = [(620, 1, 1), (200, 2, 10), (120, 11, 50), (52, 51, 300), (8, 301, 2_000)];
/// Machines of a rack.
const RACK: u32 = 40;
/// Racks of a zone are as many as it takes for this many zones.
const ZONES: u32 = 4;

/// Machines and jobs, one after the other.
pub(crate) struct Mix {
    random: Random,
    machines: u32,
    jobs: u64,
}

impl Mix {
    pub(crate) fn new(machines: u32, random: Random) -> Mix {
        Mix { random, machines, jobs: 0 }
    }

    /// Chance for whoever drives the cluster.
    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// What the agent of machine `number` says first.
    pub(crate) fn machine(&mut self, number: u32) -> Hello {
        let kind = pick(&mut self.random, &MACHINES.map(|(weight, ..)| weight));
        let (_, cores, memory, platform) = MACHINES[kind];
        let (rack, zone) = (number / RACK, number / RACK * ZONES / (self.machines / RACK + 1));
        let attributes = [
            ("driver.exec", "true".to_owned()),
            ("kernel.name", "linux".to_owned()),
            ("label.platform", platform.to_owned()),
            ("label.rack", format!("r{rack}")),
            ("label.zone", format!("z{zone}")),
        ];
        Hello {
            agent: AgentKey(format!("agent-{number}")),
            fingerprint: Fingerprint {
                name: format!("m{number}").parse().expect("a valid name"),
                address: "127.0.0.1".to_owned(),
                resources: Resources {
                    cpu: CpuMillis(cores * 1_000),
                    memory: Bytes::gib(memory),
                    disk: Bytes::gib(1_000),
                    network: Mbits(10_000),
                },
                attributes: attributes.map(|(key, value)| (key.to_owned(), value)).into(),
                devices: Vec::new(),
                dynamic_ports: (Port(20_000), Port(32_000)),
                agent_version: "0.1.0".to_owned(),
            },
        }
    }

    /// The next job, with as many tasks as chance says, up to `most`.
    pub(crate) fn job(&mut self, most: u64) -> JobSpec {
        let size = pick(&mut self.random, &TASKS.map(|(weight, ..)| weight));
        let (_, least, greatest) = TASKS[size];
        let count = self.random.between(least, greatest).min(most);
        self.jobs += 1;
        let kind = if self.random.chance(300) { JobKind::Service } else { JobKind::Batch };
        JobSpec {
            id: JobId { namespace: Namespace::default(), name: format!("job-{}", self.jobs).parse().expect("valid") },
            kind,
            priority: Priority(if kind == JobKind::Service { 60 } else { 40 }),
            preemptible: Preemptible::default(),
            constraints: self.constraints(),
            groups: vec![self.group(u32::try_from(count).expect("small"))],
            meta: BTreeMap::new(),
        }
    }

    /// A tenth of the jobs can run on a part of the machines only.
    fn constraints(&mut self) -> Vec<Constraint> {
        if !self.random.chance(100) {
            return Vec::new();
        }
        let (attribute, operator) = match self.random.below(3) {
            0 => ("label.platform", Operator::Is("a".to_owned())),
            1 => ("label.platform", Operator::NotIn(vec!["b".to_owned(), "d".to_owned()])),
            _ => ("label.zone", Operator::Is(format!("z{}", self.random.below(u64::from(ZONES))))),
        };
        vec![Constraint { attribute: attribute.to_owned(), operator }]
    }

    fn group(&mut self, count: u32) -> GroupSpec {
        let cpu = CPU[pick(&mut self.random, &CPU.map(|(weight, _)| weight))].1;
        let ratio = MEMORY[pick(&mut self.random, &MEMORY.map(|(weight, _)| weight))].1;
        let task = TaskSpec {
            name: "task".parse().expect("a valid name"),
            driver: Driver::Exec,
            command: vec!["work".to_owned()],
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            resources: Resources {
                cpu: CpuMillis(cpu),
                memory: Bytes::mib((cpu * ratio / 1_000).max(64)),
                disk: Bytes::gib(self.random.between(1, 20)),
                network: Mbits(0),
            },
            pids_limit: 64,
            ports: Vec::new(),
            devices: Vec::new(),
            checks: Vec::new(),
            kill: KillPolicy { signal: None, timeout: Millis(10_000) },
            meta: BTreeMap::new(),
        };
        GroupSpec {
            name: "main".parse().expect("a valid name"),
            count,
            constraints: Vec::new(),
            rules: Rules::default(),
            network: NetworkMode::Host,
            tasks: vec![task],
            restart: RestartPolicy {
                attempts: 3,
                interval: Millis::from_secs(300),
                delay: Millis(1_000),
                max_delay: Millis::from_secs(60),
            },
            update: UpdatePolicy { max_parallel: 1, min_ready: Millis(10_000) },
            on_partition: OnPartition::default(),
            meta: BTreeMap::new(),
        }
    }
}

/// An index, as often as its weight says.
fn pick(random: &mut Random, weights: &[u64]) -> usize {
    let mut at = random.below(weights.iter().sum());
    for (index, weight) in weights.iter().enumerate() {
        if at < *weight {
            return index;
        }
        at -= weight;
    }
    unreachable!("a number below the sum of the weights is below one of them")
}
