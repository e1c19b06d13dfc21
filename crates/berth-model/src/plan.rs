//! Plans: what a change of the cluster would do, found out by carrying it out on a copy of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::{
    AllocId, Command, DeviceGrants, Epoch, EventId, GroupName, JobId, JobVersion, NodeId, ParseError, Placement, Port,
    PortName, Resources, WaitReason,
};

/// What a plan does, as a number: two plans that would do the same have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId(pub u128);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{:032x}", self.0)
    }
}

impl FromStr for PlanId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<PlanId, ParseError> {
        let digits = text
            .strip_prefix('p')
            .filter(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        let number = digits.and_then(|rest| u128::from_str_radix(rest, 16).ok());
        number.map(PlanId).ok_or_else(|| ParseError::Id {
            text: text.chars().take(80).collect(),
            what: "a plan id",
            form: "p00112233445566778899aabbccddeeff",
        })
    }
}

/// A change that is thought of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanRequest {
    /// A command.
    Command(Command),
    /// These nodes fall silent, all at once.
    Lose(BTreeSet<NodeId>),
}

/// What would come of a change, from now until the cluster is at rest again, if every node does what it is told and no
/// task fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it does, as a number.
    pub id: PlanId,
    /// The state that it was made on.
    pub basis: Basis,
    /// What is started, replaced, moved and stopped, in order of waves.
    pub changes: Vec<PlannedChange>,
    /// The allocations that would be left waiting, and were not before.
    pub waits: Vec<PlannedWait>,
    /// Groups of which more instances would be missing at once than their update policy allows.
    pub broken_budgets: Vec<BrokenBudget>,
    /// What is promised of the nodes that take work before the change.
    pub before: Utilisation,
    /// And when all is done, of the nodes that take work then.
    pub after: Utilisation,
    /// Regret now, in thousandths of the proven bound. None: not asked for, or no bound was found.
    pub regret_before: Option<i64>,
    /// And when all is done.
    pub regret_after: Option<i64>,
    /// How far the plan looks.
    pub end: PlanEnd,
}

/// The state that a plan was made on, commits under way included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    /// Whose reign.
    pub epoch: Epoch,
    /// The last entry of the ledger that was decided on.
    pub event: EventId,
}

/// Something that would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// When: 1 follows at once, each further wave from what the one before leads to.
    pub wave: u32,
    /// Of which job.
    pub job: JobId,
    /// Of which group.
    pub group: GroupName,
    /// Which of the group's `count`.
    pub index: u32,
    /// The version that would run, or that is stopped.
    pub version: JobVersion,
    /// What.
    pub what: Planned,
    /// Those of lower priority that are stopped to make room for it.
    pub preempts: Vec<AllocId>,
}

/// What would happen to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    /// It starts in a place that is empty.
    Start(Target),
    /// It takes the place of one of another version.
    Replace(Source, Target),
    /// It takes the place of one of the same version, whose node is drained or lost.
    Move(Source, Target),
    /// It is stopped, or lost, and nothing takes its place.
    Stop(Source),
}

/// Where an instance goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The node.
    pub node: NodeId,
    /// Every port of the group with its number.
    pub ports: BTreeMap<PortName, Port>,
    /// Every wish of the group for devices with what it is given.
    pub devices: DeviceGrants,
}

impl Target {
    /// Where a placement puts an instance.
    pub fn of(placement: &Placement) -> Target {
        let Placement { node, ports, devices, .. } = placement;
        Target { node: *node, ports: ports.clone(), devices: devices.clone() }
    }
}

/// What an instance takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Which.
    pub alloc: AllocId,
    /// Where it is.
    pub node: NodeId,
    /// Whether it is stopped, or lost, before what takes its place is placed; else when that is ready.
    pub stops_first: bool,
}

/// An instance that would be left waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedWait {
    /// Of which job.
    pub job: JobId,
    /// Of which group.
    pub group: GroupName,
    /// Which of the group's `count`.
    pub index: u32,
    /// The one node it is for, as with system jobs.
    pub bound_to: Option<NodeId>,
    /// The version that would run.
    pub version: JobVersion,
    /// What it takes the place of.
    pub replaces: Option<Source>,
    /// Those of lower priority that are stopped to make room for it, and in vain.
    pub preempts: Vec<AllocId>,
    /// Why.
    pub reason: WaitReason,
}

/// A group of which more instances would be missing than it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenBudget {
    /// Of which job.
    pub job: JobId,
    /// Which group.
    pub group: GroupName,
    /// The most that were ready and would be missing at once.
    pub missing: u32,
    /// How many may be: `update.max_parallel`.
    pub allowed: u32,
}

/// What is promised to allocations, of the nodes that take work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utilisation {
    /// How many nodes.
    pub nodes: u32,
    /// What is promised of them.
    pub used: Resources,
    /// What they have.
    pub capacity: Resources,
}

/// How far a plan looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanEnd {
    /// Until the cluster is at rest.
    AtRest,
    /// It goes on like this; plans end here.
    CutShort,
}
