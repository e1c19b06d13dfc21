//! Allocations: list, show, stop.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use berth_api::wire::v1::{self as wire, ErrorKind, NodeNames as _, ToWire as _};
use berth_model::{
    Alloc, AllocId, AllocState, Command, CommandRequest, Namespace, NodeState, OnPartition, Outcome, Refusal,
    WaitReason,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::auth::operator;
use super::error::ApiError;
use super::extract::{Params, Segments, idempotency_key, page, page_items, parse};
use super::jobs::command_outcome;
use super::reasons;
use crate::view::View;

/// Which allocations are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Of this namespace alone.
    namespace: Option<wire::Namespace>,
    /// Of this job alone.
    job: Option<wire::JobId>,
    /// Placed on this node alone, now or to the last; an id or a name.
    node: Option<String>,
    /// After this allocation: the `next` of the page before.
    after: Option<wire::AllocId>,
    /// 1 to 1000 items.
    limit: Option<usize>,
}

/// Lists allocations, in order of ids.
#[utoipa::path(get, path = "/v1/allocs", tag = "allocations", params(ListParams),
    responses((status = 200, body = wire::Page<wire::Alloc>), (status = "4XX", body = wire::ErrorBody)))]
pub async fn list(
    State(api): State<Api>,
    Params(params): Params<ListParams>,
) -> Result<Json<wire::Page<wire::Alloc>>, ApiError> {
    let limit = page_items(params.limit)?;
    let mut page = page(find(&api, &params, limit + 1)?, limit, |alloc: &wire::Alloc| alloc.id.to_string());
    reasons::refresh(&api, page.items.iter_mut().collect()).await;
    Ok(Json(page))
}

/// The first allocations that are wanted, as they are stored.
fn find(api: &Api, params: &ListParams, count: usize) -> Result<Vec<wire::Alloc>, ApiError> {
    let view = api.shared.view();
    let node = params.node.as_deref().map(|text| node_id(&view, text)).transpose()?;
    let wanted = |alloc: &&std::sync::Arc<Alloc>| {
        params.after.as_ref().is_none_or(|after| alloc.id > after.0)
            && params.namespace.as_ref().is_none_or(|namespace| alloc.job.namespace == namespace.0)
            && params.job.as_ref().is_none_or(|job| alloc.job == job.0)
            && node.is_none_or(|node| alloc.placement().is_some_and(|placement| placement.node == node))
    };
    let show = |alloc: &std::sync::Arc<Alloc>| wire_alloc(api, &view, alloc);
    Ok(match (&params.job, node) {
        (Some(job), _) => view.allocs_of_job(&job.0).filter(wanted).take(count).map(show).collect(),
        (None, Some(node)) => view.allocs_on_node(node).filter(wanted).take(count).map(show).collect(),
        (None, None) => view.allocs.values().filter(wanted).take(count).map(show).collect(),
    })
}

/// Shows an allocation.
#[utoipa::path(get, path = "/v1/allocs/{id}", tag = "allocations", params(("id" = String, Path)),
    responses((status = 200, body = wire::Alloc), (status = "4XX", body = wire::ErrorBody)))]
pub async fn show(State(api): State<Api>, Segments(id): Segments<String>) -> Result<Json<wire::Alloc>, ApiError> {
    let id: AllocId = parse(&id)?;
    let mut told = {
        let view = api.shared.view();
        wire_alloc(&api, &view, view.allocs.get(&id).ok_or(Refusal::NoSuchAlloc(id))?)
    };
    reasons::refresh(&api, vec![&mut told]).await;
    Ok(Json(told))
}

/// Stops an allocation; a service's is replaced.
#[utoipa::path(post, path = "/v1/allocs/{id}/stop", tag = "allocations",
    params(("id" = String, Path),
        ("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn stop(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let key = idempotency_key(&headers)?;
    let id: AllocId = parse(&id)?;
    let namespace = api.shared.view().allocs.get(&id).map(|alloc| alloc.job.namespace.clone());
    // Where it is unknown, the core says so; a command stands in some namespace all the same.
    let namespace = namespace.unwrap_or_else(Namespace::default);
    let command = Command::StopAlloc(id);
    command_outcome(&api, CommandRequest { principal: operator(), namespace, key, plan: None, command }).await
}

/// An allocation, with how far the fetching of its images is, with what becomes of it where its node is lost, and with what
/// follows where it failed.
pub fn wire_alloc(api: &Api, view: &View, alloc: &Alloc) -> wire::Alloc {
    let mut told = alloc.to_wire(view);
    if let AllocState::Placed { placement, .. } = &alloc.state {
        told.progress = api.shared.agents.progress(placement.node, alloc.id).map(wire::Progress::from);
    }
    told.unheard = unheard(view, alloc);
    if let AllocState::Ended {
        outcome: Outcome::Failed(_) | Outcome::Lost(_) | Outcome::Preempted { .. } | Outcome::Drained(_),
        ..
    } = &alloc.state
    {
        told.followed_by = view.followed_by(alloc).map(|next| successor(next));
    }
    told
}

fn unheard(view: &View, alloc: &Alloc) -> Option<wire::Unheard> {
    let (node, group) = (alloc.occupies()?, view.treated_as(alloc)?);
    let NodeState::Lost { since, .. } = view.nodes.get(&node)?.state else { return None };
    let then = match group.on_partition {
        OnPartition::Keep => wire::Fate::Kept,
        OnPartition::Replace { after } => wire::Fate::GivenUp { at: (since + after).into() },
        OnPartition::Fence { .. } => wire::Fate::Fenced,
    };
    Some(wire::Unheard { since: since.into(), node: view.node_ref(node), then })
}

fn successor(next: &Alloc) -> wire::Successor {
    let due = match &next.state {
        AllocState::Waiting { reason: WaitReason::BackOff { until, .. }, .. } => Some((*until).into()),
        AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => None,
    };
    wire::Successor { id: next.id.into(), due }
}

/// The node that a text names.
pub fn node_id(view: &View, text: &str) -> Result<berth_model::NodeId, ApiError> {
    let node = view.node(text).ok_or_else(|| no_such_node(text))?;
    Ok(node.id)
}

/// There is no such node.
pub fn no_such_node(text: &str) -> ApiError {
    let text: String = text.chars().take(80).collect();
    ApiError::new(ErrorKind::NotFound, format!("no node `{text}`")).remedy("`berth node list` lists the nodes")
}
