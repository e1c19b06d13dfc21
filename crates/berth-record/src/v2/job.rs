//! Jobs and their specifications, version 2.

use std::collections::BTreeMap;

use super::meta::{Cause, JobId};
use crate::error::Problem;
use crate::stored::{Stored, stored};

/// An older version's specification.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobVersionRecord {
    version: u64,
    spec: JobSpec,
}

impl JobVersionRecord {
    /// The stored form.
    pub fn new(version: berth_model::JobVersion, spec: &berth_model::JobSpec) -> Self {
        JobVersionRecord { version: Stored::store(&version), spec: Stored::store(spec) }
    }

    /// The domain values.
    pub fn load(self) -> Result<(berth_model::JobVersion, berth_model::JobSpec), Problem> {
        Ok((self.version.load()?, self.spec.load()?))
    }
}

impl Rules {
    fn say_nothing(&self) -> bool {
        let Rules { at_most, relations, preferences, spread, gang } = self;
        let empty = at_most.is_empty() && relations.is_empty() && preferences.is_empty() && spread.is_empty();
        empty && *gang == Gang::Free
    }
}

impl Preemptible {
    fn is_usual(&self) -> bool {
        *self == Preemptible::Yes
    }
}

impl Default for OnPartition {
    fn default() -> OnPartition {
        OnPartition::Replace { after: 0 }
    }
}

impl OnPartition {
    fn is_usual(&self) -> bool {
        *self == OnPartition::default()
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

stored! {
    struct Job = Job { spec: JobSpec, version: u64, changed: (u64, Cause), state: JobState }

    enum JobState = JobState {
        Active,
        Stopping { since: u64, cause: Cause },
        Ended { at: u64, outcome: JobOutcome },
    }

    enum JobOutcome = JobOutcome { Stopped, Complete, Failed }

    enum JobKind = JobKind { Service, Batch, System }

    struct JobSpec = JobSpec {
        id: JobId,
        kind: JobKind,
        priority: u8,
        #[serde(default, skip_serializing_if = "Preemptible::is_usual")]
        preemptible: Preemptible,
        constraints: Vec<Constraint>,
        groups: Vec<GroupSpec>,
        meta: BTreeMap<String, String>,
    }

    #[derive(Default, PartialEq)]
    enum Preemptible = Preemptible {
        #[default]
        Yes,
        No,
    }

    struct GroupSpec = GroupSpec {
        name: String,
        count: u32,
        constraints: Vec<Constraint>,
        #[serde(default, skip_serializing_if = "Rules::say_nothing")]
        rules: Rules,
        network: NetworkMode,
        tasks: Vec<TaskSpec>,
        restart: RestartPolicy,
        update: UpdatePolicy,
        #[serde(default, skip_serializing_if = "OnPartition::is_usual")]
        on_partition: OnPartition,
        meta: BTreeMap<String, String>,
    }

    #[derive(Default)]
    struct Rules = Rules {
        at_most: Vec<AtMost>,
        relations: Vec<Relation>,
        preferences: Vec<Preference>,
        spread: Vec<Spread>,
        gang: Gang,
    }

    struct AtMost = AtMost { count: u32, per: Domain }

    struct Relation = Relation { to: Peer, sense: Sense, within: Domain, strength: Strength }

    struct Peer = Peer { job: String, group: Option<String> }

    enum Sense = Sense { Near, Apart }

    enum Strength = Strength { Required, Preferred(weight: u16) }

    enum Domain = Domain { Node, Attribute(key: String) }

    struct Preference = Preference { constraint: Constraint, weight: u16 }

    struct Spread = Spread { over: Domain, weight: u16, targets: BTreeMap<String, u8> }

    #[derive(Default, PartialEq)]
    enum Gang = Gang {
        #[default]
        Free,
        Whole,
    }

    enum NetworkMode = NetworkMode { Host, None }

    struct PortSpec = PortSpec { name: String, fixed: Option<u16> }

    struct TaskSpec = TaskSpec {
        name: String,
        driver: Driver,
        command: Vec<String>,
        env: BTreeMap<String, String>,
        working_dir: Option<String>,
        user: Option<String>,
        resources: Resources,
        pids_limit: u32,
        ports: Vec<PortSpec>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        devices: Vec<DeviceSpec>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<CheckSpec>,
        kill: KillPolicy,
        meta: BTreeMap<String, String>,
    }

    struct CheckSpec = CheckSpec {
        name: String,
        kind: CheckKind,
        probe: Probe,
        interval: u64,
        timeout: u64,
        successes: u32,
        failures: u32,
    }

    enum CheckKind = CheckKind { Startup, Readiness, Liveness }

    enum Probe = Probe {
        Http(probe: HttpProbe),
        Tcp { port: String },
        Exec { command: Vec<String> },
        File { path: String },
    }

    struct HttpProbe = HttpProbe { port: String, path: String, scheme: Scheme, headers: BTreeMap<String, String> }

    enum Scheme = Scheme { Http, Https { server_name: Option<String> } }

    struct Resources = Resources {
        cpu: u64,
        memory: u64,
        disk: u64,
        #[serde(default, skip_serializing_if = "is_zero")]
        network: u64,
    }

    struct DeviceSpec = DeviceSpec { name: String, kind: String, amount: DeviceAmount, constraints: Vec<Constraint> }

    enum DeviceAmount = DeviceAmount { Count(count: u32), Share(share: u16) }

    enum Driver = Driver { Container(spec: ContainerSpec), Exec }

    struct ContainerSpec = ContainerSpec {
        image: String,
        credential: Option<String>,
        read_only_root: bool,
        tmpfs: Vec<(String, u64)>,
        cap_add: Vec<String>,
    }

    struct KillPolicy = KillPolicy { signal: Option<u8>, timeout: u64 }

    struct RestartPolicy = RestartPolicy { attempts: u32, interval: u64, delay: u64, max_delay: u64 }

    struct UpdatePolicy = UpdatePolicy { max_parallel: u32, min_ready: u64 }

    #[derive(PartialEq)]
    enum OnPartition = OnPartition { Keep, Replace { after: u64 }, Fence { lease: u64 } }

    struct Constraint = Constraint { attribute: String, operator: Operator }

    enum Operator = Operator {
        Is(value: String),
        IsNot(value: String),
        In(values: Vec<String>),
        NotIn(values: Vec<String>),
        Set,
        Unset,
        Compare(ordering: Ordering, value: String),
        Glob(pattern: String),
    }

    enum Ordering = Ordering { Less, AtMost, Greater, AtLeast }
}
