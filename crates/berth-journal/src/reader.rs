//! Reading a segment: what its core began with, then what happened, in order.

use std::path::Path;

use berth_control::{Beginning, Event};
use berth_model::Timestamp;
use berth_record::SnapshotBuilder;
use berth_record::journal::{Line, LineReader, Mark};

use crate::file::{End, ReadError, SegmentReader};

/// An event with what came of it.
#[derive(Debug)]
pub struct Happened {
    /// When.
    pub now: Timestamp,
    /// What.
    pub event: Event,
    /// The marks of the effects.
    pub effects: Vec<Mark>,
}

/// A segment whose beginning has been read.
#[derive(Debug)]
pub struct Reader {
    lines: Lines,
    /// The version of the program that wrote it.
    pub program: String,
    /// What the core began with.
    pub beginning: Beginning,
    /// The marks of what it wanted at once.
    pub begun: Vec<Mark>,
}

impl Reader {
    /// Reads the beginning, or finds that its writer died before it had written that.
    pub fn open(path: &Path) -> Result<Result<Reader, End>, ReadError> {
        let mut lines = match SegmentReader::open(path)? {
            Ok(segment) => Lines::of(segment),
            Err(end) => return Ok(Err(end)),
        };
        let (program, settings, epoch, now) = match lines.next()? {
            Ok(Line::Head { program, settings, epoch, now }) => (program, settings, epoch, now),
            Ok(Line::Record(..) | Line::Begun(_) | Line::Step { .. }) => return Err(lines.out_of_place()),
            Err(end) => return Ok(Err(end)),
        };
        let mut builder = SnapshotBuilder::new();
        loop {
            match lines.next()? {
                Ok(Line::Record(key, value)) => builder.add(&key, &value),
                Ok(Line::Begun(begun)) => {
                    let loaded = builder.finish().map_err(|error| lines.damaged(&error.to_string()))?;
                    let beginning = Beginning { settings, snapshot: loaded.snapshot, epoch, now };
                    return Ok(Ok(Reader { lines, program, beginning, begun }));
                }
                Ok(Line::Head { .. } | Line::Step { .. }) => return Err(lines.out_of_place()),
                Err(end) => return Ok(Err(end)),
            }
        }
    }

    /// What happened next, or how the file ends.
    pub fn next(&mut self) -> Result<Result<Happened, End>, ReadError> {
        match self.lines.next()? {
            Ok(Line::Step { now, event, effects }) => Ok(Ok(Happened { now, event, effects })),
            Ok(Line::Head { .. } | Line::Record(..) | Line::Begun(_)) => Err(self.lines.out_of_place()),
            Err(end) => Ok(Err(end)),
        }
    }
}

/// The lines of a segment, in order.
#[derive(Debug)]
struct Lines {
    segment: SegmentReader,
    reader: LineReader,
    block: Vec<u8>,
    /// Where the next line begins in the block.
    next: usize,
    /// Where the block begins in the file.
    at: u64,
}

impl Lines {
    fn of(segment: SegmentReader) -> Lines {
        Lines { segment, reader: LineReader::default(), block: Vec::new(), next: 0, at: 0 }
    }

    fn next(&mut self) -> Result<Result<Line, End>, ReadError> {
        while self.next == self.block.len() {
            match self.segment.next()? {
                Ok((at, block)) => (self.at, self.block, self.next) = (at, block, 0),
                Err(end) => return Ok(Err(end)),
            }
        }
        let rest = &self.block[self.next..];
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let read = self.reader.read("a line of the journal", &rest[..length]);
        self.next += length;
        read.map(Ok).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            self.damaged(&format!("a line in the block cannot be understood{source}"))
        })
    }

    fn out_of_place(&self) -> ReadError {
        self.damaged("a line stands where another should")
    }

    fn damaged(&self, problem: &str) -> ReadError {
        self.segment.damaged(self.at, problem)
    }
}
