//! The thread that writes the journal, so that the loop never waits for a disk.
//!
//! The loop hands over what happened and what came of it; encoding, compressing and writing are done here, in blocks.
//! What cannot be kept up with, or written, ends the segment with a line in the server's log, and never the loop: the
//! journal is for questions, the store is what is true.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use berth_control::{Beginning, Effect, Event};
use berth_model::{Bytes, Timestamp};
use berth_record::journal::LineWriter;

use super::file::{SegmentFile, name};

/// Steps that may wait for the thread.
const WAITING: usize = 8_192;
/// Bytes of lines that are put into one block.
const BLOCK_BYTES: usize = 256 << 10;
/// After this long a block is written as it is.
const BLOCK_AGE: Duration = Duration::from_millis(100);
/// Of what the journal may take in all, a segment takes at most one part in this many.
const PARTS: u64 = 4;

#[derive(Debug)]
enum Entry {
    Begin(Box<Beginning>, Vec<Effect>),
    Step(Timestamp, Event, Vec<Effect>),
}

/// A reign's segment, as the loop sees it. Dropped, it is written to its end.
#[derive(Debug)]
pub struct Segment {
    sender: Option<SyncSender<Entry>>,
    thread: Option<std::thread::JoinHandle<()>>,
    bytes: Arc<AtomicU64>,
    largest: u64,
    behind: bool,
}

impl Segment {
    /// Begins the segment of a reign in `folder`, whose segments together may take `most`.
    pub fn begin(folder: &Path, most: Bytes, beginning: Beginning, effects: Vec<Effect>) -> Segment {
        let (sender, receiver) = sync_channel(WAITING);
        let bytes = Arc::new(AtomicU64::new(0));
        let largest = most.0 / PARTS;
        let path = folder.join(name(beginning.epoch, 0));
        // There is room: nothing was sent yet.
        let _ = sender.try_send(Entry::Begin(Box::new(beginning), effects));
        let work = Work { folder: folder.to_owned(), path, most: most.0 - largest, bytes: bytes.clone() };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || work.run(&receiver));
        match thread {
            Ok(thread) => Segment { sender: Some(sender), thread: Some(thread), bytes, largest, behind: false },
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "journal has no thread; nothing is journalled"
                );
                Segment { sender: None, thread: None, bytes, largest, behind: true }
            }
        }
    }

    /// Takes what happened and what came of it.
    pub fn step(&mut self, now: Timestamp, event: Event, effects: &[Effect]) {
        let Some(sender) = &self.sender else { return };
        match sender.try_send(Entry::Step(now, event, effects.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::error!(
                    "the journal does not keep up; this segment ends here, the next begins with the next reign"
                );
                self.end();
            }
            // It has said why.
            Err(TrySendError::Disconnected(_)) => self.end(),
        }
    }

    /// Whether steps are still taken.
    pub fn is_open(&self) -> bool {
        self.sender.is_some() && !self.behind
    }

    /// Whether it has become so large that the next one should begin.
    pub fn is_full(&self) -> bool {
        self.is_open() && self.bytes.load(Ordering::Relaxed) > self.largest
    }

    fn end(&mut self) {
        self.sender = None;
        self.behind = true;
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread ended by a panic");
        }
    }
}

/// What the thread does.
struct Work {
    folder: PathBuf,
    path: PathBuf,
    /// What older segments may take.
    most: u64,
    bytes: Arc<AtomicU64>,
}

impl Work {
    fn run(self, entries: &Receiver<Entry>) {
        if let Err(error) = self.write(entries) {
            let path = self.path.display();
            tracing::error!(%path, error = &error as &dyn std::error::Error, "journal not written; this segment ends here");
        }
    }

    fn write(&self, entries: &Receiver<Entry>) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        remove_oldest(&self.folder, self.most)?;
        let mut file = SegmentFile::create(&self.path)?;
        let mut writer = LineWriter::default();
        let mut lines = Vec::new();
        loop {
            match entries.recv_timeout(BLOCK_AGE) {
                Ok(Entry::Begin(beginning, effects)) => {
                    for line in LineWriter::begin(env!("CARGO_PKG_VERSION"), &beginning) {
                        lines.extend(line);
                        self.flush(&mut file, &mut lines, BLOCK_BYTES)?;
                    }
                    lines.extend(LineWriter::begun(&effects));
                    self.bytes.store(0, Ordering::Relaxed);
                }
                Ok(Entry::Step(now, event, effects)) => lines.extend(writer.step(now, &event, &effects)),
                Err(RecvTimeoutError::Timeout) => self.flush(&mut file, &mut lines, 1)?,
                Err(RecvTimeoutError::Disconnected) => return self.flush(&mut file, &mut lines, 1),
            }
            self.flush(&mut file, &mut lines, BLOCK_BYTES)?;
        }
    }

    /// Writes the lines as a block, if they are so many bytes.
    fn flush(&self, file: &mut SegmentFile, lines: &mut Vec<u8>, least: usize) -> std::io::Result<()> {
        if lines.len() < least {
            return Ok(());
        }
        let before = file.bytes;
        file.append(lines)?;
        self.bytes.fetch_add(file.bytes - before, Ordering::Relaxed);
        lines.clear();
        Ok(())
    }
}

/// Removes segments, oldest first, until the rest take no more than `most` bytes.
fn remove_oldest(folder: &Path, most: u64) -> std::io::Result<()> {
    let mut segments = super::segments(folder)?;
    let mut sum: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
    segments.reverse();
    while let Some((path, bytes)) = segments.pop()
        && sum > most
    {
        std::fs::remove_file(&path)?;
        sum -= bytes;
    }
    Ok(())
}
