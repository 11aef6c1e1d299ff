//! Acts upon rooms and their peers. Each has its entry in the audit.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use nucleus_core::control::{ControlError, ControlRequest, RoomAct, RoomSummary};
use nucleus_core::ids::PeerId;
use nucleus_core::text;
use nucleus_protocol::limits::MAX_BAN;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::find;
use crate::api::caller::{Caller, Scope};
use crate::api::extract::{Id, JsonBody, SwitchBody};
use crate::api::problem::Problem;
use crate::api::responses::{Common, OfBody, OfOne};
use crate::api::state::ApiState;
use crate::room_id::{PeerAddress, RoomAddress};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(close))
        .routes(routes!(lock))
        .routes(routes!(hide))
        .routes(routes!(mute))
        .routes(routes!(kick))
        .routes(routes!(unban))
}

/// How long a user may not come back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KickBody {
    /// How long the user may not come back, in seconds; 0: the user may come back at once.
    #[serde(default)]
    #[schema(maximum = 86_400)]
    ban_seconds: u32,
}

/// Ends a room for everybody.
#[utoipa::path(
    post,
    path = "/rooms/{id}/close",
    operation_id = "close_room",
    tag = "rooms",
    params(("id" = String, Path, description = "The room's id")),
    security(("key" = ["operate"])),
    responses((status = 204, description = "It is closed"), Common, OfOne)
)]
async fn close(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    act(&state, &caller, &id, "room.close", RoomAct::Close).await
}

/// Locks a room, or unlocks it.
#[utoipa::path(
    post,
    path = "/rooms/{id}/lock",
    operation_id = "lock_room",
    tag = "rooms",
    params(("id" = String, Path, description = "The room's id")),
    request_body = SwitchBody,
    security(("key" = ["operate"])),
    responses((status = 204, description = "It is done"), Common, OfOne, OfBody)
)]
async fn lock(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    JsonBody(body): JsonBody<SwitchBody>,
) -> Result<StatusCode, Problem> {
    let action = if body.on { "room.lock" } else { "room.unlock" };
    act(&state, &caller, &id, action, RoomAct::Lock(body.on)).await
}

/// Leaves a room out of lobbies, or shows it again.
#[utoipa::path(
    post,
    path = "/rooms/{id}/hide",
    operation_id = "hide_room",
    tag = "rooms",
    params(("id" = String, Path, description = "The room's id")),
    request_body = SwitchBody,
    security(("key" = ["operate"])),
    responses((status = 204, description = "It is done"), Common, OfOne, OfBody)
)]
async fn hide(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    JsonBody(body): JsonBody<SwitchBody>,
) -> Result<StatusCode, Problem> {
    let action = if body.on { "room.hide" } else { "room.show" };
    act(&state, &caller, &id, action, RoomAct::Hide(body.on)).await
}

/// Drops a peer's voice, or lets it pass again.
#[utoipa::path(
    post,
    path = "/peers/{id}/mute",
    operation_id = "mute_peer",
    tag = "peers",
    params(("id" = String, Path, description = "The peer's id")),
    request_body = SwitchBody,
    security(("key" = ["operate"])),
    responses((status = 204, description = "It is done"), Common, OfOne, OfBody)
)]
async fn mute(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    JsonBody(body): JsonBody<SwitchBody>,
) -> Result<StatusCode, Problem> {
    let action = if body.on { "peer.mute" } else { "peer.unmute" };
    act_on_peer(&state, &caller, &id, action, |peer| RoomAct::Mute(peer, body.on)).await
}

/// Removes a peer from its room, and keeps its user out for a time if wanted.
#[utoipa::path(
    post,
    path = "/peers/{id}/kick",
    operation_id = "kick_peer",
    tag = "peers",
    params(("id" = String, Path, description = "The peer's id")),
    request_body = KickBody,
    security(("key" = ["operate"])),
    responses((status = 204, description = "It is done"), Common, OfOne, OfBody)
)]
async fn kick(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    JsonBody(body): JsonBody<KickBody>,
) -> Result<StatusCode, Problem> {
    let ban = Duration::from_secs(body.ban_seconds.into());
    if ban > MAX_BAN {
        let most = MAX_BAN.as_secs();
        return Err(Problem::invalid(format!("`ban_seconds` must be 0 to {most}")));
    }
    act_on_peer(&state, &caller, &id, "peer.kick", |peer| RoomAct::Kick(peer, ban)).await
}

/// Lets a user who is kept out of a room come back at once.
#[utoipa::path(
    delete,
    path = "/rooms/{id}/bans/{user}",
    operation_id = "unban_from_room",
    tag = "rooms",
    params(
        ("id" = String, Path, description = "The room's id"),
        ("user" = String, Path, description = "The user id, percent-encoded"),
    ),
    security(("key" = ["operate"])),
    responses((status = 204, description = "The user may come back"), Common, OfOne)
)]
async fn unban(
    State(state): State<ApiState>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Operate)?;
    let Path((id, user)) = path.map_err(|_| Problem::bad_request("the address is not UTF-8"))?;
    let detail = find(&state, &caller, &id).await?;
    let user = text::nfc(&user);
    let act = RoomAct::Unban(user.clone());
    carry_out(&state, &caller, &detail.room, "room.unban", act, &user).await
}

/// Carries out an act upon a room.
async fn act(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    action: &'static str,
    act: RoomAct,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Operate)?;
    let detail = find(state, caller, id).await?;
    carry_out(state, caller, &detail.room, action, act, "").await
}

/// Carries out an act upon a peer.
async fn act_on_peer(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    action: &'static str,
    act: impl FnOnce(PeerId) -> RoomAct,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Operate)?;
    let absent = || Problem::not_found("there is no such peer");
    let PeerAddress { room: address, peer } = id.parse().map_err(|()| absent())?;
    let detail = find(state, caller, &address.to_string()).await.map_err(|problem| {
        if problem.status() == StatusCode::NOT_FOUND { absent() } else { problem }
    })?;
    let user = detail
        .content
        .peers
        .iter()
        .find(|other| other.peer == peer)
        .ok_or_else(absent)?
        .user
        .clone();
    carry_out(state, caller, &detail.room, action, act(peer), &user).await
}

/// Carries out an act, and notes it in the audit, with `what` it is about: a user or properties.
pub(super) async fn carry_out(
    state: &ApiState,
    caller: &Caller,
    room: &RoomSummary,
    action: &'static str,
    act: RoomAct,
    what: &str,
) -> Result<StatusCode, Problem> {
    let target = RoomAddress(room.instance).to_string();
    let mut detail = match what {
        "" => room.key.name.clone(),
        what => format!("{}: {what}", room.key.name),
    };
    if let RoomAct::Kick(_, ban) = &act
        && !ban.is_zero()
    {
        detail += &format!(", banned for {} s", ban.as_secs());
    }
    // The state is as the room was last listed, up to a second ago. The act is carried out in any case.
    if let RoomAct::Lock(on) = &act
        && *on == room.locked
    {
        let state = if *on { "locked" } else { "unlocked" };
        detail += &format!(", listed as {state} already");
    }
    let (state, actor, key) = (state.clone(), caller.actor.clone(), room.key.clone());
    let request = ControlRequest::Act(room.instance, act);
    // A task of its own: a caller who goes away meanwhile must not leave an act without its entry.
    let acting = tokio::spawn(async move {
        let result = state.planes().ask(request).await;
        if matches!(result, Err(ControlError::Busy)) {
            detail += " (no answer in time: perhaps not done)";
        }
        if matches!(result, Ok(_) | Err(ControlError::Busy)) {
            state.note(&actor, Some(&key.owner.tenant), action, &target, &detail).await;
        }
        result
    });
    acting.await.map_err(|_| Problem::unavailable("the act was broken off"))??;
    Ok(StatusCode::NO_CONTENT)
}
