//! The pages' way to the API: requests inside this process, for the reader whom the page has found.
//!
//! A page can show nothing, and a form can do nothing, that the API would refuse to the same person.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::api::{FromPage, Problem, RequestInfo, Viewer};
use crate::http::OverTls;

/// What a request to the API takes from the one to the page: what says whether a page of this server has
/// sent a form.
const KEPT: [HeaderName; 3] =
    [header::HOST, header::ORIGIN, HeaderName::from_static("sec-fetch-site")];

/// Asks the API for a reader.
#[derive(Clone)]
pub(super) struct ApiAsker {
    api: Router,
    headers: HeaderMap,
    extensions: Extensions,
}

/// Why the API has refused something.
#[derive(Debug)]
pub(super) struct ApiRefusal {
    pub(super) status: StatusCode,
    /// What is wrong and what to do.
    pub(super) detail: String,
}

impl ApiAsker {
    /// Makes a client for the person who sends a request.
    pub(super) fn new(api: Router, parts: &Parts, viewer: Arc<Viewer>) -> Self {
        let mut headers = HeaderMap::new();
        for name in KEPT {
            for value in parts.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let mut extensions = Extensions::new();
        copy::<ConnectInfo<SocketAddr>>(parts, &mut extensions);
        copy::<OverTls>(parts, &mut extensions);
        copy::<RequestInfo>(parts, &mut extensions);
        extensions.insert(FromPage(viewer));
        Self { api, headers, extensions }
    }

    /// Asks for something. `path` is below `/api/v1`.
    ///
    /// # Errors
    ///
    /// What the API refuses.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ApiRefusal> {
        self.ask(Method::GET, path, &Value::Null).await
    }

    /// Does something. A body that is `null` is not sent.
    ///
    /// # Errors
    ///
    /// What the API refuses.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, ApiRefusal> {
        let mut request = Request::new(match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        });
        *request.method_mut() = method;
        *request.uri_mut() = format!("/api/v1{path}").parse().map_err(|_| ApiRefusal::nothing())?;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        if !body.is_null() {
            let json = header::HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        let Ok(response) = self.api.clone().oneshot(request).await;
        let status = response.status();
        // The API's answers are whole, so reading one neither waits nor fails.
        let body = response.into_body().collect().await.map_err(|_| ApiRefusal::nothing())?;
        let value = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let detail = value.get("detail").and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(ApiRefusal { status, detail })
    }
}

fn copy<T: Clone + Send + Sync + 'static>(parts: &Parts, to: &mut Extensions) {
    if let Some(value) = parts.extensions.get::<T>() {
        to.insert(value.clone());
    }
}

impl From<Problem> for ApiRefusal {
    fn from(problem: Problem) -> Self {
        Self { status: problem.status(), detail: problem.into_detail() }
    }
}

impl ApiRefusal {
    /// Whether a list has changed, so that it must be read again from its first page.
    pub(super) fn is_changed(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }

    /// What is asked for is not there, as far as the reader may know.
    pub(super) fn nothing() -> Self {
        Self { status: StatusCode::NOT_FOUND, detail: "there is no such thing".to_owned() }
    }
}
