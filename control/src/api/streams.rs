//! Answers that go on: server-sent events. A stream ends when its client goes, when its key, its
//! session or its tenant is no longer in force, and with the server.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::caller::{Caller, Scope};
use super::problem::Problem;
use super::state::ApiState;
use crate::streams::{StreamSender, stream_body};

/// How often a stream looks whether its key is still in force. The snapshot of the keys is a second old at
/// most, so a stream ends within two seconds.
const CHECK: Duration = Duration::from_secs(1);

/// How many such looks lie between two questions to the database whether a person is still signed in. At most
/// 64 streams ask, each a statement of a row.
const CHECKS_OF_SESSION: u32 = 2;

/// Opens a stream for a caller. `write` writes it, until it returns or the stream ends.
///
/// # Errors
///
/// The answer to send: the key does not allow it, or there are too many streams.
pub(crate) fn open<F>(
    state: &ApiState,
    caller: Caller,
    write: impl FnOnce(StreamWriter) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = ()> + Send + 'static,
{
    caller.needs(Scope::Read)?;
    if !caller.is_in_force(&state.snapshot(), state.now()) {
        return Err(Problem::forbidden(
            "the tenant of the API key is switched off, or its licence has ended",
        ));
    }
    let place = state.stream_places().take(caller.tenant_id()).map_err(Problem::too_many)?;
    let (sender, body) = stream_body(place);
    let sender = std::sync::Arc::new(sender);
    let writing = write(StreamWriter(sender.clone()));
    let state = state.clone();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = until_void(&state, &caller) => {}
            () = sender.closed() => {}
            () = writing => {}
        }
    });
    let mut response = Body::new(body).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Some proxies would gather the events.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Waits until the caller's key, session or tenant is no longer in force.
async fn until_void(state: &ApiState, caller: &Caller) {
    loop {
        for _ in 0..CHECKS_OF_SESSION {
            tokio::time::sleep(CHECK).await;
            if !caller.is_in_force(&state.snapshot(), state.now()) {
                return;
            }
        }
        if !caller.is_signed_in(state).await {
            return;
        }
    }
}

/// What writes a stream.
pub(crate) struct StreamWriter(std::sync::Arc<StreamSender>);

impl StreamWriter {
    /// Sends parts of a stream, each an event or a comment with its empty line; waits while the client
    /// does not take them. Returns false if the client has gone.
    pub(crate) async fn send(&self, parts: impl Into<Bytes>) -> bool {
        self.0.send(parts).await
    }
}
