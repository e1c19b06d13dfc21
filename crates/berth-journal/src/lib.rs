//! The journal: every decision with what led to it, written down so that it can be made again.
//!
//! A segment is begun at each taking of the lead, with all that the core began with, so that each replays on its own.
//! The files are local and appended to, and survive the death of their writer up to their last block, which an object
//! store does not offer; finished segments can be handed to one when clusters of several servers have a place for them.

#![forbid(unsafe_code)]

mod file;
mod folder;
mod reader;
mod replay;
mod scribe;
#[cfg(test)]
mod tests;
mod what_if;
mod writer;

pub use berth_record::journal::Mark;
pub use file::{End, ReadError};
pub use replay::{Difference, Finding, Opening, Replayed, replay, segments_at};
pub use scribe::Scribe;
pub use what_if::{Elsewhere, Measures, Placements, Slot, WhatIf, what_if};
pub use writer::SegmentWriter;
