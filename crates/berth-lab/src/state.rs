//! What is remembered of a lab on disk: one folder per lab, one versioned JSON file in it.
//!
//! Knows nothing of links, namespaces or cgroups; the names in the file are enough for `down` to find those.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process::ProcessId;
use crate::{LabError, LabName, NodeName};

/// Version of `lab.json`.
const VERSION: u32 = 1;

/// Where labs live unless `BERTH_LAB_DIR` says otherwise.
pub const DEFAULT_DIR: &str = "/var/lib/berth/labs";

/// The folder of all labs of this machine.
#[derive(Clone, Debug)]
pub struct LabsDir(PathBuf);

impl LabsDir {
    /// Labs in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        LabsDir(path.into())
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of one lab.
    pub(crate) fn lab(&self, name: &LabName) -> PathBuf {
        self.0.join(name.as_str())
    }

    /// The state file of one lab.
    pub(crate) fn state_file(&self, name: &LabName) -> PathBuf {
        self.lab(name).join("lab.json")
    }

    /// Names of all labs that have a folder here, in order.
    pub fn list(&self) -> Result<Vec<LabName>, LabError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LabError::io("list", &self.0)(error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()?.parse().ok());
        let mut names: Vec<LabName> = names.collect();
        names.sort();
        Ok(names)
    }

    /// Waits for the lock that everyone takes who changes a lab; it is let go when the result is dropped.
    pub(crate) fn lock(&self) -> Result<File, LabError> {
        fs::create_dir_all(&self.0).map_err(LabError::io("create", &self.0))?;
        let path = self.0.join(".lock");
        let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = options.map_err(LabError::io("open", &path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(LabError::io("lock", &path))?;
        Ok(file)
    }
}

/// One lab as it is remembered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabState {
    pub version: u32,
    pub name: LabName,
    /// The program and arguments that lead to [`crate::init_main`].
    pub entry: Vec<String>,
    /// Network address of the /24.
    pub subnet: Ipv4Addr,
    pub nodes: Vec<NodeState>,
}

/// One node as it is remembered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeState {
    pub name: NodeName,
    /// From 1; names the link on the host and the address.
    pub index: u8,
    pub address: Ipv4Addr,
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
    pub power: Power,
}

/// Whether a node is powered on, as far as the file knows; the process may have died since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Power {
    Off,
    On { init: ProcessId },
}

impl LabState {
    pub fn new(name: LabName, entry: Vec<String>, subnet: Ipv4Addr) -> Self {
        LabState { version: VERSION, name, entry, subnet, nodes: Vec::new() }
    }

    pub fn load(dir: &LabsDir, name: &LabName) -> Result<Self, LabError> {
        let path = dir.state_file(name);
        let state: LabState = match read_json(&path) {
            Err(LabError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(LabError::NoSuchLab(name.to_string()));
            }
            other => other?,
        };
        if state.version != VERSION {
            return Err(LabError::Version { path, found: state.version, known: VERSION });
        }
        Ok(state)
    }

    pub fn save(&self, dir: &LabsDir) -> Result<(), LabError> {
        write_json(&dir.state_file(&self.name), self)
    }

    pub fn node(&self, name: &NodeName) -> Result<&NodeState, LabError> {
        self.nodes.iter().find(|node| node.name == *name).ok_or_else(|| self.no_such(name))
    }

    pub fn node_mut(&mut self, name: &NodeName) -> Result<&mut NodeState, LabError> {
        let missing = self.no_such(name);
        self.nodes.iter_mut().find(|node| node.name == *name).ok_or(missing)
    }

    fn no_such(&self, name: &NodeName) -> LabError {
        LabError::NoSuchNode { lab: self.name.to_string(), node: name.to_string() }
    }
}

/// Reads a whole JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, LabError> {
    let text = fs::read(path).map_err(LabError::io("read", path))?;
    serde_json::from_slice(&text).map_err(|source| LabError::Json { path: path.to_path_buf(), source })
}

/// Replaces a JSON file in one step: a reader sees the old or the new one, also after a crash.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), LabError> {
    let text =
        serde_json::to_vec_pretty(value).map_err(|source| LabError::Json { path: path.to_path_buf(), source })?;
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(LabError::io("create", &temporary))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(LabError::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(LabError::io("replace", path))
}
