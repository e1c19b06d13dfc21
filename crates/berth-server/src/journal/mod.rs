//! The journal: every decision with what led to it, kept in the server's data folder so that it can be made again.
//!
//! A segment is begun at each taking of the lead, with all that the core began with, so that each replays on its own.
//! The files are local and appended to, which an object store does not do; finished segments can be handed to one when
//! clusters of several servers have a place for them.

mod file;
mod replay;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};

pub use file::{End, ReadError};
pub use replay::{Difference, Replayed, replay};
pub use writer::Segment;

/// The segments in a folder with their sizes, oldest first.
fn segments(folder: &Path) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            let bytes = std::fs::metadata(&path)?.len();
            segments.push((path, bytes));
        }
    }
    segments.sort();
    Ok(segments)
}
