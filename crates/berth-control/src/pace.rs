//! In step: what is decided next is decided when everything decided before is done.
//!
//! Left to itself the core answers every report at once, so what follows from a change may depend on which node is quicker.
//! A plan cannot know that. In step, reports are taken in, but nothing follows from them before everything is at rest: all
//! that was placed is ready, and all that was told to stop is gone. What happens then depends on the state alone, and is what
//! the plan, made in step itself, said.
//!
//! A command under a plan sets the core in step until nothing follows any more, or until something happens that no plan
//! foresees: another command, a failure, the end of a batch, a node that comes, goes or changes. It is kept in memory
//! alone: a new leader is free.

use berth_model::{Alloc, AllocState, CheckState, Millis, Timestamp};

use crate::core::Core;
use crate::timers::Due;

/// The longest for one step to come to rest. Whatever takes longer has gone otherwise in a way that nobody has noticed.
const PATIENCE: Millis = Millis::from_secs(30 * 60);

/// How the core goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Whatever is reported has its consequences at once.
    Free,
    /// They come when everything is at rest.
    InStep {
        /// Since when nothing has been decided. None: something is to be decided at once.
        since: Option<Timestamp>,
        /// Up to when instances have proven themselves, see [`crate::preempt`]: by the clock
        /// some would do so in the middle.
        proven_at: Timestamp,
    },
}

impl Core {
    /// What follows from now on follows in step.
    pub(crate) fn keep_step(&mut self) {
        self.pace = Pace::InStep { since: None, proven_at: self.now };
    }

    /// Whatever was held up follows at once. Those that have proven themselves meanwhile count, too.
    pub(crate) fn fall_out_of_step(&mut self) {
        if self.pace != Pace::Free {
            self.pace = Pace::Free;
            self.state.budget_freed();
        }
    }

    /// Whether what has been reported is to have its consequences by now.
    pub(crate) fn is_time_to_decide(&mut self) -> bool {
        if std::mem::take(&mut self.state.dirty.unforeseen) {
            self.fall_out_of_step();
        }
        match self.pace {
            Pace::Free | Pace::InStep { since: None, .. } => true,
            Pace::InStep { since: Some(_), .. } => self.is_at_rest(),
        }
    }

    /// Everything that was to be decided is. Says whether there is more by now.
    pub(crate) fn decided(&mut self) -> bool {
        let Pace::InStep { proven_at, .. } = self.pace else { return false };
        let waits = self.waits_for_proof(proven_at);
        let (pace, more) = match (self.is_at_rest(), waits) {
            (true, false) => (Pace::Free, false),
            (true, true) if !self.waits_for_proof(self.now) => {
                self.state.budget_freed();
                (Pace::InStep { since: None, proven_at: self.now }, true)
            }
            (true, true) | (false, _) => (Pace::InStep { since: Some(self.now), proven_at }, false),
        };
        self.pace = pace;
        if let Pace::InStep { since: Some(since), .. } = pace {
            self.timers.set(since + PATIENCE, Due::OutOfPatience);
        }
        more
    }

    /// Somebody has waited long enough for the others, unless something was decided meanwhile.
    pub(crate) fn out_of_patience(&mut self, due: Timestamp) {
        if matches!(self.pace, Pace::InStep { since: Some(since), .. } if since + PATIENCE <= due) {
            self.fall_out_of_step();
        }
    }

    /// An instance has proven itself. In step, all do so at once, see [`Core::decided`].
    pub(crate) fn proven(&mut self) {
        if self.pace == Pace::Free {
            self.state.budget_freed();
        }
    }

    /// The time by which instances have to have proven themselves.
    pub(crate) fn judged_at(&self) -> Timestamp {
        match self.pace {
            Pace::Free => self.now,
            Pace::InStep { proven_at, .. } => proven_at,
        }
    }

    fn is_at_rest(&self) -> bool {
        self.state.index.moving.iter().all(|id| self.is_out_of_reach(*id))
    }
}

/// Whether it is on its way: to being ready, or to its end. What waits may do so for ever, and so may a check fail.
pub(crate) fn is_moving(alloc: &Alloc) -> bool {
    let fails = || alloc.tasks.values().flat_map(|task| task.checks.values()).any(|c| c.state == CheckState::Failing);
    match &alloc.state {
        AllocState::Running { ready: None, .. } => !fails(),
        AllocState::Placed { .. } | AllocState::Stopping { .. } => true,
        AllocState::Waiting { .. } | AllocState::Running { ready: Some(_), .. } | AllocState::Ended { .. } => false,
    }
}
