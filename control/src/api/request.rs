//! What happens to every request before its route: it gets an id, and it is counted against the rate of
//! its address.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nucleus_core::text;
use tracing::{Instrument, field};

use super::bearer::bearer;
use super::problem::Problem;
use super::request_info::RequestInfo;
use super::signed_in::Viewer;
use super::state::ApiState;
use crate::{SPANS, id};

/// The header of a request's id. A client or a proxy may set it; the answer repeats it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that a client may set.
const MAX_REQUEST_ID: usize = 64;

/// A page of the dashboard makes the request for its reader, who was found when the page was asked for: an
/// extension, which no client can send. The request for the page has been prepared and counted.
#[derive(Clone, Debug)]
pub(crate) struct FromPage(pub(crate) Arc<Viewer>);

/// Gives a request its id, counts it, and repeats the id in the answer.
pub(crate) async fn prepare(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.extensions().get::<FromPage>().is_some() {
        return next.run(request).await;
    }
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    // IPv4 in IPv6 is the same address.
    let ip = address.map(|ip| ip.to_canonical());
    let now = state.now();
    let chosen = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let chosen = chosen.and_then(|id| text::plain(id.as_bytes(), 1, MAX_REQUEST_ID).ok());
    let id = match chosen.map_or_else(|| id::new(now), Ok) {
        Ok(id) => id,
        Err(error) => return Problem::unavailable(error.to_string()).into_response(),
    };
    // Other programs of this machine must not keep its operator out.
    let is_local = ip.is_some_and(|ip| ip.is_loopback())
        && bearer(request.headers()).is_some_and(|key| state.is_local_key(key));
    let within = is_local || ip.is_none_or(|ip| state.rates().take(ip));
    let shown = HeaderValue::try_from(&id).ok();
    let mut response = if within {
        let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
        let span = tracing::info_span!(
            target: SPANS,
            "request",
            otel.kind = "server",
            http.request.method = %request.method(),
            http.route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
            request_id = id,
            http.response.status_code = field::Empty,
        );
        request.extensions_mut().insert(RequestInfo { id, ip });
        let response = next.run(request).instrument(span.clone()).await;
        span.record("http.response.status_code", i64::from(response.status().as_u16()));
        response
    } else {
        Problem::too_many("an address may make 100 requests a second").into_response()
    };
    if let Some(id) = shown {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
