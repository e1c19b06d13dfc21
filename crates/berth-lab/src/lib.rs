//! Throw-away clusters on one machine, for trying things out and for tests.
//!
//! A lab is a bridge and a number of nodes. A node is a network, pid, mount, uts, ipc and cgroup namespace with an
//! address, a file system and a process 1 of its own; it runs one command, its *role*. Power-off is a SIGKILL to
//! process 1, upon which the kernel ends everything in the node.
//!
//! The lab knows nothing of Berth's API, nor of what a role does: the caller passes commands, and closures that say
//! when a node is ready. It must be root. It changes nothing on the host but what carries the lab's name: one bridge,
//! one link per node, one cgroup folder per hierarchy and one folder on disk.

mod boot;
mod cgroup;
mod error;
mod init;
mod lab;
mod mounts;
mod names;
mod net;
mod process;
mod state;

pub use error::LabError;
pub use init::init_main;
pub use lab::{Down, Lab, NodeFile, NodeSpec, NodeStatus, RoleStatus, down, up};
pub use names::{LabName, NodeName};
pub use process::ProcessId;
pub use state::{DEFAULT_DIR, LabsDir};
