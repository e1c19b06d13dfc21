//! Bugs on purpose, so that the simulator can show that it would find them. Never part of a real build.

use crate::Core;

/// A bug of the node core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// What the server no longer lists runs on.
    KeepsUnlisted,
    /// A server that has lost the lead is obeyed.
    ObeysOldEpochs,
    /// Restarts are not counted.
    RestartsNotCounted,
}

impl Core {
    /// Makes the core wrong from here on.
    pub fn plant(&mut self, bug: Bug) {
        self.bug = Some(bug);
    }
}
