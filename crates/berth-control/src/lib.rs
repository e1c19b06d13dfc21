//! The decision core of the cluster: events in, effects out.
//!
//! Pure: no clock, randomness, hash order, IO or thread. The same events give the same effects, byte for byte.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

mod collect;
mod commands;
mod core;
mod digest;
mod event;
mod index;
mod journal;
mod lifecycle;
mod nodes;
mod pipeline;
#[cfg(feature = "planted-bugs")]
mod planted;
mod preempt;
mod reconcile;
mod replace;
mod reports;
mod schedule;
mod size;
mod state;
mod timers;
mod verify;
mod view;
mod why;

pub use crate::core::Core;
pub use event::*;
#[cfg(feature = "planted-bugs")]
pub use planted::Bug;
pub use view::Summary;

use berth_model::{Millis, Policy};

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often an agent is asked to report.
    pub heartbeat: Millis,
    /// How long an agent may be silent before its node counts as lost.
    pub heartbeat_grace: Millis,
    /// The placement policy.
    pub policy: Policy,
    /// How many allocations may be on their way out for others of higher priority at once; 0 for none ever.
    pub preempt_max: u32,
    /// How long ended jobs and allocations are kept for questions.
    pub keep_ended: Millis,
    /// How many ended allocations, and how many ended jobs, are kept for questions within that time. What a wanted job
    /// or a node that may come back still depends on is kept beside them.
    pub keep_ended_max: u64,
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
            preempt_max: 10,
            keep_ended: Millis::from_secs(24 * 3600),
            keep_ended_max: 10_000,
            keep_ledger: 20_000,
            keep_commands: Millis::from_secs(24 * 3600),
        }
    }
}
