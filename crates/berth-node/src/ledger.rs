//! What the core knows of its ledger: whether it can be written, and what it has yet to be told.
//!
//! A driver that cannot write gives back all that it was asked for (`Event::NotRemembered`). From then on nothing
//! is asked for that has to be remembered first, and nothing new is told to the server; what ends a task goes
//! through, since a task may be what fills the disk. After a wait the ledger is tried again with everything that
//! has come together.

use std::collections::BTreeSet;

use berth_model::{AllocId, Millis, Timestamp};

use crate::Effect;
use crate::alloc::Memory;
use crate::task::back_off;

/// The wait after a first failure; doubles with each further one.
const RETRY_DELAY: Millis = Millis(250);
/// What that doubling stops at.
const RETRY_MAX_DELAY: Millis = Millis::from_secs(10);
/// A failure so long after the one before is the first of a new trouble.
const RETRY_FORGIVES: Millis = Millis::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// When it is tried again; None while it works, as far as is known.
    retry: Option<Timestamp>,
    /// When it last failed, and how often in a row.
    failed: (Timestamp, usize),
    /// Whether the epoch has to be remembered.
    epoch: bool,
    /// What has to be forgotten.
    forgotten: BTreeSet<AllocId>,
}

impl Ledger {
    pub(crate) fn memory(&self) -> Memory {
        match self.retry {
            None => Memory::Works,
            Some(_) => Memory::Fails,
        }
    }

    /// When it has to be tried again.
    pub(crate) fn retry(&self) -> Option<Timestamp> {
        self.retry
    }

    /// It could not be written.
    pub(crate) fn fails(&mut self, now: Timestamp) {
        let (last, times) = self.failed;
        let times = if now.since(last) > RETRY_FORGIVES { 0 } else { times };
        self.failed = (now, times.saturating_add(1));
        self.retry = Some(now + back_off(RETRY_DELAY, RETRY_MAX_DELAY, times));
    }

    /// An effect was given back that only the ledger is concerned with.
    pub(crate) fn not_begun(&mut self, effect: &Effect) {
        match effect {
            Effect::RememberEpoch(_) => self.epoch = true,
            Effect::Forget(alloc) => _ = self.forgotten.insert(*alloc),
            Effect::Remember(_)
            | Effect::Prepare(_)
            | Effect::Start { .. }
            | Effect::Lease { .. }
            | Effect::Ask(_)
            | Effect::Signal { .. }
            | Effect::EndOrphans(_)
            | Effect::Remove(_)
            | Effect::Purge(_)
            | Effect::Report(_)
            | Effect::ReportAgain { .. }
            | Effect::WakeAt(_) => {}
        }
    }

    /// Asks for a write of the ledger's own, or keeps it in mind.
    pub(crate) fn write(&mut self, effect: Effect, out: &mut Vec<Effect>) {
        match self.memory() {
            Memory::Works => out.push(effect),
            Memory::Fails => self.not_begun(&effect),
        }
    }

    /// An allocation that was to be forgotten is listed again.
    pub(crate) fn keep(&mut self, alloc: AllocId) {
        self.forgotten.remove(&alloc);
    }

    /// Takes it for working again. Says whether the epoch has to be remembered, and what to be forgotten.
    pub(crate) fn try_again(&mut self) -> (bool, BTreeSet<AllocId>) {
        self.retry = None;
        (std::mem::take(&mut self.epoch), std::mem::take(&mut self.forgotten))
    }
}
