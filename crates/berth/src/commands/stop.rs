//! `berth stop`: ends a job or one allocation.

use std::time::Duration;

use berth_api::client::new_key;
use berth_api::wire::v1::{AllocState, JobState};
use berth_model::{AllocId, JobId};
use tokio::time::Instant;

use super::Context;
use super::target::{self, Target};
use crate::args::WaitArgs;
use crate::exit::{Status, failed};
use crate::output::{Format, Progress};

/// How often to ask whether it has ended.
const PACE: Duration = Duration::from_millis(100);

/// Stops what is named, and waits until it has ended unless told not to.
pub async fn stop(context: &Context, text: &str, wait: WaitArgs) -> anyhow::Result<()> {
    match target::read(text, &context.namespace)? {
        Target::Alloc(id) => stop_alloc(context, id, wait).await,
        Target::Name(id) => stop_job(context, &id, wait).await,
        Target::Node(id) => {
            Err(failed(Status::Usage, format!("{id} is a node: `berth stop` takes a job's name or an allocation's id")))
        }
    }
}

async fn stop_job(context: &Context, id: &JobId, wait: WaitArgs) -> anyhow::Result<()> {
    let outcome = context.client.stop_job(id, &new_key()).await?;
    let left = async || {
        let job = context.client.job(id).await?.summary;
        let left: u32 = job.groups.iter().map(|group| group.allocs.running + group.allocs.stopping).sum();
        let ended = matches!(job.state, JobState::Ended { .. });
        Ok((!ended).then(|| format!("{left} allocations are left")))
    };
    let done = until_ended(context.format, &id.name.to_string(), wait, left).await?;
    context.format.show(&outcome, |_| format!("{} {done}\n", id.name))
}

async fn stop_alloc(context: &Context, id: AllocId, wait: WaitArgs) -> anyhow::Result<()> {
    let outcome = context.client.stop_alloc(id, &new_key()).await?;
    let left = async || {
        let state = context.client.alloc(id).await?.state;
        let ended = matches!(state, AllocState::Ended { .. });
        Ok((!ended).then(|| format!("it is {}", state.word())))
    };
    let done = until_ended(context.format, &id.to_string(), wait, left).await?;
    context.format.show(&outcome, |_| format!("{id} {done}\n"))
}

/// Waits as long as something is left, and says how far it came.
async fn until_ended(
    format: Format,
    what: &str,
    wait: WaitArgs,
    left: impl AsyncFn() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<&'static str> {
    if wait.detach {
        return Ok("is stopping");
    }
    let deadline = Instant::now() + Duration::from_secs(wait.timeout.into());
    let progress = Progress::start(format);
    while let Some(left) = left().await? {
        if Instant::now() >= deadline {
            let message = format!(
                "{what} has not ended after {} seconds: {left}; it goes on without being followed: `berth status {what}`",
                wait.timeout
            );
            return Err(failed(Status::NotReached, message));
        }
        progress.say(format!("stopping {what}: {left}"));
        tokio::time::sleep(PACE).await;
    }
    progress.end();
    Ok("has stopped")
}
