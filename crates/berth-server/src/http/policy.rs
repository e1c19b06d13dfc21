//! The policy: show, set.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use berth_api::jobfile::policy as policyfile;
use berth_api::wire::v1::{self as wire, ToWire as _};
use berth_model::{Command, PolicyVersion};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::error::ApiError;
use super::extract::{Params, idempotency_key};
use super::jobs::{File, cluster_command, faults, file};

/// Where somebody finds what a policy file may hold.
pub const POLICY_FILES: &str = "`PolicyFile` of GET /v1/openapi.json tells what it may hold";

/// Shows the policy by which is placed.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", responses((status = 200, body = wire::Policy)))]
pub async fn show(State(api): State<Api>) -> Json<wire::Policy> {
    let view = api.shared.view();
    let set = view.policy.clone();
    let (policy, changed) = match set.as_deref() {
        Some(set) => (set.policy.clone(), Some(&set.changed)),
        None => (api.shared.settings.policy.policy(), None),
    };
    Json(wire::Policy {
        version: wire::Number(policy.version.0),
        changed: changed.map(|(at, _)| (*at).into()),
        cause: changed.map(|(_, cause)| cause.to_wire(&*view)),
        spec: policyfile::to_json(&policy.spec),
        name: policy.spec.name.into(),
    })
}

/// What has to hold for the policy to be set.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SetParams {
    /// The version that the policy is of until then; refused where it is of another.
    check_version: Option<u64>,
}

/// Has everything be placed by the policy of the body from now on. What is placed stays where it is.
#[utoipa::path(put, path = "/v1/policy", tag = "policy",
    params(SetParams, ("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    request_body(content((policyfile::PolicyFile = "application/json"), (String = "application/yaml")),
        description = "A policy file."),
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn set(
    State(api): State<Api>,
    Params(params): Params<SetParams>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let key = idempotency_key(&headers)?;
    let spec = match file(&headers, body, "policy file").await? {
        File::Json(text) => policyfile::parse_json(&text),
        File::Yaml(text) => policyfile::parse("body", &text),
    };
    let spec = spec.map_err(|errors| faults(&errors, POLICY_FILES))?;
    let command = Command::SetPolicy { spec: Box::new(spec), after: params.check_version.map(PolicyVersion) };
    cluster_command(&api, key, command).await
}
