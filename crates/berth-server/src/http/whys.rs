//! Why things are as they are.

use axum::Json;
use axum::extract::State;
use berth_api::wire::v1 as wire;
use berth_model::{AllocId, Refusal};

use super::Api;
use super::allocs::wire_alloc;
use super::error::ApiError;
use super::extract::{Segments, job_id, parse};
use super::jobs::summary;
use super::reasons;
use crate::why;

/// Tells why an allocation is where it is.
#[utoipa::path(get, path = "/v1/why/allocs/{id}", tag = "ledger", params(("id" = String, Path)),
    responses((status = 200, body = wire::WhyAlloc), (status = "4XX", body = wire::ErrorBody)))]
pub async fn alloc(State(api): State<Api>, Segments(id): Segments<String>) -> Result<Json<wire::WhyAlloc>, ApiError> {
    let id: AllocId = parse(&id)?;
    let mut told = {
        let view = api.shared.view();
        let alloc = view.allocs.get(&id).ok_or(Refusal::NoSuchAlloc(id))?;
        why::alloc(&view, alloc, |alloc| wire_alloc(&api, &view, alloc))
    };
    reasons::refresh(&api, std::iter::once(&mut told.alloc).chain(&mut told.replaces).collect()).await;
    told.advice = reasons::advice(&api, &told.alloc).await;
    Ok(Json(told))
}

/// Tells why a job stands where it stands.
#[utoipa::path(get, path = "/v1/why/jobs/{namespace}/{name}", tag = "ledger",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = wire::WhyJob), (status = "4XX", body = wire::ErrorBody)))]
pub async fn job(
    State(api): State<Api>,
    Segments((namespace, name)): Segments<(String, String)>,
) -> Result<Json<wire::WhyJob>, ApiError> {
    let id = job_id(&namespace, &name)?;
    let mut told = {
        let view = api.shared.view();
        let job = view.jobs.get(&id).ok_or(Refusal::NoSuchJob(id))?;
        why::job(&view, job, summary(job, &view))
    };
    reasons::refresh_groups(&api, &mut told.waiting).await;
    reasons::advise_groups(&api, &mut told.waiting).await;
    Ok(Json(told))
}
