//! The decision core of the cluster: events in, effects out.
//!
//! Pure: no clock, randomness, hash order, IO or thread. The same events give the same effects, byte for byte.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

mod balance;
mod collect;
mod commands;
mod core;
mod digest;
mod drain;
mod index;
mod journal;
mod leases;
mod lifecycle;
mod moves;
mod nodes;
mod pace;
mod partition;
mod pipeline;
mod plan;
#[cfg(feature = "planted-bugs")]
mod planted;
mod policy;
mod preempt;
mod reconcile;
mod replace;
mod reports;
mod schedule;
mod size;
mod state;
mod timers;
mod trust;
mod verify;
mod view;
mod why;

pub use crate::core::Core;
pub use crate::index::runs_the_same;
pub use berth_model::control::*;
pub use plan::Planner;
#[cfg(feature = "planted-bugs")]
pub use planted::Bug;
pub use view::Summary;
