//! What simulated servers decided, for whoever wants to write it down.

use std::sync::mpsc::Sender;

use berth_control::{Beginning, Effect, Event};
use berth_model::Timestamp;

/// A decision of one server's core: what it was given, and what it wanted done.
#[derive(Debug)]
pub enum Decision {
    /// A server has taken the lead.
    Begun {
        /// Which; no two of a simulation have the same number.
        server: u32,
        /// What its core began with.
        beginning: Box<Beginning>,
        /// What it wanted done at once.
        effects: Vec<Effect>,
    },
    /// An event.
    Step {
        /// Whose.
        server: u32,
        /// The time that was given with it.
        now: Timestamp,
        /// The event.
        event: Event,
        /// What came of it.
        effects: Vec<Effect>,
    },
}

/// Where decisions are told, if anywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(pub(crate) Option<Sender<Decision>>);

impl Journal {
    /// Tells a decision. Whoever listened may have gone away since.
    pub(crate) fn tell(&self, decision: Decision) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(decision);
        }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.0.is_some()
    }
}
