//! The cluster at a glance, and the document of this interface.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use berth_api::wire::v1 as wire;
use berth_model::{JobState, NodeState};
use bytes::Bytes;

use super::Api;

/// Shows the cluster at a glance.
#[utoipa::path(get, path = "/v1/status", tag = "server", responses((status = 200, body = wire::Status)))]
pub async fn status(State(api): State<Api>) -> Json<wire::Status> {
    let shared = &api.shared;
    let balance = api.inputs.balance().await;
    let leader = super::relay::leader_of(&api, shared.role().borrow().clone());
    let view = shared.view();
    let mode = view.policy.as_deref().map(|set| set.policy.spec.balance).unwrap_or_default();
    let mut status = wire::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: shared.clock.now().into(),
        started: shared.started.into(),
        epoch: view.epoch.into(),
        leader,
        nodes_ready: 0,
        nodes_lost: 0,
        agents_connected: u32::try_from(shared.agents.count()).unwrap_or(u32::MAX),
        jobs_active: 0,
        jobs_stopping: 0,
        jobs_ended: 0,
        allocs: wire::AllocCounts::default(),
        events: wire::Number(view.ledger.len() as u64),
        last_event: view.ledger.keys().next_back().map(|id| wire::EventId(*id)),
        balance: balance.map(|(at, balance)| wire::Balance::new(at, &balance, mode, &*view)),
    };
    for node in view.nodes.values() {
        match node.state {
            NodeState::Ready { .. } => status.nodes_ready += 1,
            NodeState::Lost { .. } => status.nodes_lost += 1,
        }
    }
    for job in view.jobs.values() {
        match job.state {
            JobState::Active => status.jobs_active += 1,
            JobState::Stopping { .. } => status.jobs_stopping += 1,
            JobState::Ended { .. } => status.jobs_ended += 1,
        }
    }
    for alloc in view.allocs.values() {
        status.allocs.add(&alloc.state);
    }
    Json(status)
}

/// Gives the OpenAPI document of this interface.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server", responses((status = 200, body = Object)))]
pub async fn openapi_document() -> impl IntoResponse {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| super::openapi().into());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone())
}

/// Gives the JSON Schema of job files.
#[utoipa::path(get, path = "/v1/schema", tag = "jobs", responses((status = 200, body = Object)))]
pub async fn job_schema() -> impl IntoResponse {
    static SCHEMA: LazyLock<Bytes> = LazyLock::new(|| berth_api::jobfile::json_schema().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], SCHEMA.clone())
}

/// Says that the server answers. Needs no token.
pub async fn healthz() -> &'static str {
    "ok\n"
}
