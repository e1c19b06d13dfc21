//! `berth replay`: the decisions of a journal made again.

mod what_if;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Error;
use berth_api::wire::v1::{Number, PolicyName, Time};
use berth_journal::{Difference, End, Finding, ReadError, Replayed};
use serde::Serialize;

use what_if::WhatIf;

use crate::exit::Status;
use crate::output::{Format, Progress, table};

/// What `--json` prints.
#[derive(Serialize)]
struct Shown {
    segments: Vec<Segment>,
}

#[derive(Serialize)]
struct Segment {
    file: String,
    #[serde(flatten)]
    opening: Option<Opening>,
    steps: Number,
    effects: Number,
    #[serde(flatten)]
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_if: Option<WhatIf>,
}

#[derive(Serialize)]
struct Opening {
    program: String,
    epoch: String,
    policy: PolicyName,
    policy_version: Number,
    from: Time,
    to: Time,
}

#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Same {
        /// The byte from which on there is only a part of what was to be written.
        #[serde(skip_serializing_if = "Option::is_none")]
        torn_at: Option<Number>,
    },
    Differs {
        difference: Differs,
    },
    Unreadable {
        problem: String,
    },
}

#[derive(Serialize)]
struct Differs {
    step: Number,
    at: Time,
    event: String,
    written: Vec<Mark>,
    now: Vec<Mark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<String>,
}

#[derive(Serialize)]
struct Mark {
    kind: String,
    bytes: Number,
    digest: String,
}

/// `berth replay`
pub fn replay(path: &Path, policy: Option<&Path>, format: Format) -> anyhow::Result<ExitCode> {
    let policy = policy.map(super::policy::read).transpose()?;
    let progress = Progress::start(format);
    let mut segments = Vec::new();
    for path in berth_journal::segments_at(path)? {
        progress.say(path.display().to_string());
        let mut segment = Segment::of(berth_journal::replay(&path))?;
        if let (Some(policy), Some(_)) = (&policy, &segment.opening) {
            segment.what_if = berth_journal::what_if(&path, policy)?.map(WhatIf::from);
        }
        segments.push(segment);
    }
    progress.end();
    let shown = Shown { segments };
    format.show(&shown, text)?;
    Ok(status(&shown))
}

fn status(shown: &Shown) -> ExitCode {
    let is = |wanted: fn(&Outcome) -> bool| shown.segments.iter().any(|segment| wanted(&segment.outcome));
    if is(|outcome| matches!(outcome, Outcome::Differs { .. })) {
        ExitCode::from(Status::NotReached as u8)
    } else if is(|outcome| matches!(outcome, Outcome::Unreadable { .. })) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn text(shown: &Shown) -> String {
    let rows = shown.segments.iter().map(|segment| {
        let file = Path::new(&segment.file).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let opening = |told: fn(&Opening) -> String| segment.opening.as_ref().map(told).unwrap_or_default();
        let (from, to) = (opening(|opening| opening.from.to_string()), opening(|opening| opening.to.to_string()));
        let outcome = match &segment.outcome {
            Outcome::Same { torn_at: None } => "the same".to_owned(),
            Outcome::Same { torn_at: Some(at) } => format!("the same, up to a torn end at byte {at}"),
            Outcome::Differs { difference } => format!("differs at step {}", difference.step),
            Outcome::Unreadable { .. } => "cannot be read further".to_owned(),
        };
        [file, segment.steps.to_string(), segment.effects.to_string(), from, to, outcome]
    });
    let mut text = table(["SEGMENT", "STEPS", "EFFECTS", "FROM", "TO", "OUTCOME"], rows);
    for segment in &shown.segments {
        match &segment.outcome {
            Outcome::Same { .. } => {}
            Outcome::Differs { difference } => text += &difference.text(&segment.file),
            Outcome::Unreadable { problem } => text += &format!("\n{problem}\n"),
        }
        if let Some(what_if) = &segment.what_if {
            text += &format!("\n{}\n{}", segment.file, what_if.text());
        }
    }
    text
}

impl Segment {
    /// As it is shown. A file of which nothing could be read is no segment, but an error.
    fn of(replayed: Replayed) -> anyhow::Result<Segment> {
        let Replayed { path, opening, steps, effects, to, finding } = replayed;
        let outcome = match (finding, &opening) {
            (Finding::Unreadable(error @ (ReadError::Io { .. } | ReadError::NotAJournal { .. })), None) => {
                return Err(error.into());
            }
            (Finding::Unreadable(error), _) => Outcome::Unreadable { problem: format!("{:#}", Error::new(error)) },
            (Finding::Same(End::Whole), _) => Outcome::Same { torn_at: None },
            (Finding::Same(End::Torn(at)), _) => Outcome::Same { torn_at: Some(Number(at)) },
            (Finding::Differs(difference), _) => Outcome::Differs { difference: Differs::from(*difference) },
        };
        let opening = opening.map(|opening| Opening {
            program: opening.program,
            epoch: opening.epoch.to_string(),
            policy: opening.policy.into(),
            policy_version: Number(opening.policy_version.0),
            from: opening.from.into(),
            to: to.into(),
        });
        let (steps, effects) = (Number(steps), Number(effects));
        Ok(Segment { file: path.display().to_string(), opening, steps, effects, outcome, what_if: None })
    }
}

impl Differs {
    fn text(&self, file: &str) -> String {
        let marks = |marks: &[Mark]| {
            let told: Vec<String> = marks.iter().map(|mark| format!("{} of {} bytes", mark.kind, mark.bytes)).collect();
            told.join(", ")
        };
        let Differs { step, at, event, written, now, effect } = self;
        let (written, now) = (marks(written), marks(now));
        let mut text = format!("\n{file}: step {step} at {at}\n  event: {event}\n");
        text += &format!("  effects then: {written}\n  effects now:  {now}\n");
        if let Some(effect) = effect {
            text += &format!("  the first that differs, now: {effect}\n");
        }
        text
    }
}

impl From<Difference> for Differs {
    fn from(difference: Difference) -> Differs {
        let mark = |mark: berth_journal::Mark| Mark {
            kind: mark.kind,
            bytes: Number(mark.bytes),
            digest: format!("{:032x}", mark.digest),
        };
        Differs {
            step: Number(difference.step),
            at: difference.at.into(),
            event: difference.event,
            written: difference.written.into_iter().map(mark).collect(),
            now: difference.now.into_iter().map(mark).collect(),
            effect: difference.effect,
        }
    }
}
