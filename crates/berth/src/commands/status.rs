//! `berth status`: the cluster, a job, a node or an allocation.

use berth_api::wire::v1::{
    Alloc, AllocCounts, AllocState, Balance, CheckState, CheckStatus, Job, JobState, JobSummary, Number, Outcome,
    Server, Status, TaskState, TaskStatus,
};
use berth_model::{AllocId, Bytes, JobId};
use serde::Serialize;

use super::target::{self, Target};
use super::{Context, node};
use crate::output::table;

/// So many moves are told to people.
const PROPOSED_MOVES: usize = 5;

/// The cluster with its jobs.
#[derive(Serialize)]
struct Cluster {
    status: Status,
    jobs: Vec<JobSummary>,
}

/// A job with its allocations.
#[derive(Serialize)]
struct Whole {
    job: Job,
    allocs: Vec<Alloc>,
}

/// Shows what is named; the cluster when nothing is.
pub async fn status(context: &Context, text: Option<&str>) -> anyhow::Result<()> {
    let Some(text) = text else { return cluster(context).await };
    match target::read(text, &context.namespace)? {
        Target::Alloc(id) => alloc(context, id).await,
        Target::Node(id) => node::show(context, &id.to_string()).await,
        Target::Name(id) => match job(context, &id).await {
            Err(error) if target::is_not_found(&error) => node::show(context, text).await.map_err(|_| error),
            result => result,
        },
    }
}

async fn cluster(context: &Context) -> anyhow::Result<()> {
    let status = context.client.status().await?;
    let jobs = context.client.jobs(Some(&context.namespace)).await?;
    context.format.show(&Cluster { status, jobs }, |all| {
        let status = &all.status;
        let head = format!(
            "nodes: {} ready, {} lost   jobs: {} active   allocations: {} running, {} waiting   server {}{}\n",
            status.nodes_ready,
            status.nodes_lost,
            status.jobs_active,
            status.allocs.running,
            status.allocs.waiting,
            status.version,
            status.leader.as_ref().map(|leader| format!(" at {leader}")).unwrap_or_default()
        );
        let balance = status.balance.as_ref().map(balance_lines).unwrap_or_default();
        format!("{head}{balance}{}\n{}", formats(status), job_rows(&all.jobs))
    })
}

/// That some server could write a newer format, where one could.
fn formats(status: &Status) -> String {
    let newer = |server: &&Server| server.newest_format > status.format;
    let (newer, all) = (status.servers.iter().filter(newer).count(), status.servers.len());
    let what = match newer {
        0 => return String::new(),
        _ if newer == all => {
            "every server knows a newer one: `berth finalise` begins it, and there is no way back".to_owned()
        }
        _ => format!("{newer} of {all} servers know a newer one"),
    };
    format!("what is stored has format {}; {what}\n", status.format)
}

/// What the optimiser says, and the moves that it proposes.
fn balance_lines(balance: &Balance) -> String {
    let tenths = |permille: &Number| format!("regret: at most {}.{} %", permille.0 / 10, permille.0 % 10);
    let regret = balance.regret_permille.as_ref().map_or("regret: not known".to_owned(), tenths);
    let moves: usize = balance.proposals.iter().map(|proposal| proposal.moves.len()).sum();
    let made = balance.balance_max.map(|most| format!("   made, {most} at once at most")).unwrap_or_default();
    let mut lines = format!("{regret}   proposed moves: {moves}{made}\n");
    let told = balance.proposals.iter().flat_map(|proposal| &proposal.moves).take(PROPOSED_MOVES);
    told.for_each(|one| lines += &format!("  {} from {} to {}\n", one.alloc, one.from, one.to));
    if moves > PROPOSED_MOVES {
        lines += &format!("  and {} more, see --json\n", moves - PROPOSED_MOVES);
    }
    lines
}

fn job_rows(jobs: &[JobSummary]) -> String {
    let row = |job: &JobSummary| {
        let sum = |of: fn(&AllocCounts) -> u32| job.groups.iter().map(|group| of(&group.allocs)).sum::<u32>();
        [
            job.id.0.name.to_string(),
            job.kind.to_string(),
            job.version.to_string(),
            state(&job.state),
            format!("{}/{}", sum(|counts| counts.ready), job.groups.iter().map(|group| group.count).sum::<u32>()),
            sum(|counts| counts.waiting).to_string(),
            job.changed.to_string(),
        ]
    };
    table(["JOB", "KIND", "VERSION", "STATE", "READY", "WAITING", "CHANGED"], jobs.iter().map(row))
}

fn state(state: &JobState) -> String {
    match state {
        JobState::Active => "active".to_owned(),
        JobState::Stopping { .. } => "stopping".to_owned(),
        JobState::Ended { outcome, .. } => outcome.to_string(),
    }
}

async fn job(context: &Context, id: &JobId) -> anyhow::Result<()> {
    let job = context.client.job(id).await?;
    let allocs = target::job_allocs(context, id).await?;
    context.format.show(&Whole { job, allocs }, |whole| {
        job_rows(std::slice::from_ref(&whole.job.summary)) + "\n" + &alloc_rows(&whole.allocs)
    })
}

/// Allocations as a table, each that waits or failed with its reason below.
pub fn alloc_rows(allocs: &[Alloc]) -> String {
    let row = |alloc: &Alloc| {
        [
            alloc.id.to_string(),
            format!("{}[{}]", alloc.group, alloc.index),
            alloc.version.to_string(),
            stage(alloc),
            alloc.state.placement().map(|placement| placement.node.to_string()).unwrap_or_default(),
            ports(alloc),
            alloc.tasks.values().map(|task| task.restarts).sum::<u32>().to_string(),
            alloc.state.since().to_string(),
        ]
    };
    let mut text =
        table(["ALLOC", "GROUP", "VERSION", "STATE", "NODE", "PORTS", "RESTARTS", "SINCE"], allocs.iter().map(row));
    for alloc in allocs {
        if let Some(reason) = reason(alloc) {
            text += &format!("\n{}: {reason}\n", alloc.id);
        }
    }
    text
}

fn stage(alloc: &Alloc) -> String {
    match (&alloc.state, &alloc.progress) {
        (state, _) if alloc.unheard.is_some() => format!("{}, not heard of", state.word()),
        (AllocState::Placed { .. }, Some(progress)) if progress.total.0 > 0 => {
            format!("pulling {} of {}", Bytes(progress.done.0), Bytes(progress.total.0))
        }
        (AllocState::Running { ready: Some(_), .. }, _) => "running, ready".to_owned(),
        (state, _) => state.word().to_owned(),
    }
}

fn ports(alloc: &Alloc) -> String {
    let ports = alloc.state.placement().map(|placement| &placement.ports);
    let ports = ports.into_iter().flatten().map(|(name, port)| format!("{name}={port}"));
    ports.collect::<Vec<_>>().join(" ")
}

fn reason(alloc: &Alloc) -> Option<String> {
    if let Some(unheard) = &alloc.unheard {
        return Some(unheard.to_string());
    }
    match &alloc.state {
        AllocState::Waiting { reason, .. } => Some(reason.to_string()),
        AllocState::Ended {
            outcome:
                outcome @ (Outcome::Failed { .. }
                | Outcome::Lost { .. }
                | Outcome::Preempted { .. }
                | Outcome::Drained { .. }),
            ..
        } => Some(match &alloc.followed_by {
            Some(next) => format!("{outcome}; {next}"),
            None => outcome.to_string(),
        }),
        AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => troubles(alloc),
    }
}

/// What is wrong with the tasks of an allocation: those that wait to be started again, and checks that do not pass.
pub fn troubles(alloc: &Alloc) -> Option<String> {
    let idle = alloc.tasks.iter().filter(|(_, task)| matches!(task.state, TaskState::BackOff { .. }));
    let idle = idle.map(|(name, task)| format!("task {name}: {}", task_line(task)));
    let running = alloc.tasks.iter().filter(|(_, task)| matches!(task.state, TaskState::Running { .. }));
    let unhealthy = running.flat_map(|(name, task)| {
        let open = task.checks.iter().filter(|(_, check)| check.state != CheckState::Passing);
        open.map(move |(check, status)| format!("task {name}: check {check} {}", check_line(status)))
    });
    let told: Vec<String> = idle.chain(unhealthy).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// A task in one line.
pub fn task_line(task: &TaskStatus) -> String {
    let state = match &task.state {
        TaskState::Pending => "pending".to_owned(),
        TaskState::Running { pid, started } => format!("running as pid {pid} since {started}"),
        TaskState::BackOff { until } => format!("will be started again at {until}"),
        TaskState::Done => "done".to_owned(),
    };
    match &task.last_exit {
        Some(exit) => format!("{state}; last ended at {}: {}", exit.at, exit.how),
        None => state,
    }
}

/// What came of a check, in one line.
fn check_line(check: &CheckStatus) -> String {
    let state = match check.state {
        CheckState::Pending => "has not passed yet,",
        CheckState::Passing => "passes",
        CheckState::Failing => "fails",
    };
    let failures = match check.failures {
        0 => String::new(),
        1 => ", one failure".to_owned(),
        n => format!(", {n} failures in a row"),
    };
    let said = if check.output.is_empty() { String::new() } else { format!(": {}", check.output) };
    format!("{state} since {}{failures}{said}", check.since)
}

async fn alloc(context: &Context, id: AllocId) -> anyhow::Result<()> {
    let alloc = context.client.alloc(id).await?;
    context.format.show(&alloc, |alloc| {
        let mut text = alloc_rows(std::slice::from_ref(alloc)) + "\nTASKS\n";
        for (name, task) in &alloc.tasks {
            text += &format!("  {name}: {}, {} restarts\n", task_line(task), task.restarts);
            for (check, status) in &task.checks {
                text += &format!("    check {check} {}\n", check_line(status));
            }
        }
        text
    })
}
