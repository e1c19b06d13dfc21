//! Nodes: list, show, drain, enable, abandon.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use berth_api::wire::v1::{self as wire, ErrorKind, ToWire as _};
use berth_model::{Command, Millis, Node, NodeId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::Api;
use super::allocs::no_such_node;
use super::body::read;
use super::error::{ApiError, shortened};
use super::extract::{Params, Segments, idempotency_key, page, page_items};
use super::jobs::cluster_command;
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

/// Empties nodes: nothing new is placed on them, and what is on them moves away.
#[utoipa::path(post, path = "/v1/drain", tag = "nodes",
    params(("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    request_body = wire::DrainRequest,
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn drain(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let request: wire::DrainRequest = asked(body, "DrainRequest").await?;
    let nodes = selected(&api.shared.view(), &request.nodes)?;
    let deadline = request.deadline_ms.map(|wire::Number(millis)| Millis(millis));
    cluster_command(&api, idempotency_key(&headers)?, Command::Drain { nodes, deadline }).await
}

/// Lets nodes take work again.
#[utoipa::path(post, path = "/v1/enable", tag = "nodes",
    params(("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    request_body = wire::EnableRequest,
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn enable(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let request: wire::EnableRequest = asked(body, "EnableRequest").await?;
    let nodes = selected(&api.shared.view(), &request.nodes)?;
    cluster_command(&api, idempotency_key(&headers)?, Command::Enable(nodes)).await
}

/// Gives up what is kept on lost nodes, so that it is placed elsewhere. What is fenced there is replaced by itself.
#[utoipa::path(post, path = "/v1/abandon", tag = "nodes",
    params(("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    request_body = wire::AbandonRequest,
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn abandon(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let request: wire::AbandonRequest = asked(body, "AbandonRequest").await?;
    let nodes = selected(&api.shared.view(), &request.nodes)?;
    cluster_command(&api, idempotency_key(&headers)?, Command::Abandon(nodes)).await
}

async fn asked<T: DeserializeOwned>(body: Body, schema: &str) -> Result<T, ApiError> {
    let bytes = read(body, wire::NODES_REQUEST_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::new(ErrorKind::BadRequest, format!("not a choice of nodes: {error}"))
            .at("body")
            .remedy(format!("`{schema}` of GET /v1/openapi.json tells what it may hold"))
    })
}

/// The nodes that are meant: by id, by name, by an attribute, or by their rack.
pub fn selected(view: &View, texts: &[String]) -> Result<BTreeSet<NodeId>, ApiError> {
    if texts.is_empty() || texts.len() > wire::NODE_SELECTORS {
        let message = format!("{} nodes or attributes at once", texts.len());
        let remedy = format!("name 1 to {}; `ATTRIBUTE=VALUE` names all that have it", wire::NODE_SELECTORS);
        return Err(ApiError::new(ErrorKind::BadRequest, message).at("body.nodes").remedy(remedy));
    }
    let mut nodes = BTreeSet::new();
    for text in texts {
        if let Some(node) = view.node(text) {
            nodes.insert(node.id);
            continue;
        }
        let (attribute, value) = text.split_once('=').unwrap_or(("node.rack", text));
        let having = view.nodes.values().filter(|node| {
            let found = node.fingerprint.attributes.get(attribute);
            found.is_some_and(|found| found == value)
        });
        let before = nodes.len();
        nodes.extend(having.map(|node| node.id));
        if nodes.len() == before {
            let [text, attribute, value] = [text, attribute, value].map(shortened);
            let message = format!("no node is `{text}`, is named so, or has {attribute}={value}");
            return Err(ApiError::new(ErrorKind::NotFound, message)
                .at("body.nodes")
                .remedy("`berth node list` lists the nodes, `berth node show NODE` the attributes of one"));
        }
    }
    Ok(nodes)
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
