//! Nodes: list, show.

use axum::Json;
use axum::extract::State;
use berth_api::wire::v1::{self as wire, ToWire as _};
use berth_model::Node;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::allocs::no_such_node;
use super::error::ApiError;
use super::extract::{Params, Segments, page, page_items};
use crate::view::View;

/// Which nodes are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// After this node: the `next` of the page before.
    after: Option<wire::NodeId>,
    /// 1 to 1000 items.
    limit: Option<usize>,
}

/// Lists the nodes, in order of ids.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", params(ListParams),
    responses((status = 200, body = wire::Page<wire::Node>), (status = "4XX", body = wire::ErrorBody)))]
pub async fn list(
    State(api): State<Api>,
    Params(params): Params<ListParams>,
) -> Result<Json<wire::Page<wire::Node>>, ApiError> {
    let limit = page_items(params.limit)?;
    let view = api.shared.view();
    let nodes = view.nodes.values().filter(|node| params.after.as_ref().is_none_or(|after| node.id > after.0));
    let items = nodes.take(limit + 1).map(|node| wire_node(node, &view)).collect();
    Ok(Json(page(items, limit, |node: &wire::Node| node.id.to_string())))
}

/// Shows a node, given by id or name.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "nodes", params(("node" = String, Path)),
    responses((status = 200, body = wire::Node), (status = "4XX", body = wire::ErrorBody)))]
pub async fn show(State(api): State<Api>, Segments(text): Segments<String>) -> Result<Json<wire::Node>, ApiError> {
    let view = api.shared.view();
    let node = view.node(&text).ok_or_else(|| no_such_node(&text))?;
    Ok(Json(wire_node(node, &view)))
}

/// A node, with what is held of it.
fn wire_node(node: &Node, view: &View) -> wire::Node {
    let mut told = node.to_wire(view);
    let (used, allocs) = view.used(node.id);
    told.used = used.into();
    told.allocs = allocs;
    for device in &mut told.devices {
        device.used_thousandths = view.used_of(node.id, &device.device.id.0);
    }
    told
}
