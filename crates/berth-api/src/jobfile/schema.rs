//! The schema of a job file: one set of types from which the reader, the writer, the JSON Schema and
//! the OpenAPI document come. What the values must satisfy beyond their shape is in `build`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize as De, Serialize as Ser};
use utoipa::ToSchema;

use super::values::{Bandwidth, Cpu, Duration, PortNumber, Share, Size, Text};

/// The name by which a reader knows that a value's place is wanted.
pub(super) const AT: &str = "__berth_at";

/// A value with the number of its place; without a value where the reader has already noted what is wrong.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub(super) value: Option<T>,
    pub(super) place: usize,
}

impl<T> At<T> {
    pub(super) fn new(value: T) -> At<T> {
        At { value: Some(value), place: usize::MAX }
    }
}

impl<T: Ser> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de, T: De<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtVisitor<T>(PhantomData<T>);
        impl<'de, T: De<'de>> Visitor<'de> for AtVisitor<T> {
            type Value = At<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<At<T>, A::Error> {
                let value = seq.next_element()?;
                let place: Option<u64> = seq.next_element()?;
                Ok(At { value, place: place.and_then(|p| usize::try_from(p).ok()).unwrap_or(usize::MAX) })
            }
        }
        deserializer.deserialize_newtype_struct(AT, AtVisitor(PhantomData))
    }
}

/// A map in the order of its text, with the places of its keys.
#[derive(Clone, Debug)]
pub struct Table<V>(pub(super) Vec<(At<String>, At<V>)>);

impl<V: Ser> Serialize for Table<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k.value.as_deref().unwrap_or(""), v)))
    }
}

impl<'de, V: De<'de>> Deserialize<'de> for Table<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<V>(PhantomData<V>);
        impl<'de, V: De<'de>> Visitor<'de> for TableVisitor<V> {
            type Value = Table<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Table(entries))
            }
        }
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

/// A field that may be absent.
pub(super) type Field<T> = Option<At<T>>;
/// A list whose items know their places.
pub(super) type List<T> = Vec<At<T>>;

/// A job: a named specification of groups of tasks that Berth keeps running, or runs to their end.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = JobFile)]
pub struct JobFile {
    /// Name of the job: 1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit.
    #[schema(value_type = String, required = true, example = "web", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) job: Field<String>,
    /// The tenant.
    #[schema(value_type = String, required = false, default = "default", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Field<String>,
    /// What running the job means.
    #[schema(value_type = KindFile, required = false, default = "service")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Field<KindFile>,
    /// Who is placed first: the higher.
    #[schema(value_type = u8, required = false, default = 50, minimum = 0, maximum = 100)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) priority: Field<u32>,
    /// Whether allocations of higher priority that fit nowhere may make those of this job go.
    #[schema(value_type = bool, required = false, default = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preemptible: Field<bool>,
    /// Demands on a node's attributes; hold for every group.
    #[schema(value_type = Vec<ConstraintFile>, required = false, max_items = 64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) constraints: Field<List<ConstraintFile>>,
    /// Groups of tasks. Names are unique.
    #[schema(value_type = Vec<GroupFile>, required = true, min_items = 1, max_items = 64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) groups: Field<List<GroupFile>>,
    /// Free text for people and programs; not interpreted.
    #[schema(value_type = BTreeMap<String, Text>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta: Field<Table<String>>,
}

/// What running the job means: `service` runs until stopped, `batch` until every task has ended with
/// status 0, `system` once on every node that its constraints admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindFile {
    /// Runs until stopped.
    Service,
    /// Runs to its end.
    Batch,
    /// Runs on every node.
    System,
}

/// A demand on a node's attribute. A node without the attribute satisfies only `!=`, `not_in` and `not_exists`.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConstraintFile {
    /// The attribute's key.
    #[schema(value_type = String, required = true, example = "kernel.name")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attribute: Field<String>,
    /// What must hold.
    #[schema(value_type = OperatorFile, required = false, default = "=")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operator: Field<OperatorFile>,
    /// What to compare with; for every operator but `in`, `not_in`, `exists` and `not_exists`.
    #[schema(value_type = Text, required = false, example = "linux")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Field<String>,
    /// What to compare with; for `in` and `not_in`.
    #[schema(value_type = Vec<Text>, required = false, min_items = 1, max_items = 256)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) values: Field<List<String>>,
}

/// What must hold of an attribute. The ordered ones compare integers, or dotted version numbers part
/// by part; `glob` knows `*` (any run of characters) and `?` (any one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
pub enum OperatorFile {
    /// Equal.
    #[serde(rename = "=")]
    Is,
    /// Not equal, or absent.
    #[serde(rename = "!=")]
    IsNot,
    /// One of.
    #[serde(rename = "in")]
    In,
    /// None of, or absent.
    #[serde(rename = "not_in")]
    NotIn,
    /// The node has it.
    #[serde(rename = "exists")]
    Set,
    /// The node does not have it.
    #[serde(rename = "not_exists")]
    Unset,
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// Matches the pattern.
    #[serde(rename = "glob")]
    Glob,
}

/// Tasks that always run together on one node.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupFile {
    /// Unique within the job; the same form as a job's name.
    #[schema(value_type = String, required = true, example = "web", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Field<String>,
    /// How many allocations. A system job has one per node: leave it out, or write 1.
    #[schema(value_type = u32, required = false, default = 1, minimum = 0, maximum = 100_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Field<u32>,
    /// Demands on a node's attributes, beside the job's own.
    #[schema(value_type = Vec<ConstraintFile>, required = false, max_items = 64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) constraints: Field<List<ConstraintFile>>,
    /// Whether every allocation has a node of its own: the same as `at_most: [{count: 1, per: node}]`.
    #[schema(value_type = bool, required = false, default = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) distinct_hosts: Field<bool>,
    /// How many there may be in one part of the cluster.
    #[schema(value_type = Vec<AtMostFile>, required = false, max_items = 16)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_most: Field<List<AtMostFile>>,
    /// Jobs whose allocations it wants near.
    #[schema(value_type = Vec<AffinityFile>, required = false, max_items = 16)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) affinity: Field<List<AffinityFile>>,
    /// Jobs whose allocations it does not want near.
    #[schema(value_type = Vec<AffinityFile>, required = false, max_items = 16)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) anti_affinity: Field<List<AffinityFile>>,
    /// Nodes that it likes better than others.
    #[schema(value_type = Vec<PreferenceFile>, required = false, max_items = 16)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefer: Field<List<PreferenceFile>>,
    /// How it is shared out over the cluster.
    #[schema(value_type = Vec<SpreadFile>, required = false, max_items = 16)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spread: Field<List<SpreadFile>>,
    /// Whether all that wait for a place are placed together, or none.
    #[schema(value_type = bool, required = false, default = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gang: Field<bool>,
    /// How the tasks see the network.
    #[schema(value_type = NetworkFile, required = false, default = "host")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network: Field<NetworkFile>,
    /// What the agent does about a task that ends by itself.
    #[schema(value_type = RestartFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restart: Field<RestartFile>,
    /// How a new version takes the place of an old one.
    #[schema(value_type = UpdateFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) update: Field<UpdateFile>,
    /// What becomes of its allocations on a node that is lost.
    #[schema(value_type = OnPartitionFile, required = false, default = "replace")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on_partition: Field<OnPartitionFile>,
    /// With `on_partition: replace` only: how long after the loss of the node they are replaced.
    #[schema(value_type = Duration, required = false, default = "0s")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replace_after: Field<Duration>,
    /// With `on_partition: fence` only: how long one may run on after its agent has last been answered. At least three
    /// heartbeats.
    #[schema(value_type = Duration, required = false, default = "30s")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lease: Field<Duration>,
    /// The tasks. Names are unique.
    #[schema(value_type = Vec<TaskFile>, required = true, min_items = 1, max_items = 32)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tasks: Field<List<TaskFile>>,
    /// Free text.
    #[schema(value_type = BTreeMap<String, Text>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta: Field<Table<String>>,
}

/// How tasks see the network: `host` is the node's own, `none` has a loopback device and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkFile {
    /// The node's own network.
    Host,
    /// Loopback only.
    None,
}

/// What becomes of allocations on a lost node: with `replace` they are replaced, with `keep` not before an operator says
/// so, and with `fence` they end by themselves before they are replaced, so that no two run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnPartitionFile {
    /// They run on and are not replaced.
    Keep,
    /// They are replaced.
    Replace,
    /// They end with their lease, and are replaced after that.
    Fence,
}

/// What the agent does about a task that ends by itself.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RestartFile {
    /// Restarts on the same node within `interval` before the allocation counts as failed.
    #[schema(value_type = u32, required = false, default = 3, minimum = 0, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempts: Field<u32>,
    /// The window in which attempts are counted.
    #[schema(value_type = Duration, required = false, default = "5m")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interval: Field<Duration>,
    /// The wait before the first restart; doubles with each further one in the window.
    #[schema(value_type = Duration, required = false, default = "1s")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delay: Field<Duration>,
    /// What the doubling stops at.
    #[schema(value_type = Duration, required = false, default = "1m")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_delay: Field<Duration>,
}

/// At most `count` of the group in each part of the cluster.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AtMostFile {
    /// How many of the group.
    #[schema(value_type = u32, required = true, minimum = 1, maximum = 100_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Field<u32>,
    /// `node`, `rack`, `zone`, or an attribute whose values tell the parts.
    #[schema(value_type = String, required = true, example = "rack")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per: Field<String>,
}

/// How the group wants to be placed to the allocations of a job of the same namespace.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AffinityFile {
    /// The job's name; the group's own job is one too.
    #[schema(value_type = String, required = true, example = "cache", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) job: Field<String>,
    /// Only this group of it.
    #[schema(value_type = String, required = false, pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Field<String>,
    /// What counts as the same place: `node`, `rack`, `zone`, or an attribute.
    #[schema(value_type = String, required = false, default = "node")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) within: Field<String>,
    /// What having it is worth, in thousandths of a node. Without a weight it is required.
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Field<u32>,
}

/// A constraint that is liked and not demanded.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreferenceFile {
    /// The attribute's key.
    #[schema(value_type = String, required = true, example = "label.disk")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attribute: Field<String>,
    /// What is liked of it.
    #[schema(value_type = OperatorFile, required = false, default = "=")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operator: Field<OperatorFile>,
    /// What to compare with, as in a constraint.
    #[schema(value_type = Text, required = false, example = "ssd")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Field<String>,
    /// What to compare with, as in a constraint.
    #[schema(value_type = Vec<Text>, required = false, min_items = 1, max_items = 256)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) values: Field<List<String>>,
    /// What it is worth, in thousandths of a node.
    #[schema(value_type = u32, required = false, default = 500, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Field<u32>,
}

/// How the group is shared out over the parts of the cluster.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpreadFile {
    /// `node`, `rack`, `zone`, or an attribute whose values tell the parts.
    #[schema(value_type = String, required = true, example = "zone")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) over: Field<String>,
    /// What it is worth, in thousandths of a node.
    #[schema(value_type = u32, required = false, default = 500, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Field<u32>,
    /// How many in a hundred each value should have; the values that are not named share the rest. Default: evenly.
    #[schema(value_type = BTreeMap<String, u8>, required = false, example = json!({"a": 60, "b": 40}))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) targets: Field<Table<u32>>,
}

/// How a new version takes the place of an old one.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateFile {
    /// How many allocations may be in the course of being replaced at once.
    #[schema(value_type = u32, required = false, default = 1, minimum = 1, maximum = 100_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_parallel: Field<u32>,
    /// Where no check tells: an allocation is ready when all its tasks have run for this long without a restart.
    #[schema(value_type = Duration, required = false, default = "10s")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_ready: Field<Duration>,
}

/// One process tree.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskFile {
    /// Unique within the group; the same form as a job's name.
    #[schema(value_type = String, required = true, example = "nginx", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Field<String>,
    /// What runs the task. Where it is left out: `container` with an `image`, otherwise `exec`.
    #[schema(value_type = DriverFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) driver: Field<DriverFile>,
    /// Container only, and required there: `host/name:tag`, `host/name@sha256:…`, `oci:FOLDER[:TAG]` or
    /// `oci-archive:FILE[:TAG]`.
    #[schema(value_type = String, required = false, example = "registry.example.org/web/nginx:1.27")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Field<String>,
    /// Container only: the name of a credential in the agent's configuration. A secret never stands in a job.
    #[schema(value_type = String, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credential: Field<String>,
    /// Container only: whether the root file system is read-only.
    #[schema(value_type = bool, required = false, default = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) read_only_root: Field<bool>,
    /// Container only: folders in memory, absolute path to size.
    #[schema(value_type = BTreeMap<String, Size>, required = false, example = json!({"/tmp": "64MiB"}))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tmpfs: Field<Table<Size>>,
    /// Container only: capabilities beyond the small default set, without `CAP_`.
    #[schema(value_type = Vec<String>, required = false, example = json!(["NET_BIND_SERVICE"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cap_add: Field<List<String>>,
    /// The program and its arguments. Required for `exec`; for a container the default is what the image says.
    #[schema(value_type = Vec<Text>, required = false, example = json!(["/bin/echo", "hello"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Field<List<String>>,
    /// Environment, beside what Berth sets itself (`BERTH_…`).
    #[schema(value_type = BTreeMap<String, Text>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) env: Field<Table<String>>,
    /// Where the program starts: absolute. Default: the image's, or the work folder.
    #[schema(value_type = String, required = false, example = "/srv")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) working_dir: Field<String>,
    /// `name`, `uid`, `name:group` or `uid:gid`. Default: the image's, or `nobody`.
    #[schema(value_type = Text, required = false, example = "1000:1000")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Field<String>,
    /// Limits, and what placement counts.
    #[schema(value_type = ResourcesFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resources: Field<ResourcesFile>,
    /// Process limit of the task.
    #[schema(value_type = u32, required = false, default = 1024, minimum = 1, maximum = 4_194_304)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pids_limit: Field<u32>,
    /// What the task is asked while it runs, and what follows from the answers.
    #[schema(value_type = Vec<CheckFile>, required = false, max_items = 8)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checks: Field<List<CheckFile>>,
    /// How the task is asked to end.
    #[schema(value_type = KillFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kill: Field<KillFile>,
    /// Free text.
    #[schema(value_type = BTreeMap<String, Text>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta: Field<Table<String>>,
}

/// What runs a task: `container` an OCI image, `exec` a program of the host with the host's files read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriverFile {
    /// A container from an OCI image.
    Container,
    /// A program of the host.
    Exec,
}

/// What a task may use.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResourcesFile {
    /// Processor time, in cores or thousandths of a core.
    #[schema(value_type = Cpu, required = false, default = "100m")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Field<Cpu>,
    /// Memory.
    #[schema(value_type = Size, required = false, default = "64MiB")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Field<Size>,
    /// What the task may keep on the node's disk; it fails when it is found to hold more.
    #[schema(value_type = Size, required = false, default = "128MiB")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disk: Field<Size>,
    /// Network bandwidth that the task needs. Placement counts it; nothing enforces it.
    #[schema(value_type = Bandwidth, required = false, default = "0Mbit")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network: Field<Bandwidth>,
    /// Devices that the task uses, and no other task of the group.
    #[schema(value_type = Vec<DeviceFile>, required = false, max_items = 16)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) devices: Field<List<DeviceFile>>,
    /// Ports that the task listens on: name to `dynamic` or a number. Names and numbers are unique in the
    /// group; every task of the group finds the number in `BERTH_PORT_<NAME>`.
    #[schema(value_type = BTreeMap<String, PortNumber>, required = false, example = json!({"http": "dynamic", "admin": 8080}))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ports: Field<Table<PortNumber>>,
}

/// A wish for devices of one kind: `count` whole ones, or a `share` of one.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceFile {
    /// Unique within the group; the task finds the ids of what it was given in `BERTH_DEVICE_<NAME>`. Default: the kind.
    #[schema(value_type = String, required = false, pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Field<String>,
    /// What kind of device, as agents are told it.
    #[schema(value_type = String, required = true, example = "gpu", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Field<String>,
    /// So many whole ones, each for this task alone.
    #[schema(value_type = u32, required = false, default = 1, minimum = 1, maximum = 256)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Field<u32>,
    /// A part of a single one, which others may share.
    #[schema(value_type = Share, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share: Field<Share>,
    /// Demands on the attributes of every device that is given.
    #[schema(value_type = Vec<ConstraintFile>, required = false, max_items = 64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) constraints: Field<List<ConstraintFile>>,
}

/// A question that is asked of a running task again and again: exactly one of `http`, `tcp`, `exec` and `file`.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckFile {
    /// Unique within the task. Default: the kind.
    #[schema(value_type = String, required = false, pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Field<String>,
    /// What follows from the answers.
    #[schema(value_type = CheckKindFile, required = false, default = "readiness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Field<CheckKindFile>,
    /// A `GET` that is answered with a status from 200 to 399; redirects are not followed.
    #[schema(value_type = HttpCheckFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http: Field<HttpCheckFile>,
    /// A connection that is accepted.
    #[schema(value_type = TcpCheckFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tcp: Field<TcpCheckFile>,
    /// A program that ends with status 0, beside the task and with its environment: the program and its arguments.
    #[schema(value_type = Vec<Text>, required = false, example = json!(["/bin/check", "--fast"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exec: Field<List<String>>,
    /// A file that is there, as the task sees it: an absolute path.
    #[schema(value_type = String, required = false, example = "/run/ready")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Field<String>,
    /// From one question to the next.
    #[schema(value_type = Duration, required = false, default = "2s")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interval: Field<Duration>,
    /// What has not been answered by then has failed.
    #[schema(value_type = Duration, required = false, default = "1s")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Field<Duration>,
    /// So many good answers in a row make the check pass.
    #[schema(value_type = u32, required = false, default = 1, minimum = 1, maximum = 10_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) successes: Field<u32>,
    /// So many failures in a row make the check fail. Default: 3; for `startup` 30.
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 10_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failures: Field<u32>,
}

/// What follows from the answers to a check: until a `startup` check has passed nothing else is asked, and the task is
/// restarted if it fails; the allocation is ready only while its `readiness` checks pass; a task whose `liveness` check fails
/// is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckKindFile {
    /// Asked until it passes, before all others.
    Startup,
    /// Tells whether the allocation is ready.
    Readiness,
    /// Tells whether the task has to be restarted.
    Liveness,
}

/// A question by HTTP/1.1.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpCheckFile {
    /// The name of a port of the group.
    #[schema(value_type = String, required = true, example = "http")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Field<String>,
    /// The path, with a query if need be.
    #[schema(value_type = String, required = false, default = "/", example = "/healthz")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Field<String>,
    /// Without TLS or with. Whose certificate it is is not verified: the instance is asked by its address.
    #[schema(value_type = SchemeFile, required = false, default = "http")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scheme: Field<SchemeFile>,
    /// With `https` alone: the name that is asked for (SNI).
    #[schema(value_type = String, required = false, example = "web.example.org")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_name: Field<String>,
    /// Headers; `Host` and `User-Agent` take the place of the usual ones.
    #[schema(value_type = BTreeMap<String, Text>, required = false, example = json!({"Host": "web.example.org"}))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) headers: Field<Table<String>>,
}

/// How a question by HTTP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SchemeFile {
    /// As it is.
    Http,
    /// With TLS.
    Https,
}

/// A question by TCP.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TcpCheckFile {
    /// The name of a port of the group.
    #[schema(value_type = String, required = true, example = "redis")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Field<String>,
}

/// How a task is asked to end.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KillFile {
    /// A signal's name or number. Without one: the one that the image names, or `SIGTERM`.
    #[schema(value_type = Text, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signal: Field<String>,
    /// After this long, `SIGKILL` follows.
    #[schema(value_type = Duration, required = false, default = "10s")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Field<Duration>,
}
