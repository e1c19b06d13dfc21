//! How a domain type becomes a stored one and comes back: a trait, its rules for containers and plain
//! values, and a macro that writes the field-by-field conversions out.
//!
//! The macro takes the domain value apart with a pattern that names every field and every variant, and
//! builds it from a literal that does: whatever is added to the domain breaks the build here.

use std::collections::BTreeMap;

use berth_model as model;

use crate::error::Problem;

/// A stored form of `M`.
pub(crate) trait Stored<M>: Sized {
    /// The stored form of a domain value.
    fn store(value: &M) -> Self;
    /// The domain value; what was stored may be damaged.
    fn load(self) -> Result<M, Problem>;
}

/// Defines stored structs and enums together with their conversions.
///
/// `struct Job = Job { version: u64 }` is the stored form of `model::Job`; each field has the same name as
/// the domain's and a type that is a stored form of the domain's field. Should the domain rename a field,
/// `#[serde(rename = "…")]` keeps the stored name.
macro_rules! stored {
    () => {};
    (
        $(#[$meta:meta])*
        struct $name:ident = $domain:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name { $($(#[$field_meta])* $field: $type),* }

        impl crate::stored::Stored<berth_model::$domain> for $name {
            fn store(value: &berth_model::$domain) -> Self {
                let berth_model::$domain { $($field),* } = value;
                $name { $($field: crate::stored::Stored::store($field)),* }
            }
            fn load(self) -> Result<berth_model::$domain, crate::error::Problem> {
                Ok(berth_model::$domain { $($field: crate::stored::Stored::load(self.$field)?),* })
            }
        }
        stored! { $($rest)* }
    };
    (
        $(#[$meta:meta])*
        enum $name:ident = $domain:ident {
            $(
                $(#[$variant_meta:meta])*
                $variant:ident
                $( { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? } )?
                $( ( $($item:ident: $item_type:ty),* ) )?
            ),* $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "snake_case")]
        pub(crate) enum $name {
            $( $(#[$variant_meta])* $variant
                $( { $($(#[$field_meta])* $field: $type),* } )?
                $( ( $($item_type),* ) )? ),*
        }

        impl crate::stored::Stored<berth_model::$domain> for $name {
            fn store(value: &berth_model::$domain) -> Self {
                match value {
                    $(
                        berth_model::$domain::$variant $( { $($field),* } )? $( ( $($item),* ) )? =>
                            $name::$variant
                                $( { $($field: crate::stored::Stored::store($field)),* } )?
                                $( ( $(crate::stored::Stored::store($item)),* ) )?
                    ),*
                }
            }
            fn load(self) -> Result<berth_model::$domain, crate::error::Problem> {
                Ok(match self {
                    $(
                        $name::$variant $( { $($field),* } )? $( ( $($item),* ) )? =>
                            berth_model::$domain::$variant
                                $( { $($field: crate::stored::Stored::load($field)?),* } )?
                                $( ( $(crate::stored::Stored::load($item)?),* ) )?
                    ),*
                })
            }
        }
        stored! { $($rest)* }
    };
}
pub(crate) use stored;

/// Plain values that are stored as they are.
macro_rules! stored_as_is {
    ($($type:ty),*) => {$(
        impl Stored<$type> for $type {
            fn store(value: &$type) -> Self {
                value.clone()
            }
            fn load(self) -> Result<$type, Problem> {
                Ok(self)
            }
        }
    )*};
}
stored_as_is!(bool, u8, u16, u32, u64, i64, String);

/// Units, which are stored as their number, and texts of one field, which are stored as text.
macro_rules! stored_as_inner {
    ($($domain:ident($type:ty)),* $(,)?) => {$(
        impl Stored<model::$domain> for $type {
            fn store(value: &model::$domain) -> Self {
                let model::$domain(inner) = value;
                inner.clone()
            }
            fn load(self) -> Result<model::$domain, Problem> {
                Ok(model::$domain(self))
            }
        }
    )*};
}
stored_as_inner!(
    Timestamp(u64),
    Millis(u64),
    CpuMillis(u64),
    Bytes(u64),
    Mbits(u64),
    Thousandths(u16),
    Weight(u16),
    Port(u16),
    Priority(u8),
    Incarnation(u32),
    Format(u32),
    JobVersion(u64),
    PolicyVersion(u64),
    AgentKey(String),
    Principal(String),
    IdempotencyKey(String),
);

/// Ids and names, which are stored as their text and checked when read.
macro_rules! stored_as_text {
    ($($domain:ident),* $(,)?) => {$(
        impl Stored<model::$domain> for String {
            fn store(value: &model::$domain) -> Self {
                value.to_string()
            }
            fn load(self) -> Result<model::$domain, Problem> {
                Ok(self.parse()?)
            }
        }
    )*};
}
stored_as_text!(
    AllocId,
    NodeId,
    CommandId,
    DecisionId,
    EventId,
    Namespace,
    JobName,
    GroupName,
    TaskName,
    CheckName,
    PortName,
    NodeName,
    DeviceKind,
    DeviceId,
    DeviceName,
    PolicyName,
    PoolName,
    AuthorityId,
    KeyId,
    TokenId,
);

impl<M, S: Stored<M>> Stored<Option<M>> for Option<S> {
    fn store(value: &Option<M>) -> Self {
        value.as_ref().map(S::store)
    }
    fn load(self) -> Result<Option<M>, Problem> {
        self.map(S::load).transpose()
    }
}

impl<M, S: Stored<M>> Stored<Vec<M>> for Vec<S> {
    fn store(value: &Vec<M>) -> Self {
        value.iter().map(S::store).collect()
    }
    fn load(self) -> Result<Vec<M>, Problem> {
        self.into_iter().map(S::load).collect()
    }
}

impl<A, B, S: Stored<A>, T: Stored<B>> Stored<(A, B)> for (S, T) {
    fn store((a, b): &(A, B)) -> Self {
        (S::store(a), T::store(b))
    }
    fn load(self) -> Result<(A, B), Problem> {
        Ok((self.0.load()?, self.1.load()?))
    }
}

/// A map whose keys are texts.
impl<K: Ord, V, S: Stored<K> + Ord, T: Stored<V>> Stored<BTreeMap<K, V>> for BTreeMap<S, T> {
    fn store(value: &BTreeMap<K, V>) -> Self {
        value.iter().map(|(key, value)| (S::store(key), T::store(value))).collect()
    }
    fn load(self) -> Result<BTreeMap<K, V>, Problem> {
        self.into_iter().map(|(key, value)| Ok((key.load()?, value.load()?))).collect()
    }
}

/// A map whose keys are more than texts: a list of pairs, since JSON has no such maps.
impl<K: Ord, V, S: Stored<K>, T: Stored<V>> Stored<BTreeMap<K, V>> for Vec<(S, T)> {
    fn store(value: &BTreeMap<K, V>) -> Self {
        value.iter().map(|(key, value)| (S::store(key), T::store(value))).collect()
    }
    fn load(self) -> Result<BTreeMap<K, V>, Problem> {
        let mut map = BTreeMap::new();
        for (key, value) in self {
            if map.insert(key.load()?, value.load()?).is_some() {
                return Err(Problem::DoubleEntry);
            }
        }
        Ok(map)
    }
}
