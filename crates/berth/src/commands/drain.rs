//! `berth drain`, `berth enable` and `berth node abandon`: nodes are emptied, given work again, or given up.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_api::client::{AllocFilter, new_key};
use berth_api::wire::v1::{
    AbandonRequest, AllocId, AllocState, CommandOutcome, DrainRequest, EnableRequest, JobId, Node, NodeId, NodeState,
    Number,
};
use berth_model::Millis;
use serde::Serialize;
use tokio::time::Instant;

use super::Context;
use crate::args::DrainArgs;
use crate::exit::{Status, failed};
use crate::output::Progress;
use crate::quantity::Quantity;

/// How often to ask what is left.
const PACE: Duration = Duration::from_millis(250);

/// Of so many jobs it is told what holds them up.
const EXPLAINED: usize = 3;

/// The nodes, as they stand when the command ends.
#[derive(Serialize)]
struct Nodes {
    nodes: Vec<Node>,
}

/// Empties nodes, and waits until they are empty unless told not to.
pub async fn drain(context: &Context, args: DrainArgs) -> anyhow::Result<()> {
    let deadline = if args.force { Some(Millis(0)) } else { args.deadline.map(|Quantity(deadline)| deadline) };
    let request = DrainRequest { nodes: args.nodes, deadline_ms: deadline.map(|Millis(millis)| Number(millis)) };
    let outcome = context.client.drain(&request, &new_key()).await?;
    let CommandOutcome::Draining { nodes: ids } = outcome else { anyhow::bail!("the server did something else") };
    if !args.detach {
        until_drained(context, &ids, args.timeout).await?;
    }
    show(context, &ids).await
}

/// Gives nodes work again.
pub async fn enable(context: &Context, nodes: Vec<String>) -> anyhow::Result<()> {
    let outcome = context.client.enable(&EnableRequest { nodes }, &new_key()).await?;
    let CommandOutcome::Enabled { nodes: ids } = outcome else { anyhow::bail!("the server did something else") };
    show(context, &ids).await
}

/// Gives up what is kept on lost nodes.
pub async fn abandon(context: &Context, nodes: Vec<String>) -> anyhow::Result<()> {
    let outcome = context.client.abandon(&AbandonRequest { nodes }, &new_key()).await?;
    let CommandOutcome::Abandoned { nodes: ids } = outcome else { anyhow::bail!("the server did something else") };
    show(context, &ids).await
}

async fn show(context: &Context, ids: &[NodeId]) -> anyhow::Result<()> {
    let nodes = these(context, ids).await?;
    context.format.show(&Nodes { nodes }, |all| super::node::rows(&all.nodes))
}

async fn these(context: &Context, ids: &[NodeId]) -> anyhow::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for id in ids {
        nodes.push(context.client.node(&id.to_string()).await?);
    }
    Ok(nodes)
}

async fn until_drained(context: &Context, ids: &[NodeId], timeout: Option<u32>) -> anyhow::Result<()> {
    let end = timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let progress = Progress::start(context.format);
    loop {
        let nodes = these(context, ids).await?;
        if let Some(enabled) = nodes.iter().find(|node| node.drain.is_none()) {
            let name = &enabled.name.0;
            let message =
                format!("not drained: somebody has enabled {name} meanwhile; `berth events` tells who and when");
            return Err(failed(Status::NotReached, message));
        }
        let waits = |node: &Node| node.drain.as_ref().is_some_and(|drain| drain.done.is_none());
        let left: Vec<&Node> = nodes.iter().filter(|node| waits(node)).collect();
        if left.is_empty() {
            progress.end();
            return Ok(());
        }
        let what = what_is_left(context, &left).await?;
        if end.is_some_and(|end| Instant::now() >= end) {
            let names: Vec<&str> = left.iter().map(|node| node.name.0.as_str()).collect();
            let message = format!(
                "not drained after {} seconds: {what}; the drain goes on without being followed: `berth node show {}`",
                timeout.unwrap_or_default(),
                names[0]
            );
            return Err(failed(Status::NotReached, message));
        }
        progress.say(what);
        tokio::time::sleep(PACE).await;
    }
}

/// What is left on the nodes, job by job, and why some of it is.
async fn what_is_left(context: &Context, nodes: &[&Node]) -> anyhow::Result<String> {
    let mut of_job: BTreeMap<JobId, Vec<AllocId>> = BTreeMap::new();
    for node in nodes {
        let filter = AllocFilter { node: Some(node.id.to_string()), ..AllocFilter::default() };
        for alloc in context.client.allocs(&filter).await? {
            if !matches!(alloc.state, AllocState::Ended { .. } | AllocState::Waiting { .. }) {
                of_job.entry(alloc.job).or_default().push(alloc.id);
            }
        }
    }
    let mut parts = Vec::new();
    for (at, (job, left)) in of_job.iter().enumerate() {
        let why = if at < EXPLAINED { what_holds_up(context, job, left).await? } else { None };
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        parts.push(format!("{} of {job}{why}", left.len()));
    }
    let lost: Vec<&str> = nodes
        .iter()
        .filter(|node| matches!(node.state, NodeState::Lost { .. }))
        .map(|node| node.name.0.as_str())
        .collect();
    if !lost.is_empty() {
        parts.push(format!("{} is lost: whether anything is left there is known when it is back", lost.join(", ")));
    }
    if parts.is_empty() {
        parts.push("nothing, as far as is known; the agents have not confirmed it yet".to_owned());
    }
    let (count, verb) = (nodes.len(), if nodes.len() == 1 { "node is" } else { "nodes are" });
    Ok(format!("{count} {verb} not empty yet: {}", parts.join(", ")))
}

/// Why those that are to take over from what is left of a job do not yet, if one of them waits for a place.
async fn what_holds_up(context: &Context, job: &JobId, left: &[AllocId]) -> anyhow::Result<Option<String>> {
    let filter = AllocFilter { job: Some(job.0.clone()), ..AllocFilter::default() };
    let next = context.client.allocs(&filter).await?.into_iter().find_map(|alloc| match alloc.state {
        AllocState::Waiting { reason, .. } if alloc.replaces.is_some_and(|old| left.contains(&old)) => {
            Some(format!("{} is to take over and waits: {reason}", alloc.id))
        }
        _ => None,
    });
    Ok(next)
}
