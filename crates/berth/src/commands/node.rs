//! `berth node`: the machines.

use berth_api::client::AllocFilter;
use berth_api::wire::v1::{Alloc, Drain, Node, NodeCondition, NodeConditionKind, NodeDevice, NodeState, parts};
use serde::Serialize;

use super::{Context, status};
use crate::output::table;

/// All nodes.
#[derive(Serialize)]
struct Nodes {
    nodes: Vec<Node>,
}

/// `berth node list`
pub async fn list(context: &Context) -> anyhow::Result<()> {
    let nodes = context.client.nodes().await?;
    context.format.show(&Nodes { nodes }, |all| rows(&all.nodes))
}

/// Nodes as a table.
pub fn rows(nodes: &[Node]) -> String {
    let row = |node: &Node| {
        let (used, all) = (model(&node.used), model(&node.resources));
        [
            node.name.to_string(),
            node.id.to_string(),
            words(node),
            node.address.clone(),
            node.allocs.to_string(),
            format!("{} of {}", used.cpu, all.cpu),
            format!("{} of {}", used.memory, all.memory),
            format!("{} of {}", used.disk, all.disk),
            format!("{} of {}", used.network, all.network),
        ]
    };
    table(["NODE", "ID", "STATE", "ADDRESS", "ALLOCS", "CPU", "MEMORY", "DISK", "NETWORK"], nodes.iter().map(row))
}

fn device_rows(devices: &[NodeDevice]) -> String {
    let row = |NodeDevice { device, used_thousandths }: &NodeDevice| {
        let attributes = device.attributes.iter().map(|(key, value)| format!("{key}={value}"));
        [
            device.id.to_string(),
            device.kind.to_string(),
            parts(u64::from(*used_thousandths)),
            device.paths.join(","),
            attributes.collect::<Vec<_>>().join(","),
        ]
    };
    table(["DEVICE", "KIND", "USED", "FILES", "ATTRIBUTES"], devices.iter().map(row))
}

fn model(resources: &berth_api::wire::v1::Resources) -> berth_model::Resources {
    resources.clone().into()
}

/// Where it stands, and what is wrong with it.
fn words(node: &Node) -> String {
    match node.state {
        NodeState::Ready { .. } => {
            let wrong = node.conditions.iter().map(|condition| format!(", {}", condition.kind));
            let stands = match &node.drain {
                None => "ready",
                Some(Drain { done: None, .. }) => "draining",
                Some(Drain { done: Some(_), .. }) => "drained",
            };
            std::iter::once(stands.to_owned()).chain(wrong).collect()
        }
        NodeState::Lost { .. } if node.drain.is_some() => "lost, draining".to_owned(),
        NodeState::Lost { .. } => "lost".to_owned(),
    }
}

/// How far the emptying of a node is.
fn drained(drain: &Drain, node: &Node) -> String {
    let Drain { since, cause, deadline, done } = drain;
    let rest = match (done, deadline) {
        (Some(done), _) => format!("nothing is left since {done}; `berth enable {}` gives it work again", node.name),
        (None, Some(deadline)) => format!("{} allocations are left; they are stopped at {deadline}", node.allocs),
        (None, None) => format!("{} allocations are left", node.allocs),
    };
    format!("\ndrained since {since} by {cause}: {rest}\n")
}

/// A node with what is on it.
#[derive(Serialize)]
struct Whole {
    node: Node,
    allocs: Vec<Alloc>,
}

/// `berth node show`
pub async fn show(context: &Context, name: &str) -> anyhow::Result<()> {
    let node = context.client.node(name).await?;
    let filter = AllocFilter { node: Some(node.id.to_string()), ..AllocFilter::default() };
    let allocs = context.client.allocs(&filter).await?;
    context.format.show(&Whole { node, allocs }, |whole| {
        let mut text = rows(std::slice::from_ref(&whole.node));
        if let NodeState::Lost { since, cause } = &whole.node.state {
            text += &format!("\nlost since {since}: {cause}\n");
            if whole.node.allocs > 0 {
                text += &format!(
                    "{} of its allocations are not given up: what is fenced will be when its lease has ended, the rest \
                     when its time is over, or by `berth node abandon {}`\n",
                    whole.node.allocs, whole.node.name
                );
            }
        }
        if let Some(drain) = &whole.node.drain {
            text += &drained(drain, &whole.node);
        }
        for NodeCondition { kind, since } in &whole.node.conditions {
            let what_follows = match kind {
                NodeConditionKind::DiskFull => {
                    "what runs goes on, nothing new is placed here until the disk of the agent's data folder has more \
                     than its `disk_reserve` free"
                }
            };
            text += &format!("\n{kind} since {since}: {what_follows}\n");
        }
        if !whole.node.devices.is_empty() {
            text += &("\n".to_owned() + &device_rows(&whole.node.devices));
        }
        text += "\nATTRIBUTES\n";
        for (key, value) in &whole.node.attributes {
            text += &format!("  {key} = {value}\n");
        }
        text + "\nALLOCATIONS\n" + &status::alloc_rows(&whole.allocs)
    })
}
