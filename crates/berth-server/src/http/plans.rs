//! Plans: what a change would do.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use berth_api::jobfile::{self, policy as policyfile};
use berth_api::wire::v1::{self as wire, ErrorKind, ToWire as _};
use berth_model::{Command, Plan, PlanId, PlanRequest, Refusal};

use super::Api;
use super::auth::operator;
use super::body::read;
use super::error::ApiError;
use super::extract::{Segments, parse};
use super::jobs::{JOB_FILES, faults};
use super::nodes::selected;
use super::policy::POLICY_FILES;
use crate::plans::difference;

/// Plans that are made at once; each holds a copy of the state.
pub const AT_ONCE: usize = 2;

/// Tells what a change would do. Nothing is changed.
#[utoipa::path(post, path = "/v1/plan", tag = "plans", request_body = wire::PlanRequest,
    responses((status = 200, body = wire::Plan), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn make(State(api): State<Api>, body: Body) -> Result<Json<wire::Plan>, ApiError> {
    let bytes = read(body, wire::PLAN_REQUEST_BYTES).await?;
    let request: wire::PlanRequest = serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::new(ErrorKind::BadRequest, format!("not a change to plan: {error}"))
            .at("body")
            .remedy("`PlanRequest` of GET /v1/openapi.json tells what it may hold")
    })?;
    let request = meant(&api, request)?;
    let plan = Arc::new(plan(&api, request).await?);
    api.plans.keep(api.shared.clock.now(), plan.clone());
    Ok(Json(plan.to_wire(&*api.shared.view())))
}

/// Shows a plan that was made of late.
#[utoipa::path(get, path = "/v1/plans/{id}", tag = "plans", params(("id" = String, Path)),
    responses((status = 200, body = wire::Plan), (status = "4XX", body = wire::ErrorBody)))]
pub async fn show(State(api): State<Api>, Segments(id): Segments<String>) -> Result<Json<wire::Plan>, ApiError> {
    let id: PlanId = parse(&id)?;
    let plan = api.plans.get(api.shared.clock.now(), id).ok_or_else(|| {
        ApiError::new(ErrorKind::NotFound, format!("no plan {id}"))
            .remedy("plan again: plans are kept for an hour, the newest 64, and not over a restart of the server")
    })?;
    Ok(Json(plan.to_wire(&*api.shared.view())))
}

/// What to tell of a command that would not do any more what its plan says, where that plan is still kept.
pub async fn changed(api: &Api, id: PlanId, command: Command) -> Option<ApiError> {
    let planned = api.plans.get(api.shared.clock.now(), id)?;
    let what = match plan(api, PlanRequest::Command(command)).await {
        Ok(now) => difference(&planned, &now, &api.shared.view()),
        Err(ApiError(error)) => error.to_string(),
    };
    let error = ApiError::new(ErrorKind::PlanChanged, format!("the cluster has changed since plan {id}: {what}"));
    Some(error.remedy("look at it again with `berth plan`, and run it under the id of the new plan"))
}

/// Makes a plan, on a copy and on a thread of its own: the loop goes on meanwhile.
async fn plan(api: &Api, request: PlanRequest) -> Result<Plan, ApiError> {
    let Ok(turn) = api.planning.clone().try_acquire_owned() else {
        let message = format!("{AT_ONCE} plans are being made already");
        return Err(ApiError::new(ErrorKind::Overloaded, message).remedy("ask again in a moment"));
    };
    let planner = api.inputs.planner().await.ok_or(Refusal::NotLeader)?;
    let now = api.shared.clock.now();
    let planning = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        planner.plan(now, &operator(), &request)
    });
    match planning.await {
        Ok(plan) => Ok(plan?),
        Err(error) => Err(ApiError::new(ErrorKind::Internal, format!("the plan was not finished: {error}"))),
    }
}

/// What is to be planned, with the nodes that are meant.
fn meant(api: &Api, request: wire::PlanRequest) -> Result<PlanRequest, ApiError> {
    let view = api.shared.view();
    Ok(match request {
        wire::PlanRequest::Run { job } => {
            let spec = jobfile::parse_json(&job.to_string());
            let spec = spec.map_err(|errors| faults(&errors, JOB_FILES))?;
            PlanRequest::Command(Command::Run(Box::new(spec)))
        }
        wire::PlanRequest::Stop { job } => PlanRequest::Command(Command::Stop(job.0)),
        wire::PlanRequest::StopAlloc { alloc } => PlanRequest::Command(Command::StopAlloc(alloc.0)),
        wire::PlanRequest::Drain { nodes } => {
            PlanRequest::Command(Command::Drain { nodes: selected(&view, &nodes)?, deadline: None })
        }
        wire::PlanRequest::Policy { policy } => {
            let spec = policyfile::parse_json(&policy.to_string()).map_err(|errors| faults(&errors, POLICY_FILES))?;
            PlanRequest::Command(Command::SetPolicy { spec: Box::new(spec), after: None })
        }
        wire::PlanRequest::Lose { nodes } => PlanRequest::Lose(selected(&view, &nodes)?),
    })
}
