//! `alloc.json`: everything that a shim has to know of its allocation, written once by the agent.
//!
//! Stored and versioned; nothing in it is left to choose. It is written before the shim is started
//! and replaced as a whole when an allocation is prepared anew.

pub(crate) mod make;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::NEXT;
use crate::oci::OciRuntime;
use crate::seccomp::Filter;

/// The newest version of the file that this program reads. Version 1 had no filters of system calls,
/// version 2 no devices.
///
/// A newer one than this is not read: the agent then knows an allocation by its shim alone, which goes on as it is,
/// and a shim does not start.
pub(crate) const NEWEST: u32 = 3 + NEXT;
/// The version that it writes; see [`NEXT`].
pub(crate) const WRITTEN: u32 = NEWEST - NEXT;
/// The file's name within the allocation's folder.
pub(crate) const FILE: &str = "alloc.json";

/// What a shim is to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AllocPlan {
    /// The version of this format.
    pub version: u32,
    /// The allocation's id.
    pub alloc: String,
    /// The boot of the machine in which this was written.
    pub boot: String,
    /// Its cgroup, below the root of every hierarchy: `berth/a1-2`. Each task has one below it.
    pub cgroup: String,
    /// Where the shim itself goes: apart from the tasks, so that their limits are not its own.
    pub shim_cgroup: String,
    /// What makes containers.
    pub oci: OciRuntime,
    /// Bounds of the log files.
    pub logs: LogLimits,
    /// How the tasks see the network.
    pub network: Network,
    /// Whether the tasks run by a lease alone.
    #[serde(default)]
    pub fenced: bool,
    /// What host programs must not see: folders and files of Berth itself.
    #[serde(default)]
    pub hidden: Vec<PathBuf>,
    /// The tasks by name.
    pub tasks: BTreeMap<String, TaskPlan>,
}

/// How the tasks of an allocation see the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Network {
    /// As the node does.
    Host,
    /// A loopback device and nothing else, shared by the tasks of the allocation.
    None,
}

/// Bounds of a task's log files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Bytes after which a new file is begun.
    pub file_bytes: u64,
    /// Files that are kept, the one being written included; at least 2.
    pub files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { file_bytes: 10 << 20, files: 5 }
    }
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskPlan {
    /// Where its files come from.
    pub root: RootPlan,
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where the program starts.
    pub working_dir: String,
    /// Who it runs as, as its own files tell; empty for root.
    pub user: String,
    /// Capabilities beside the default ones, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Thousandths of a core; 0 for no limit.
    pub cpu_millis: u64,
    /// Bytes; 0 for no limit.
    pub memory: u64,
    /// Processes; 0 for no limit.
    pub pids: u32,
    /// What it is asked to end by, unless the job says; none means `SIGTERM`.
    pub stop_signal: Option<u8>,
    /// The device files that it may use.
    #[serde(default)]
    pub devices: Vec<DevicePlan>,
    /// Ports that must be free when it starts.
    pub fixed_ports: Vec<u16>,
    /// What the builtin runtime lets its processes call; it starts none without.
    pub filter: Option<Filter>,
}

/// A device file that a task may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevicePlan {
    /// Its path, which is the same for the task as for the node.
    pub path: PathBuf,
    /// What the kernel knows it by.
    pub class: DeviceClass,
    /// The driver's number.
    pub major: u32,
    /// The number within the driver.
    pub minor: u32,
}

/// The two kinds of device files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeviceClass {
    /// Read and written as a stream.
    Character,
    /// Read and written in blocks.
    Block,
}

/// Where the files of a task come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RootPlan {
    /// Layers of an image under a writable one.
    Layers {
        /// The digest of the image's manifest.
        image: String,
        /// Overlay's lower folders, topmost first.
        layers: Vec<PathBuf>,
        /// Whether the root is read-only.
        read_only: bool,
        /// Folders in memory, with their limits in bytes.
        tmpfs: Vec<(String, u64)>,
    },
    /// The host's files, read-only.
    Host,
}

impl AllocPlan {
    /// Reads the plan of the allocation whose folder this is.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let plan: Self = serde_json::from_slice(&fs::read(dir.join(FILE))?)?;
        if plan.version <= NEWEST {
            Ok(plan)
        } else {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("version {} of {FILE}", plan.version)))
        }
    }

    /// The digests of the images that it runs from.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.tasks.values().filter_map(|task| match &task.root {
            RootPlan::Layers { image, .. } => Some(image.as_str()),
            RootPlan::Host => None,
        })
    }

    /// Writes the plan; whoever reads sees the old one or the new one.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        write_whole(&dir.join(FILE), &serde_json::to_vec(self)?)
    }
}

/// Replaces a file as a whole.
///
/// Without `fsync`, and on purpose: what is written here has a meaning only until the machine goes
/// down (after a boot every process is gone, which the boot id tells), and until then the page cache
/// keeps it, whoever is killed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}

/// This boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Names within an allocation's folder.
pub(crate) mod names {
    use std::path::{Path, PathBuf};

    /// The shim's socket.
    pub const SOCKET: &str = "shim.sock";
    /// Locked by the shim for as long as it lives.
    pub const LOCK: &str = "shim.lock";
    /// What the shim last wrote of its tasks.
    pub const STATE: &str = "state.json";
    /// What the shim had to say about itself, for people.
    pub const SHIM_LOG: &str = "shim.log";
    /// The folder of the logs.
    pub const LOGS: &str = "logs";

    /// The folder of a task.
    pub fn task(alloc: &Path, task: &str) -> PathBuf {
        alloc.join("tasks").join(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first version was written.
    const GOLDEN_1: &str = r#"{"version":1,"alloc":"a1-2","boot":"b","cgroup":"berth/a1-2","shim_cgroup":"berth/shims",
        "oci":"builtin","logs":{"file_bytes":10485760,"files":5},"network":"none","tasks":{"web":{"root":"host",
        "command":["/bin/true"],"env":{},"working_dir":"/berth","user":"","cap_add":[],"cpu_millis":100,
        "memory":1048576,"pids":10,"fixed_ports":[80]}}}"#;

    fn read(text: &str) -> io::Result<AllocPlan> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), text).unwrap();
        AllocPlan::read(dir.path())
    }

    #[test]
    fn earlier_versions_stay_readable_and_later_ones_are_refused() {
        let plan = read(GOLDEN_1).unwrap();
        assert_eq!((plan.version, plan.tasks["web"].filter.is_none()), (1, true));
        let dir = tempfile::tempdir().unwrap();
        let plan = AllocPlan { version: WRITTEN, ..plan };
        plan.write(dir.path()).unwrap();
        assert_eq!(AllocPlan::read(dir.path()).unwrap(), plan);
        let later = GOLDEN_1.replace("\"version\":1", &format!("\"version\":{}", NEWEST + 1));
        assert_eq!(read(&later).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
