//! How a shim begins: leaves the agent's process tree, control groups and mounts, and opens its socket.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{ForkResult, fork, setsid};

use super::lock;
use super::server::Server;
use crate::bundle::Surroundings;
use crate::cgroup::Cgroups;
use crate::plan::{AllocPlan, Network, names};

/// Which process returned from [`begin`].
pub(super) enum Side {
    /// The one that was called; the shim answers, or could not be started.
    Caller(ExitCode),
    /// The shim.
    Shim(Box<Server>),
}

/// Forks a shim.
pub(super) fn begin(alloc_dir: &Path) -> io::Result<Side> {
    let (mut ready, is_ready) = io::pipe()?;
    // SAFETY: there is one thread, so that the child may do whatever the parent could.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => {
            drop(is_ready);
            let mut byte = [0];
            let started = ready.read(&mut byte)? == 1;
            Ok(Side::Caller(if started { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
        }
        ForkResult::Child => {
            drop(ready);
            let server = become_shim(alloc_dir)?;
            (&is_ready).write_all(b".")?;
            Ok(Side::Shim(Box::new(server)))
        }
    }
}

fn become_shim(alloc_dir: &Path) -> io::Result<Server> {
    setsid()?;
    let alloc_dir = fs::canonicalize(alloc_dir)?;
    std::env::set_current_dir(&alloc_dir)?;
    let lock = lock::take()?;
    let plan = AllocPlan::read(Path::new("."))?;
    let cgroups = Cgroups::detect()?;
    cgroups.enter(&plan.shim_cgroup)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    leave_mounts(plan.network)?;
    let around = Surroundings {
        oom_score: lower_oom_score(),
        unified: cgroups.is_unified(),
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX),
    };
    let listener = listen()?;
    let server = Server::new(alloc_dir, &plan, cgroups, around, listener, lock)?;
    quiet()?;
    Ok(server)
}

/// A mount namespace of its own: mounts made here go away with the allocation's last process, however
/// that ends. What the host unmounts goes away here too. Tasks without a network share the shim's,
/// which needs none.
fn leave_mounts(network: Network) -> io::Result<()> {
    match network {
        Network::Host => unshare(CloneFlags::CLONE_NEWNS)?,
        Network::None => {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
            loopback_up()?;
        }
    }
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?)
}

/// Sets the flag of the loopback device that a new network namespace has switched off.
fn loopback_up() -> io::Result<()> {
    use nix::libc;
    use std::os::fd::AsRawFd;
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all zeroes is a valid `ifreq`: numbers and arrays of numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("flags of 16 bits");
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which lives until after the call.
    let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The kernel should end a task before its shim. Gives the score for tasks, where that worked.
fn lower_oom_score() -> Option<i32> {
    let file = "/proc/self/oom_score_adj";
    let old: i32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    // Needs a capability that containers of a shim's own often lack; then all stay as they are.
    fs::write(file, "-900").ok()?;
    Some(old)
}

/// The socket's path is relative, so that its length does not matter.
fn listen() -> io::Result<UnixListener> {
    match fs::remove_file(names::SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(names::SOCKET)?;
    fs::set_permissions(names::SOCKET, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Lets go of the caller's terminal or pipes.
fn quiet() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let log = OpenOptions::new().create(true).append(true).open(names::SHIM_LOG)?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok(())
}
