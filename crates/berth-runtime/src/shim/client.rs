//! A connection to a shim, as the shim sees it. Bounded on both sides: who does not read is let go.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;

use super::maker;
use super::protocol::{self, Message, Request, Say};

/// Bytes kept for a client that does not read.
const MOST_UNSENT: usize = 1 << 20;
/// Bytes read at a time.
const CHUNK: usize = 8 << 10;

/// A client.
pub(super) struct Client {
    stream: UnixStream,
    read: Vec<u8>,
    unsent: VecDeque<u8>,
    /// The version in which it last asked, and is answered.
    pub version: u32,
    /// Whether it asked to hear of tasks.
    pub listens: bool,
    /// The command that it has run, and whether that is being made or runs.
    pub session: Option<super::exec::Session>,
}

impl Client {
    /// Takes a connection of the same user as this process; no other.
    pub fn accept(stream: UnixStream) -> io::Result<Option<Self>> {
        let peer = rustix::net::sockopt::socket_peercred(&stream)?;
        if peer.uid != rustix::process::geteuid() {
            return Ok(None);
        }
        stream.set_nonblocking(true)?;
        Ok(Some(Self {
            stream,
            read: Vec::new(),
            unsent: VecDeque::new(),
            version: protocol::NEWEST,
            listens: false,
            session: None,
        }))
    }

    /// To wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether it should be waited for until it can be written to.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads what has come; false when the client has gone.
    pub fn fill(&mut self) -> io::Result<bool> {
        let old = self.read.len();
        self.read.resize(old + CHUNK, 0);
        let read = rustix::io::read(&self.stream, &mut self.read[old..]);
        self.read.truncate(old + read.unwrap_or(0));
        match read {
            Ok(0) => Ok(false),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// The next whole request.
    pub fn request(&mut self) -> io::Result<Option<Request>> {
        let request = protocol::decode(&mut self.read)?;
        if self.read.is_empty() {
            self.read = Vec::new();
        }
        Ok(request)
    }

    /// Says something.
    pub fn say(&mut self, say: Say) -> io::Result<()> {
        let bytes = protocol::encode(&Message { version: self.version, say })?;
        if self.unsent.len() + bytes.len() > MOST_UNSENT {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "the client does not read"));
        }
        self.unsent.extend(bytes);
        self.flush()
    }

    /// Says something with descriptors. Only to a client that has heard everything before.
    pub fn say_with(&mut self, say: Say, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = protocol::encode(&Message { version: self.version, say })?;
        let sent = maker::send(self.fd(), &bytes, fds)?;
        self.unsent.extend(&bytes[sent..]);
        Ok(())
    }

    /// Sends what it takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match maker::send(self.stream.as_fd(), self.unsent.make_contiguous(), &[]) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent = VecDeque::new();
        Ok(())
    }
}
