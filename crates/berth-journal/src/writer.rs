//! Writing a segment: lines are gathered into blocks, and a block goes out when it is large or old enough.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use berth_control::{Beginning, Effect, Event};
use berth_model::{Bytes, Timestamp};
use berth_record::journal::LineWriter;

use crate::file::SegmentFile;
use crate::folder::name;

/// Bytes of lines that are put into one block.
const BLOCK_BYTES: usize = 256 << 10;
/// A block that is this old is written as it is.
const BLOCK_AGE: Duration = Duration::from_millis(100);

/// Writes the segment of one reign.
#[derive(Debug)]
pub struct SegmentWriter {
    file: SegmentFile,
    writer: LineWriter,
    lines: Vec<u8>,
    /// When the block has to be written: `None` while it is empty.
    due: Option<Instant>,
}

impl SegmentWriter {
    /// Begins the segment in `folder` with what the core began with and what it wanted at once.
    pub fn begin(folder: &Path, beginning: &Beginning, effects: &[Effect]) -> io::Result<SegmentWriter> {
        let file = SegmentFile::create(&folder.join(name(beginning.epoch)))?;
        let mut segment = SegmentWriter { file, writer: LineWriter::default(), lines: Vec::new(), due: None };
        for line in LineWriter::begin(env!("CARGO_PKG_VERSION"), beginning) {
            segment.add(line)?;
        }
        segment.add(LineWriter::begun(effects))?;
        Ok(segment)
    }

    /// Takes what happened and what came of it.
    pub fn step(&mut self, now: Timestamp, event: &Event, effects: &[Effect]) -> io::Result<()> {
        let line = self.writer.step(now, event, effects);
        self.add(line)
    }

    fn add(&mut self, line: Vec<u8>) -> io::Result<()> {
        self.lines.extend(line);
        self.due.get_or_insert_with(|| Instant::now() + BLOCK_AGE);
        if self.lines.len() >= BLOCK_BYTES { self.flush() } else { self.flush_if_due() }
    }

    /// Writes the block if it is old enough.
    pub(crate) fn flush_if_due(&mut self) -> io::Result<()> {
        if self.due.is_some_and(|due| due <= Instant::now()) { self.flush() } else { Ok(()) }
    }

    /// Time until the block has to be written: `None` while it is empty.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Writes what has been gathered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.due = None;
        if self.lines.is_empty() {
            return Ok(());
        }
        self.file.append(&self.lines)?;
        self.lines.clear();
        Ok(())
    }

    /// How much was written.
    pub(crate) fn size(&self) -> Bytes {
        self.file.size()
    }
}
