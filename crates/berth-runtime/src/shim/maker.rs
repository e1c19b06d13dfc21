//! Short-lived children of a shim, which do what takes memory: they make a container or run a command
//! in one, tell the pid, and are gone.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{io, panic};

use berth_model::{Failure, FailureKind};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::protocol::FailureWire;
use crate::error::{failure, io_failure};

/// Descriptors that a message carries at most.
const MOST_FDS: usize = 3;
/// Bytes of a child's message at most: a failure's sentence and what JSON adds to it.
const LONGEST: usize = 16 << 10;

/// A child at work.
pub(super) struct Maker {
    /// Its pid.
    pub pid: Pid,
    socket: OwnedFd,
}

/// What a child has made.
pub(super) struct Made {
    /// The pid of the program.
    pub pid: u32,
    /// Our ends of its streams, where the child opened them.
    pub fds: Vec<OwnedFd>,
}

#[derive(Serialize, Deserialize)]
enum Told {
    Made(u32),
    Failed(FailureWire),
}

impl Maker {
    /// Forks. The child calls `make`, tells what came of it and ends.
    pub fn begin(make: impl FnOnce() -> Result<Made, Failure>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // SAFETY: a shim has one thread, so that the child may do whatever the parent could.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { pid: child, socket: ours }),
            ForkResult::Child => {
                drop(ours);
                let status = panic::catch_unwind(panic::AssertUnwindSafe(|| child(&theirs, make))).unwrap_or(1);
                // SAFETY: ends this process at once; what would run at exit belongs to the parent.
                unsafe { nix::libc::_exit(status) }
            }
        }
    }

    /// Readable when the child has told, or has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What the child tells.
    pub fn told(&self) -> Result<Made, Failure> {
        let mut bytes = vec![0; LONGEST];
        let (length, fds) =
            receive(self.fd(), &mut bytes).map_err(|error| io_failure("hear of the container", &error))?;
        match serde_json::from_slice(&bytes[..length]) {
            Ok(Told::Made(pid)) => Ok(Made { pid, fds }),
            Ok(Told::Failed(wire)) => Err(wire.into()),
            Err(_) => Err(failure(FailureKind::Runtime, "what makes containers was killed, or crashed; see shim.log")),
        }
    }
}

fn child(socket: &OwnedFd, make: impl FnOnce() -> Result<Made, Failure>) -> i32 {
    let made = as_it_was().map_err(|error| io_failure("prepare a process", &error)).and_then(|()| make());
    let (told, fds) = match made {
        Ok(Made { pid, fds }) => (Told::Made(pid), fds),
        Err(failure) => (Told::Failed(failure.into()), Vec::new()),
    };
    let told = serde_json::to_vec(&told).unwrap_or_default();
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    i32::from(send(socket.as_fd(), &told, &fds).is_err())
}

/// Signals as a program expects them, and an end when the shim ends: nothing is made that nobody awaits.
fn as_it_was() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours. Rust's start-up ignores SIGPIPE, and what is
    // ignored stays so across exec.
    unsafe { sigaction(Signal::SIGPIPE, &default) }?;
    SigSet::all().thread_unblock()?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// Sends bytes and descriptors as one message.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives what `send` sent.
pub(crate) fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok((received.bytes, fds))
}
