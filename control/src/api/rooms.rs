//! `rooms` and `peers`: what is going on, and acts upon it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nucleus_core::control::{
    ControlError, ControlReply, ControlRequest, PeerSummary, RoomAct, RoomDetail, RoomOrder,
    RoomSearch, RoomSummary,
};
use nucleus_core::ids::PeerId;
use nucleus_protocol::limits::MAX_BAN;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, JsonBody, SwitchBody, UrlQuery, page_limit};
use super::problem::Problem;
use super::responses::{Common, OfBody, OfOne};
use super::state::ApiState;
use crate::room_id::{PeerAddress, RoomAddress};

/// Most bytes of a search for rooms.
const MAX_SEARCH: usize = 128;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(close))
        .routes(routes!(lock))
        .routes(routes!(hide))
        .routes(routes!(mute))
        .routes(routes!(kick))
}

/// A live room.
#[derive(Debug, Serialize, ToSchema)]
struct Room {
    /// The id: that of this instance. A room of the same name has another id after it has ended.
    id: String,
    /// The tenant's name.
    tenant: String,
    /// The product.
    product: String,
    /// The name that clients join by.
    name: String,
    /// Participants, those included that may still resume.
    peers: u32,
    /// Most participants.
    capacity: u32,
    /// Whether nobody else may join.
    locked: bool,
    /// Whether lobbies leave the room out.
    hidden: bool,
    /// Whether the room stays when it is empty.
    kept: bool,
    /// How long it exists, in seconds.
    age_seconds: u64,
    /// The shard that relays its realtime messages.
    shard: u16,
}

/// A live room with its peers.
#[derive(Debug, Serialize, ToSchema)]
struct RoomWithPeers {
    #[serde(flatten)]
    room: Room,
    /// Objects in the shared state.
    objects: u32,
    /// The participants.
    members: Vec<RoomMember>,
    /// Users who may not come back yet.
    bans: Vec<RoomBan>,
}

/// A participant of a room.
#[derive(Debug, Serialize, ToSchema)]
struct RoomMember {
    /// The id, for `peers/{id}`.
    id: String,
    /// The user id.
    user: String,
    /// The display name.
    name: String,
    /// The role.
    role: String,
    /// Whether the peer may moderate.
    moderator: bool,
    /// Whether nobody seems to be there.
    away: bool,
    /// Whether the peer's voice is dropped.
    muted: bool,
    /// Whether the peer has muted itself.
    self_muted: bool,
    /// Whether the session is lost. The peer may still resume.
    lost: bool,
    /// How often the peer has resumed.
    resumes: u32,
}

/// A user who may not come back yet.
#[derive(Debug, Serialize, ToSchema)]
struct RoomBan {
    /// The user id.
    user: String,
    /// How long it lasts, in seconds.
    seconds_left: u64,
}

/// A page of rooms.
#[derive(Debug, Serialize, ToSchema)]
struct RoomPage {
    /// The rooms.
    items: Vec<Room>,
    /// Rooms that match, on all pages.
    total: usize,
    /// What to send as `cursor` for the next page; absent: there is none.
    next: Option<String>,
}

/// An order of rooms.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// By tenant, product and name.
    #[default]
    Name,
    /// The fullest first.
    Peers,
    /// The oldest first.
    Age,
}

/// Which rooms are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RoomQuery {
    /// A part of the room's name, in any case.
    #[serde(default)]
    #[param(max_length = 128)]
    search: String,
    /// The tenant's name. A key of a tenant sees its own rooms alone.
    #[serde(default)]
    #[param(max_length = 64)]
    tenant: Option<String>,
    /// The order.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// `next` of the page before.
    #[serde(default)]
    #[param(max_length = 16, pattern = "^[0-9a-f]{16}$")]
    cursor: Option<String>,
    /// Rooms of the page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
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

impl From<&RoomSummary> for Room {
    fn from(room: &RoomSummary) -> Self {
        Self {
            id: RoomAddress(room.instance).to_string(),
            tenant: room.key.owner.tenant.clone(),
            product: room.key.owner.product.to_string(),
            name: room.key.name.clone(),
            peers: room.peers,
            capacity: room.capacity,
            locked: room.locked,
            hidden: room.hidden,
            kept: room.kept,
            age_seconds: room.age.as_secs(),
            shard: room.shard,
        }
    }
}

impl RoomMember {
    fn new(room: &RoomSummary, peer: &PeerSummary) -> Self {
        Self {
            id: PeerAddress { room: RoomAddress(room.instance), peer: peer.peer }.to_string(),
            user: peer.user.clone(),
            name: peer.name.clone(),
            role: peer.role.clone(),
            moderator: peer.moderator,
            away: peer.away,
            muted: peer.muted,
            self_muted: peer.self_muted,
            lost: peer.lost,
            resumes: peer.sessions.saturating_sub(1),
        }
    }
}

/// The live rooms that the key may see.
#[utoipa::path(
    get,
    path = "/rooms",
    operation_id = "list_rooms",
    tag = "rooms",
    params(RoomQuery),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "A page of rooms", body = RoomPage),
        (status = 409, description = "The room of the cursor has ended", body = Problem,
            content_type = "application/problem+json"),
        Common
    )
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<RoomQuery>,
) -> Result<Json<RoomPage>, Problem> {
    caller.needs(Scope::Read)?;
    if query.search.len() > MAX_SEARCH {
        return Err(Problem::bad_request(format!("`search` may have {MAX_SEARCH} bytes")));
    }
    let wrong = || Problem::bad_request("`cursor` must be `next` of the page before");
    let after =
        query.cursor.as_deref().map(|text| text.parse::<RoomAddress>().map_err(|()| wrong()));
    let limit = page_limit(query.limit)?;
    if query.tenant.as_deref().is_some_and(|tenant| !caller.sees_named(tenant)) {
        return Ok(Json(RoomPage { items: Vec::new(), total: 0, next: None }));
    }
    let own = caller.tenant.as_ref().map(|tenant| tenant.name.clone());
    let search = RoomSearch {
        tenant: own.or(query.tenant),
        text: query.search,
        order: match query.order {
            Order::Name => RoomOrder::Name,
            Order::Peers => RoomOrder::Peers,
            Order::Age => RoomOrder::Age,
        },
        after: after.transpose()?.map(|address| address.0),
        limit: limit as usize,
    };
    let ControlReply::Rooms(rooms, total) =
        state.planes().ask(ControlRequest::Rooms(search)).await?
    else {
        return Err(Problem::unavailable("the server gave another answer"));
    };
    let items: Vec<Room> = rooms.iter().map(Room::from).collect();
    let next = items.last().filter(|_| items.len() >= limit as usize).map(|room| room.id.clone());
    Ok(Json(RoomPage { items, total, next }))
}

/// One live room with its peers.
#[utoipa::path(
    get,
    path = "/rooms/{id}",
    operation_id = "get_room",
    tag = "rooms",
    params(("id" = String, Path, description = "The room's id")),
    security(("key" = ["read"])),
    responses((status = 200, description = "The room", body = RoomWithPeers), Common, OfOne)
)]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<RoomWithPeers>, Problem> {
    caller.needs(Scope::Read)?;
    let detail = room(&state, &caller, &id).await?;
    let ban = |(user, left): &(String, Duration)| RoomBan {
        user: user.clone(),
        seconds_left: left.as_secs(),
    };
    Ok(Json(RoomWithPeers {
        room: Room::from(&detail.room),
        objects: detail.content.objects,
        members: detail
            .content
            .peers
            .iter()
            .map(|peer| RoomMember::new(&detail.room, peer))
            .collect(),
        bans: detail.content.bans.iter().map(ban).collect(),
    }))
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

/// Asks for a room that the caller may know of.
async fn room(state: &ApiState, caller: &Caller, id: &str) -> Result<RoomDetail, Problem> {
    let absent = || Problem::not_found("there is no such room, or it has ended");
    let address: RoomAddress = id.parse().map_err(|()| absent())?;
    let ControlReply::Room(detail) = state.planes().ask(ControlRequest::Room(address.0)).await?
    else {
        return Err(Problem::unavailable("the server gave another answer"));
    };
    // A room of another tenant looks as if there were none.
    if caller.sees_named(&detail.room.key.owner.tenant) { Ok(*detail) } else { Err(absent()) }
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
    let detail = room(state, caller, id).await?;
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
    let detail = room(state, caller, &address.to_string()).await.map_err(|problem| {
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

/// Carries out an act, and notes it in the audit.
async fn carry_out(
    state: &ApiState,
    caller: &Caller,
    room: &RoomSummary,
    action: &'static str,
    act: RoomAct,
    user: &str,
) -> Result<StatusCode, Problem> {
    let target = RoomAddress(room.instance).to_string();
    let mut detail = match user {
        "" => room.key.name.clone(),
        user => format!("{}: {user}", room.key.name),
    };
    if let RoomAct::Kick(_, ban) = &act
        && !ban.is_zero()
    {
        detail += &format!(", banned for {} s", ban.as_secs());
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
