//! The files of a simulation.

use std::fs::File;
use std::path::Path;

use berth_sim::trace::TraceError;

use crate::exit::{Status, failed};

/// Reads a file; what is wrong with it is told with the file's name.
pub fn read<T>(path: &Path, read: impl FnOnce(File, &str) -> Result<T, TraceError>) -> anyhow::Result<T> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| failed(Status::Usage, format!("cannot read {name}: {error}")))?;
    read(file, &name).map_err(|error| failed(Status::Usage, error.to_string()))
}
