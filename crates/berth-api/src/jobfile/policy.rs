//! Files with a policy: YAML or JSON text to a complete [`PolicySpec`], and back to JSON. Read by the reader of job files,
//! with errors of the same kind.

use berth_model::{BuiltIn, PolicySpec, Term, Weights};
use serde::{Deserialize as De, Serialize as Ser};
use utoipa::ToSchema;

use super::error::{Fault, Faults, JobFileErrors, Place};
use super::schema::{At, Field, Table};
use super::tree::{self, Node, Value, Words};
use super::{build, shaped};

/// How messages tell of the file.
const POLICY: Words = Words { file: "policy file", of: "policy", keys: "`policy` and `weights`" };
/// What stands for the file's name in the errors of a posted policy.
const REQUEST: &str = "policy";

/// A policy: how much each part of what a node costs counts. What the file does not say is as in its `base`.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyFile {
    /// Name of the policy: 1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit.
    #[schema(value_type = String, required = true, example = "quiet-nights", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Field<String>,
    /// The policy with which it begins.
    #[schema(value_type = BuiltInFile, required = false, default = "balanced")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) base: Field<BuiltInFile>,
    /// How much each term counts.
    #[schema(value_type = WeightsFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weights: Field<WeightsFile>,
    /// Pools of nodes (those with the label `pool`) where other weights hold.
    #[schema(value_type = std::collections::BTreeMap<String, PoolFile>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pools: Field<Table<PoolFile>>,
    /// Whether services are moved where the optimiser finds better places for them; else its moves are shown only.
    #[schema(value_type = BalanceFile, required = false, default = "off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) balance: Field<BalanceFile>,
    /// With `balance: on`: how many moves may be under way at once in the whole cluster.
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 1_000, default = 4)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) balance_max: Field<u32>,
}

/// Whether proposed moves are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BalanceFile {
    /// They are made, for services.
    On,
    /// They are shown only.
    Off,
}

/// The weights of a pool. What the file does not say is as in its `base`, or without one as in the rest of the cluster.
#[derive(Clone, Debug, Default, De, Ser, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PoolFile {
    /// The policy with whose weights it begins.
    #[schema(value_type = BuiltInFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) base: Field<BuiltInFile>,
    /// How much each term counts.
    #[schema(value_type = WeightsFile, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weights: Field<WeightsFile>,
}

/// A policy that Berth brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, De, Ser, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BuiltInFile {
    /// Even load, instances of a group apart where that costs less than half a node's fill.
    Balanced,
    /// Full nodes first.
    Pack,
    /// Instances of a group apart, then even load.
    Spread,
    /// Where the devices that are left stay most useful.
    Fragmentation,
}

impl From<BuiltInFile> for BuiltIn {
    fn from(file: BuiltInFile) -> BuiltIn {
        match file {
            BuiltInFile::Balanced => BuiltIn::Balanced,
            BuiltInFile::Pack => BuiltIn::Pack,
            BuiltInFile::Spread => BuiltIn::Spread,
            BuiltInFile::Fragmentation => BuiltIn::Fragmentation,
        }
    }
}

/// Defines the weights with a field for each term.
macro_rules! weights_file {
    ($($(#[doc = $doc:literal])* $field:ident: $term:ident),* $(,)?) => {
        /// How much each term counts: 0 to 1000000000, by which the term's value is multiplied. What counts are proportions.
        #[derive(Clone, Debug, Default, De, Ser, ToSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct WeightsFile {$(
            $(#[doc = $doc])*
            #[schema(value_type = u32, required = false, minimum = 0, maximum = 1_000_000_000)]
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(super) $field: Field<u32>,
        )*}

        impl WeightsFile {
            /// Each term with what the file says of it.
            pub(super) fn fields(self) -> [(Term, Field<u32>); Term::ALL.len()] {
                [$((Term::$term, self.$field)),*]
            }

            fn of(weights: &Weights) -> WeightsFile {
                WeightsFile { $($field: Some(At::new(weights.of(Term::$term)))),* }
            }
        }
    };
}

weights_file! {
    /// How full the node would be in its fullest dimension, in thousandths.
    utilisation: Utilisation,
    /// How much of the node would be free in its fullest dimension, in thousandths.
    emptiness: Emptiness,
    /// How many allocations of the same group the node holds already.
    same_group: SameGroup,
    /// What the node's devices lose of their use for what is expected to be asked for, in millionths of a device.
    fragmentation: Fragmentation,
    /// Whether the group's last allocation failed or was lost there.
    failed_here: FailedHere,
    /// What the group prefers and the node has not, by the job's own weights.
    preference: Preference,
    /// Others that the group likes to be near to and that are not there, by the job's own weights.
    affinity: Affinity,
    /// Others that the group likes to be apart from and that are there, by the job's own weights.
    anti_affinity: AntiAffinity,
    /// How much more than its share this part of the cluster would have of the group, by the job's own weights.
    spread: Spread,
}

/// The policy that a YAML or JSON text means, or everything that is wrong with it.
pub fn parse(file_name: &str, text: &str) -> Result<PolicySpec, JobFileErrors> {
    let mut faults = Faults::default();
    let root = tree::of_yaml(text, POLICY, &mut faults);
    read(root, faults).map_err(|faults| faults.finish(file_name, Some(text)))
}

/// The policy that a JSON text means, with paths instead of lines in its errors.
pub fn parse_json(text: &str) -> Result<PolicySpec, JobFileErrors> {
    let root = tree::of_json_text(text, POLICY);
    read(root, Faults::default()).map_err(|faults| faults.finish(REQUEST, None))
}

/// The policy as JSON, with nothing left to a base; itself a valid policy file.
pub fn to_json(spec: &PolicySpec) -> serde_json::Value {
    let pool = |weights| PoolFile { base: None, weights: Some(At::new(WeightsFile::of(weights))) };
    let pools = spec.pools.iter().map(|(name, weights)| (At::new(name.to_string()), At::new(pool(weights))));
    let file = PolicyFile {
        policy: Some(At::new(spec.name.to_string())),
        base: None,
        weights: Some(At::new(WeightsFile::of(&spec.weights))),
        pools: (!spec.pools.is_empty()).then(|| At::new(Table(pools.collect()))),
        balance: Some(At::new(if spec.balance.is_on() { BalanceFile::On } else { BalanceFile::Off })),
        balance_max: spec.balance.is_on().then(|| At::new(spec.balance.at_most())),
    };
    serde_json::to_value(file).expect("the schema's types have text keys only")
}

fn read(root: Result<std::rc::Rc<Node>, Fault>, faults: Faults) -> Result<PolicySpec, Faults> {
    let root = root.and_then(|root| match &root.value {
        Value::Map(_) => Ok(root),
        Value::List(_) | Value::Scalar { .. } => {
            let place = Place { line: root.line, column: root.column, path: String::new() };
            let message = format!("expected a map, found {}: write the keys {}", root.describe(), POLICY.keys);
            Err(Fault { place: Some(place), message, nearest: None })
        }
    });
    let (file, faults) = shaped::<PolicyFile>(root, faults)?;
    build::policy::spec(file, faults)
}
