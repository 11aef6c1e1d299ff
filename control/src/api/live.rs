//! `live`: figures of the server and of a room, once a second.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use nucleus_core::control::{ServerStatus, ShardStatus, TenantStatus};
use nucleus_core::ids::RoomInstanceId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::UrlQuery;
use super::live_sampler::{LiveSample, LiveSampler, WantedFigures, event};
use super::problem::Problem;
use super::responses::{Common, OfOne};
use super::rooms::find_stats;
use super::server::ServerInfo;
use super::state::ApiState;
use super::streams::{self, StreamWriter};

/// The pause before a client connects again, in milliseconds.
const RETRY_MS: u32 = 2_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// What of the server is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LiveQuery {
    /// The id of a room whose figures are sent too.
    #[serde(default)]
    #[param(max_length = 16)]
    room: Option<String>,
}

/// The data of the event `server` of `live`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveServer {
    #[serde(flatten)]
    server: ServerInfo,
    /// What has changed since the event before; null at first.
    rates: Option<LiveRates>,
}

/// How much the server does in a second, as the mean since the event before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct LiveRates {
    /// Datagrams received.
    datagrams_in: u64,
    /// Datagrams sent.
    datagrams_out: u64,
    /// Bytes received.
    bytes_in: u64,
    /// Bytes sent.
    bytes_out: u64,
    /// Datagrams that the kernel has dropped.
    kernel_drops: u64,
}

/// The data of the event `tenant` of `live`: what a key of a tenant is told in place of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveTenant<'a> {
    /// The tenant's name.
    tenant: &'a str,
    /// Its sessions at this moment, those included that may still resume.
    sessions: u64,
    /// Its live rooms.
    rooms: u64,
}

/// Figures once a second, as server-sent events. A key of the whole server gets the event `server`: what
/// `server` shows, and rates. A key of a tenant gets the event `tenant`: the sessions and rooms of its own.
/// With `room`, the event `room` has what `rooms/{id}/stats` shows, and the event `ended` comes when the room
/// has ended.
#[utoipa::path(
    get,
    path = "/live",
    operation_id = "stream_live",
    tag = "events",
    params(LiveQuery),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "Figures, until the client or the server ends the stream",
            body = String, content_type = "text/event-stream"),
        Common,
        OfOne
    )
)]
async fn stream(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<LiveQuery>,
) -> Result<Response, Problem> {
    caller.needs(Scope::Read)?;
    let room = match &wanted.room {
        Some(id) => Some(find_stats(&state, &caller, id).await?.room.instance),
        None => None,
    };
    let figures = WantedFigures { tenant: caller.tenant_name().map(str::to_owned), room };
    let writing = state.clone();
    streams::open(&state, caller, |writer| async move { write(&writing, &writer, figures).await })
}

/// Writes a stream until the client has gone.
async fn write(state: &ApiState, writer: &StreamWriter, figures: WantedFigures) {
    let WantedFigures { tenant, mut room } = figures.clone();
    let mut samples = LiveSampler::watch(state.live(), figures);
    let mut text = format!(": nucleus\nretry: {RETRY_MS}\n\n");
    // What all streams of the room send: its bytes are shared.
    let mut shared = None;
    loop {
        for part in [Some(Bytes::from(std::mem::take(&mut text))), shared.take()] {
            if let Some(part) = part.filter(|part| !part.is_empty())
                && !writer.send(part).await
            {
                return;
            }
        }
        let sample = samples.next().await;
        match &tenant {
            None => write_server(state, &sample, &mut text),
            Some(tenant) => {
                if let Some(TenantStatus { sessions, rooms }) = sample.tenants.get(tenant).copied()
                {
                    event(&mut text, "tenant", &LiveTenant { tenant, sessions, rooms });
                }
            }
        }
        if let Some(id) = room {
            match sample.rooms.get(&id) {
                Some(Some(figures)) => shared = Some(figures.clone()),
                Some(None) => {
                    event(&mut text, "ended", &EndedRoom::new(id));
                    samples.forget_room();
                    room = None;
                }
                None => {}
            }
        }
        if text.is_empty() && shared.is_none() {
            // The server is too busy to answer. The client sees that the stream is alive.
            text += ": busy\n\n";
        }
    }
}

/// The data of the event `ended` of `live`.
#[derive(Debug, Serialize)]
struct EndedRoom {
    id: String,
}

impl EndedRoom {
    fn new(room: RoomInstanceId) -> Self {
        Self { id: crate::room_id::RoomAddress(room).to_string() }
    }
}

fn write_server(state: &ApiState, sample: &LiveSample, text: &mut String) {
    let Some((status, at)) = &sample.server else { return };
    let rates =
        sample.server_before.as_ref().map(|(before, then)| rates(before, status, *then, *at));
    let server = ServerInfo::new(status, state);
    event(text, "server", &LiveServer { server, rates });
}

/// Returns the changes from one sample to the next, for each second.
fn rates(before: &ServerStatus, now: &ServerStatus, then: Instant, at: Instant) -> LiveRates {
    let millis = at.saturating_duration_since(then).as_millis().max(1);
    let rate = |of: fn(&ShardStatus) -> u64| {
        let sum = |status: &ServerStatus| status.shards.iter().map(of).fold(0, u64::saturating_add);
        let change = sum(now).saturating_sub(sum(before));
        u64::try_from(u128::from(change) * 1_000 / millis).unwrap_or(u64::MAX)
    };
    LiveRates {
        datagrams_in: rate(|shard| shard.datagrams_in),
        datagrams_out: rate(|shard| shard.datagrams_out),
        bytes_in: rate(|shard| shard.bytes_in),
        bytes_out: rate(|shard| shard.bytes_out),
        kernel_drops: rate(|shard| shard.kernel_drops),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_for_a_second_and_never_negative() {
        let status = |datagrams_in, bytes_in| ServerStatus {
            shards: vec![ShardStatus { datagrams_in, bytes_in, ..ShardStatus::default() }; 2],
            ..ServerStatus::default()
        };
        let then = Instant::now();
        let at = then + Duration::from_millis(2_000);
        let found = rates(&status(100, 9), &status(400, 5), then, at);
        assert_eq!((found.datagrams_in, found.bytes_in), (300, 0));
        assert_eq!(rates(&status(0, 0), &status(1, 0), then, then).datagrams_in, 2_000);
    }
}
