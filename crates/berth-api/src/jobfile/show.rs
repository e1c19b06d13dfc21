//! A specification as a job file that leaves nothing to defaults.

use berth_model::{
    AtMost, CheckKind, CheckSpec, Constraint, ContainerSpec, DeviceAmount, DeviceSpec, Driver, Gang, GroupSpec,
    HttpProbe, JobKind, JobSpec, Millis, NetworkMode, OnPartition, Operator, Ordering, Preemptible, Preference, Probe,
    Rules, Scheme, Sense, Spread, Strength, TaskSpec,
};
use std::collections::BTreeMap;

use super::schema::{
    AffinityFile, At, AtMostFile, CheckFile, CheckKindFile, ConstraintFile, DeviceFile, DriverFile, Field, GroupFile,
    HttpCheckFile, JobFile, KillFile, KindFile, List, NetworkFile, OnPartitionFile, OperatorFile, PreferenceFile,
    ResourcesFile, RestartFile, SchemeFile, SpreadFile, Table, TaskFile, TcpCheckFile, UpdateFile,
};
use super::values::{Bandwidth, Cpu, Duration, PortNumber, Share, Size, show_signal};

fn some<T>(value: T) -> Field<T> {
    Some(At::new(value))
}

fn list<T>(items: impl IntoIterator<Item = T>) -> Field<List<T>> {
    some(items.into_iter().map(At::new).collect())
}

fn table<V>(entries: impl IntoIterator<Item = (String, V)>) -> Field<Table<V>> {
    some(Table(entries.into_iter().map(|(k, v)| (At::new(k), At::new(v))).collect()))
}

fn texts(map: &BTreeMap<String, String>) -> Field<Table<String>> {
    table(map.clone())
}

pub(super) fn job(spec: &JobSpec) -> JobFile {
    JobFile {
        job: some(spec.id.name.to_string()),
        namespace: some(spec.id.namespace.to_string()),
        kind: some(match spec.kind {
            JobKind::Service => KindFile::Service,
            JobKind::Batch => KindFile::Batch,
            JobKind::System => KindFile::System,
        }),
        priority: some(u32::from(spec.priority.0)),
        preemptible: some(spec.preemptible == Preemptible::Yes),
        constraints: list(spec.constraints.iter().map(constraint)),
        groups: list(spec.groups.iter().map(group)),
        meta: texts(&spec.meta),
    }
}

fn constraint(constraint: &Constraint) -> ConstraintFile {
    let (operator, value, values) = match &constraint.operator {
        Operator::Is(v) => (OperatorFile::Is, Some(v), None),
        Operator::IsNot(v) => (OperatorFile::IsNot, Some(v), None),
        Operator::In(vs) => (OperatorFile::In, None, Some(vs)),
        Operator::NotIn(vs) => (OperatorFile::NotIn, None, Some(vs)),
        Operator::Set => (OperatorFile::Set, None, None),
        Operator::Unset => (OperatorFile::Unset, None, None),
        Operator::Glob(v) => (OperatorFile::Glob, Some(v), None),
        Operator::Compare(Ordering::Less, v) => (OperatorFile::Less, Some(v), None),
        Operator::Compare(Ordering::AtMost, v) => (OperatorFile::AtMost, Some(v), None),
        Operator::Compare(Ordering::Greater, v) => (OperatorFile::Greater, Some(v), None),
        Operator::Compare(Ordering::AtLeast, v) => (OperatorFile::AtLeast, Some(v), None),
    };
    ConstraintFile {
        attribute: some(constraint.attribute.clone()),
        operator: some(operator),
        value: value.cloned().map(At::new),
        values: values.and_then(|vs| list(vs.iter().cloned())),
    }
}

fn group(group: &GroupSpec) -> GroupFile {
    GroupFile {
        name: some(group.name.to_string()),
        count: some(group.count),
        constraints: list(group.constraints.iter().map(constraint)),
        distinct_hosts: None,
        at_most: list(group.rules.at_most.iter().map(at_most)),
        affinity: relations(&group.rules, Sense::Near),
        anti_affinity: relations(&group.rules, Sense::Apart),
        prefer: list(group.rules.preferences.iter().map(preference)),
        spread: list(group.rules.spread.iter().map(spread)),
        gang: some(group.rules.gang == Gang::Whole),
        network: some(match group.network {
            NetworkMode::Host => NetworkFile::Host,
            NetworkMode::None => NetworkFile::None,
        }),
        restart: some(RestartFile {
            attempts: some(group.restart.attempts),
            interval: some(Duration(group.restart.interval)),
            delay: some(Duration(group.restart.delay)),
            max_delay: some(Duration(group.restart.max_delay)),
        }),
        update: some(UpdateFile {
            max_parallel: some(group.update.max_parallel),
            min_ready: some(Duration(group.update.min_ready)),
        }),
        // Left out where nothing is special: programs of before there was anything to say read it too.
        on_partition: (group.on_partition != OnPartition::default())
            .then(|| At::new(on_partition(&group.on_partition))),
        replace_after: match group.on_partition {
            OnPartition::Replace { after } if after != Millis(0) => some(Duration(after)),
            OnPartition::Keep | OnPartition::Replace { .. } | OnPartition::Fence { .. } => None,
        },
        lease: group.lease().map(|lease| At::new(Duration(lease))),
        tasks: list(group.tasks.iter().map(task)),
        meta: texts(&group.meta),
    }
}

fn on_partition(chosen: &OnPartition) -> OnPartitionFile {
    match chosen {
        OnPartition::Keep => OnPartitionFile::Keep,
        OnPartition::Replace { .. } => OnPartitionFile::Replace,
        OnPartition::Fence { .. } => OnPartitionFile::Fence,
    }
}

fn at_most(rule: &AtMost) -> AtMostFile {
    AtMostFile { count: some(rule.count), per: some(rule.per.to_string()) }
}

/// The relations of one sense.
fn relations(rules: &Rules, sense: Sense) -> Field<List<AffinityFile>> {
    let of_sense = rules.relations.iter().filter(|relation| relation.sense == sense);
    list(of_sense.map(|relation| AffinityFile {
        job: some(relation.to.job.to_string()),
        group: relation.to.group.as_ref().map(|group| At::new(group.to_string())),
        within: some(relation.within.to_string()),
        weight: match relation.strength {
            Strength::Required => None,
            Strength::Preferred(weight) => some(u32::from(weight.0)),
        },
    }))
}

fn preference(preference: &Preference) -> PreferenceFile {
    let ConstraintFile { attribute, operator, value, values } = constraint(&preference.constraint);
    PreferenceFile { attribute, operator, value, values, weight: some(u32::from(preference.weight.0)) }
}

fn spread(rule: &Spread) -> SpreadFile {
    SpreadFile {
        over: some(rule.over.to_string()),
        weight: some(u32::from(rule.weight.0)),
        targets: table(rule.targets.iter().map(|(value, percent)| (value.clone(), u32::from(*percent)))),
    }
}

fn task(task: &TaskSpec) -> TaskFile {
    let base = TaskFile {
        name: some(task.name.to_string()),
        command: list(task.command.iter().cloned()),
        env: texts(&task.env),
        working_dir: task.working_dir.clone().map(At::new),
        user: task.user.clone().map(At::new),
        resources: some(ResourcesFile {
            cpu: some(Cpu(task.resources.cpu)),
            memory: some(Size(task.resources.memory)),
            disk: some(Size(task.resources.disk)),
            network: some(Bandwidth(task.resources.network)),
            devices: list(task.devices.iter().map(device)),
            ports: table(task.ports.iter().map(|p| (p.name.to_string(), PortNumber(p.fixed)))),
        }),
        pids_limit: some(task.pids_limit),
        checks: Some(&task.checks)
            .filter(|checks| !checks.is_empty())
            .and_then(|checks| list(checks.iter().map(check))),
        kill: some(KillFile {
            signal: task.kill.signal.map(show_signal).map(At::new),
            timeout: some(Duration(task.kill.timeout)),
        }),
        meta: texts(&task.meta),
        ..TaskFile::default()
    };
    match &task.driver {
        Driver::Exec => TaskFile { driver: some(DriverFile::Exec), ..base },
        Driver::Container(spec) => container(spec, base),
    }
}

fn check(check: &CheckSpec) -> CheckFile {
    let base = CheckFile {
        name: some(check.name.to_string()),
        kind: some(match check.kind {
            CheckKind::Startup => CheckKindFile::Startup,
            CheckKind::Readiness => CheckKindFile::Readiness,
            CheckKind::Liveness => CheckKindFile::Liveness,
        }),
        interval: some(Duration(check.interval)),
        timeout: some(Duration(check.timeout)),
        successes: some(check.successes),
        failures: some(check.failures),
        ..CheckFile::default()
    };
    match &check.probe {
        Probe::Http(probe) => CheckFile { http: some(http(probe)), ..base },
        Probe::Tcp { port } => CheckFile { tcp: some(TcpCheckFile { port: some(port.to_string()) }), ..base },
        Probe::Exec { command } => CheckFile { exec: list(command.iter().cloned()), ..base },
        Probe::File { path } => CheckFile { file: some(path.clone()), ..base },
    }
}

fn http(probe: &HttpProbe) -> HttpCheckFile {
    let (scheme, server_name) = match &probe.scheme {
        Scheme::Http => (SchemeFile::Http, None),
        Scheme::Https { server_name } => (SchemeFile::Https, server_name.clone()),
    };
    HttpCheckFile {
        port: some(probe.port.to_string()),
        path: some(probe.path.clone()),
        scheme: some(scheme),
        server_name: server_name.map(At::new),
        headers: texts(&probe.headers),
    }
}

fn device(spec: &DeviceSpec) -> DeviceFile {
    let (count, share) = match spec.amount {
        DeviceAmount::Count(count) => (some(count), None),
        DeviceAmount::Share(part) => (None, some(Share(part))),
    };
    DeviceFile {
        name: some(spec.name.to_string()),
        kind: some(spec.kind.to_string()),
        count,
        share,
        constraints: list(spec.constraints.iter().map(constraint)),
    }
}

fn container(spec: &ContainerSpec, base: TaskFile) -> TaskFile {
    TaskFile {
        driver: some(DriverFile::Container),
        image: some(spec.image.clone()),
        credential: spec.credential.clone().map(At::new),
        read_only_root: some(spec.read_only_root),
        tmpfs: table(spec.tmpfs.iter().map(|(path, size)| (path.clone(), Size(*size)))),
        cap_add: list(spec.cap_add.iter().cloned()),
        ..base
    }
}
