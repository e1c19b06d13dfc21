//! Where the allocations of a group go, beside what its constraints demand of a node: how many together, near or apart
//! from others, spread over parts of the cluster.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Constraint, GroupName, JobId, JobName, Namespace};

/// What tells the parts of a cluster within which allocations count as together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// Every node is a part of its own.
    Node,
    /// Nodes with the same value of this attribute are one part; nodes without it are in none.
    Attribute(String),
}

impl Domain {
    /// The attribute of a node's rack.
    pub const RACK: &str = "node.rack";
    /// The attribute of a node's zone.
    pub const ZONE: &str = "node.zone";

    /// The racks.
    pub fn rack() -> Domain {
        Domain::Attribute(Domain::RACK.to_owned())
    }

    /// The zones.
    pub fn zone() -> Domain {
        Domain::Attribute(Domain::ZONE.to_owned())
    }
}

/// As job files write it: `node`, `rack`, `zone`, or an attribute.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Domain::Node => "node",
            Domain::Attribute(key) if key == Domain::RACK => "rack",
            Domain::Attribute(key) if key == Domain::ZONE => "zone",
            Domain::Attribute(key) => key,
        })
    }
}

/// What a preference is worth: 1 to 1000 thousandths of a node's worth, the unit of every cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u16);

impl Weight {
    /// The most that a preference is worth: as much as the difference between an empty and a full node.
    pub const MOST: Weight = Weight(1000);
}

/// At most so many of the group in one part of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AtMost {
    /// How many; at least 1.
    pub count: u32,
    /// In each part of these.
    pub per: Domain,
}

/// Other allocations: those of a job in the same namespace, or of one group of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The job. It need not be there.
    pub job: JobName,
    /// Only this group of it.
    pub group: Option<GroupName>,
}

impl Peer {
    /// Whether an allocation of this job and group, in the same namespace, is one of them.
    pub fn is(&self, job: &JobName, group: &GroupName) -> bool {
        self.job == *job && self.group.as_ref().is_none_or(|wanted| wanted == group)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}.{group}", self.job),
            None => write!(f, "{}", self.job),
        }
    }
}

/// Whether others are sought or shunned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sense {
    /// In the same part as at least one of them. Where none of them is anywhere, the first of a group that seeks itself
    /// goes where it likes.
    Near,
    /// In a part with none of them. Required, it also keeps those away that come later.
    Apart,
}

/// What holds where it cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// The allocation waits.
    Required,
    /// It goes elsewhere; having it is worth this much.
    Preferred(Weight),
}

/// How a group wants to be placed to others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relation {
    /// To whom.
    pub to: Peer,
    /// Near or apart.
    pub sense: Sense,
    /// Within the same part of these.
    pub within: Domain,
    /// Required or preferred.
    pub strength: Strength,
}

impl Relation {
    /// The job that is meant by a group in this namespace.
    pub fn of(&self, namespace: &Namespace) -> JobId {
        JobId { namespace: namespace.clone(), name: self.to.job.clone() }
    }
}

/// Nodes that a group likes better than others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Preference {
    /// Those of which this holds.
    pub constraint: Constraint,
    /// What that is worth.
    pub weight: Weight,
}

/// How a group is shared out over the parts of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spread {
    /// The parts.
    pub over: Domain,
    /// What a part that has all that it should is worse by than an empty one.
    pub weight: Weight,
    /// How many in a hundred each value should have; values that are not named share what is left of the hundred. Empty:
    /// evenly.
    pub targets: BTreeMap<String, u8>,
}

/// Whether the allocations of a group may be placed one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gang {
    /// As many as find a place.
    #[default]
    Free,
    /// All that wait, or none.
    Whole,
}

/// Where the allocations of a group go, beside its constraints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Required.
    pub at_most: Vec<AtMost>,
    /// Required or preferred.
    pub relations: Vec<Relation>,
    /// Preferred.
    pub preferences: Vec<Preference>,
    /// Preferred.
    pub spread: Vec<Spread>,
    /// Whether one is placed without the others.
    pub gang: Gang,
}
