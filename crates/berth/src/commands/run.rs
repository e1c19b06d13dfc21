//! `berth run`: makes a job run as its file says, and follows it until it does.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use berth_api::jobfile;
use berth_api::wire::v1::{
    Alloc, AllocState, CommandOutcome, JobKind, JobOutcome, JobState, JobSummary, Outcome, Verdict, WaitReason,
};
use berth_model::{Bytes, IdempotencyKey, JobId, JobSpec, PlanId, limits};
use serde::Serialize;
use tokio::time::Instant;

use super::{Context, status, target};
use crate::args::RunArgs;
use crate::exit::{Status, failed};
use crate::output::{Format, Progress, print};

/// How often to ask how far it is.
const PACE: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Serialize)]
struct Ran {
    outcome: CommandOutcome,
    /// Absent with `--detach`.
    #[serde(skip_serializing_if = "Option::is_none")]
    allocs: Option<Vec<Alloc>>,
}

/// `berth run`
pub async fn run(context: &Context, args: RunArgs) -> anyhow::Result<()> {
    let spec = read(&args.file)?;
    let id = spec.id.clone();
    let key = args.idempotency_key.map_or_else(berth_api::client::new_key, IdempotencyKey);
    let outcome = match args.plan_id {
        Some(plan) => context.client.run_job_as_planned(&spec, plan_id(&plan)?, &key).await?,
        None => context.client.run_job(&spec, &key).await?,
    };
    let CommandOutcome::JobVersion { version, changed, .. } = &outcome else {
        anyhow::bail!("the server answered `run` with something else: {outcome:?}");
    };
    let version = version.0;
    let told = match changed {
        true => format!("{} is accepted as version {version}\n", id.name),
        false => format!("{} is version {version} already; nothing changed\n", id.name),
    };
    if context.format == Format::Text {
        print(&told)?;
    }
    let allocs = match args.wait.detach {
        true => None,
        false => Some(follow(context, &id, Duration::from_secs(args.wait.timeout.into())).await?),
    };
    match (context.format, &allocs) {
        (Format::Text, None) => Ok(()),
        (Format::Text, Some(allocs)) => print(&status::alloc_rows(allocs)),
        (Format::Json, _) => context.format.show(&Ran { outcome, allocs }, |_| String::new()),
    }
}

fn plan_id(text: &str) -> anyhow::Result<PlanId> {
    text.parse().map_err(|error| failed(Status::Usage, format!("--plan-id: {error}")))
}

/// Reads a job file.
pub fn read(file: &Path) -> anyhow::Result<JobSpec> {
    let (name, text) = text_of(file, "job file")?;
    jobfile::parse(&name, &text).map_err(|errors| failed(Status::Usage, errors.to_string()))
}

/// The name and the text of a file, which is told as `what` where it cannot be read; `-` is standard input.
pub(super) fn text_of(file: &Path, what: &str) -> anyhow::Result<(String, String)> {
    let (name, bytes) = match file.to_str() {
        Some("-") => {
            let mut bytes = Vec::new();
            let limit = limits::JOB_BYTES as u64 + 1;
            std::io::stdin().take(limit).read_to_end(&mut bytes).context("cannot read standard input")?;
            ("<stdin>".to_owned(), bytes)
        }
        _ => {
            let name = file.display().to_string();
            let mut bytes = Vec::new();
            let open = std::fs::File::open(file).map(|file| file.take(limits::JOB_BYTES as u64 + 1));
            open.and_then(|mut file| file.read_to_end(&mut bytes))
                .map_err(|error| failed(Status::Usage, format!("cannot read the {what} {name}: {error}")))?;
            (name, bytes)
        }
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        failed(Status::Usage, format!("{name}: byte {place} is not UTF-8; save the file as UTF-8 text"))
    })?;
    Ok((name, text))
}

/// How far a job is.
enum Stage {
    /// Everything runs and is ready, or is done.
    There,
    /// On its way; what to show meanwhile.
    Going(String),
    /// It cannot get there by waiting.
    Stuck(String),
}

async fn follow(context: &Context, id: &JobId, within: Duration) -> anyhow::Result<Vec<Alloc>> {
    let deadline = Instant::now() + within;
    let progress = Progress::start(context.format);
    loop {
        let job = context.client.job(id).await?.summary;
        let allocs = target::job_allocs(context, id).await?;
        match stage(&job, &allocs) {
            Stage::There => {
                progress.end();
                return Ok(allocs.into_iter().filter(|alloc| is_live(alloc) || is_there(alloc)).collect());
            }
            Stage::Stuck(why) => return Err(failed(Status::NotReached, format!("{}: {why}", id.name))),
            Stage::Going(what) if Instant::now() >= deadline => {
                let message = format!(
                    "{} is not there after {} seconds: {what}; it goes on without being followed: `berth status {}`",
                    id.name,
                    within.as_secs(),
                    id.name
                );
                return Err(failed(Status::NotReached, message));
            }
            Stage::Going(what) => progress.say(what),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// A job is there when nothing of it is on its way. Versions do not matter here: an instance whose group
/// a new version leaves as it was stays, and one that is being replaced has a successor that is not ready.
fn stage(job: &JobSummary, allocs: &[Alloc]) -> Stage {
    match job.state {
        JobState::Ended { outcome: JobOutcome::Failed, .. } => return Stage::Stuck(failure(allocs)),
        JobState::Ended { outcome: JobOutcome::Complete, .. } => return Stage::There,
        JobState::Ended { outcome: JobOutcome::Stopped, .. } | JobState::Stopping { .. } => {
            return Stage::Stuck("somebody stopped it".to_owned());
        }
        JobState::Active => {}
    }
    if let Some(stuck) = allocs.iter().find_map(|alloc| stuck(job.kind, alloc, allocs)) {
        return Stage::Stuck(stuck);
    }
    let wanted = match job.kind {
        JobKind::Service | JobKind::Batch => job.groups.iter().map(|group| group.count as usize).sum(),
        JobKind::System => allocs.iter().filter(|alloc| is_live(alloc)).count().max(1),
    };
    let there = allocs.iter().filter(|alloc| is_there(alloc)).count();
    let on_its_way = allocs.iter().any(|alloc| is_live(alloc) && !is_there(alloc));
    if there >= wanted && !on_its_way {
        return Stage::There;
    }
    Stage::Going(format!("{there} of {wanted} ready{}", detail(allocs)))
}

fn is_live(alloc: &Alloc) -> bool {
    !matches!(alloc.state, AllocState::Ended { .. })
}

fn is_there(alloc: &Alloc) -> bool {
    match &alloc.state {
        AllocState::Running { ready, .. } => ready.is_some(),
        AllocState::Ended { outcome, .. } => matches!(outcome, Outcome::Complete),
        AllocState::Waiting { .. } | AllocState::Placed { .. } | AllocState::Stopping { .. } => false,
    }
}

/// An allocation that waiting cannot help, or whose forerunner has failed: a batch job has further tries
/// and ends by itself.
fn stuck(kind: JobKind, alloc: &Alloc, all: &[Alloc]) -> Option<String> {
    let never = |reason: &WaitReason| match reason {
        WaitReason::NoNodeFits { verdict, .. } | WaitReason::GangIncomplete { verdict, .. } => {
            *verdict == Verdict::Never
        }
        WaitReason::Queued | WaitReason::NoNodes | WaitReason::Preempting { .. } | WaitReason::BackOff { .. } => false,
    };
    if let AllocState::Waiting { reason, .. } = &alloc.state
        && never(reason)
    {
        return Some(format!("{}: {reason}; `berth why {}` tells more", alloc.id, alloc.id));
    }
    if kind == JobKind::Batch || !is_live(alloc) || is_there(alloc) {
        return None;
    }
    // While a replacement is tried again, what it replaces is an old instance that goes on.
    let before = match &alloc.state {
        AllocState::Waiting { reason: WaitReason::BackOff { failed, .. }, .. } => failed,
        AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => alloc.replaces.as_ref()?,
    };
    told_failure(all.iter().find(|other| other.id == *before)?)
}

fn told_failure(alloc: &Alloc) -> Option<String> {
    match &alloc.state {
        AllocState::Ended { outcome: Outcome::Failed { failure }, .. } => {
            Some(format!("{} failed: {}; `berth why {}` tells more", alloc.id, failure.message, alloc.id))
        }
        AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => None,
    }
}

fn failure(allocs: &[Alloc]) -> String {
    allocs.iter().rev().find_map(told_failure).unwrap_or_else(|| "it failed; `berth events` tells more".to_owned())
}

/// What the one that is furthest behind waits for.
fn detail(allocs: &[Alloc]) -> String {
    let told = allocs.iter().find_map(|alloc| match (&alloc.state, &alloc.progress) {
        (AllocState::Waiting { reason, .. }, _) => Some(format!("{} waits: {reason}", alloc.id)),
        (AllocState::Placed { .. }, Some(progress)) if progress.total.0 > 0 => {
            Some(format!("{} fetches {} of {}", alloc.id, Bytes(progress.done.0), Bytes(progress.total.0)))
        }
        (
            AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. }
            | AllocState::Ended { .. },
            _,
        ) => None,
    });
    told.map(|told| format!("; {told}")).unwrap_or_default()
}
