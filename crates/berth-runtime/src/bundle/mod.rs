//! From a task's plan to an OCI bundle: root file system, user, `config.json`.
//!
//! Runs in a short-lived child of the shim, inside the shim's own mount namespace: mounts made here
//! are seen by nobody else and go away with the last process of the allocation.

mod root;
mod spec;
mod user;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};

use berth_model::{Failure, FailureKind};

use crate::error::{failure, io_failure};
use crate::oci::Stdio;
use crate::plan::{AllocPlan, TaskPlan, names};

pub(crate) use spec::exec_process;

/// Where a task finds its own writable folder.
pub(crate) const WORK_DIR: &str = "/berth";

/// The compiled seccomp filter, beside `config.json`.
pub(crate) const FILTER: &str = "seccomp.bpf";

/// The folders of a task below that of its allocation.
pub(crate) struct Folders {
    /// The bundle: `config.json`.
    pub bundle: PathBuf,
    /// The root file system is mounted here.
    pub root: PathBuf,
    /// The task's own folder, kept across its runs.
    pub work: PathBuf,
    /// What is written to a container's root.
    pub upper: PathBuf,
    /// Overlay's own.
    pub overlay: PathBuf,
    /// Links with short names to the layers.
    pub lower: PathBuf,
    /// `/tmp` of a host program.
    pub tmp: PathBuf,
    /// What the runtime remembers.
    pub state: PathBuf,
}

impl Folders {
    /// Those of a task.
    pub fn of(alloc: &Path, task: &str) -> Self {
        let task = names::task(alloc, task);
        Self {
            bundle: task.join("bundle"),
            root: task.join("root"),
            work: task.join("work"),
            upper: task.join("upper"),
            overlay: task.join("overlay"),
            lower: task.join("lower"),
            tmp: task.join("tmp"),
            state: task.join("oci"),
        }
    }
}

/// What the environment of the shim gives to every bundle.
pub(crate) struct Surroundings {
    /// Set where the shim could lower its own.
    pub oom_score: Option<i32>,
    /// Whether control groups are of version 2.
    pub unified: bool,
    /// The most open files that can be granted.
    pub open_files: u64,
}

/// Makes the bundle of a task ready for its next run.
pub(crate) fn make(
    alloc_dir: &Path,
    plan: &AllocPlan,
    name: &str,
    task: &TaskPlan,
    around: &Surroundings,
    stdio: &Stdio,
) -> Result<(), Failure> {
    check_ports(name, task)?;
    let folders = Folders::of(alloc_dir, name);
    root::make(&folders, &task.root)
        .map_err(|error| io_failure(format_args!("make the root of task {name}"), &error))?;
    let who = user::find(&folders.root, &task.root, &task.user)?;
    root::own(&folders, &task.root, &task.working_dir, &who)
        .and_then(|()| own_streams(stdio, &who))
        .map_err(|error| io_failure(format_args!("make the folders of task {name}"), &error))?;
    let spec = spec::make(plan, name, task, &folders, &who, around)
        .map_err(|error| failure(FailureKind::Runtime, format!("cannot make the bundle of task {name}: {error}")))?;
    let write = || {
        fs::create_dir_all(&folders.bundle)?;
        if let Some(filter) = &task.filter {
            fs::write(folders.bundle.join(FILTER), filter.bytes())?;
        }
        fs::write(folders.bundle.join("config.json"), spec)
    };
    write().map_err(|error| io_failure(format_args!("write the bundle of task {name}"), &error))
}

/// Lets the user open `/dev/stdout` and `/dev/stderr`, which are these pipes.
fn own_streams(stdio: &Stdio, who: &user::Who) -> std::io::Result<()> {
    for stream in [&stdio.stdout, &stdio.stderr] {
        std::os::unix::fs::fchown(stream, Some(who.uid), Some(who.gid))?;
    }
    Ok(())
}

/// Whether every fixed port is free; a task that finds it taken would fail later and say less. TCP only:
/// a job does not say what it speaks.
fn check_ports(name: &str, task: &TaskPlan) -> Result<(), Failure> {
    match task.fixed_ports.iter().find(|port| is_taken(**port)) {
        None => Ok(()),
        Some(port) => {
            let message = format!(
                "port {port}, which task {name} asks for, is taken on this node by something else; \
                 end that, or ask for another port or a dynamic one"
            );
            Err(failure(FailureKind::PortTaken, message))
        }
    }
}

/// Whether anybody listens on the port, at any address. One after the other: a listener for IPv6 is one for
/// IPv4 too, unless the node says otherwise. Other errors, such as a node without IPv6, are not about the
/// port being taken; the task will see for itself.
fn is_taken(port: u16) -> bool {
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
        .into_iter()
        .any(|any| TcpListener::bind((any, port)).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse))
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::set_ipv6_v6only;
    use rustix::net::{AddressFamily, SocketAddrV6, SocketType, bind, listen, socket};

    use super::*;

    #[test]
    fn a_listener_at_any_address_takes_the_port() {
        for address in ["0.0.0.0:0", "127.0.0.1:0", "[::]:0", "[::1]:0"] {
            // A node without IPv6 has no such listeners.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert!(is_taken(port), "{address}");
        }
    }

    #[test]
    fn a_listener_for_ipv6_alone_takes_the_port() {
        let Ok(socket) = socket(AddressFamily::INET6, SocketType::STREAM, None) else { return };
        set_ipv6_v6only(&socket, true).unwrap();
        if bind(&socket, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0)).is_err() {
            return;
        }
        listen(&socket, 1).unwrap();
        let listener = TcpListener::from(socket);
        assert!(is_taken(listener.local_addr().unwrap().port()));
    }
}
