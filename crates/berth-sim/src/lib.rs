//! Whole clusters in a simulated world: both cores, a store, a network, machines, users, and everything that can
//! go wrong with them, from one seed.
//!
//! The same seed gives the same history, event for event, so that a failure can be looked at again. Time jumps
//! from one happening to the next. It deliberately has no real adapter, no thread and no clock.

#![forbid(unsafe_code)]

mod budget;
mod checks;
mod clients;
mod clock;
mod cluster;
mod facts;
mod faults;
mod foresee;
mod healthy;
mod journal;
mod log;
mod machine;
mod moves;
mod network;
mod outcome;
pub mod pack;
#[cfg(feature = "planted-bugs")]
mod planted;
mod profile;
mod random;
mod server;
mod settle;
mod store;
mod table;
pub mod trace;
mod world;

pub use cluster::{ClusterOptions, ClusterReport, Meter, Milliseconds, cluster};
pub use foresee::{Foreseen, foresee};
pub use journal::Decision;
pub use outcome::{Broken, Invariant, Outcome};
#[cfg(feature = "planted-bugs")]
pub use planted::Bug;
pub use profile::ProfileName;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;

use crate::journal::Journal;
use crate::world::{Violation, World};

/// How to simulate.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(crate) profile: ProfileName,
    pub(crate) journal: Journal,
    #[cfg(feature = "planted-bugs")]
    pub(crate) bug: Option<Bug>,
}

impl Options {
    /// What goes wrong, and how often.
    pub fn profile(mut self, profile: ProfileName) -> Options {
        self.profile = profile;
        self
    }

    /// Where every decision of every server is told, in order.
    pub fn journal(mut self, decisions: Sender<Decision>) -> Options {
        self.journal = Journal(Some(decisions));
        self
    }

    /// The fault that is planted in the code, to see whether it is found.
    #[cfg(feature = "planted-bugs")]
    pub fn bug(self, bug: Bug) -> Options {
        Options { bug: Some(bug), ..self }
    }
}

/// Simulates one cluster from its first moment until it has settled after the last fault.
pub fn run(seed: u64, options: &Options) -> Outcome {
    let mut world = World::new(seed, options);
    // A core that finds its own state broken panics; here that is one more way to fail.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message");
        world.violation = Some(Violation { invariant: Invariant::NoPanic, at: world.now, what: text.to_owned() });
    }
    Outcome::of(seed, options, &world)
}
