//! From the schema's types to a specification: defaults, limits and everything that a shape cannot say.
//!
//! Each function notes what is wrong and goes on with a stand-in, so that one reading tells all faults;
//! a stand-in never gets out, because any fault fails the whole.

mod checks;
mod devices;
pub(super) mod policy;
mod rules;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use berth_model::{
    Bytes, Constraint, ContainerSpec, CpuMillis, DeviceSpec, Driver, Gang, GroupSpec, JobId, JobKind, JobSpec,
    KillPolicy, Mbits, Millis, Namespace, NetworkMode, OnPartition, Operator, Ordering, Port, PortName, PortSpec,
    Preemptible, Priority, Resources, RestartPolicy, TaskSpec, UpdatePolicy, limits,
};

use super::error::{Faults, harmless, nearest, quoted};
use super::image;
use super::schema::{
    At, ConstraintFile, DriverFile, Field, GroupFile, JobFile, KillFile, KindFile, List, NetworkFile, OnPartitionFile,
    OperatorFile, ResourcesFile, RestartFile, Table, TaskFile, UpdateFile,
};
use super::values::{CAPABILITIES, Duration, PortNumber, Size, signal, signal_names, told};

const LONGEST_TIME: Millis = Millis::from_secs(720 * 3600);
/// Characters of a key of `meta`, an attribute, or a user.
const WORD: usize = 128;
/// Folders in memory of a container.
const TMPFS: usize = 64;
/// Words of a command.
const COMMAND: usize = 1024;
/// What a fault's stand-in is called; it never leaves this module.
const STAND_IN: &str = "x";

pub(super) fn job(file: At<JobFile>, mut faults: Faults) -> Result<JobSpec, Faults> {
    let spec = file.value.map(|value| top(value, file.place, &mut faults));
    match spec {
        Some(spec) if faults.is_empty() => Ok(spec),
        Some(_) | None => Err(faults),
    }
}

fn top(file: JobFile, place: usize, faults: &mut Faults) -> JobSpec {
    let name = required_name(file.job, "job", place, faults);
    let namespace = file.namespace.map_or_else(Namespace::default, |n| name_of(n, faults));
    let kind = match value(file.kind, KindFile::Service) {
        KindFile::Service => JobKind::Service,
        KindFile::Batch => JobKind::Batch,
        KindFile::System => JobKind::System,
    };
    let priority = u8::try_from(in_range(file.priority, 50, 0..=100, faults)).unwrap_or(u8::MAX);
    let constraints = constraints(file.constraints, faults);
    let groups = required_list(file.groups, "groups", limits::GROUPS, place, faults);
    let mut names = BTreeMap::new();
    let groups = groups.into_iter().filter_map(|g| {
        let (file, place) = (g.value?, g.place);
        Some(group(file, place, kind, &mut names, faults))
    });
    let groups = groups.collect();
    let meta = texts(file.meta, faults, meta_key);
    let preemptible = if value(file.preemptible, true) { Preemptible::Yes } else { Preemptible::No };
    let (id, priority) = (JobId { namespace, name }, Priority(priority));
    JobSpec { id, kind, priority, preemptible, constraints, groups, meta }
}

type Names = BTreeMap<String, usize>;

fn group(mut file: GroupFile, place: usize, kind: JobKind, names: &mut Names, faults: &mut Faults) -> GroupSpec {
    let rules = rules::of_group(&mut file, faults);
    let on_partition = on_partition(&mut file, faults);
    unique(&file.name, "group", names, faults);
    let name = required_name(file.name, "name", place, faults);
    if kind == JobKind::System
        && let Some(At { value: Some(count), place }) = &file.count
        && *count != 1
    {
        faults.at(*place, format!("a system job has one allocation per node: leave `count` out, found {count}"));
    }
    let count = in_range(file.count, 1, 0..=limits::COUNT, faults);
    let network = match value(file.network, NetworkFile::Host) {
        NetworkFile::Host => NetworkMode::Host,
        NetworkFile::None => NetworkMode::None,
    };
    if kind == JobKind::System && rules.gang == Gang::Whole {
        faults.at(place, "a system job has one allocation per node, each for itself: leave `gang` out");
    }
    let constraints = constraints(file.constraints, faults);
    let mut shared = Shared { network, ..Shared::default() };
    let tasks = required_list(file.tasks, "tasks", limits::TASKS, place, faults);
    let tasks = tasks.into_iter().filter_map(|t| {
        let (file, place) = (t.value?, t.place);
        Some(task(file, place, &mut shared, faults))
    });
    let tasks = tasks.collect();
    checks::reach(&shared, faults);
    if shared.ports.len() > limits::PORTS {
        faults.at(place, format!("{} ports: a group has at most {}", shared.ports.len(), limits::PORTS));
    }
    limit(shared.devices.len(), limits::DEVICES, "wishes for devices in a group", place, faults);
    GroupSpec {
        name,
        count,
        constraints,
        rules,
        network,
        tasks,
        restart: restart(file.restart, faults),
        update: update(file.update, faults),
        on_partition,
        meta: texts(file.meta, faults, meta_key),
    }
}

/// What the tasks of a group have to share without a clash.
struct Shared {
    network: NetworkMode,
    names: Names,
    ports: Names,
    numbers: BTreeMap<Port, usize>,
    devices: Names,
    /// The ports that checks ask, with their places.
    asked: Vec<(PortName, usize)>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            network: NetworkMode::Host,
            names: Names::new(),
            ports: Names::new(),
            numbers: BTreeMap::new(),
            devices: Names::new(),
            asked: Vec::new(),
        }
    }
}

fn restart(file: Field<RestartFile>, faults: &mut Faults) -> RestartPolicy {
    let place = file.as_ref().map_or(usize::MAX, |f| f.place);
    let file = value(file, RestartFile::default());
    let delay_place = file.max_delay.as_ref().or(file.delay.as_ref()).map_or(place, |f| f.place);
    let by_default = if file.max_delay.is_none() { ", its default" } else { "" };
    let policy = RestartPolicy {
        attempts: in_range(file.attempts, 3, 0..=1000, faults),
        interval: time(file.interval, Millis::from_secs(300), Millis(1), faults),
        delay: time(file.delay, Millis::from_secs(1), Millis(0), faults),
        max_delay: time(file.max_delay, Millis::from_secs(60), Millis(0), faults),
    };
    if policy.max_delay < policy.delay {
        let (most, delay) = (told(policy.max_delay), told(policy.delay));
        let message = format!("`delay` ({delay}) is more than `max_delay` ({most}{by_default}): raise `max_delay`");
        faults.at(delay_place, message);
    }
    policy
}

fn update(file: Field<UpdateFile>, faults: &mut Faults) -> UpdatePolicy {
    let file = value(file, UpdateFile::default());
    UpdatePolicy {
        max_parallel: in_range(file.max_parallel, 1, 1..=limits::COUNT, faults),
        min_ready: time(file.min_ready, Millis::from_secs(10), Millis(0), faults),
    }
}

fn on_partition(file: &mut GroupFile, faults: &mut Faults) -> OnPartition {
    let chosen = value(file.on_partition.take(), OnPartitionFile::Replace);
    let (after, lease) = (file.replace_after.take(), file.lease.take());
    let (after_place, lease_place) = (after.as_ref().map(|f| f.place), lease.as_ref().map(|f| f.place));
    let mut stray = |key: &str, place: Option<usize>, of: OnPartitionFile, other: &str| {
        if let Some(place) = place.filter(|_| chosen != of) {
            faults.at(place, format!("`{key}` is for `on_partition: {other}`: leave it out, or write that"));
        }
    };
    stray("replace_after", after_place, OnPartitionFile::Replace, "replace");
    stray("lease", lease_place, OnPartitionFile::Fence, "fence");
    let after = within(after, Millis(0), Millis(0), limits::ON_PARTITION, faults);
    let lease = within(lease, Millis::from_secs(30), limits::LEAST_LEASE, limits::ON_PARTITION, faults);
    match chosen {
        OnPartitionFile::Keep => OnPartition::Keep,
        OnPartitionFile::Replace => OnPartition::Replace { after },
        OnPartitionFile::Fence => OnPartition::Fence { lease },
    }
}

fn task(mut file: TaskFile, place: usize, shared: &mut Shared, faults: &mut Faults) -> TaskSpec {
    unique(&file.name, "task", &mut shared.names, faults);
    let sure = file.driver.as_ref().is_none_or(|d| d.value.is_some());
    let driver = driver(&mut file, place, faults);
    let command = command(file.command, sure && driver == Driver::Exec, place, faults);
    let file_resources = value(file.resources, ResourcesFile::default());
    let Given { resources, ports, devices } = resources(file_resources, shared, faults);
    TaskSpec {
        name: required_name(file.name, "name", place, faults),
        driver,
        command,
        env: texts(file.env, faults, env_key),
        working_dir: checked(file.working_dir, faults, absolute),
        user: checked(file.user, faults, user),
        resources,
        pids_limit: in_range(file.pids_limit, 1024, 1..=4_194_304, faults),
        ports,
        devices,
        checks: checks::of_task(file.checks, shared, faults),
        kill: kill(file.kill, faults),
        meta: texts(file.meta, faults, meta_key),
    }
}

fn driver(file: &mut TaskFile, place: usize, faults: &mut Faults) -> Driver {
    let by_image = if file.image.is_some() { DriverFile::Container } else { DriverFile::Exec };
    let spoiled = file.driver.as_ref().is_some_and(|d| d.value.is_none());
    let remedy = if file.driver.is_some() { "write `driver: container`" } else { "give the task an `image`" };
    match value(file.driver.take(), by_image) {
        // Which keys belong is not known then.
        DriverFile::Exec if spoiled => Driver::Exec,
        DriverFile::Container => Driver::Container(container(file, place, faults)),
        DriverFile::Exec => {
            let strays = [
                ("image", file.image.as_ref().map(|f| f.place)),
                ("credential", file.credential.as_ref().map(|f| f.place)),
                ("read_only_root", file.read_only_root.as_ref().map(|f| f.place)),
                ("tmpfs", file.tmpfs.as_ref().map(|f| f.place)),
                ("cap_add", file.cap_add.as_ref().map(|f| f.place)),
            ];
            for (key, place) in strays {
                if let Some(place) = place {
                    faults.at(place, format!("`{key}` is for containers: leave it out, or {remedy}"));
                }
            }
            Driver::Exec
        }
    }
}

fn container(file: &mut TaskFile, place: usize, faults: &mut Faults) -> ContainerSpec {
    if file.image.is_none() {
        faults
            .at(place, "`image` is missing: the driver `container` needs one, such as `docker.io/library/nginx:1.27`");
    }
    let tmpfs_place = file.tmpfs.as_ref().map_or(place, |f| f.place);
    let tmpfs = value(file.tmpfs.take(), Table(Vec::new()));
    limit(tmpfs.0.len(), TMPFS, "folders in `tmpfs`", tmpfs_place, faults);
    let tmpfs: BTreeMap<String, Bytes> = tmpfs
        .0
        .into_iter()
        .filter_map(|(path, size)| {
            let path = checked(Some(path), faults, absolute)?;
            Some((path, space(Some(size), Bytes::mib(1), faults)))
        })
        .collect();
    let caps_place = file.cap_add.as_ref().map_or(place, |f| f.place);
    let caps = value(file.cap_add.take(), Vec::new());
    limit(caps.len(), CAPABILITIES.len(), "entries in `cap_add`", caps_place, faults);
    ContainerSpec {
        image: checked(file.image.take(), faults, |text| {
            image::check(text).map_err(|e| format!("{}: {e}", quoted(text)))
        })
        .unwrap_or_default(),
        credential: checked(file.credential.take(), faults, word),
        read_only_root: value(file.read_only_root.take(), false),
        tmpfs: tmpfs.into_iter().collect(),
        cap_add: caps.into_iter().filter_map(|c| capability(c, faults)).collect(),
    }
}

fn capability(cap: At<String>, faults: &mut Faults) -> Option<String> {
    let text = cap.value?;
    let bare = text.strip_prefix("CAP_").unwrap_or(&text);
    if !CAPABILITIES.contains(&bare) {
        let meant = nearest(bare, CAPABILITIES);
        faults.at_nearest(
            cap.place,
            format!("unknown capability {}: expected one of Linux's, such as `NET_ADMIN`", quoted(&text)),
            meant,
        );
    }
    Some(bare.to_owned())
}

fn command(file: Field<List<String>>, required: bool, place: usize, faults: &mut Faults) -> Vec<String> {
    let at = file.as_ref().map_or(place, |f| f.place);
    let spoiled = file.as_ref().is_some_and(|f| f.value.is_none());
    let words = words(file, "command", faults);
    if required && words.is_empty() && !spoiled {
        faults.at(
            at,
            "`command` is missing or empty: a task of the driver `exec` names its program, such as `[/bin/echo, hello]`",
        );
    }
    words
}

/// A program and its arguments.
fn words(file: Field<List<String>>, key: &str, faults: &mut Faults) -> Vec<String> {
    let at = file.as_ref().map_or(usize::MAX, |f| f.place);
    let given = value(file, Vec::new());
    if let Some(At { value: Some(program), place }) = given.first()
        && program.is_empty()
    {
        faults.at(*place, format!("the first word of `{key}` is the program: it cannot be empty"));
    }
    limit(given.len(), COMMAND, &format!("words in `{key}`"), at, faults);
    given.into_iter().map(|word| checked(Some(word), faults, no_nul).unwrap_or_default()).collect()
}

/// What a task is to be given.
struct Given {
    resources: Resources,
    ports: Vec<PortSpec>,
    devices: Vec<DeviceSpec>,
}

fn resources(file: ResourcesFile, shared: &mut Shared, faults: &mut Faults) -> Given {
    let cpu_place = file.cpu.as_ref().map_or(usize::MAX, |c| c.place);
    let cpu = file.cpu.and_then(|c| c.value).map_or(CpuMillis(100), |c| c.0);
    if cpu.0 == 0 || cpu > limits::CPU {
        faults.at(cpu_place, format!("expected 1m to {} ({} cores), found {cpu}", limits::CPU, limits::CPU.0 / 1000));
    }
    let network_place = file.network.as_ref().map_or(usize::MAX, |n| n.place);
    let network = file.network.and_then(|n| n.value).map_or(Mbits(0), |n| n.0);
    if network > limits::NETWORK {
        faults.at(network_place, format!("expected 0Mbit to {}, found {network}", limits::NETWORK));
    }
    let (memory, disk) = (memory(file.memory, faults), space(file.disk, Bytes::mib(128), faults));
    Given {
        resources: Resources { cpu, memory, disk, network },
        ports: ports(file.ports, shared, faults),
        devices: devices::of_task(file.devices, shared, faults),
    }
}

fn ports(file: Field<Table<PortNumber>>, shared: &mut Shared, faults: &mut Faults) -> Vec<PortSpec> {
    let place = file.as_ref().map_or(usize::MAX, |f| f.place);
    let entries = value(file, Table(Vec::new())).0;
    if shared.network == NetworkMode::None && !entries.is_empty() {
        faults.at(place, "a group with `network: none` cannot have ports: nothing could reach them");
    }
    let mut ports = BTreeMap::new();
    for (name, number) in entries {
        let name_place = name.place;
        let name: PortName = name_of(name, faults);
        if let Some(first) = shared.ports.insert(name.to_string(), name_place) {
            let line = other(first, faults);
            faults.at(name_place, format!("the port name `{name}` is taken by another task of the group{line}"));
        }
        let fixed = number.value.and_then(|n| n.0);
        if let Some(port) = fixed
            && let Some(first) = shared.numbers.insert(port, number.place)
        {
            let line = other(first, faults);
            faults.at(number.place, format!("the port {port} is taken twice in this group{line}"));
        }
        ports.insert(name, fixed);
    }
    ports.into_iter().map(|(name, fixed)| PortSpec { name, fixed }).collect()
}

fn kill(file: Field<KillFile>, faults: &mut Faults) -> KillPolicy {
    let file = value(file, KillFile::default());
    let signal = match file.signal {
        Some(At { value: Some(text), place }) => signal(&text).or_else(|| {
            let meant = nearest(&text, signal_names());
            faults.at_nearest(place, format!("unknown signal {}: expected a name or 1 to 64", quoted(&text)), meant);
            None
        }),
        Some(At { value: None, .. }) | None => None,
    };
    KillPolicy { signal, timeout: time(file.timeout, Millis::from_secs(10), Millis(0), faults) }
}

fn constraints(file: Field<List<ConstraintFile>>, faults: &mut Faults) -> Vec<Constraint> {
    let place = file.as_ref().map_or(usize::MAX, |f| f.place);
    let items = value(file, Vec::new());
    limit(items.len(), limits::CONSTRAINTS, "constraints", place, faults);
    items.into_iter().filter_map(|c| Some(constraint(c.value?, c.place, faults))).collect()
}

fn constraint(file: ConstraintFile, place: usize, faults: &mut Faults) -> Constraint {
    if file.attribute.is_none() {
        faults.at(place, "`attribute` is missing: expected the name of a node's attribute, such as `kernel.name`");
    }
    let attribute = checked(file.attribute, faults, word).unwrap_or_default();
    let values_place = file.values.as_ref().map(|v| v.place);
    let value_place = file.value.as_ref().map(|v| v.place);
    let one = checked(file.value, faults, no_nul).unwrap_or_default();
    let many = value(file.values, Vec::new());
    let empty = many.is_empty();
    limit(many.len(), limits::VALUES, "values", values_place.unwrap_or(place), faults);
    let many: Vec<String> = many.into_iter().filter_map(|v| checked(Some(v), faults, no_nul)).collect();
    let spoiled = file.operator.as_ref().is_some_and(|o| o.value.is_none());
    let operator = value(file.operator, OperatorFile::Is);
    let wants = match operator {
        OperatorFile::In | OperatorFile::NotIn => Wants::Many,
        OperatorFile::Set | OperatorFile::Unset => Wants::Nothing,
        OperatorFile::Is | OperatorFile::IsNot | OperatorFile::Glob => Wants::One,
        OperatorFile::Less | OperatorFile::AtMost | OperatorFile::Greater | OperatorFile::AtLeast => Wants::Version,
    };
    if !spoiled {
        wants.check(Operands { place, value: value_place, values: values_place, empty, text: &one }, faults);
    }
    let operator = match operator {
        OperatorFile::Is => Operator::Is(one),
        OperatorFile::IsNot => Operator::IsNot(one),
        OperatorFile::In => Operator::In(many),
        OperatorFile::NotIn => Operator::NotIn(many),
        OperatorFile::Set => Operator::Set,
        OperatorFile::Unset => Operator::Unset,
        OperatorFile::Less => Operator::Compare(Ordering::Less, one),
        OperatorFile::AtMost => Operator::Compare(Ordering::AtMost, one),
        OperatorFile::Greater => Operator::Compare(Ordering::Greater, one),
        OperatorFile::AtLeast => Operator::Compare(Ordering::AtLeast, one),
        OperatorFile::Glob => Operator::Glob(one),
    };
    Constraint { attribute, operator }
}

const NO_VALUE: &str = "`value` is missing: expected what to compare the attribute with; to ask whether a node has it, write `operator: exists`";
const NO_VALUES: &str = "`values` is missing: this operator compares with a list, such as `values: [a, b]`";

/// What an operator needs beside itself.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Nothing,
    One,
    Version,
    Many,
}

/// What an operator is given: where its constraint stands, and where its values do.
struct Operands<'a> {
    place: usize,
    value: Option<usize>,
    values: Option<usize>,
    empty: bool,
    text: &'a str,
}

impl Wants {
    fn one_only(self) -> &'static str {
        match self {
            Wants::Version => "this operator compares with one `value`, not with `values`",
            Wants::Nothing | Wants::One | Wants::Many => {
                "this operator compares with one `value`: write it, or `operator: in` (or `not_in`) for a list"
            }
        }
    }

    fn check(self, given: Operands<'_>, faults: &mut Faults) {
        let many = self == Wants::Many;
        let one = matches!(self, Wants::One | Wants::Version);
        match (given.value, given.values) {
            (None, None) if one => faults.at(given.place, NO_VALUE),
            (None, None) if many => faults.at(given.place, NO_VALUES),
            (Some(place), None) if many => {
                faults.at(place, "this operator compares with a list: write `values: [...]`")
            }
            (None, Some(place)) if one => faults.at(place, self.one_only()),
            (value, values) => {
                if let Some(place) = value.filter(|_| !one) {
                    faults.at(place, "this operator takes no `value`: leave it out");
                }
                if let Some(place) = values.filter(|_| !many) {
                    faults.at(place, "this operator takes no `values`: leave them out");
                }
            }
        }
        if let (true, Some(place), true) = (many, given.values, given.empty) {
            faults.at(place, "`values` is empty: expected at least one");
        }
        let part = |p: &str| !p.is_empty() && p.len() <= 18 && p.bytes().all(|b| b.is_ascii_digit());
        if let (Wants::Version, Some(place)) = (self, given.value)
            && !given.text.trim_start_matches('-').split('.').all(part)
        {
            let message =
                format!("expected a whole number or a dotted version such as `5.10`, found {}", quoted(given.text));
            faults.at(place, message);
        }
    }
}

// Small readers, each for one kind of field.

/// The value of a field, or `default` where it is absent or wrong.
fn value<T>(field: Field<T>, default: T) -> T {
    field.and_then(|f| f.value).unwrap_or(default)
}

fn in_range<T>(field: Field<T>, default: T, range: std::ops::RangeInclusive<T>, faults: &mut Faults) -> T
where
    T: Copy + PartialOrd + Display,
{
    let Some(At { value: Some(found), place }) = field else { return default };
    if !range.contains(&found) {
        faults.at(place, format!("expected {} to {}, found {found}", range.start(), range.end()));
    }
    found
}

fn time(field: Field<Duration>, default: Millis, least: Millis, faults: &mut Faults) -> Millis {
    within(field, default, least, LONGEST_TIME, faults)
}

fn within(field: Field<Duration>, default: Millis, least: Millis, most: Millis, faults: &mut Faults) -> Millis {
    let Some(At { value: Some(Duration(found)), place }) = field else { return default };
    if found < least || found > most {
        faults.at(place, format!("expected {} to {}, found {}", told(least), told(most), told(found)));
    }
    found
}

fn space(field: Field<Size>, default: Bytes, faults: &mut Faults) -> Bytes {
    let Some(At { value: Some(Size(found)), place }) = field else { return default };
    if found.0 == 0 || found > limits::SPACE {
        faults.at(place, format!("expected 1B to {}, found {found}", limits::SPACE));
    }
    found
}

fn memory(field: Field<Size>, faults: &mut Faults) -> Bytes {
    let least = limits::LEAST_MEMORY;
    match field {
        Some(At { value: Some(Size(found)), place }) if found < least => {
            let most = limits::SPACE;
            faults.at(place, format!("expected {least} to {most}, found {found}: no program starts with less memory"));
            found
        }
        field => space(field, Bytes::mib(64), faults),
    }
}

fn limit(found: usize, most: usize, what: &str, place: usize, faults: &mut Faults) {
    if found > most {
        faults.at(place, format!("{found} {what}: at most {most} are allowed"));
    }
}

fn required_name<N>(field: Field<String>, key: &str, place: usize, faults: &mut Faults) -> N
where
    N: FromStr,
    N::Err: Display,
{
    let field = field.unwrap_or_else(|| {
        faults.at(place, format!("`{key}` is missing: expected a name, such as `{key}: web`"));
        At { value: None, place }
    });
    name_of(field, faults)
}

fn name_of<N>(field: At<String>, faults: &mut Faults) -> N
where
    N: FromStr,
    N::Err: Display,
{
    let stand_in = || STAND_IN.parse().ok().expect("one letter is a name");
    match field.value.as_deref().map(str::parse) {
        Some(Ok(name)) => name,
        Some(Err(source)) => {
            faults.at_nearest(field.place, harmless(&source.to_string()), as_name::<N>(field.value.as_deref()));
            stand_in()
        }
        None => stand_in(),
    }
}

/// The name that is left of a text when what cannot be in a name is gone.
fn as_name<N: FromStr>(text: Option<&str>) -> Option<String> {
    let text = text.filter(|t| t.chars().all(|c| c.is_ascii_graphic() || c == ' '))?;
    let text: String = text.chars().take(64).flat_map(char::to_lowercase).collect();
    let name = text.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let name = name.trim_matches('-').to_owned();
    N::from_str(&name).is_ok().then_some(name)
}

fn required_list<T>(field: Field<List<T>>, key: &str, most: usize, place: usize, faults: &mut Faults) -> List<T> {
    let Some(field) = field else {
        faults.at(
            place,
            format!("`{key}` is missing: expected a list of at least one, with items such as `- name: web`"),
        );
        return Vec::new();
    };
    let Some(list) = field.value else { return Vec::new() };
    if list.is_empty() {
        faults.at(field.place, format!("`{key}` is empty: expected at least one, such as `- name: web`"));
    }
    limit(list.len(), most, key, field.place, faults);
    list
}

fn unique(name: &Field<String>, what: &str, names: &mut Names, faults: &mut Faults) {
    if let Some(At { value: Some(name), place }) = name
        && let Some(first) = names.insert(name.clone(), *place)
    {
        let line = other(first, faults);
        faults.at(*place, format!("a second {what} named {}{line}", quoted(name)));
    }
}

/// Where the other one stands, where that is known.
fn other(first: usize, faults: &Faults) -> String {
    match faults.place(first).line {
        0 => String::new(),
        line => format!("; the first is in line {line}"),
    }
}

/// The text of a field if it passes; a fault and nothing if not.
fn checked(field: Field<String>, faults: &mut Faults, check: impl Fn(&str) -> Result<(), String>) -> Option<String> {
    let At { value: Some(text), place } = field? else { return None };
    match no_nul(&text).and_then(|()| check(&text)) {
        Ok(()) => Some(text),
        Err(message) => {
            faults.at(place, message);
            None
        }
    }
}

fn texts(
    field: Field<Table<String>>,
    faults: &mut Faults,
    key: impl Fn(&str) -> Result<(), String>,
) -> BTreeMap<String, String> {
    let place = field.as_ref().map_or(usize::MAX, |f| f.place);
    let entries = value(field, Table(Vec::new())).0;
    limit(entries.len(), limits::ENTRIES, "entries", place, faults);
    let mut map = BTreeMap::new();
    for (k, v) in entries {
        let k = checked(Some(k), faults, &key);
        let v = checked(Some(v), faults, no_nul);
        if let Some((k, v)) = k.zip(v) {
            map.insert(k, v);
        }
    }
    map
}

fn no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("text cannot hold a NUL character (`\\0`): leave it out".to_owned()) } else { Ok(()) }
}

fn word(text: &str) -> Result<(), String> {
    let bytes = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    if bytes && !text.is_empty() && text.len() <= WORD {
        Ok(())
    } else {
        Err(format!("expected 1 to {WORD} of letters, digits, `.`, `_`, `-` and `/`, found {}", quoted(text)))
    }
}

fn meta_key(key: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > WORD || key.chars().any(char::is_control) {
        return Err(format!(
            "expected a key of 1 to {WORD} characters without control characters, found {}",
            quoted(key)
        ));
    }
    Ok(())
}

fn env_key(key: &str) -> Result<(), String> {
    if key.to_ascii_uppercase().starts_with("BERTH_") {
        return Err(format!("{} is reserved: names that begin with `BERTH_` are set by Berth", quoted(key)));
    }
    let first = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if first && key.len() <= WORD && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(())
    } else {
        Err(format!(
            "expected the name of a variable: letters, digits and `_`, not beginning with a digit, found {}",
            quoted(key)
        ))
    }
}

fn absolute(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("expected an absolute path, found {}", quoted(path)));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("expected a path without `..`, found {}", quoted(path)));
    }
    if path.len() > 4095 { Err("a path has at most 4095 bytes".to_owned()) } else { Ok(()) }
}

fn user(text: &str) -> Result<(), String> {
    let half = |h: &str| {
        !h.is_empty() && h.len() <= WORD && h.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let halves: Vec<&str> = text.split(':').collect();
    if halves.len() <= 2 && halves.iter().all(|h| half(h)) {
        Ok(())
    } else {
        Err(format!("expected `name`, `uid`, `name:group` or `uid:gid`, found {}", quoted(text)))
    }
}
