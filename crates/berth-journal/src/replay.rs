//! Replaying: the events of a segment through the same core again, and what comes of them against what came of them.

use std::path::{Path, PathBuf};

use berth_control::{Beginning, Core, Effect};
use berth_model::{Epoch, PolicyName, PolicyVersion, Timestamp};
use berth_record::journal::{Mark, marks};

use crate::file::{End, ReadError};
use crate::folder::segments;
use crate::reader::{Happened, Reader};

/// What came of replaying a segment.
#[derive(Debug)]
pub struct Replayed {
    /// The file.
    pub path: PathBuf,
    /// Its beginning; `None` where there is nothing to replay.
    pub opening: Option<Opening>,
    /// Events that were replayed.
    pub steps: u64,
    /// Effects that were compared.
    pub effects: u64,
    /// The time of the last event, or of the beginning.
    pub to: Timestamp,
    /// What was found.
    pub finding: Finding,
}

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The version of the program that wrote it.
    pub program: String,
    /// The reign.
    pub epoch: Epoch,
    /// The policy that decided first.
    pub policy: PolicyName,
    /// Its version.
    pub policy_version: PolicyVersion,
    /// When it begins.
    pub from: Timestamp,
}

/// What a replay found.
#[derive(Debug)]
pub enum Finding {
    /// Every effect has the bytes that it had, up to where the file ends.
    Same(End),
    /// Something came out otherwise; what is behind it was not looked at.
    Differs(Box<Difference>),
    /// Every effect has the bytes that it had, up to where the file cannot be read.
    Unreadable(ReadError),
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
    /// The first effect of now that is another one; `None` where one that was is missing.
    pub effect: Option<String>,
}

/// The segments that a path means: itself, or those of the folder that it is, oldest first.
///
/// # Errors
/// There is none, or the folder cannot be read.
pub fn segments_at(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let segments = segments(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    if segments.is_empty() {
        return Err(ReadError::NotAJournal { path: path.to_owned() });
    }
    Ok(segments.into_iter().map(|(path, _)| path).collect())
}

/// Replays a segment as far as it is the same.
pub fn replay(path: &Path) -> Replayed {
    let mut replayed = Replayed {
        path: path.to_owned(),
        opening: None,
        steps: 0,
        effects: 0,
        to: Timestamp(0),
        finding: Finding::Same(End::Whole),
    };
    replayed.finding = match replayed.run() {
        Ok(Ok(end)) => Finding::Same(end),
        Ok(Err(difference)) => Finding::Differs(difference),
        Err(error) => Finding::Unreadable(error),
    };
    replayed
}

type Compared<T> = Result<T, Box<Difference>>;

impl Replayed {
    fn run(&mut self) -> Result<Compared<End>, ReadError> {
        let mut reader = match Reader::open(&self.path)? {
            Ok(reader) => reader,
            Err(end) => return Ok(Ok(end)),
        };
        let Beginning { epoch, now, .. } = &reader.beginning;
        let (program, epoch, from) = (reader.program.clone(), *epoch, *now);
        let mut effects = Vec::new();
        let mut core = Core::load(reader.beginning.clone(), &mut effects);
        let policy = core.policy();
        let (policy, policy_version) = (policy.spec.name.clone(), policy.version);
        self.opening = Some(Opening { program, epoch, policy, policy_version, from });
        self.to = from;
        if let Err(difference) = self.compare(from, || "the beginning".to_owned(), &reader.begun, &effects) {
            return Ok(Err(difference));
        }
        loop {
            let Happened { now, event, effects: written } = match reader.next()? {
                Ok(happened) => happened,
                Err(end) => return Ok(Ok(end)),
            };
            effects.clear();
            core.step(now, event.clone(), &mut effects);
            self.steps += 1;
            self.to = now;
            if let Err(difference) = self.compare(now, || format!("{event:?}"), &written, &effects) {
                return Ok(Err(difference));
            }
        }
    }

    fn compare(
        &mut self,
        at: Timestamp,
        event: impl FnOnce() -> String,
        written: &[Mark],
        effects: &[Effect],
    ) -> Compared<()> {
        let now = marks(effects);
        let same = now.iter().zip(written).take_while(|(now, written)| now == written).count();
        self.effects += same as u64;
        if now == written {
            return Ok(());
        }
        let effect = effects.get(same).map(|effect| shortened(format!("{effect:?}")));
        let (event, written) = (shortened(event()), written.to_vec());
        Err(Box::new(Difference { step: self.steps, at, event, written, now, effect }))
    }
}

/// What may be long, for people.
fn shortened(text: String) -> String {
    const LONGEST: usize = 2_000;
    if text.len() <= LONGEST { text } else { text.chars().take(LONGEST).chain("…".chars()).collect() }
}
