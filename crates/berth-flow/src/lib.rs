//! Exact min-cost flow that is kept up to date while the network changes.
//!
//! A [`Network`] holds nodes with supplies and arcs with bounds and costs, and between solves it keeps its
//! flow and its prices: after a change it repairs them instead of starting again. [`certify`] checks an
//! answer with code of its own.
//!
//! It knows nothing of clusters: what nodes and arcs stand for is the caller's matter.

#![deny(clippy::float_arithmetic)]

mod certify;
mod change;
pub mod dimacs;
mod error;
mod follow;
mod network;
mod problem;
mod solution;

pub use certify::{Bound, Certificate, CutSums, Refutation, certify, certify_cut, certify_cycle};
pub use change::Change;
pub use error::ChangeError;
pub use follow::Follower;
pub use network::{Applied, Network};
pub use problem::{Arc, ArcId, Instance, NodeId, Problem, UNLIMITED};
pub use solution::{Budget, Outcome, Solution};

/// Runs the example of the crate's own page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
