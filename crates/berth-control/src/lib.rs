//! The decision core of the cluster: events in, effects out.
//!
//! Pure: no clock, randomness, hash order, IO or thread. The same events give the same effects, byte for byte.

mod event;

pub use event::*;

use berth_model::{Epoch, Millis, Policy, Snapshot, Timestamp};

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often an agent is asked to report.
    pub heartbeat: Millis,
    /// How long an agent may be silent before its node counts as lost.
    pub heartbeat_grace: Millis,
    /// The placement policy.
    pub policy: Policy,
    /// How long ended jobs and allocations are kept for questions.
    pub keep_ended: Millis,
    /// How many entries of the ledger are kept.
    pub keep_ledger: u64,
    /// How long outcomes of commands are kept.
    pub keep_commands: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            heartbeat: Millis(1000),
            heartbeat_grace: Millis(5000),
            policy: Policy::Spread,
            keep_ended: Millis::from_secs(24 * 3600),
            keep_ledger: 20_000,
            keep_commands: Millis::from_secs(24 * 3600),
        }
    }
}

/// The core.
pub struct Core {}

impl Core {
    /// A new leader's core over what the store holds. Writes its epoch with its first commit.
    pub fn load(
        _settings: Settings,
        _snapshot: Snapshot,
        _epoch: Epoch,
        _now: Timestamp,
        _out: &mut Vec<Effect>,
    ) -> Core {
        Core {}
    }

    /// Takes one event.
    pub fn step(&mut self, _now: Timestamp, _event: Event, _out: &mut Vec<Effect>) {}
}
