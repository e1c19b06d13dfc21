//! `berth replay`: the decisions of a journal made again.

use std::path::Path;
use std::process::ExitCode;

use berth_api::wire::v1::{Number, Time};
use berth_server::{Difference, End, Replayed};
use serde::Serialize;

use crate::exit::Status;
use crate::output::{Format, table};

#[derive(Serialize)]
struct Shown {
    segments: Vec<Segment>,
}

#[derive(Serialize)]
struct Segment {
    file: String,
    program: String,
    steps: Number,
    effects: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Time>,
    /// The byte from which on there is only a part of what was to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    torn_at: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Differs>,
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
pub fn replay(path: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let replayed = berth_server::replay(path)?;
    let differs = replayed.iter().any(|segment| segment.difference.is_some());
    let shown = Shown { segments: replayed.into_iter().map(Segment::from).collect() };
    format.show(&shown, text)?;
    Ok(if differs { ExitCode::from(Status::NotReached as u8) } else { ExitCode::SUCCESS })
}

fn text(shown: &Shown) -> String {
    let row = |segment: &Segment| {
        let outcome = match (&segment.difference, &segment.torn_at) {
            (Some(difference), _) => format!("differs at step {}", difference.step),
            (None, Some(at)) => format!("the same, up to a torn end at byte {at}"),
            (None, None) => "the same".to_owned(),
        };
        let time = |time: &Option<Time>| time.as_ref().map(ToString::to_string).unwrap_or_default();
        let file = Path::new(&segment.file).file_name().unwrap_or_default().to_string_lossy().into_owned();
        [file, segment.steps.to_string(), segment.effects.to_string(), time(&segment.from), time(&segment.to), outcome]
    };
    let mut text = table(["SEGMENT", "STEPS", "EFFECTS", "FROM", "TO", "OUTCOME"], shown.segments.iter().map(row));
    for segment in &shown.segments {
        let Some(difference) = &segment.difference else { continue };
        text += &format!(
            "\n{}: step {} at {}\n  event: {}\n  effects then: {}\n  effects now:  {}\n",
            segment.file,
            difference.step,
            difference.at,
            difference.event,
            marks(&difference.written),
            marks(&difference.now)
        );
        if let Some(effect) = &difference.effect {
            text += &format!("  the first that differs, now: {effect}\n");
        }
    }
    text
}

fn marks(marks: &[Mark]) -> String {
    marks.iter().map(|mark| format!("{} of {} bytes", mark.kind, mark.bytes)).collect::<Vec<_>>().join(", ")
}

impl From<Replayed> for Segment {
    fn from(replayed: Replayed) -> Segment {
        Segment {
            file: replayed.path.display().to_string(),
            program: replayed.program,
            steps: Number(replayed.steps),
            effects: Number(replayed.effects),
            from: replayed.times.map(|(from, _)| from.into()),
            to: replayed.times.map(|(_, to)| to.into()),
            torn_at: match replayed.end {
                End::Whole => None,
                End::Torn(at) => Some(Number(at)),
            },
            difference: replayed.difference.map(Differs::from),
        }
    }
}

impl From<Difference> for Differs {
    fn from(difference: Difference) -> Differs {
        let mark = |mark: berth_server::Mark| Mark {
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
