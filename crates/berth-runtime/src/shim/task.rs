//! One task as its shim keeps it: its newest run, its streams, its log.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::maker::Maker;
use super::protocol::{ExitWire, KillWire, StateWire, TaskWire};
use crate::logs::LogStream;
use crate::logs::writer::{LogWriter, now_ns};
use crate::oci::Stdio;

/// Bytes read from a task at a time.
const CHUNK: usize = 16 << 10;

/// Buffers that all tasks of a shim share.
#[derive(Default)]
pub(super) struct Scratch {
    text: Vec<u8>,
    frames: Vec<u8>,
}

/// A task.
pub(super) struct Task {
    /// The newest run; none before the first.
    pub newest: Option<TaskWire>,
    /// The child that makes the newest run.
    pub maker: Option<Maker>,
    /// A signal that came while the run was being made, for when it has a process; `Force` is the
    /// strongest, else the last counts.
    pub pending: Option<KillWire>,
    streams: [Option<OwnedFd>; 2],
    log: LogWriter,
}

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];

impl Task {
    /// A task that has not run.
    pub fn new(log: LogWriter) -> Self {
        Self { newest: None, maker: None, pending: None, streams: [None, None], log }
    }

    /// The number of the newest run; 0 before the first.
    pub fn run(&self) -> u32 {
        self.newest.as_ref().map_or(0, |newest| newest.run)
    }

    /// Its pid, while it runs.
    pub fn pid(&self) -> Option<u32> {
        match self.newest.as_ref()?.state {
            StateWire::Running { pid, .. } => Some(pid),
            StateWire::Starting | StateWire::Exited { .. } => None,
        }
    }

    /// Whether a run is being made or runs.
    pub fn is_busy(&self) -> bool {
        match self.newest.as_ref().map(|newest| &newest.state) {
            Some(StateWire::Starting | StateWire::Running { .. }) => true,
            Some(StateWire::Exited { .. }) | None => false,
        }
    }

    /// Opens streams for a new run and keeps our ends.
    pub fn open_streams(&mut self) -> io::Result<Stdio> {
        let (out, stdout) = io::pipe()?;
        let (err, stderr) = io::pipe()?;
        rustix::io::ioctl_fionbio(&out, true)?;
        rustix::io::ioctl_fionbio(&err, true)?;
        self.streams = [Some(out.into()), Some(err.into())];
        let stdin = std::fs::File::open("/dev/null")?;
        Ok(Stdio { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() })
    }

    /// The streams that are open, with their index.
    pub fn streams(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.streams.iter().enumerate().filter_map(|(at, fd)| Some((at, fd.as_ref()?.as_fd())))
    }

    /// Writes what one stream has to the log, once. Gives how many bytes; none when it has nothing now, or has ended.
    pub fn pump(&mut self, at: usize, scratch: &mut Scratch) -> Option<usize> {
        let run = self.run();
        let fd = self.streams[at].as_ref()?;
        scratch.text.resize(CHUNK, 0);
        match rustix::io::read(fd, &mut scratch.text) {
            Ok(0) => {
                self.streams[at] = None;
                None
            }
            Ok(length) => {
                self.log.append(run, STREAMS[at], &scratch.text[..length], &mut scratch.frames);
                Some(length)
            }
            Err(Errno::AGAIN) => None,
            Err(Errno::INTR) => Some(0),
            Err(_) => {
                self.streams[at] = None;
                None
            }
        }
    }

    /// The run has ended: whatever it wrote is in the log before anybody hears of the end. That is no more than
    /// the pipe holds; who goes on writing has the pipe from the task and is none of it.
    pub fn drain(&mut self, scratch: &mut Scratch) {
        for at in 0..STREAMS.len() {
            let holds = self.streams[at].as_ref().and_then(|fd| rustix::pipe::fcntl_getpipe_size(fd).ok());
            let mut left = holds.unwrap_or(0);
            while left > 0 {
                let Some(read) = self.pump(at, scratch) else { break };
                left = left.saturating_sub(read);
            }
            self.streams[at] = None;
        }
    }

    /// Records that a run is being made.
    pub fn starts(&mut self, run: u32) {
        self.pending = None;
        self.newest = Some(TaskWire { run, state: StateWire::Starting });
    }

    /// Records that the newest run has a pid.
    pub fn runs(&mut self, pid: u32) {
        let state = StateWire::Running { pid, started: now_ms() };
        self.newest = Some(TaskWire { run: self.run(), state });
    }

    /// Records the end of the newest run.
    pub fn ends(&mut self, how: ExitWire) {
        let state = StateWire::Exited { at: now_ms(), how };
        self.newest = Some(TaskWire { run: self.run(), state });
    }
}

fn now_ms() -> u64 {
    now_ns() / 1_000_000
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::plan::LogLimits;

    #[test]
    fn a_writer_that_outlives_its_task_does_not_hold_the_shim_up() {
        let dir = tempfile::tempdir().unwrap();
        let limits = LogLimits { file_bytes: 64 << 10, files: 2 };
        let mut task = Task::new(LogWriter::open(dir.path().to_owned(), "main", limits).unwrap());
        let mut stdout = std::fs::File::from(task.open_streams().unwrap().stdout);
        let written = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Ends when nobody reads any more.
            scope.spawn(|| {
                while stdout.write_all(b"more\n").is_ok() {
                    written.store(true, Ordering::Relaxed);
                }
            });
            while !written.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            task.drain(&mut Scratch::default());
        });
    }
}
