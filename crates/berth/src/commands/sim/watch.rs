//! What simulations measure with.

use std::time::Duration;

use berth_sim::Meter;
use rustix::time::{ClockId, clock_gettime};

use crate::output::Progress;

/// The thread's processor time, and a line about what goes on.
pub struct Watch<'a>(pub &'a Progress);

impl Meter for Watch<'_> {
    fn elapsed(&mut self) -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(now).expect("processor time is not negative")
    }

    fn say(&mut self, what: String) {
        self.0.say(what);
    }
}
