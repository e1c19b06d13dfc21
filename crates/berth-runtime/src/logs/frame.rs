//! The format of a log file: a header, then frames.
//!
//! ```text
//! file   = "BERTHLOG" version:u32 zero:u32 frame*
//! frame  = length:u32 crc:u32 time_ns:u64 sequence:u64 run:u32 stream:u8 flags:u8 zero:u16 byte[length]
//! ```
//!
//! Numbers are little-endian. `crc` is the CRC-32 of everything in the frame that follows it. A frame
//! holds a line without its newline, or with flag 1 a part of a line that the next frame of the same
//! stream goes on with. Sequence numbers grow by one through all files of a task, so that a gap shows.

/// The first bytes of a file of version 1.
pub(crate) const FILE_HEADER: [u8; 16] = *b"BERTHLOG\x01\0\0\0\0\0\0\0";
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEADER: usize = 32;
/// Bytes of the longest payload.
pub(crate) const LONGEST: usize = 64 << 10;
/// The payload does not end with the line.
const PARTIAL: u8 = 1;

/// Where a task wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line that a task wrote, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Nanoseconds since the Unix epoch, as the node's clock told when it was read from the task.
    pub time_ns: u64,
    /// Its number among all records of the task, from 1; one more with each.
    pub sequence: u64,
    /// The run of the task that wrote it.
    pub run: u32,
    /// Where it was written.
    pub stream: LogStream,
    /// Whether the line goes on with the next record of the stream.
    pub partial: bool,
    /// The text without its newline; not necessarily UTF-8.
    pub line: Vec<u8>,
}

/// Appends a frame to `out`. `line` is at most [`LONGEST`] bytes long.
pub(crate) fn encode(record: &RecordRef<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let length = u32::try_from(record.line.len()).expect("a line is at most LONGEST bytes");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&record.time_ns.to_le_bytes());
    out.extend_from_slice(&record.sequence.to_le_bytes());
    out.extend_from_slice(&record.run.to_le_bytes());
    out.push(match record.stream {
        LogStream::Stdout => 1,
        LogStream::Stderr => 2,
    });
    out.push(if record.partial { PARTIAL } else { 0 });
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(record.line);
    let crc = crc32fast::hash(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// A record whose text is borrowed.
pub(crate) struct RecordRef<'a> {
    pub time_ns: u64,
    pub sequence: u64,
    pub run: u32,
    pub stream: LogStream,
    pub partial: bool,
    pub line: &'a [u8],
}

/// What the front of some bytes is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A frame, and how many bytes it takes.
    Frame(LogRecord, usize),
    /// The beginning of a frame; more bytes are needed, or were never written.
    Short,
    /// No frame: the file is damaged here.
    Damaged,
}

/// Reads the frame at the front of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Decoded {
    let Some(header) = bytes.first_chunk::<FRAME_HEADER>() else { return Decoded::Short };
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let length = u32_at(0) as usize;
    if length > LONGEST {
        return Decoded::Damaged;
    }
    let end = FRAME_HEADER + length;
    let Some(frame) = bytes.get(..end) else { return Decoded::Short };
    let stream = match header[28] {
        1 => LogStream::Stdout,
        2 => LogStream::Stderr,
        _ => return Decoded::Damaged,
    };
    if crc32fast::hash(&frame[8..]) != u32_at(4) {
        return Decoded::Damaged;
    }
    let record = LogRecord {
        time_ns: u64_at(8),
        sequence: u64_at(16),
        run: u32_at(24),
        stream,
        partial: header[29] & PARTIAL != 0,
        line: frame[FRAME_HEADER..].to_vec(),
    };
    Decoded::Frame(record, end)
}
