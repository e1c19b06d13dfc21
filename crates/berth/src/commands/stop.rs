//! `berth stop`: ends a job or one allocation.

use std::time::Duration;

use berth_api::client::new_key;
use berth_api::wire::v1::{AllocState, JobState};
use berth_model::{AllocId, JobId};

use super::Context;
use super::target::{self, Target};
use crate::exit::{Status, failed};
use crate::output::Progress;

/// How often to ask whether it has ended.
const PACE: Duration = Duration::from_millis(100);

/// Stops what is named, and waits until it has ended unless told not to.
pub async fn stop(context: &Context, text: &str, detach: bool) -> anyhow::Result<()> {
    match target::read(text, &context.namespace)? {
        Target::Alloc(id) => stop_alloc(context, id, detach).await,
        Target::Name(id) => stop_job(context, &id, detach).await,
        Target::Node(id) => {
            Err(failed(Status::Usage, format!("{id} is a node: `berth stop` takes a job's name or an allocation's id")))
        }
    }
}

async fn stop_job(context: &Context, id: &JobId, detach: bool) -> anyhow::Result<()> {
    let outcome = context.client.stop_job(id, &new_key()).await?;
    if !detach {
        wait_for_end(context, id).await?;
    }
    context.format.show(&outcome, |_| format!("{} {}\n", id.name, if detach { "is stopping" } else { "has stopped" }))
}

async fn wait_for_end(context: &Context, id: &JobId) -> anyhow::Result<()> {
    let progress = Progress::start(context.format);
    loop {
        let job = context.client.job(id).await?;
        if matches!(job.summary.state, JobState::Ended { .. }) {
            progress.end();
            return Ok(());
        }
        let left: u32 = job.summary.groups.iter().map(|group| group.allocs.running + group.allocs.stopping).sum();
        progress.say(format!("stopping {}: {left} allocations are left", id.name));
        tokio::time::sleep(PACE).await;
    }
}

async fn stop_alloc(context: &Context, id: AllocId, detach: bool) -> anyhow::Result<()> {
    let outcome = context.client.stop_alloc(id, &new_key()).await?;
    while !detach && !matches!(context.client.alloc(id).await?.state, AllocState::Ended { .. }) {
        tokio::time::sleep(PACE).await;
    }
    context.format.show(&outcome, |_| format!("{id} {}\n", if detach { "is stopping" } else { "has stopped" }))
}
