//! Writing: the shim's side. Keeps no line in memory and never blocks a task for want of disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::frame::{self, LONGEST, LogStream, RecordRef};
use super::reader::Cursor;
use super::{file_name, numbers};
use crate::plan::LogLimits;

/// The end of a task's chain of files.
pub(crate) struct LogWriter {
    dir: PathBuf,
    task: String,
    limits: LogLimits,
    /// The file being written and its number; none before the first line and after a failed write.
    open: Option<File>,
    number: u64,
    written: u64,
    sequence: u64,
}

impl LogWriter {
    /// Goes on with the chain of a task where it ended, in a new file: a file whose writer was killed
    /// may end in the middle of a frame. Nothing is written before there is a line.
    pub fn open(dir: PathBuf, task: &str, limits: LogLimits) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut writer = Self { dir, task: task.to_owned(), limits, open: None, number: 0, written: 0, sequence: 0 };
        if let Some(last) = numbers(&writer.dir, task).last() {
            writer.number = *last;
            let mut cursor = Cursor::new(writer.dir.clone(), task);
            while let Some(record) = cursor.next_record()? {
                writer.sequence = record.sequence;
            }
        }
        Ok(writer)
    }

    /// Appends what was read from a task at one time. What cannot be written is dropped, which the
    /// sequence numbers show.
    pub fn append(&mut self, run: u32, stream: LogStream, text: &[u8], scratch: &mut Vec<u8>) {
        let time_ns = now_ns();
        scratch.clear();
        for (line, partial) in lines(text) {
            self.sequence += 1;
            let record = RecordRef { time_ns, sequence: self.sequence, run, stream, partial, line };
            frame::encode(&record, scratch);
        }
        if self.write(scratch).is_err() {
            self.open = None;
        }
    }

    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        if self.open.is_none() || self.written >= self.limits.file_bytes {
            self.rotate()?;
        }
        if let Some(file) = &mut self.open {
            file.write_all(frames)?;
            self.written += frames.len() as u64;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        let mut file = OpenOptions::new().append(true).create_new(true).open(self.path(number)).or_else(|error| {
            // Left over from a failed attempt to begin it.
            if error.kind() == io::ErrorKind::AlreadyExists { File::create(self.path(number)) } else { Err(error) }
        })?;
        file.write_all(&frame::FILE_HEADER)?;
        self.open = Some(file);
        self.number = number;
        self.written = 0;
        let kept = u64::from(self.limits.files.max(2));
        for old in numbers(&self.dir, &self.task).into_iter().filter(|n| n + kept <= number) {
            fs::remove_file(self.path(old))?;
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(file_name(&self.task, number))
    }
}

/// Splits text into lines without their newline, each with whether it lacks one. A line that is too
/// long for a frame comes in parts.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    text.split_inclusive(|byte| *byte == b'\n').flat_map(|line| {
        let (line, whole) = match line.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let parts = line.len().div_ceil(LONGEST).max(1);
        (0..parts).map(move |part| {
            let end = line.len().min((part + 1) * LONGEST);
            (&line[part * LONGEST..end], !whole || part + 1 < parts)
        })
    })
}

/// Nanoseconds since the epoch.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
