//! Processes by pid and start time, so that a pid that the kernel gave to another is never touched.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::LabError;

/// One process: the pid, and when it started in clock ticks since the boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Pid as the host sees it.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

/// A process that was the right one when it was opened, held by a descriptor.
pub(crate) struct Held {
    fd: OwnedFd,
}

impl ProcessId {
    /// Looks a pid up; nothing when it is gone or only a corpse.
    pub(crate) fn of(pid: i32) -> Option<ProcessId> {
        let stat = Process::new(pid).ok()?.stat().ok()?;
        let dead = matches!(stat.state, 'Z' | 'X');
        (!dead).then_some(ProcessId { pid, start_ticks: stat.starttime })
    }

    /// Whether this very process is alive.
    pub fn is_alive(self) -> bool {
        ProcessId::of(self.pid) == Some(self)
    }

    /// Holds the process; nothing when it is gone. The order matters: the descriptor first, then the look at who it is.
    pub(crate) fn hold(self) -> Option<Held> {
        let pid = Pid::from_raw(self.pid)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(Held { fd })
    }
}

impl Held {
    /// The descriptor, for entering the namespaces of the process.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Sends a signal; a process that has just ended is no error.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), LabError> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(LabError::io("signal a process of", Path::new("the lab"))(errno)),
        }
    }

    /// Waits until the process has ended; false when it has not within the time.
    pub(crate) fn wait_end(&self, timeout: Duration) -> bool {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&timeout)), Ok(1))
    }
}
