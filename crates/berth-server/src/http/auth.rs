//! Who may enter: whoever knows the token. What one may do is decided by the core's `authorize`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use berth_api::wire::v1::ErrorKind;
use berth_model::Principal;
use subtle::ConstantTimeEq;

use super::Api;
use super::error::ApiError;

/// Who has shown the token. The only principal there is until there are policies.
pub fn operator() -> Principal {
    Principal("operator".to_owned())
}

/// Lets a request through that shows the token.
pub async fn require_token(State(api): State<Api>, request: Request, next: Next) -> Response {
    match check(request.headers(), &api.token) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(headers: &HeaderMap, token: &str) -> Result<(), ApiError> {
    let refused = |message: &str| {
        ApiError::new(ErrorKind::Unauthorized, message)
            .at("header Authorization")
            .remedy("send `Authorization: Bearer TOKEN`; the token is in the file `token` in the server's data folder")
    };
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| refused("a token is needed"))?;
    let bearer = value.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    let (_, shown) = bearer.ok_or_else(|| refused("the header is not of the form `Bearer TOKEN`"))?;
    // In constant time, so that the time of a refusal tells nothing of the token.
    if bool::from(shown.ct_eq(token.as_bytes())) { Ok(()) } else { Err(refused("the token is not this server's")) }
}
