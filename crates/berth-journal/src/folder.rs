//! The folder that segments are in: their names sort by age, and the oldest go first.

use std::io;
use std::path::{Path, PathBuf};

use berth_model::{Bytes, Epoch};

/// The name of the segment of a reign.
pub fn name(epoch: Epoch) -> String {
    format!("{:08x}-{:016x}.journal", epoch.incarnation.0, epoch.counter)
}

/// The segments in a folder with their sizes, oldest first.
pub fn segments(folder: &Path) -> io::Result<Vec<(PathBuf, Bytes)>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            let bytes = Bytes(std::fs::metadata(&path)?.len());
            segments.push((path, bytes));
        }
    }
    segments.sort();
    Ok(segments)
}

/// Removes segments, oldest first, until the rest take no more than this.
pub fn remove_oldest(folder: &Path, most: Bytes) -> io::Result<()> {
    let segments = segments(folder)?;
    let mut sum: u64 = segments.iter().map(|(_, bytes)| bytes.0).sum();
    for (path, bytes) in segments {
        if sum <= most.0 {
            break;
        }
        std::fs::remove_file(&path)?;
        sum -= bytes.0;
    }
    Ok(())
}
