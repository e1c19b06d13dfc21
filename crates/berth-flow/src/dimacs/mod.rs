//! The DIMACS format for min-cost flow problems: `read`, `read_network`, `items`, `write` and `write_flow`.
//!
//! ```text
//! c anything
//! p min NODES ARCS
//! n NODE SUPPLY
//! a TAIL HEAD LOWER CAPACITY COST
//! ```
//!
//! Nodes are numbered from 1 in a file and from 0 in an [`Instance`](crate::Instance); arcs are numbered in
//! their order. All amounts are whole numbers of 64 bits, also negative ones.
//!
//! What the format leaves open, and what other readers pass over in silence, is settled like this:
//!
//! - The capacity `-1` means no limit where the lower bound is 0 or more; so does 9223372036854775807 with
//!   any lower bound. Any other capacity below its lower bound is an error: some readers take it for no limit,
//!   others for no flow.
//! - A node without an `n` line has a supply of 0; a second `n` line for a node is an error.
//! - The `p` line comes before all `n` and `a` lines, which come in any order. There are exactly as many `a`
//!   lines as it says.
//! - Fields are separated by spaces or tabs. Lines end with a line feed, before which there may be a carriage
//!   return; the last one may lack it. Blank lines are passed over. A field too many is an error.
//! - A line has at most [`MAX_LINE_BYTES`] bytes, a problem at most [`MAX_NODES`] nodes and [`MAX_ARCS`] arcs.
//!   Memory is taken for what a file holds, not for what its header promises.

mod error;
mod lines;
mod read;
mod write;

pub use error::{Field, LineError, ReadError};
pub use read::{Item, Items, MAX_ARCS, MAX_LINE_BYTES, MAX_NODES, items, read, read_network};
pub use write::{write, write_flow};

#[cfg(test)]
mod tests;
