//! Bugs on purpose, so that the simulator can show that it would find them. Never part of a real build.

use crate::core::Core;

/// A bug of the control core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Nodes count as larger than they are.
    CapacityOffByOne,
    /// What was on a lost node is not given up.
    LossForgetsAllocs,
    /// A client's key is not stored with the outcome.
    KeyNotStored,
    /// An update does not stop what it has replaced.
    UpdateKeepsOld,
    /// One more is replaced at a time than the budget allows, and the core's own check looks away.
    BudgetIgnored,
    /// What is fenced on a lost node is replaced at once.
    LeaseNotWaitedFor,
    /// Orders go out before what they rest on is durable.
    OrdersBeforeDurable,
}

impl Core {
    /// Makes the core wrong from here on.
    pub fn plant(&mut self, bug: Bug) {
        self.state.bug = Some(bug);
        let nodes: Vec<_> = self.state.nodes.values().cloned().collect();
        nodes.into_iter().for_each(|node| self.state.put_node(node));
    }
}
