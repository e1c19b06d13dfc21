//! Bugs on purpose: what the simulator has to find, to show that it would find the like. Never part of a real
//! build.

use crate::ProfileName;

/// A planted bug: in the simulated world itself, or in one of the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The store calls durable what it loses when its server dies.
    StoreDoesNotSync,
    /// The store carries out commits of whoever sends them.
    StoreIgnoresGuards,
    /// The store carries out what writes nothing without looking at its guards.
    ProofsUnguarded,
    /// A shim does not end what it keeps when its lease has ended.
    ShimIgnoresLease,
    /// An agent's ledger loses a write now and then.
    LedgerLosesWrites,
    /// One of the control core.
    Control(berth_control::Bug),
    /// One of the node core.
    Node(berth_node::Bug),
}

impl Bug {
    /// All of them.
    pub const ALL: &'static [Bug] = &[
        Bug::StoreDoesNotSync,
        Bug::StoreIgnoresGuards,
        Bug::LedgerLosesWrites,
        Bug::ProofsUnguarded,
        Bug::ShimIgnoresLease,
        Bug::Control(berth_control::Bug::LeaseNotWaitedFor),
        Bug::Control(berth_control::Bug::CapacityOffByOne),
        Bug::Control(berth_control::Bug::LossForgetsAllocs),
        Bug::Control(berth_control::Bug::KeyNotStored),
        Bug::Control(berth_control::Bug::UpdateKeepsOld),
        Bug::Control(berth_control::Bug::BudgetIgnored),
        Bug::Control(berth_control::Bug::OrdersBeforeDurable),
        Bug::Node(berth_node::Bug::KeepsUnlisted),
        Bug::Node(berth_node::Bug::RestartsNotCounted),
        Bug::Node(berth_node::Bug::ObeysOldEpochs),
    ];

    /// Where it does harm.
    pub fn profile(self) -> ProfileName {
        match self {
            Bug::ProofsUnguarded
            | Bug::ShimIgnoresLease
            | Bug::Control(berth_control::Bug::LeaseNotWaitedFor)
            | Bug::Node(berth_node::Bug::ObeysOldEpochs) => ProfileName::Partitions,
            Bug::Control(_)
            | Bug::Node(_)
            | Bug::StoreDoesNotSync
            | Bug::StoreIgnoresGuards
            | Bug::LedgerLosesWrites => ProfileName::Faults,
        }
    }

    /// The part of it that is planted in a control core.
    pub(crate) fn in_control(self) -> Option<berth_control::Bug> {
        match self {
            Bug::Control(bug) => Some(bug),
            Bug::Node(_)
            | Bug::StoreDoesNotSync
            | Bug::StoreIgnoresGuards
            | Bug::LedgerLosesWrites
            | Bug::ProofsUnguarded
            | Bug::ShimIgnoresLease => None,
        }
    }

    /// The part of it that is planted in a node core.
    pub(crate) fn in_node(self) -> Option<berth_node::Bug> {
        match self {
            Bug::Node(bug) => Some(bug),
            Bug::Control(_)
            | Bug::StoreDoesNotSync
            | Bug::StoreIgnoresGuards
            | Bug::LedgerLosesWrites
            | Bug::ProofsUnguarded
            | Bug::ShimIgnoresLease => None,
        }
    }
}
