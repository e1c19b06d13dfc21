//! The times at which something is due. The driver knows only the earliest.

use std::collections::BTreeSet;

use berth_model::{AllocId, NodeId, Timestamp};

/// What is due. A timer that has become pointless is found so when it is due; it need not be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The node may be silent for too long.
    Heartbeat(NodeId),
    /// The allocation may have run for `min_ready`.
    MinReady(AllocId),
    /// The back-off of the allocation has passed.
    Reschedule(AllocId),
    /// What took the place of a victim has proven itself.
    Proven,
    /// The allocation should have taken over from the one that it moves by now.
    Move(AllocId),
    /// The allocation may be moved again.
    Rested(AllocId),
    /// What is left on a node that is drained is stopped.
    Drain(NodeId),
    /// Something on a lost node may have had its time.
    GiveUp(NodeId),
    /// Leases may be given again.
    Lease,
    /// Old objects are collected.
    Collect,
    /// The optimiser looks at what has changed.
    Balance,
    /// What is done in step has taken long.
    OutOfPatience,
}

/// All timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Timestamp, Due)>,
    announced: Option<Timestamp>,
}

impl Timers {
    /// Those of some kinds alone, not yet announced.
    pub(crate) fn only(&self, kind: impl Fn(&Due) -> bool) -> Timers {
        Timers { due: self.due.iter().filter(|(_, due)| kind(due)).copied().collect(), announced: None }
    }

    pub(crate) fn set(&mut self, at: Timestamp, due: Due) {
        self.due.insert((at, due));
    }

    /// The next that is due by `now`.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let first = *self.due.first()?;
        if first.0 > now {
            return None;
        }
        self.due.remove(&first);
        Some(first)
    }

    /// The driver has woken us; it will not do so again before it is asked.
    pub(crate) fn woke(&mut self) {
        self.announced = None;
    }

    /// The wish to be woken, where it differs from the last one.
    pub(crate) fn wish(&mut self) -> Option<Timestamp> {
        let earliest = self.due.first().map(|(at, _)| *at)?;
        if self.announced == Some(earliest) {
            return None;
        }
        self.announced = Some(earliest);
        Some(earliest)
    }
}
