//! Jobs: run, list, show, stop.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use berth_api::jobfile::{self, JobFileError, JobFileErrors};
use berth_api::wire::v1::{self as wire, ErrorKind, ToWire as _};
use berth_model::{Command, CommandRequest, IdempotencyKey, Job, Namespace, Refusal, limits};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::operator;
use super::body::{media_type, read};
use super::error::ApiError;
use super::extract::{Params, Segments, idempotency_key, job_id, page, page_items};
use super::{Api, plans};
use crate::view::View;

/// Which jobs are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Of this namespace alone.
    namespace: Option<wire::Namespace>,
    /// After this job: the `next` of the page before.
    after: Option<wire::JobId>,
    /// 1 to 1000 items.
    limit: Option<usize>,
}

/// Lists the jobs, in order of namespace and name.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(ListParams),
    responses((status = 200, body = wire::Page<wire::JobSummary>), (status = "4XX", body = wire::ErrorBody)))]
pub async fn list(
    State(api): State<Api>,
    Params(params): Params<ListParams>,
) -> Result<Json<wire::Page<wire::JobSummary>>, ApiError> {
    let limit = page_items(params.limit)?;
    let view = api.shared.view();
    let jobs = view.jobs.iter().filter(|(id, _)| params.namespace.as_ref().is_none_or(|n| n.0 == id.namespace));
    let jobs = jobs.filter(|(id, _)| params.after.as_ref().is_none_or(|after| **id > after.0));
    let items = jobs.take(limit + 1).map(|(_, job)| summary(job, &view)).collect();
    Ok(Json(page(items, limit, |job: &wire::JobSummary| job.id.to_string())))
}

/// Under which condition a job is run.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunParams {
    /// Only if it would do what this plan says.
    plan: Option<wire::PlanId>,
}

/// Makes a job be as the body specifies: new, or a new version of it, or nothing when it is so already.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs",
    params(RunParams, ("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    request_body(content((Object = "application/json"), (String = "application/yaml")), description = "A job file."),
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn run(
    State(api): State<Api>,
    Params(params): Params<RunParams>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let key = idempotency_key(&headers)?;
    let spec = match file(&headers, body, "job file").await? {
        File::Json(text) => jobfile::parse_json(&text),
        File::Yaml(text) => jobfile::parse("body", &text),
    };
    let spec = spec.map_err(|errors| faults(&errors, JOB_FILES))?;
    let namespace = spec.id.namespace.clone();
    let command = Command::Run(Box::new(spec));
    let plan = params.plan.map(|id| id.0);
    let request = CommandRequest { principal: operator(), namespace, key, plan, command };
    match api.inputs.command(request.clone()).await {
        Err(refusal @ Refusal::PlanChanged { plan, .. }) => {
            Err(plans::changed(&api, plan, request.command).await.unwrap_or(refusal.into()))
        }
        outcome => Ok(Json(outcome?.into())),
    }
}

/// A file that somebody sends.
pub enum File {
    /// JSON text.
    Json(String),
    /// YAML text.
    Yaml(String),
}

/// Reads the file, which is told as `what` where something is wrong with it.
pub async fn file(headers: &HeaderMap, body: Body, what: &str) -> Result<File, ApiError> {
    let media_type = media_type(headers);
    let is_json = match media_type.as_str() {
        "application/json" => true,
        "application/yaml" | "application/x-yaml" | "text/yaml" => false,
        other => {
            let message = match other {
                "" => "the body's type is not told".to_owned(),
                other => format!("a {what} is not of type {}", other.chars().take(80).collect::<String>()),
            };
            return Err(ApiError::new(ErrorKind::UnsupportedMediaType, message)
                .at("header Content-Type")
                .remedy("send `Content-Type: application/json` or `application/yaml`"));
        }
    };
    let bytes = read(body, limits::JOB_BYTES).await?;
    let invalid = |_| ApiError::new(ErrorKind::Invalid, format!("the {what} is not UTF-8 text")).at("body");
    let text = String::from_utf8(bytes.into()).map_err(invalid)?;
    Ok(if is_json { File::Json(text) } else { File::Yaml(text) })
}

/// Where somebody finds what a job file may hold.
pub const JOB_FILES: &str = "GET /v1/schema tells what a job file may hold";

/// What is wrong with a file, the first fault with its place.
pub fn faults(errors: &JobFileErrors, remedy: &str) -> ApiError {
    let place = |error: &JobFileError| match (error.line, error.column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}"),
        (Some(_), None) | (None, Some(_)) | (None, None) if error.path.is_empty() => "body".to_owned(),
        (Some(_), None) | (None, Some(_)) | (None, None) => error.path.clone(),
    };
    let (first, others) = errors.errors.split_first().expect("there is at least one");
    let mut message = first.message.clone();
    for other in others {
        message.push_str(&format!("; {}: {}", place(other), other.message));
    }
    if errors.omitted > 0 {
        message.push_str(&format!("; and {} more", errors.omitted));
    }
    let error = ApiError::new(ErrorKind::Invalid, message).at(place(first));
    match &first.nearest {
        Some(nearest) => error.remedy(format!("did you mean `{nearest}`?")),
        None => error.remedy(remedy),
    }
}

/// Hands in a command and tells what came of it.
pub async fn command_outcome(api: &Api, request: CommandRequest) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let outcome = api.inputs.command(request).await?;
    Ok(Json(outcome.into()))
}

/// Hands in a command of an operator's about the whole cluster, which is in no namespace, and tells what came of it.
pub async fn cluster_command(
    api: &Api,
    key: IdempotencyKey,
    command: Command,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let (principal, namespace) = (operator(), Namespace::default());
    command_outcome(api, CommandRequest { principal, namespace, key, plan: None, command }).await
}

/// Shows a job.
#[utoipa::path(get, path = "/v1/jobs/{namespace}/{name}", tag = "jobs",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = wire::Job), (status = "4XX", body = wire::ErrorBody)))]
pub async fn show(
    State(api): State<Api>,
    Segments((namespace, name)): Segments<(String, String)>,
) -> Result<Json<wire::Job>, ApiError> {
    let id = job_id(&namespace, &name)?;
    let view = api.shared.view();
    let job = view.jobs.get(&id).ok_or(Refusal::NoSuchJob(id))?;
    Ok(Json(wire::Job { summary: summary(job, &view), spec: jobfile::to_json(&job.spec) }))
}

/// Stops a job.
#[utoipa::path(delete, path = "/v1/jobs/{namespace}/{name}", tag = "jobs",
    params(("namespace" = String, Path), ("name" = String, Path),
        ("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn stop(
    State(api): State<Api>,
    Segments((namespace, name)): Segments<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let key = idempotency_key(&headers)?;
    let id = job_id(&namespace, &name)?;
    let namespace = id.namespace.clone();
    let command = Command::Stop(id);
    command_outcome(&api, CommandRequest { principal: operator(), namespace, key, plan: None, command }).await
}

/// A job in short.
pub fn summary(job: &Job, view: &View) -> wire::JobSummary {
    let spec = &job.spec;
    let groups = spec.groups.iter().map(|group| {
        let mut allocs = wire::AllocCounts::default();
        for alloc in view.allocs_of_job(&spec.id).filter(|alloc| alloc.group == group.name) {
            allocs.add(&alloc.state);
        }
        wire::GroupSummary { name: group.name.clone().into(), count: group.count, allocs }
    });
    wire::JobSummary {
        id: spec.id.clone().into(),
        kind: spec.kind.into(),
        priority: spec.priority.0,
        version: wire::Number(job.version.0),
        changed: job.changed.0.into(),
        cause: job.changed.1.to_wire(view),
        state: job.state.to_wire(view),
        groups: groups.collect(),
    }
}
