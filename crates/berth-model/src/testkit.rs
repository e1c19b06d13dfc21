//! Builders for tests, and data that several crates must agree on. Only behind the `testkit` feature.
//!
//! A builder starts from something ordinary; a test names only what it is about.

pub mod store_cases;

use std::collections::BTreeMap;

use crate::{
    AgentKey, AtMost, Bytes, CheckKind, CheckSpec, Constraint, CpuMillis, Device, DeviceAmount, DeviceSpec, Domain,
    Driver, Fingerprint, Gang, GroupSpec, Hello, JobId, JobKind, JobSpec, KillPolicy, Mbits, Millis, Namespace,
    NetworkMode, OnPartition, Operator, Peer, Port, PortSpec, Preemptible, Priority, Probe, Relation, Resources,
    RestartPolicy, Rules, Sense, Strength, TaskSpec, Thousandths, UpdatePolicy,
};

/// A name of any kind; for tests, which use good ones.
///
/// # Panics
/// When the text is not a name.
pub fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a name"))
}

/// Resources of so many thousandths of a core and mebibytes of memory and disk.
pub fn resources(cpu: u64, memory_mib: u64, disk_mib: u64) -> Resources {
    Resources { cpu: CpuMillis(cpu), memory: Bytes::mib(memory_mib), disk: Bytes::mib(disk_mib), network: Mbits(0) }
}

/// A machine with 4 cores, 8 GiB, 100 GiB, 1 Gbit/s, both drivers and the dynamic ports 20000 to 20999.
pub fn machine(node: &str) -> Machine {
    let attributes =
        [("agent.protocol", "2"), ("driver.container", "true"), ("driver.exec", "true"), ("kernel.name", "linux")];
    Machine(Fingerprint {
        name: name(node),
        address: "127.0.0.1".to_owned(),
        resources: Resources { network: Mbits(1_000), ..resources(4_000, 8_192, 102_400) },
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        devices: Vec::new(),
        dynamic_ports: (Port(20_000), Port(20_999)),
        agent_version: "test".to_owned(),
    })
}

/// Builds a fingerprint.
#[derive(Clone, Debug)]
pub struct Machine(pub Fingerprint);

impl Machine {
    /// With this processor time.
    pub fn cpu(mut self, millis: u64) -> Self {
        self.0.resources.cpu = CpuMillis(millis);
        self
    }
    /// With this memory.
    pub fn memory(mut self, mib: u64) -> Self {
        self.0.resources.memory = Bytes::mib(mib);
        self
    }
    /// With this attribute.
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        self.0.attributes.insert(key.to_owned(), value.to_owned());
        self
    }
    /// Without this attribute.
    pub fn without(mut self, key: &str) -> Self {
        self.0.attributes.remove(key);
        self
    }
    /// With this bandwidth.
    pub fn network(mut self, mbits: u64) -> Self {
        self.0.resources.network = Mbits(mbits);
        self
    }
    /// With one more device, of this kind and model.
    pub fn device(mut self, kind: &str, id: &str, model: &str) -> Self {
        let attributes = BTreeMap::from([("model".to_owned(), model.to_owned())]);
        let device = Device { kind: name(kind), id: name(id), attributes, paths: Vec::new() };
        self.0.devices.push(device);
        self.0.devices.sort_by(|a, b| a.id.cmp(&b.id));
        self
    }
    /// With these dynamic ports.
    pub fn dynamic_ports(mut self, first: u16, last: u16) -> Self {
        self.0.dynamic_ports = (Port(first), Port(last));
        self
    }
    /// What its agent says first, with a key made from its name.
    pub fn hello(self) -> Hello {
        Hello { agent: AgentKey(format!("key-{}", self.0.name)), fingerprint: self.0 }
    }
}

/// A service of one group `main` with one task of the exec driver, 500m and 256 MiB; ready after 1 s.
pub fn service(job: &str) -> Spec {
    spec(job, JobKind::Service)
}

/// The same as a batch job.
pub fn batch(job: &str) -> Spec {
    spec(job, JobKind::Batch)
}

/// The same as a system job.
pub fn system(job: &str) -> Spec {
    spec(job, JobKind::System)
}

fn spec(job: &str, kind: JobKind) -> Spec {
    let task = TaskSpec {
        name: name("task"),
        driver: Driver::Exec,
        command: vec!["/bin/true".to_owned()],
        env: BTreeMap::new(),
        working_dir: None,
        user: None,
        resources: resources(500, 256, 0),
        pids_limit: 100,
        ports: Vec::new(),
        devices: Vec::new(),
        checks: Vec::new(),
        kill: KillPolicy { signal: None, timeout: Millis(5_000) },
        meta: BTreeMap::new(),
    };
    let group = GroupSpec {
        name: name("main"),
        count: 1,
        constraints: Vec::new(),
        rules: Rules::default(),
        network: NetworkMode::Host,
        tasks: vec![task],
        restart: RestartPolicy {
            attempts: 2,
            interval: Millis(60_000),
            delay: Millis(1_000),
            max_delay: Millis(10_000),
        },
        update: UpdatePolicy { max_parallel: 1, min_ready: Millis(1_000) },
        on_partition: OnPartition::default(),
        meta: BTreeMap::new(),
    };
    Spec(JobSpec {
        id: JobId { namespace: Namespace::default(), name: name(job) },
        kind,
        priority: Priority(50),
        preemptible: Preemptible::Yes,
        constraints: Vec::new(),
        groups: vec![group],
        meta: BTreeMap::new(),
    })
}

/// Builds a job of one group.
#[derive(Clone, Debug)]
pub struct Spec(pub JobSpec);

impl Spec {
    fn group(&mut self) -> &mut GroupSpec {
        &mut self.0.groups[0]
    }
    fn task(&mut self) -> &mut TaskSpec {
        &mut self.0.groups[0].tasks[0]
    }
    /// So many allocations.
    pub fn count(mut self, count: u32) -> Self {
        self.group().count = count;
        self
    }
    /// With this processor time.
    pub fn cpu(mut self, millis: u64) -> Self {
        self.task().resources.cpu = CpuMillis(millis);
        self
    }
    /// With this memory.
    pub fn memory(mut self, mib: u64) -> Self {
        self.task().resources.memory = Bytes::mib(mib);
        self
    }
    /// With another program, which makes it another version.
    pub fn command(mut self, program: &str) -> Self {
        self.task().command = vec![program.to_owned()];
        self
    }
    /// With this priority.
    pub fn priority(mut self, priority: u8) -> Self {
        self.0.priority = Priority(priority);
        self
    }
    /// Not to be preempted.
    pub fn unpreemptible(mut self) -> Self {
        self.0.preemptible = Preemptible::No;
        self
    }
    /// Only on nodes of which this holds.
    pub fn constraint(mut self, attribute: &str, operator: Operator) -> Self {
        self.group().constraints.push(Constraint { attribute: attribute.to_owned(), operator });
        self
    }
    /// With these rules.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.group().rules = rules;
        self
    }
    /// At most so many in each part of these.
    pub fn at_most(mut self, count: u32, per: Domain) -> Self {
        self.group().rules.at_most.push(AtMost { count, per });
        self
    }
    /// With this relation to a job.
    pub fn relation(mut self, sense: Sense, job: &str, within: Domain, strength: Strength) -> Self {
        let to = Peer { job: name(job), group: None };
        self.group().rules.relations.push(Relation { to, sense, within, strength });
        self
    }
    /// Placed all together or not at all.
    pub fn gang(mut self) -> Self {
        self.group().rules.gang = Gang::Whole;
        self
    }
    /// Listens on this port number.
    pub fn fixed_port(mut self, port: &str, number: u16) -> Self {
        self.task().ports.push(PortSpec { name: name(port), fixed: Some(Port(number)) });
        self
    }
    /// Listens on any port.
    pub fn dynamic_port(mut self, port: &str) -> Self {
        self.task().ports.push(PortSpec { name: name(port), fixed: None });
        self
    }
    /// With this bandwidth.
    pub fn network(mut self, mbits: u64) -> Self {
        self.task().resources.network = Mbits(mbits);
        self
    }
    /// With so many whole devices of this kind.
    pub fn devices(self, device: &str, kind: &str, count: u32) -> Self {
        self.device_wish(device, kind, DeviceAmount::Count(count))
    }
    /// With so many thousandths of one device of this kind.
    pub fn device_share(self, device: &str, kind: &str, thousandths: u16) -> Self {
        self.device_wish(device, kind, DeviceAmount::Share(Thousandths(thousandths)))
    }
    fn device_wish(mut self, device: &str, kind: &str, amount: DeviceAmount) -> Self {
        let spec = DeviceSpec { name: name(device), kind: name(kind), amount, constraints: Vec::new() };
        self.task().devices.push(spec);
        self
    }
    /// The last wish for devices is for ones of this model.
    pub fn device_model(mut self, model: &str) -> Self {
        let operator = Operator::Is(model.to_owned());
        let wish = self.task().devices.last_mut().expect("a wish comes before its constraint");
        wish.constraints.push(Constraint { attribute: "model".to_owned(), operator });
        self
    }
    /// With a check of this kind.
    pub fn check(mut self, kind: CheckKind) -> Self {
        let check = CheckSpec {
            name: name(&kind.to_string()),
            kind,
            probe: Probe::File { path: "/run/well".to_owned() },
            interval: Millis(2_000),
            timeout: Millis(1_000),
            successes: 1,
            failures: 3,
        };
        self.task().checks.push(check);
        self
    }
    /// So many replacements at once.
    pub fn max_parallel(mut self, count: u32) -> Self {
        self.group().update.max_parallel = count;
        self
    }
    /// Ready after this long.
    pub fn min_ready(mut self, millis: u64) -> Self {
        self.group().update.min_ready = Millis(millis);
        self
    }
}
