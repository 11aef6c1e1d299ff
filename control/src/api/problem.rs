//! Errors, as RFC 9457 writes them: `application/problem+json`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nucleus_core::control::ControlError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::StoreError;

/// An error. `detail` says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Problem {
    /// What kind of error it is, as `not-found`. Programs may rely on it.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong here, for people.
    detail: String,
}

impl Problem {
    /// Returns what is wrong, for people.
    pub(crate) fn into_detail(self) -> String {
        self.detail
    }

    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        Self { kind, title, status: status.as_u16(), detail }
    }

    /// The request itself is wrong.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request is wrong", detail.into())
    }

    /// A value of the body is out of its range.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        let title = "A value is not allowed";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title, detail.into())
    }

    /// The request has no key, or one that is not valid.
    pub(crate) fn unauthorized() -> Self {
        let detail = "send the header `Authorization: Bearer nuk_...` with a valid API key";
        let title = "No valid API key";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", title, detail.to_owned())
    }

    /// The key does not allow the request.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        let title = "The API key does not allow this";
        Self::new(StatusCode::FORBIDDEN, "forbidden", title, detail.into())
    }

    /// There is no such thing, or none that the key may see.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail.into())
    }

    /// The address does not take this method.
    pub(crate) fn method_not_allowed() -> Self {
        let detail = "the address takes other methods";
        let title = "The method is not allowed";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title, detail.to_owned())
    }

    /// The body is no JSON.
    pub(crate) fn unsupported_type() -> Self {
        let detail = "send the body as `Content-Type: application/json`";
        let title = "The body has another type";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-type", title, detail.to_owned())
    }

    /// The body has more than `most` bytes.
    pub(crate) fn too_large(most: usize) -> Self {
        let detail = format!("the body may have {} KiB", most >> 10);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// The request contradicts what is there.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "The request contradicts what is there",
            detail.into(),
        )
    }

    /// The caller has made too many requests.
    pub(crate) fn too_many(detail: impl Into<String>) -> Self {
        let title = "Too many requests";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", title, detail.into())
    }

    /// A part of the server does not answer.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let title = "Try again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, detail.into())
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::not_found(error.to_string()),
            StoreError::Exists(_) | StoreError::TooMany(..) => Self::conflict(error.to_string()),
            StoreError::Database(_) | StoreError::NoRandomness(_) => {
                // The database's own words may name its address.
                tracing::warn!(%error, "a request to the API failed");
                Self::unavailable("the database does not answer")
            }
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NoSuchRoom
            | ControlError::NoSuchPeer
            | ControlError::NoSuchBan
            | ControlError::NoSuchCall => Self::not_found(error.to_string()),
            ControlError::CursorEnded | ControlError::TooManyFields | ControlError::StateFull => {
                Self::conflict(error.to_string())
            }
            ControlError::RoomBusy => Self::too_many(error.to_string()),
            ControlError::Busy => Self::unavailable(error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
