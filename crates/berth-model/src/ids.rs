//! Ids and names. An id is a pair of incarnation and counter; a name is text with a bounded alphabet.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

/// Counts the lives of a cluster's store: restoring a backup raises it, so that an id which a task
/// of the abandoned life still holds is never issued again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

/// The position of a commit in the store; grows by one with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// The reign of one leader. A commit or an order of a lower epoch is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// The life of the store in which the leader was elected.
    pub incarnation: Incarnation,
    /// The number of the reign within that life.
    pub counter: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation.0, self.counter)
    }
}

/// Why a text is not an id or a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not of the form of this kind of id.
    #[error("`{text}` is not {what}: expected the form {form}")]
    Id {
        /// What was given.
        text: String,
        /// What it should have been.
        what: &'static str,
        /// An example of the right form.
        form: &'static str,
    },
    /// A device's id with a character or length that these do not have.
    #[error("`{text}` is not a device's id: expected 1 to 128 of letters, digits, `.`, `_`, `:`, `/` and `-`")]
    Device {
        /// What was given.
        text: String,
    },
    /// A name with a character, start, end or length that names do not have.
    #[error(
        "`{text}` is not {what}: expected 1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit"
    )]
    Name {
        /// What was given.
        text: String,
        /// What it should have been.
        what: &'static str,
    },
}

macro_rules! counted_id {
    ($(#[$doc:meta])* $name:ident, $letter:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The life of the store that issued it.
            pub incarnation: Incarnation,
            /// Its number within that life, from 1.
            pub counter: u64,
        }

        impl $name {
            /// The id with this incarnation and counter.
            pub const fn new(incarnation: Incarnation, counter: u64) -> Self {
                Self { incarnation, counter }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}-{}"), self.incarnation.0, self.counter)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                let parsed = text.strip_prefix($letter).and_then(|rest| {
                    let (incarnation, counter) = rest.split_once('-')?;
                    Some(Self::new(Incarnation(decimal(incarnation)?.try_into().ok()?), decimal(counter)?))
                });
                parsed.ok_or_else(|| ParseError::Id {
                    text: text.to_owned(),
                    what: $what,
                    form: concat!($letter, "1-23"),
                })
            }
        }
    };
}

/// A number as `Display` writes it: digits only, no sign and no leading zero, so that an id has one text.
fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

counted_id!(
    /// Names an allocation, for ever.
    AllocId, "a", "an allocation id"
);
counted_id!(
    /// Names a node. Issued when an agent registers for the first time.
    NodeId, "n", "a node id"
);
counted_id!(
    /// Names an accepted command.
    CommandId, "c", "a command id"
);
counted_id!(
    /// Names a recorded run of the decision core.
    DecisionId, "d", "a decision id"
);
counted_id!(
    /// Names an entry of the ledger. Entries of one life are in order of time.
    EventId, "e", "an event id"
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                if is_name(text) {
                    Ok(Self(SmolStr::new(text)))
                } else {
                    Err(ParseError::Name { text: text.chars().take(80).collect(), what: $what })
                }
            }
        }
    };
}

/// A DNS label: what every name has to be, so that it can later be part of a service's address.
fn is_name(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || *b == b'-')
}

name!(
    /// A tenant; jobs of different namespaces do not see each other.
    Namespace, "a namespace"
);
name!(
    /// The name of a job within its namespace.
    JobName, "a job name"
);
name!(
    /// The name of a group within its job.
    GroupName, "a group name"
);
name!(
    /// The name of a task within its group.
    TaskName, "a task name"
);
name!(
    /// The name of a port within its group. `BERTH_PORT_<NAME>` tells its number to the tasks.
    PortName, "a port name"
);
name!(
    /// The name of a check within its task.
    CheckName, "a check's name"
);
name!(
    /// The name that an operator gave to a node.
    NodeName, "a node name"
);

name!(
    /// A kind of device: `gpu`, `fpga`.
    DeviceKind, "a kind of device"
);
name!(
    /// The name of a wish for devices within its group. `BERTH_DEVICE_<NAME>` tells the task what it was given.
    DeviceName, "a device name"
);

name!(
    /// The name of a placement policy.
    PolicyName, "a policy's name"
);
name!(
    /// A pool of nodes: those that have it as their label `pool`.
    PoolName, "a pool's name"
);

impl Default for Namespace {
    /// The namespace of whoever names none.
    fn default() -> Self {
        Self(SmolStr::new_static("default"))
    }
}

/// A device within its node, as the operator names it: a serial number, a slot, an address on a bus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(SmolStr);

impl DeviceId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeviceId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let known = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b));
        if known && (1..=128).contains(&text.len()) {
            Ok(Self(SmolStr::new(text)))
        } else {
            Err(ParseError::Device { text: text.chars().take(80).collect() })
        }
    }
}

/// A job, cluster-wide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// The tenant.
    pub namespace: Namespace,
    /// The name within it.
    pub name: JobName,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The version of a job's specification; 1 for the first, one more with each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobVersion(pub u64);

impl fmt::Display for JobVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What an agent calls itself for life: made once from the system's randomness and kept in its data
/// folder. It ties a registration to a machine's data, where a name could be given twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentKey(pub String);
