//! `rooms/{id}`: one live room with its peers.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use nucleus_core::control::{PeerSummary, RoomSummary};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Room, find};
use crate::api::caller::{Caller, Scope};
use crate::api::extract::Id;
use crate::api::problem::Problem;
use crate::api::responses::{Common, OfOne};
use crate::api::state::ApiState;
use crate::room_id::{PeerAddress, RoomAddress};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get))
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
    /// The time since the join, in seconds.
    age_seconds: u64,
}

/// A user who may not come back yet.
#[derive(Debug, Serialize, ToSchema)]
struct RoomBan {
    /// The user id.
    user: String,
    /// How long it lasts, in seconds.
    seconds_left: u64,
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
            age_seconds: peer.age.as_secs(),
        }
    }
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
    let detail = find(&state, &caller, &id).await?;
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
