//! Finds faults in a plan before it is written: room, ports, devices, constraints, lost nodes, budgets, causes, fences.
//!
//! It makes nothing, repairs nothing, and shares no code with what makes plans: constraints, sums and counts are
//! worked out here in another, simpler way. A finding is a broken invariant of the planner, never bad input.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

mod constraint;
mod device;
mod fence;
mod findings;
mod moved;
mod plan;
mod preemption;
mod rules;

pub use fence::{Fence, MAX_MUTATIONS, check_commit};
pub use findings::Finding;
pub use moved::Moved;
pub use plan::{Budget, Gang, Granted, NodeView, PlanView, check};
pub use preemption::Preemption;
pub use rules::Occupant;
