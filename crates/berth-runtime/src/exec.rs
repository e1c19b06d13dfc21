//! Commands beside a running task: the agent's side.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use berth_model::{AllocId, ExitKind, TaskName};
use rustix::termios::Winsize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use crate::client;
use crate::error::RuntimeError;
use crate::shim::maker::receive;
use crate::shim::protocol::{self, Ask, Message, NEWEST, Request, Say};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Added to the task's environment.
    pub env: BTreeMap<String, String>,
    /// The size of the terminal; none for pipes.
    pub terminal: Option<WindowSize>,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Width.
    pub columns: u16,
    /// Height.
    pub rows: u16,
}

/// A command that runs.
pub struct ExecSession {
    /// What the command reads. Dropping it ends its input, except on a terminal.
    pub input: pipe::Sender,
    /// What it writes.
    pub output: ExecOutput,
    /// Its life. Dropping this kills the command.
    pub control: ExecControl,
}

/// What a command writes.
pub enum ExecOutput {
    /// Apart.
    Pipes {
        /// Standard output.
        stdout: pipe::Receiver,
        /// Standard error.
        stderr: pipe::Receiver,
    },
    /// Both together.
    Terminal(TerminalOutput),
}

/// The master of a terminal, for reading.
pub struct TerminalOutput(pipe::Receiver);

impl AsyncRead for TerminalOutput {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            // So says a terminal that the last process has closed.
            Poll::Ready(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Poll::Ready(Ok(()))
            }
            polled => polled,
        }
    }
}

/// The life of a command.
pub struct ExecControl {
    alloc: AllocId,
    stream: UnixStream,
    buffer: Vec<u8>,
    terminal: Option<OwnedFd>,
}

impl ExecControl {
    /// Changes the size of the terminal; without one, nothing.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        let Some(terminal) = &self.terminal else { return Ok(()) };
        let size = Winsize { ws_col: size.columns, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(terminal, size)?)
    }

    /// Waits for the end of the command. May be dropped and called again.
    pub async fn exit(&mut self) -> Result<ExitKind, RuntimeError> {
        loop {
            let message = protocol::decode::<Message>(&mut self.buffer);
            match message.map_err(|source| RuntimeError::Talk { alloc: self.alloc, source })? {
                Some(Message { say: Say::ExecEnded { exit }, .. }) => return Ok(exit.into()),
                Some(_) => return Err(RuntimeError::Protocol(self.alloc)),
                None => {}
            }
            let read = self.stream.read_buf(&mut self.buffer).await;
            if read.map_err(|source| RuntimeError::Talk { alloc: self.alloc, source })? == 0 {
                return Err(RuntimeError::NoShim(self.alloc));
            }
        }
    }
}

/// Runs a command beside a task.
pub(crate) async fn begin(
    alloc_dir: &Path,
    alloc: AllocId,
    task: &TaskName,
    request: ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let talk = |source| RuntimeError::Talk { alloc, source };
    let mut stream = client::open(alloc_dir).await.map_err(|_| RuntimeError::NoShim(alloc))?;
    let terminal = request.terminal.map(|size| (size.columns, size.rows));
    let ask = Ask::Exec { task: task.to_string(), command: request.command, env: request.env, terminal };
    let mut request = Request { version: NEWEST, id: 1, ask };
    stream.write_all(&protocol::encode(&request).map_err(talk)?).await.map_err(talk)?;
    let (mut buffer, mut fds) = (Vec::new(), Vec::new());
    loop {
        match protocol::decode::<Message>(&mut buffer).map_err(talk)? {
            Some(Message { say: Say::Attached { .. }, .. }) => break,
            Some(Message { say: Say::Refused { failure, .. }, version }) => {
                if let Some(version) = protocol::ask_again_in(request.version, version) {
                    request.version = version;
                    stream.write_all(&protocol::encode(&request).map_err(talk)?).await.map_err(talk)?;
                    continue;
                }
                return Err(RuntimeError::Refused { alloc, task: task.clone(), failure: failure.into() });
            }
            Some(_) => return Err(RuntimeError::Protocol(alloc)),
            None => {}
        }
        let mut bytes = [0; 4096];
        let received = stream.async_io(Interest::READABLE, || receive(stream.as_fd(), &mut bytes)).await;
        let (length, more) = received.map_err(talk)?;
        if length == 0 {
            return Err(RuntimeError::NoShim(alloc));
        }
        buffer.extend_from_slice(&bytes[..length]);
        fds.extend(more);
    }
    attach(fds, ExecControl { alloc, stream, buffer, terminal: None })
}

fn attach(fds: Vec<OwnedFd>, mut control: ExecControl) -> Result<ExecSession, RuntimeError> {
    let alloc = control.alloc;
    let talk = |source| RuntimeError::Talk { alloc, source };
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next(), fds.next()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(ExecSession {
            input: pipe::Sender::from_owned_fd(stdin).map_err(talk)?,
            output: ExecOutput::Pipes {
                stdout: pipe::Receiver::from_owned_fd(stdout).map_err(talk)?,
                stderr: pipe::Receiver::from_owned_fd(stderr).map_err(talk)?,
            },
            control,
        }),
        (Some(master), None, None) => {
            let input = master.try_clone().and_then(pipe::Sender::from_owned_fd_unchecked).map_err(talk)?;
            let output = master.try_clone().and_then(pipe::Receiver::from_owned_fd_unchecked).map_err(talk)?;
            control.terminal = Some(master);
            Ok(ExecSession { input, output: ExecOutput::Terminal(TerminalOutput(output)), control })
        }
        _ => Err(RuntimeError::Protocol(alloc)),
    }
}
