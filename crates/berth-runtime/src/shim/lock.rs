//! The lock that a shim holds for as long as it lives, and how an agent finds a shim by it that does not answer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::plan::names;

/// One shim per allocation: a second one ends here. Says in the file who holds it.
pub(super) fn take() -> io::Result<File> {
    let mut lock = OpenOptions::new().create(true).append(true).open(names::LOCK)?;
    flock(lock.as_fd(), FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::new(io::ErrorKind::AddrInUse, "another shim keeps this allocation"))?;
    lock.set_len(0)?;
    write!(lock, "{}", std::process::id())?;
    Ok(lock)
}

/// Whether a shim of the allocation in this folder lives, or what it was just making.
pub(crate) fn is_held(alloc_dir: &Path) -> io::Result<bool> {
    let lock = match File::open(alloc_dir.join(names::LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The shim that holds the lock; none where it is free, or where its holder is not known to be a shim.
pub(crate) fn holder(alloc_dir: &Path) -> io::Result<Option<OwnedFd>> {
    if !is_held(alloc_dir)? {
        return Ok(None);
    }
    let said = fs::read_to_string(alloc_dir.join(names::LOCK))?;
    let Some(pid) = said.trim().parse().ok().and_then(Pid::from_raw) else { return Ok(None) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(None),
        opened => opened?,
    };
    // The number may by now be another's: a shim is known by what it was called with.
    let called = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let mut words = called.split(|byte| *byte == 0).filter(|word| !word.is_empty()).skip(1);
    let is_shim = words.next() == Some(b"shim") && {
        let dir = words.next().map(|word| Path::new(std::str::from_utf8(word).unwrap_or_default()));
        dir.and_then(Path::file_name) == alloc_dir.file_name()
    };
    Ok(is_shim.then_some(process))
}
