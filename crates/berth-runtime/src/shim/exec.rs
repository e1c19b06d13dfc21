//! Commands beside a task, on pipes or on a terminal; their ends are handed to who asked.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::{fs, io};

use berth_model::Failure;
use rustix::termios::Winsize;

use super::maker::{self, Made, Maker};
use crate::bundle::{Folders, exec_process};
use crate::error::io_failure;
use crate::oci::{OciRuntime, Place, Stdio};

/// The command of a client.
pub(super) enum Session {
    /// Being made, to answer this request.
    Making {
        /// Which request.
        id: u64,
        /// The child that makes it.
        maker: Maker,
    },
    /// Runs.
    Running {
        /// Its pid.
        pid: u32,
    },
    /// Has ended.
    Ended,
}

/// What to run.
pub(super) struct Wanted {
    /// Beside which task.
    pub task: String,
    /// The command line.
    pub command: Vec<String>,
    /// Added to the environment.
    pub env: BTreeMap<String, String>,
    /// The size of the terminal, where it has one.
    pub terminal: Option<(u16, u16)>,
    /// Tells this command's files from those of others.
    pub serial: u64,
}

/// Runs the command. In a child of the shim.
pub(super) fn make(alloc_dir: &Path, container: &str, oci: &OciRuntime, wanted: &Wanted) -> Result<Made, Failure> {
    let failed = |error: io::Error| io_failure(format_args!("run a command beside task {}", wanted.task), &error);
    let folders = Folders::of(alloc_dir, &wanted.task);
    let spec = exec_process(&folders.bundle, &wanted.command, &wanted.env, wanted.terminal).map_err(failed)?;
    let process = folders.bundle.join(format!("exec-{}.json", wanted.serial));
    fs::write(&process, spec).map_err(failed)?;
    let place = Place { id: container, bundle: &folders.bundle, state: &folders.state };
    let made = match wanted.terminal {
        Some(size) => on_terminal(&place, &process, oci, size, wanted.serial),
        None => on_pipes(&place, &process, oci),
    };
    let _ = fs::remove_file(&process);
    made
}

fn on_pipes(place: &Place<'_>, process: &Path, oci: &OciRuntime) -> Result<Made, Failure> {
    let pipe = |error: io::Error| io_failure("make a pipe", &error);
    let (stdin, to) = io::pipe().map_err(pipe)?;
    let (from, stdout) = io::pipe().map_err(pipe)?;
    let (from_err, stderr) = io::pipe().map_err(pipe)?;
    let stdio = Stdio { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
    let pid = oci.exec(place, process, Some(stdio), None)?;
    Ok(Made { pid, fds: vec![to.into(), from.into(), from_err.into()] })
}

/// The runtime opens the terminal inside the container, and sends the master to a socket.
fn on_terminal(
    place: &Place<'_>,
    process: &Path,
    oci: &OciRuntime,
    size: (u16, u16),
    serial: u64,
) -> Result<Made, Failure> {
    let failed = |error: io::Error| io_failure("open a terminal", &error);
    // A short path, since those of sockets are limited: relative to the bundle, where this child goes.
    std::env::set_current_dir(place.bundle).map_err(failed)?;
    let name = format!("console-{serial}");
    let _ = fs::remove_file(&name);
    let listener = UnixListener::bind(&name).map_err(failed)?;
    let path = place.bundle.join(&name);
    let made = oci.exec(place, process, None, Some(&path));
    let _ = fs::remove_file(&path);
    let pid = made?;
    let (socket, _) = listener.accept().map_err(failed)?;
    let (_, fds) = maker::receive(socket.as_fd(), &mut [0; 256]).map_err(failed)?;
    let master: OwnedFd = fds.into_iter().next().ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
    let size = Winsize { ws_col: size.0, ws_row: size.1, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&master, size).map_err(|error| failed(error.into()))?;
    Ok(Made { pid, fds: vec![master] })
}
