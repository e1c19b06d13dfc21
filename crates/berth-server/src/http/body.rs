//! Bodies of requests, read whole within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use berth_api::wire::v1::ErrorKind;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;

use super::error::ApiError;

/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a body of at most `limit` bytes.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(ErrorKind::TooLarge, format!("the body is over the limit of {limit} bytes"))
            .at("body")
            .remedy("send less at once; large data belongs outside a job file")
    };
    // Said to be too large: there is no need to see it.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    let late = |_| ApiError::new(ErrorKind::RequestTimeout, "the body did not arrive in time").at("body");
    match collected.map_err(late)? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(ApiError::new(ErrorKind::BadRequest, "the body broke off").at("body")),
    }
}

/// What a body says it is, without parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}
