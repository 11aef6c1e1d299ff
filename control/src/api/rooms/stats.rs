//! `rooms/{id}/stats`: the figures of a live room's peers.

use axum::Json;
use axum::extract::State;
use nucleus_core::control::{ControlReply, ControlRequest, LiveRoomStats};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{absent, parse};
use crate::api::caller::{Caller, Scope};
use crate::api::extract::Id;
use crate::api::problem::Problem;
use crate::api::responses::{Common, OfOne};
use crate::api::room_figures::LiveRoomFigures;
use crate::api::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(stats))
}

/// The figures of a live room: in total, and of each peer.
#[utoipa::path(
    get,
    path = "/rooms/{id}/stats",
    operation_id = "get_room_stats",
    tag = "rooms",
    params(("id" = String, Path, description = "The room's id")),
    security(("key" = ["read"])),
    responses((status = 200, description = "The figures", body = LiveRoomFigures), Common, OfOne)
)]
async fn stats(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<LiveRoomFigures>, Problem> {
    caller.needs(Scope::Read)?;
    let stats = find_stats(&state, &caller, &id).await?;
    Ok(Json(LiveRoomFigures::new(&stats)))
}

/// Asks for the figures of a room that the caller may know of.
pub(in crate::api) async fn find_stats(
    state: &ApiState,
    caller: &Caller,
    id: &str,
) -> Result<LiveRoomStats, Problem> {
    let address = parse(id)?;
    let ControlReply::RoomStats(stats) =
        state.planes().ask(ControlRequest::RoomStats(address.0)).await?
    else {
        return Err(Problem::unavailable("the server gave another answer"));
    };
    // A room of another tenant looks as if there were none.
    if caller.sees_named(&stats.room.key.owner.tenant) { Ok(*stats) } else { Err(absent()) }
}
