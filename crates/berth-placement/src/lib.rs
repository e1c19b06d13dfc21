//! Chooses nodes, ports and devices for allocations, and says why.
//!
//! Allocations of one job version and group are one [`Class`]: every node is looked at once per class, in one pass over
//! memory, and the cheapest are remembered for each of its allocations; what its rules make of where others are is looked at per part of the
//! cluster. Filters count what they removed; what is left is ordered by a sum of named integer costs; the exact vector
//! of cpu, memory, disk, network, ports and devices decides what fits. Ties fall to the lower node id. Where nothing
//! fits, [`evict`] tells who would have to go.
//!
//! Invariant: nothing here knows commits, agents, timers or the history of a job beyond what a [`Want`] carries.

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]

mod around;
pub mod balance;
mod board;
mod constraint;
mod cost;
mod device;
mod field;
mod filter;
pub mod fit;
mod moves;
pub mod optimise;
mod outlook;
mod place;
mod preempt;
pub mod remedy;
mod whole;

pub use board::{Board, Eligibility, Hold, Standing};
pub use constraint::holds;
pub use filter::{Class, admits};
pub use moves::{Move, best_move, move_for};
pub use place::{Outcome, Want, fits_in_place_of, fits_on_any, place, why_waiting};
pub use preempt::{Below, Eviction, Prices, evict, reservation};
