//! `events`: what happens in rooms and calls, as it happens.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::UrlQuery;
use super::problem::Problem;
use super::responses::Common;
use super::state::ApiState;
use super::streams::{self, StreamWriter};
use crate::events::PlaneEventKind;
use crate::store::deliveries;
use crate::streams::StreamEvent;

/// The header by which a client says how far it got.
const LAST_EVENT_ID: &str = "last-event-id";
/// How long a stream may be silent. Proxies close connections that are silent for a minute or half of one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The pause before a client connects again, in milliseconds. A server that is started again is back by
/// then.
const RETRY_MS: u32 = 2_000;
/// The kind of the event that says that others are missing.
const MISSED: &str = "missed";
/// Most bytes of a filter: every kind, or a tenant's name.
const MAX_FILTER: usize = 128;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// The tenant's name.
    #[serde(default)]
    #[param(max_length = 128)]
    tenant: Option<String>,
    /// A kind, such as `room.ended`, or several with commas.
    #[serde(default, rename = "type")]
    #[param(max_length = 128)]
    kinds: Option<String>,
}

/// What a stream sends.
struct EventFilter {
    /// The name of the tenant to which the caller is limited.
    own: Option<String>,
    tenant: Option<String>,
    /// Empty: every kind.
    kinds: Vec<PlaneEventKind>,
}

impl EventFilter {
    fn wants(&self, event: &StreamEvent) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| event.tenant == *tenant)
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
    }
}

/// What happens in rooms and calls from now on, as server-sent events: `id` is the event's id, `event` its
/// type, and `data` what a webhook is told of it. With the header `Last-Event-ID`, the stream goes on after
/// that event. An event of the type `missed` says that events are missing, which the history has.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "stream_events",
    tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id after which the stream goes on")
    ),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "Events, until the client or the server ends the stream",
            body = String, content_type = "text/event-stream"),
        Common
    )
)]
async fn stream(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.needs(Scope::Read)?;
    for (name, value) in [("tenant", &wanted.tenant), ("type", &wanted.kinds)] {
        if value.as_ref().is_some_and(|value| value.len() > MAX_FILTER) {
            return Err(Problem::bad_request(format!("`{name}` has more than {MAX_FILTER} bytes")));
        }
    }
    let kinds = wanted.kinds.as_deref().map(kinds).transpose()?.unwrap_or_default();
    let own = caller.tenant_name().map(str::to_owned);
    let filter = EventFilter { own, tenant: wanted.tenant, kinds };
    // A header that is no text names no event.
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default().to_owned());
    let writing = state.clone();
    streams::open(
        &state,
        caller,
        |writer| async move { write(&writing, &writer, &filter, last).await },
    )
}

fn kinds(text: &str) -> Result<Vec<PlaneEventKind>, Problem> {
    let read = |name: &str| {
        let known = PlaneEventKind::ALL.map(PlaneEventKind::name).join(", ");
        let unknown = || Problem::bad_request(format!("`type` must be of {known}"));
        PlaneEventKind::parse(name).ok_or_else(unknown)
    };
    text.split(',').map(read).collect()
}

/// Writes a stream until the client has gone. `last` is the id after which it goes on.
async fn write(
    state: &ApiState,
    writer: &StreamWriter,
    filter: &EventFilter,
    last: Option<String>,
) {
    let (ring, own) = (state.events(), filter.own.as_deref());
    let mut changes = ring.changes();
    let found = last.as_deref().and_then(|id| ring.after(id, own));
    let mut next = found.unwrap_or_else(|| ring.end());
    let mut resume_id = ring.resume_id(next, own);
    let mut text = format!(": nucleus\nretry: {RETRY_MS}\n\n");
    if last.is_some() && found.is_none() {
        text += &missed(state, last.as_deref());
    }
    // Without data it is no event: it sets the id with which the client comes back.
    let _written = write!(text, "id: {resume_id}\n\n");
    let mut silent_until = Instant::now() + KEEP_ALIVE;
    loop {
        changes.mark_unchanged();
        let reading = ring.read(next, own);
        if reading.missed {
            text += &missed(state, Some(&resume_id));
        }
        for event in &reading.events {
            resume_id.clone_from(&event.id);
            if filter.wants(event) {
                let _written = write!(
                    text,
                    "id: {}\nevent: {}\ndata: {}\n\n",
                    event.id,
                    event.kind.name(),
                    event.text
                );
            }
        }
        next = reading.next;
        if !text.is_empty() {
            if !writer.send(std::mem::take(&mut text)).await {
                return;
            }
            silent_until = Instant::now() + KEEP_ALIVE;
        }
        if reading.has_more {
            continue;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep_until(silent_until) => {
                // Events that were filtered out have moved the id on.
                let _written = write!(text, ": keep-alive\nid: {resume_id}\n\n");
            }
        }
    }
}

/// Writes the event that says that others are missing, after the event `after`.
fn missed(state: &ApiState, after: Option<&str>) -> String {
    let after = after.filter(|id| crate::id::is_id(id));
    let detail = "events after this one may be missing here: the history has them";
    let data = json!({"after": after, "detail": detail});
    format!("event: {MISSED}\ndata: {}\n\n", deliveries::body(MISSED, state.now(), data))
}
