//! The cluster at a glance, and the document of this interface.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use berth_api::wire::v1::{self as wire, ErrorKind};
use berth_model::{Command, JobState, Namespace, NodeState};
use berth_record::NEWEST;
use berth_store::Server;
use bytes::Bytes;

use super::Api;
use super::auth::operator;
use super::error::ApiError;
use super::extract::idempotency_key;
use super::jobs::cluster_command;

/// Within this time has to be known which servers there are.
const LOOK: Duration = Duration::from_secs(10);

/// Shows the cluster at a glance.
#[utoipa::path(get, path = "/v1/status", tag = "server", responses((status = 200, body = wire::Status)))]
pub async fn status(State(api): State<Api>) -> Json<wire::Status> {
    let shared = &api.shared;
    let balance = api.inputs.balance().await;
    let leader = super::relay::leader_of(&api, shared.role().borrow().clone());
    let servers = shared.servers().borrow().iter().map(server).collect();
    let view = shared.view();
    let mode = view.policy.as_deref().map(|set| set.policy.spec.balance).unwrap_or_default();
    let mut status = wire::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: shared.clock.now().into(),
        started: shared.started.into(),
        epoch: view.epoch.into(),
        leader,
        format: view.format().0,
        servers,
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

fn server(server: &Server) -> wire::Server {
    wire::Server { address: server.address.clone(), newest_format: server.newest.0 }
}

/// Has what is stored be written in the newest format that the leader knows from now on, so that older releases cannot read
/// it any more. Refused while a server of such a release is there.
#[utoipa::path(post, path = "/v1/finalise", tag = "server",
    params(("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn finalise(State(api): State<Api>, headers: HeaderMap) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let key = idempotency_key(&headers)?;
    let (format, is_repeated) = {
        let view = api.shared.view();
        (view.format(), view.command_under(&operator(), &Namespace::default(), &key).is_some())
    };
    if !is_repeated {
        if format >= NEWEST {
            // Nothing is written, which a release that does not know of this could not read.
            return Ok(Json(wire::CommandOutcome::Finalised { format: format.0, changed: false }));
        }
        refuse_if_some_are_older(&api).await?;
    }
    cluster_command(&api, key, Command::Finalise(NEWEST)).await
}

/// That this is safe does not depend on what is seen here: a server that is older, and was not seen, gives up.
async fn refuse_if_some_are_older(api: &Api) -> Result<(), ApiError> {
    let Some(servers) = api.shared.look_at_servers(LOOK).await else {
        let message = format!("etcd did not tell within {} seconds which servers there are", LOOK.as_secs());
        return Err(ApiError::new(ErrorKind::Unavailable, message).remedy("ask again"));
    };
    match servers.iter().find(|server| server.newest < NEWEST) {
        None => Ok(()),
        Some(Server { address, newest }) => {
            let message =
                format!("the server at {address} reads formats up to {newest}, and this would begin {NEWEST}");
            let remedy = "upgrade it first, or stop it: one that is gone is forgotten after 5 seconds";
            Err(ApiError::new(ErrorKind::Conflict, message).remedy(remedy))
        }
    }
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
