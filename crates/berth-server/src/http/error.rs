//! Errors as answers.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use berth_api::wire::v1::{ErrorBody, ErrorInfo, ErrorKind};
use berth_model::Refusal;

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub struct ApiError(pub ErrorInfo);

impl ApiError {
    /// An error without place and remedy.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> ApiError {
        ApiError(ErrorInfo::new(kind, message))
    }

    /// The same with a place.
    pub fn at(self, place: impl Into<String>) -> ApiError {
        ApiError(self.0.at(place))
    }

    /// The same with a remedy.
    pub fn remedy(self, remedy: impl Into<String>) -> ApiError {
        ApiError(self.0.remedy(remedy))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = self.0.kind;
        let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(ErrorBody { error: self.0 })).into_response();
        if kind == ErrorKind::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        ApiError(refusal.into())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> ApiError {
        ApiError::new(ErrorKind::BadRequest, rejection.body_text()).at("path")
    }
}

/// There is nothing at this path.
pub async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::new(ErrorKind::NotFound, format!("no such path: {}", shortened(uri.path())))
        .remedy("GET /v1/openapi.json lists the paths")
}

/// There is something at this path, but not with this method.
pub async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(ErrorKind::MethodNotAllowed, format!("{} does not take {method}", shortened(uri.path())))
        .remedy("the header Allow of this answer lists what it takes")
}

/// What somebody sent, as long as an answer may repeat it.
pub fn shortened(path: &str) -> String {
    path.chars().take(200).collect()
}
