//! `series`: how the server's figures ran over the last hour or day.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{UrlQuery, page_limit};
use super::problem::Problem;
use super::responses::Common;
use super::state::ApiState;
use crate::room_id::RoomAddress;
use crate::series::{RoomLine, SeriesLine, SeriesName, SeriesSpan};
use crate::timestamp::Timestamp;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(series)).routes(routes!(rooms))
}

/// Which lines are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SeriesQuery {
    /// Names of figures, with commas between them: `headsets`, `rooms`, `fallback`, `joins`,
    /// `failed_joins`, `relay_p50`, `relay_p99`, `loss_in`, `loss_out`, `kernel_drops`; and of each shard
    /// `cpu`, `bytes_in`, `bytes_out`, `datagrams_in`, `datagrams_out`. Absent: all of them.
    #[serde(default)]
    #[param(max_length = 256)]
    names: Option<String>,
    /// How far back: `1h` in steps of 10 s, `24h` in steps of 2 min.
    #[serde(default)]
    #[param(default = "1h", pattern = "^(1h|24h)$")]
    span: Option<String>,
}

/// Lines of figures over time.
#[derive(Debug, Serialize, ToSchema)]
struct SeriesAnswer {
    /// The time from one value to the next.
    step_seconds: u64,
    /// When the last value of each line was read.
    #[schema(value_type = String, format = DateTime)]
    end: Timestamp,
    /// The numbers of the shards that did not tell what was lost on their links in time for the last values:
    /// `loss_in` and `loss_out` are those of the other shards.
    silent_shards: Vec<u16>,
    /// The lines, in the order of the names, then of the shards.
    lines: Vec<LineOfFigure>,
}

/// A line of a picture.
#[derive(Debug, Serialize, ToSchema)]
struct LineOfFigure {
    /// The name of the figure.
    name: &'static str,
    /// `count` (at that time), `per_step`, `per_second`, `ppm` (parts per million) or `us` (microseconds).
    unit: &'static str,
    /// The number of the shard; null: the figure is of the whole server.
    shard: Option<u16>,
    /// The values, the oldest first. Null: nothing is known of the step, or nothing came.
    values: Vec<Option<u32>>,
}

impl From<SeriesLine> for LineOfFigure {
    fn from(line: SeriesLine) -> Self {
        let SeriesLine { name, shard, values } = line;
        Self { name: name.name(), unit: name.unit().name(), shard, values }
    }
}

/// How the server's figures ran. They are kept in memory since its start: what was before is null.
#[utoipa::path(
    get,
    path = "/series",
    operation_id = "get_series",
    tag = "server",
    params(SeriesQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "The lines", body = SeriesAnswer), Common)
)]
async fn series(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<SeriesQuery>,
) -> Result<Json<SeriesAnswer>, Problem> {
    caller.needs_server(Scope::Read)?;
    let span = match wanted.span.as_deref() {
        None | Some("1h") => SeriesSpan::Hour,
        Some("24h") => SeriesSpan::Day,
        Some(_) => return Err(Problem::bad_request("`span` must be 1h or 24h")),
    };
    let names = names(wanted.names.as_deref())?;
    let (age, lines) = state.series().lines(span, &names);
    Ok(Json(SeriesAnswer {
        step_seconds: span.step().as_secs(),
        end: before(state.now(), age),
        silent_shards: state.series().silent_shards(),
        lines: lines.into_iter().map(LineOfFigure::from).collect(),
    }))
}

/// Reads the names of figures, each once.
fn names(text: Option<&str>) -> Result<Vec<SeriesName>, Problem> {
    let Some(text) = text else { return Ok(SeriesName::ALL.to_vec()) };
    let mut names = Vec::new();
    for name in text.split(',') {
        let known = || SeriesName::ALL.map(SeriesName::name).join(", ");
        let unknown = || Problem::bad_request(format!("`names`: each must be one of {}", known()));
        let name = SeriesName::parse(name).ok_or_else(unknown)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Which rooms are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RoomSeriesQuery {
    /// Ids of rooms, with commas between them, at most 200; absent: the fullest rooms.
    #[serde(default)]
    #[param(max_length = 3400)]
    ids: Option<String>,
    /// Most rooms.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Short lines of rooms, for lists.
#[derive(Debug, Serialize, ToSchema)]
struct RoomSeriesAnswer {
    /// The time from one value to the next.
    step_seconds: u64,
    /// When the last value of each line was read.
    #[schema(value_type = String, format = DateTime)]
    end: Timestamp,
    /// The numbers of the shards that did not answer in time for the last values: their rooms are missing.
    silent_shards: Vec<u16>,
    /// The rooms, the fullest first.
    rooms: Vec<LinesOfRoom>,
}

/// The lines of a room over the last ten minutes, the oldest values first. Bytes and losses are those of the
/// participants that were there at both ends of a step. Null: nothing is known of the step, or there were none.
#[derive(Debug, Serialize, ToSchema)]
struct LinesOfRoom {
    /// The room's id.
    id: String,
    /// The tenant's name.
    tenant: String,
    /// The name that clients join by.
    name: String,
    /// Participants.
    peers: Vec<Option<u32>>,
    /// Bytes in a second to these clients.
    bytes_out: Vec<Option<u32>>,
    /// Lost datagrams of the clients, in parts per million.
    loss_in_ppm: Vec<Option<u32>>,
    /// Lost datagrams of the server, in parts per million, as the clients report.
    loss_out_ppm: Vec<Option<u32>>,
    /// The largest share of one client, in parts per million, of those that have sent at least 20 datagrams
    /// in the step.
    worst_loss_in_ppm: Vec<Option<u32>>,
    /// The largest share of one client, of those to which at least 20 datagrams were sent in the step.
    worst_loss_out_ppm: Vec<Option<u32>>,
}

impl From<RoomLine> for LinesOfRoom {
    fn from(line: RoomLine) -> Self {
        Self {
            id: RoomAddress(line.instance).to_string(),
            tenant: line.key.owner.tenant.clone(),
            name: line.key.name.clone(),
            peers: line.peers,
            bytes_out: line.bytes_out,
            loss_in_ppm: line.loss_in,
            loss_out_ppm: line.loss_out,
            worst_loss_in_ppm: line.worst_loss_in,
            worst_loss_out_ppm: line.worst_loss_out,
        }
    }
}

/// How the fullest rooms of the server ran over the last ten minutes: at most 512 are read. A room that is
/// not among them is missing. A room of a shard that does not answer stays for a minute, with gaps.
#[utoipa::path(
    get,
    path = "/series/rooms",
    operation_id = "get_room_series",
    tag = "rooms",
    params(RoomSeriesQuery),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "The lines", body = RoomSeriesAnswer),
        (status = 431, description = "The address of the request is too long"),
        Common
    )
)]
async fn rooms(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<RoomSeriesQuery>,
) -> Result<Json<RoomSeriesAnswer>, Problem> {
    caller.needs(Scope::Read)?;
    let limit = page_limit(wanted.limit)?;
    let ids = wanted.ids.as_deref().map(room_ids).transpose()?;
    let (age, mut lines) = state.series().rooms();
    lines.retain(|line| {
        caller.sees_named(&line.key.owner.tenant)
            && ids.as_ref().is_none_or(|ids| ids.contains(&RoomAddress(line.instance)))
    });
    lines.truncate(if ids.is_some() { MAX_IDS } else { limit as usize });
    Ok(Json(RoomSeriesAnswer {
        step_seconds: SeriesSpan::Hour.step().as_secs(),
        end: before(state.now(), age),
        silent_shards: state.series().silent_shards(),
        rooms: lines.into_iter().map(LinesOfRoom::from).collect(),
    }))
}

/// Most ids in a request: two pages of a list.
const MAX_IDS: usize = 200;

fn room_ids(text: &str) -> Result<Vec<RoomAddress>, Problem> {
    let wrong = |()| Problem::bad_request("`ids`: each must be the id of a room");
    let ids: Vec<_> =
        text.split(',').map(|id| id.parse().map_err(wrong)).collect::<Result<_, _>>()?;
    match ids.len() {
        0..=MAX_IDS => Ok(ids),
        _ => Err(Problem::bad_request(format!("`ids` has more than {MAX_IDS} ids"))),
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.micros().saturating_sub(micros))
}
