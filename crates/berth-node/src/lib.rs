//! The decision core of one agent: desired against observed, restarts, order of start and stop.
//!
//! Pure: no clock, randomness, hash order, IO or thread. The same events give the same effects, byte for byte.

mod event;

pub use event::*;

use berth_model::{Found, Timestamp};

/// The core.
pub struct Core {}

impl Core {
    /// A core over what the agent's ledger and the shims found on this machine say.
    pub fn load(_found: Vec<Found>, _now: Timestamp, _out: &mut Vec<Effect>) -> Core {
        Core {}
    }

    /// Takes one event.
    pub fn step(&mut self, _now: Timestamp, _event: Event, _out: &mut Vec<Effect>) {}
}
