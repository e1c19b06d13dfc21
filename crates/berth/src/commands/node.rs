//! `berth node`: the machines.

use berth_api::client::AllocFilter;
use berth_api::wire::v1::{Alloc, Node, NodeState};
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
            word(&node.state).to_owned(),
            node.address.clone(),
            node.allocs.to_string(),
            format!("{} of {}", used.cpu, all.cpu),
            format!("{} of {}", used.memory, all.memory),
            format!("{} of {}", used.disk, all.disk),
        ]
    };
    table(["NODE", "ID", "STATE", "ADDRESS", "ALLOCS", "CPU", "MEMORY", "DISK"], nodes.iter().map(row))
}

fn model(resources: &berth_api::wire::v1::Resources) -> berth_model::Resources {
    resources.clone().into()
}

fn word(state: &NodeState) -> &'static str {
    match state {
        NodeState::Ready { .. } => "ready",
        NodeState::Lost { .. } => "lost",
    }
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
        }
        text += "\nATTRIBUTES\n";
        for (key, value) in &whole.node.attributes {
            text += &format!("  {key} = {value}\n");
        }
        text + "\nALLOCATIONS\n" + &status::alloc_rows(&whole.allocs)
    })
}
