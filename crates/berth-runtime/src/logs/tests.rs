//! Laws of the log: what is written is read, a torn end is no end, and old files stay readable.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;

use super::frame::{self, Decoded, LogRecord, LogStream, RecordRef};
use super::reader::{Cursor, LogFrom, LogQuery};
use super::writer::LogWriter;
use crate::plan::LogLimits;

const LIMITS: LogLimits = LogLimits { file_bytes: 1 << 20, files: 3 };

fn read(dir: &Path) -> Vec<LogRecord> {
    let mut cursor = Cursor::new(dir.to_owned(), "task");
    std::iter::from_fn(|| cursor.next_record().unwrap()).collect()
}

fn write(dir: &Path, limits: LogLimits, chunks: &[&[u8]]) {
    let mut writer = LogWriter::open(dir.to_owned(), "task", limits).unwrap();
    let mut scratch = Vec::new();
    for chunk in chunks {
        writer.append(1, LogStream::Stdout, chunk, &mut scratch);
    }
}

fn text(records: &[LogRecord]) -> Vec<u8> {
    let line = |record: &LogRecord| [&record.line[..], if record.partial { b"" } else { b"\n" }].concat();
    records.iter().flat_map(line).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read(chunks in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 1..300), 1..20)) {
        let dir = tempfile::tempdir().unwrap();
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        write(dir.path(), LIMITS, &chunks);
        let records = read(dir.path());
        prop_assert_eq!(text(&records), chunks.concat());
        prop_assert!(records.iter().zip(1..).all(|(record, number)| record.sequence == number));
    }

    #[test]
    fn a_file_that_ends_anywhere_gives_whole_frames_only(cut in 0_u64..400) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), LIMITS, &[b"one\ntwo\nthree\n", b"four"]);
        let file = dir.path().join("task.1.log");
        let length = fs::metadata(&file).unwrap().len();
        OpenOptions::new().write(true).open(&file).unwrap().set_len(length.saturating_sub(cut)).unwrap();
        let before = read(dir.path());
        prop_assert!(before.len() <= 4);
        // Whoever goes on begins a new file and goes on counting.
        write(dir.path(), LIMITS, &[b"after\n"]);
        let after = read(dir.path());
        prop_assert_eq!(&after[..before.len()], &before[..]);
        prop_assert_eq!(after.last().map(|record| record.sequence), Some(before.len() as u64 + 1));
    }
}

#[test]
fn files_are_rotated_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits { file_bytes: 100, files: 2 };
    write(dir.path(), limits, &[&[b'x'; 90][..]; 10]);
    assert_eq!(super::numbers(dir.path(), "task"), [9, 10]);
    let kept: Vec<u64> = read(dir.path()).iter().map(|record| record.sequence).collect();
    assert_eq!(kept, [9, 10]);
}

#[test]
fn a_line_longer_than_a_frame_comes_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut line = vec![b'y'; frame::LONGEST + 1];
    line.push(b'\n');
    write(dir.path(), LIMITS, &[&line]);
    let records = read(dir.path());
    assert_eq!(records.iter().map(|record| record.partial).collect::<Vec<_>>(), [true, false]);
    assert_eq!(text(&records), line);
}

/// A file of version 1 as it was first written; it must stay readable for ever.
const GOLDEN: &[u8] = include_bytes!("golden-1.log");

#[test]
fn version_1_stays_readable() {
    let record = |sequence, stream, partial, line: &[u8]| LogRecord {
        time_ns: 1_700_000_000_123_456_789,
        sequence,
        run: 2,
        stream,
        partial,
        line: line.to_vec(),
    };
    let expected = [
        record(1, LogStream::Stdout, false, b"hello"),
        record(2, LogStream::Stderr, true, b"half a l"),
        record(3, LogStream::Stderr, false, "ine \u{e9}".as_bytes()),
    ];
    let mut written = frame::FILE_HEADER.to_vec();
    for LogRecord { time_ns, sequence, run, stream, partial, line } in &expected {
        let (time_ns, sequence, run, stream, partial) = (*time_ns, *sequence, *run, *stream, *partial);
        frame::encode(&RecordRef { time_ns, sequence, run, stream, partial, line }, &mut written);
    }
    if std::env::var_os("BERTH_BLESS").is_some() {
        fs::File::create("src/logs/golden-1.log").unwrap().write_all(&written).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("task.1.log"), GOLDEN).unwrap();
    assert_eq!(read(dir.path()), expected);
    assert_eq!(written, GOLDEN, "the format has changed: it needs a new version");
}

#[test]
fn a_flipped_bit_is_seen() {
    let mut bytes = GOLDEN[frame::FILE_HEADER.len()..].to_vec();
    assert!(matches!(frame::decode(&bytes), Decoded::Frame(..)));
    bytes[frame::FRAME_HEADER] ^= 1;
    assert_eq!(frame::decode(&bytes), Decoded::Damaged);
}

#[test]
fn a_query_by_time_gives_what_was_written_then_or_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = frame::FILE_HEADER.to_vec();
    for (sequence, stream) in (1..).zip([LogStream::Stdout, LogStream::Stdout, LogStream::Stderr, LogStream::Stdout]) {
        let record = RecordRef { time_ns: sequence * 10, sequence, run: 1, stream, partial: false, line: b"line" };
        frame::encode(&record, &mut written);
    }
    fs::write(dir.path().join("task.1.log"), &written).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cases: [(u64, Option<LogStream>, &[u64]); 6] = [
        (0, None, &[1, 2, 3, 4]),
        (20, None, &[2, 3, 4]),
        (21, None, &[3, 4]),
        (20, Some(LogStream::Stdout), &[2, 4]),
        (40, None, &[4]),
        (41, None, &[]),
    ];
    for (first, stream, expected) in cases {
        let (send, mut records) = tokio::sync::mpsc::channel(8);
        let query = LogQuery { stream, from: LogFrom::Time(first), follow: false };
        let given = tokio.block_on(async {
            super::reader::run(dir.path().to_owned(), "task".to_owned(), query, send).await;
            let mut given = Vec::new();
            while let Some(record) = records.recv().await {
                given.push(record.unwrap().sequence);
            }
            given
        });
        assert_eq!(given, expected, "from {first} of {stream:?}");
    }
}
