//! Parts of requests, with errors of ours.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderMap;
use berth_api::wire::v1::{self as wire, ErrorKind, TextError};
use berth_model::{IdempotencyKey, JobId};

use super::error::ApiError;

/// The variable parts of a path.
#[derive(FromRequestParts)]
#[from_request(via(Path), rejection(ApiError))]
pub struct Segments<T>(pub T);

/// The parameters of a query.
#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(ApiError))]
pub struct Params<T>(pub T);

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
