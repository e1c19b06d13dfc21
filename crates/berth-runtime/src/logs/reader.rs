//! Reading: the agent's side. Follows a chain of files across rotation, waiting for the kernel to
//! tell of changes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::frame::{self, Decoded, LogRecord, LogStream};
use super::{file_name, numbers};

/// What to read of a task's logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Only this stream; none for both.
    pub stream: Option<LogStream>,
    /// Where to begin.
    pub from: LogFrom,
    /// Whether to go on with what is still to be written.
    pub follow: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFrom {
    /// With the oldest record that is kept.
    Oldest,
    /// With the last so many lines, at most [`LogQuery::MOST_LAST`].
    Last(usize),
    /// With this sequence number.
    Sequence(u64),
    /// With what was written at this time or later, in nanoseconds since the epoch.
    Time(u64),
}

impl LogQuery {
    /// The most that [`LogFrom::Last`] gives.
    pub const MOST_LAST: usize = 10_000;

    fn wants(&self, record: &LogRecord) -> bool {
        let begun = match self.from {
            LogFrom::Oldest | LogFrom::Last(_) => true,
            LogFrom::Sequence(first) => record.sequence >= first,
            LogFrom::Time(first) => record.time_ns >= first,
        };
        begun && self.stream.is_none_or(|stream| stream == record.stream)
    }
}

/// Bytes read from a file at a time.
const CHUNK: usize = 64 << 10;

/// A place in a task's chain of files.
pub(crate) struct Cursor {
    dir: PathBuf,
    task: String,
    /// The file that is read; 0 before the first.
    number: u64,
    file: Option<File>,
    buffer: Vec<u8>,
    at: usize,
}

impl Cursor {
    /// The oldest record that is kept.
    pub fn new(dir: PathBuf, task: &str) -> Self {
        Self { dir, task: task.to_owned(), number: 0, file: None, buffer: Vec::new(), at: 0 }
    }

    /// The next record; none at the end, for now.
    pub fn next_record(&mut self) -> io::Result<Option<LogRecord>> {
        loop {
            if self.file.is_none() && !self.open_next()? {
                return Ok(None);
            }
            match frame::decode(&self.buffer[self.at..]) {
                Decoded::Frame(record, length) => {
                    self.at += length;
                    return Ok(Some(record));
                }
                Decoded::Damaged => self.leave_file(),
                Decoded::Short => {
                    // A later file means that this one is complete, but only what is read after
                    // having seen the later one is sure to be the last of it.
                    let complete = numbers(&self.dir, &self.task).last().is_some_and(|last| *last > self.number);
                    if self.fill()? == 0 {
                        if !complete {
                            return Ok(None);
                        }
                        self.leave_file();
                    }
                }
            }
        }
    }

    fn leave_file(&mut self) {
        self.file = None;
        self.buffer.clear();
        self.at = 0;
    }

    /// Opens the oldest file after the one read last; false when there is none.
    fn open_next(&mut self) -> io::Result<bool> {
        let numbers = numbers(&self.dir, &self.task);
        let newest = numbers.last().copied();
        for number in numbers.into_iter().filter(|n| *n > self.number) {
            match File::open(self.dir.join(file_name(&self.task, number))) {
                Ok(mut file) => {
                    let mut header = [0; frame::FILE_HEADER.len()];
                    match file.read_exact(&mut header) {
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            // Its writer has only just begun it, or was killed then.
                            if newest == Some(number) {
                                return Ok(false);
                            }
                            continue;
                        }
                        read => read?,
                    }
                    if header != frame::FILE_HEADER {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!(
                                "{} is not a log file of a version this program knows",
                                file_name(&self.task, number)
                            ),
                        ));
                    }
                    self.number = number;
                    self.file = Some(file);
                    return Ok(true);
                }
                // Rotated away since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        self.buffer.drain(..self.at);
        self.at = 0;
        let old = self.buffer.len();
        self.buffer.resize(old + CHUNK, 0);
        let read = file.read(&mut self.buffer[old..]);
        self.buffer.truncate(old + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// Records handed over at a time.
const BATCH: usize = 256;
/// Where the kernel has no watch to give, look this often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Reads as asked and sends, until the end (without `follow`) or until nobody receives.
pub(crate) async fn run(dir: PathBuf, task: String, query: LogQuery, send: mpsc::Sender<io::Result<LogRecord>>) {
    if let Err(error) = read_all(dir, &task, &query, &send).await {
        // Whoever has gone does not mind.
        let _ = send.send(Err(error)).await;
    }
}

async fn read_all(
    dir: PathBuf,
    task: &str,
    query: &LogQuery,
    send: &mpsc::Sender<io::Result<LogRecord>>,
) -> io::Result<()> {
    let watch = if query.follow { Watch::new(&dir) } else { Watch::None };
    let mut cursor = Cursor::new(dir, task);
    if let LogFrom::Last(count) = query.from {
        let last;
        (cursor, last) = skip_to_last(cursor, query.clone(), count.min(LogQuery::MOST_LAST)).await?;
        for record in last {
            if send.send(Ok(record)).await.is_err() {
                return Ok(());
            }
        }
    }
    loop {
        let records;
        (cursor, records) = batch(cursor).await?;
        if records.is_empty() {
            if !query.follow {
                return Ok(());
            }
            tokio::select! {
                () = send.closed() => return Ok(()),
                () = watch.changed() => continue,
            }
        }
        for record in records.into_iter().filter(|record| query.wants(record)) {
            if send.send(Ok(record)).await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn batch(mut cursor: Cursor) -> io::Result<(Cursor, Vec<LogRecord>)> {
    blocking(move || {
        let mut records = Vec::new();
        while records.len() < BATCH {
            match cursor.next_record()? {
                Some(record) => records.push(record),
                None => break,
            }
        }
        Ok((cursor, records))
    })
    .await
}

async fn skip_to_last(mut cursor: Cursor, query: LogQuery, count: usize) -> io::Result<(Cursor, Vec<LogRecord>)> {
    blocking(move || {
        let mut last = VecDeque::new();
        let mut whole = 0;
        while let Some(record) = cursor.next_record()? {
            if query.wants(&record) {
                whole += usize::from(!record.partial);
                last.push_back(record);
            }
            while whole > count || (count == 0 && !last.is_empty()) {
                whole -= usize::from(last.pop_front().is_some_and(|first| !first.partial));
            }
        }
        Ok((cursor, last.into()))
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => Err(io::Error::other(stopped)),
    }
}

/// Tells of changes in a folder.
enum Watch {
    /// An inotify descriptor: read like a pipe, in events.
    Kernel(pipe::Receiver),
    Clock,
    None,
}

impl Watch {
    fn new(dir: &Path) -> Self {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        let made = inotify::init(flags).and_then(|fd| inotify::add_watch(&fd, dir, events).map(|_| fd));
        // The number of watches of a user is limited, and others use them too.
        made.ok().and_then(|fd| pipe::Receiver::from_owned_fd_unchecked(fd).ok()).map_or(Self::Clock, Self::Kernel)
    }

    /// Waits for a change since the last call.
    async fn changed(&self) {
        match self {
            Self::Clock => tokio::time::sleep(LOOK_AGAIN).await,
            Self::None => {}
            Self::Kernel(fd) => {
                if fd.readable().await.is_ok() {
                    while fd.try_read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
                }
            }
        }
    }
}
