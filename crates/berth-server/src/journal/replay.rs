//! Replaying: the events of a segment through the same core again, and what comes of them against what came of them.

use std::path::{Path, PathBuf};

use berth_control::{Beginning, Core, Effect};
use berth_model::{Snapshot, Timestamp};
use berth_record::SnapshotBuilder;
use berth_record::journal::{Line, LineReader, Mark, marks};

use super::file::{End, ReadError, SegmentReader};

/// What came of replaying a segment.
#[derive(Debug)]
pub struct Replayed {
    /// The file.
    pub path: PathBuf,
    /// The version of the program that wrote it.
    pub program: String,
    /// Events that were replayed.
    pub steps: u64,
    /// Effects that were compared.
    pub effects: u64,
    /// The time of the first and of the last event.
    pub times: Option<(Timestamp, Timestamp)>,
    /// How the file ends.
    pub end: End,
    /// Where the replay first came to something else.
    pub difference: Option<Difference>,
}

/// Something that came out otherwise.
#[derive(Debug)]
pub struct Difference {
    /// After which event: 0 is the beginning.
    pub step: u64,
    /// When.
    pub at: Timestamp,
    /// The event.
    pub event: String,
    /// The marks of the effects that were written down.
    pub written: Vec<Mark>,
    /// The marks of the effects now.
    pub now: Vec<Mark>,
    /// The first effect of now that is another one.
    pub effect: Option<String>,
}

/// Replays a segment, or every segment of a folder, oldest first. Each goes as far as the first difference.
pub fn replay(path: &Path) -> Result<Vec<Replayed>, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    if !path.is_dir() {
        return Ok(replay_segment(path)?.into_iter().collect());
    }
    let segments = super::segments(path).map_err(io)?;
    if segments.is_empty() {
        return Err(ReadError::NotAJournal { path: path.to_owned() });
    }
    let replayed: Result<Vec<Option<Replayed>>, ReadError> =
        segments.iter().map(|(path, _)| replay_segment(path)).collect();
    Ok(replayed?.into_iter().flatten().collect())
}

/// The lines of a segment, in order.
struct Lines {
    reader: SegmentReader,
    understood: LineReader,
    block: std::vec::IntoIter<Vec<u8>>,
    at: u64,
    end: Option<End>,
}

impl Lines {
    fn next(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            if let Some(line) = self.block.next() {
                let read = self.understood.read("a line of the journal", &line);
                return read.map(Some).map_err(|error| {
                    let source =
                        std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                    self.reader.damaged(self.at, &format!("a line in the block cannot be understood{source}"))
                });
            }
            match self.reader.next()? {
                Ok((at, lines)) => {
                    self.at = at;
                    let lines: Vec<Vec<u8>> = lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                    let whole: Vec<Vec<u8>> = lines.into_iter().filter(|line| !line.is_empty()).collect();
                    self.block = whole.into_iter();
                }
                Err(end) => {
                    self.end = Some(end);
                    return Ok(None);
                }
            }
        }
    }
}

/// None: its writer died before it had written what the core began with.
fn replay_segment(path: &Path) -> Result<Option<Replayed>, ReadError> {
    let Some(reader) = SegmentReader::open(path)? else { return Ok(None) };
    let mut lines =
        Lines { reader, understood: LineReader::default(), block: Vec::new().into_iter(), at: 0, end: None };
    let Some((program, beginning, written)) = begin(&mut lines)? else { return Ok(None) };
    let mut replayed = Replayed {
        path: path.to_owned(),
        program,
        steps: 0,
        effects: 0,
        times: None,
        end: End::Whole,
        difference: None,
    };
    let mut effects = Vec::new();
    let began = beginning.now;
    let mut core = Core::load(beginning, &mut effects);
    replayed.compare(began, || "the beginning".to_owned(), written, &effects);
    while replayed.difference.is_none() {
        let Some(line) = lines.next()? else { break };
        let Line::Step { now, event, effects: written } = line else {
            return Err(lines.reader.damaged(lines.at, "a line stands where an event should"));
        };
        effects.clear();
        let told = format!("{event:?}");
        core.step(now, event, &mut effects);
        replayed.steps += 1;
        replayed.times = Some((replayed.times.map_or(now, |(first, _)| first), now));
        replayed.compare(now, || told, written, &effects);
    }
    replayed.end = lines.end.unwrap_or(End::Whole);
    Ok(Some(replayed))
}

type Opening = (String, Beginning, Vec<Mark>);

fn begin(lines: &mut Lines) -> Result<Option<Opening>, ReadError> {
    let Some(Line::Head { program, settings, epoch, now }) = lines.next()? else { return Ok(None) };
    let mut builder = SnapshotBuilder::new();
    loop {
        match lines.next()? {
            Some(Line::Record(key, value)) => builder.add(&key, &value),
            Some(Line::Begun(marks)) => {
                let loaded = builder.finish().map_err(|error| lines.reader.damaged(lines.at, &error.to_string()))?;
                let snapshot: Snapshot = loaded.snapshot;
                return Ok(Some((program, Beginning { settings, snapshot, epoch, now }, marks)));
            }
            Some(Line::Head { .. } | Line::Step { .. }) => {
                return Err(lines.reader.damaged(lines.at, "a line stands where the beginning should"));
            }
            None => return Ok(None),
        }
    }
}

impl Replayed {
    fn compare(&mut self, at: Timestamp, event: impl FnOnce() -> String, written: Vec<Mark>, effects: &[Effect]) {
        let now = marks(effects);
        self.effects += now.len() as u64;
        if now == written {
            return;
        }
        let first = now.iter().zip(&written).take_while(|(now, written)| now == written).count();
        let effect = effects.get(first).map(|effect| shortened(format!("{effect:?}")));
        self.difference = Some(Difference { step: self.steps, at, event: shortened(event()), written, now, effect });
    }
}

/// What may be long, for people.
fn shortened(text: String) -> String {
    const LONGEST: usize = 2_000;
    if text.len() <= LONGEST { text } else { text.chars().take(LONGEST).chain("…".chars()).collect() }
}
