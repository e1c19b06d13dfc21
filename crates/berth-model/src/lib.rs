//! The words of Berth as types: ids, units, jobs, nodes, allocations, reasons, causes and orders.
//!
//! Everything here is plain data without behaviour that decides anything. It deliberately knows no
//! encoding: stored records (`berth-record`) and wire types (`berth-api`) are sets of their own, so
//! that a field can be renamed here without breaking a disk or a running agent.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

pub mod alloc;
mod balance;
pub mod command;
pub mod control;
pub mod device;
pub mod health;
pub mod ids;
pub mod job;
pub mod ledger;
pub mod mutation;
pub mod node;
pub mod order;
pub mod placement;
pub mod plan;
pub mod policy;
pub mod reason;
pub mod remedy;
pub mod rules;
pub mod shim;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod trust;
pub mod units;

pub use alloc::*;
pub use balance::{Balance, Proposal, Relocation};
pub use command::*;
pub use device::*;
pub use health::*;
pub use ids::*;
pub use job::*;
pub use ledger::*;
pub use mutation::*;
pub use node::*;
pub use order::*;
pub use placement::*;
pub use plan::*;
pub use policy::*;
pub use reason::*;
pub use remedy::*;
pub use rules::*;
pub use shim::*;
pub use trust::*;
pub use units::*;
