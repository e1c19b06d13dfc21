//! `state.json`: what a shim says of its tasks, for when nobody can ask it.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::protocol::TaskWire;
use crate::NEXT;
use crate::plan::{names, write_whole};

/// The newest version of the file that this program reads.
const NEWEST: u32 = 1 + NEXT;
/// The version that it writes; see [`NEXT`].
const WRITTEN: u32 = NEWEST - NEXT;

/// What a shim last wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The version of this format.
    pub version: u32,
    /// The shim's pid.
    pub pid: u32,
    /// The newest run of each task that had one.
    pub tasks: BTreeMap<String, TaskWire>,
}

impl State {
    /// The state of a shim with these tasks.
    pub fn new(pid: u32, tasks: BTreeMap<String, TaskWire>) -> Self {
        Self { version: WRITTEN, pid, tasks }
    }

    /// What the shim of this allocation folder wrote last. None when it never wrote.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(dir.join(names::STATE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let state: Self = serde_json::from_slice(&bytes)?;
        if (1..=NEWEST).contains(&state.version) {
            Ok(Some(state))
        } else {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("version {} of {}", state.version, names::STATE)))
        }
    }

    /// Replaces what was written before; see [`write_whole`] for what it withstands.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        write_whole(&dir.join(names::STATE), &serde_json::to_vec(self)?)
    }
}
