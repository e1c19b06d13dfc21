//! Parts of requests, with errors of ours.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use berth_api::wire::v1::{self as wire, ErrorKind, TextError};
use berth_model::{IdempotencyKey, JobId};
use serde::de::DeserializeOwned;

use super::error::{ApiError, shortened};

/// The variable parts of a path.
#[derive(FromRequestParts)]
#[from_request(via(Path), rejection(ApiError))]
pub struct Segments<T>(pub T);

/// The parameters of a query.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => Err(wrong_query(&parts.uri, &rejection)),
        }
    }
}

/// Which parameter is wrong, what was sent, and what is expected.
fn wrong_query(uri: &Uri, rejection: &QueryRejection) -> ApiError {
    let told = rejection.body_text();
    let told = told.strip_prefix("Failed to deserialize query string: ").unwrap_or(&told);
    let sent = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(sent)| sent).unwrap_or_default();
    let named = told.split_once(": ").and_then(|(name, problem)| {
        let (name, value) = sent.iter().find(|(sent, _)| sent == name)?;
        if let Some(rest) = problem.strip_prefix("unknown field ") {
            return Some(format!("unknown parameter {rest}"));
        }
        Some(format!("the parameter `{name}` is `{}`: {}", shortened(value), expected(problem)))
    });
    ApiError::new(ErrorKind::BadRequest, named.unwrap_or_else(|| told.to_owned())).at("query")
}

/// The standard library tells what it tripped over; who asks wants to know what to write.
fn expected(problem: &str) -> &str {
    match problem {
        "invalid digit found in string" | "cannot parse integer from empty string" => "expected a whole number",
        "number too large to fit in target type" => "expected a smaller number",
        "provided string was not `true` or `false`" => "expected `true` or `false`",
        other => other,
    }
}

/// A text of the path, understood.
pub fn parse<T: std::str::FromStr>(text: &str) -> Result<T, ApiError>
where
    TextError: From<T::Err>,
{
    text.parse().map_err(|error| ApiError::new(ErrorKind::BadRequest, TextError::from(error).to_string()).at("path"))
}

/// The job that two segments name.
pub fn job_id(namespace: &str, name: &str) -> Result<JobId, ApiError> {
    Ok(JobId { namespace: parse(namespace)?, name: parse(name)? })
}

/// The client's key for a command.
pub fn idempotency_key(headers: &HeaderMap) -> Result<IdempotencyKey, ApiError> {
    let wrong = |message: &str| {
        ApiError::new(ErrorKind::BadRequest, message)
            .at("header Idempotency-Key")
            .remedy("send 1 to 128 printable ASCII characters of your own making, the same again when you repeat")
    };
    let value = headers.get("Idempotency-Key").ok_or_else(|| wrong("an idempotency key is needed"))?;
    let key = value.to_str().unwrap_or("");
    let printable = key.bytes().all(|b| b.is_ascii_graphic());
    if key.is_empty() || key.len() > 128 || !printable {
        return Err(wrong("the idempotency key is not 1 to 128 printable ASCII characters"));
    }
    Ok(IdempotencyKey(key.to_owned()))
}

/// How many items a page should hold.
pub fn page_items(limit: Option<usize>) -> Result<usize, ApiError> {
    match limit {
        None => Ok(wire::PAGE_ITEMS),
        Some(limit) if (1..=wire::PAGE_ITEMS).contains(&limit) => Ok(limit),
        Some(limit) => Err(ApiError::new(
            ErrorKind::BadRequest,
            format!("limit {limit} is out of range: expected 1 to {}", wire::PAGE_ITEMS),
        )
        .at("query")),
    }
}

/// A page of what `items` gives, which is one more than fits when there is a next page.
pub fn page<T: utoipa::ToSchema>(mut items: Vec<T>, limit: usize, name: impl Fn(&T) -> String) -> wire::Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(name) } else { None };
    wire::Page { items, next }
}
