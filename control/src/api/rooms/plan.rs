//! `rooms/{id}/plan`: a room as seen from above.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use nucleus_core::control::{ControlReply, ControlRequest, LivePeerStats, LiveRoomStats};
use nucleus_core::ids::PeerId;
use nucleus_core::room_stats::HeadPose;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{find, parse};
use crate::api::caller::{Caller, Scope};
use crate::api::extract::Id;
use crate::api::problem::Problem;
use crate::api::request::FromPage;
use crate::api::responses::{Common, OfOne};
use crate::api::state::ApiState;
use crate::room_id::{PeerAddress, RoomAddress};

/// Wait for the first poses after nobody has looked at the room. Headsets send some sixty a second.
const FIRST_POSES: Duration = Duration::from_millis(150);
/// A pose that is older says no longer where the head is.
const STALE: Duration = Duration::from_secs(5);
/// From this share of lost datagrams since the link began on, a link suffers: 1 %, as in the dashboard.
const BAD_LOSS_PPM: u32 = 10_000;
/// From this jitter on, the buffers of receivers no longer hide it.
const BAD_JITTER: Duration = Duration::from_millis(50);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(plan))
}

/// A room as seen from above.
#[derive(Debug, Serialize, ToSchema)]
struct RoomPlan {
    /// The room's id.
    id: String,
    /// The name that clients join by.
    name: String,
    /// Whether the poses are kept: false if too many other rooms are looked at, or if the room's shard does not
    /// answer. Heads have no positions then.
    poses_kept: bool,
    /// The peers, by their numbers.
    heads: Vec<RoomPlanHead>,
}

/// A peer in the plan. What is not known is null.
#[derive(Debug, Serialize, ToSchema)]
struct RoomPlanHead {
    /// The peer's id, for `peers/{id}`.
    id: String,
    /// The user id.
    user: String,
    /// The display name.
    name: String,
    /// To the right, in metres.
    x: Option<f32>,
    /// Towards the viewer, in metres. Seen from above with x to the right, z goes down.
    z: Option<f32>,
    /// Up, in metres.
    y: Option<f32>,
    /// The direction of the look, in degrees from -180 to 180: 0 along -z, rising to the left.
    yaw: Option<f32>,
    /// The time since the pose came, in milliseconds.
    age_ms: Option<u64>,
    /// Whether the peer speaks.
    speaking: bool,
    /// Whether the client is away or its session is lost.
    away: bool,
    /// Whether the link suffers: it has lost 1 % of its datagrams since it began, or its delay varies by 50 ms.
    suffers: bool,
    /// Whether the realtime messages go through QUIC instead of UDP 5056.
    on_fallback: Option<bool>,
}

/// Where the heads of a room are now, who speaks, and whose link suffers. The server keeps the newest poses
/// of a room for ten seconds after this is asked, and of 16 rooms of a shard at a time, which the tenants
/// share.
#[utoipa::path(
    get,
    path = "/rooms/{id}/plan",
    operation_id = "get_room_plan",
    tag = "rooms",
    params(("id" = String, Path, description = "The room's id")),
    security(("key" = ["read"])),
    responses((status = 200, description = "The plan", body = RoomPlan), Common, OfOne)
)]
async fn plan(
    State(state): State<ApiState>,
    caller: Caller,
    page: Option<Extension<FromPage>>,
    Id(id): Id,
) -> Result<Json<RoomPlan>, Problem> {
    caller.needs(Scope::Read)?;
    let (stats, mut poses) = ask(&state, &caller, &id).await?;
    // A page waits for nothing: it asks again each second.
    let waits = page.is_none() && !stats.peers.is_empty();
    if waits && poses.as_ref().is_some_and(Vec::is_empty) {
        tokio::time::sleep(FIRST_POSES).await;
        poses = ask(&state, &caller, &id).await?.1;
    }
    Ok(Json(RoomPlan::new(&stats, poses)))
}

/// Asks for the figures and the poses of a room that the caller may know of.
async fn ask(
    state: &ApiState,
    caller: &Caller,
    id: &str,
) -> Result<(Box<LiveRoomStats>, Option<Vec<HeadPose>>), Problem> {
    let address = parse(id)?;
    // A room of another tenant looks as if there were none, and its poses are not kept for a stranger.
    find(state, caller, id).await?;
    match state.planes().ask(ControlRequest::RoomPlan(address.0)).await? {
        ControlReply::RoomPlan(stats, poses) => Ok((stats, poses)),
        _ => Err(Problem::unavailable("the server gave another answer")),
    }
}

impl RoomPlan {
    fn new(stats: &LiveRoomStats, poses: Option<Vec<HeadPose>>) -> Self {
        let address = RoomAddress(stats.room.instance);
        let poses_kept = poses.is_some();
        let fresh = poses.unwrap_or_default().into_iter().filter(|pose| pose.age <= STALE);
        let poses: HashMap<PeerId, HeadPose> = fresh.map(|pose| (pose.peer, pose)).collect();
        let head =
            |peer: &LivePeerStats| RoomPlanHead::new(address, peer, poses.get(&peer.peer.peer));
        Self {
            id: address.to_string(),
            name: stats.room.key.name.clone(),
            poses_kept,
            heads: stats.peers.iter().map(head).collect(),
        }
    }
}

impl RoomPlanHead {
    fn new(room: RoomAddress, stats: &LivePeerStats, pose: Option<&HeadPose>) -> Self {
        let LivePeerStats { peer, link, .. } = stats;
        let position = |axis: usize| pose.map(|pose| pose.head.position[axis]);
        let lost = |ppm: Option<u32>| ppm.is_some_and(|ppm| ppm >= BAD_LOSS_PPM);
        let suffers = link.is_some_and(|link| {
            let jitters = link.jitter.is_some_and(|jitter| jitter >= BAD_JITTER);
            lost(link.loss_in_ppm) || lost(link.loss_out_ppm) || jitters
        });
        let present = !peer.lost;
        Self {
            id: PeerAddress { room, peer: peer.peer }.to_string(),
            user: peer.user.clone(),
            name: peer.name.clone(),
            x: position(0),
            z: position(2),
            y: position(1),
            yaw: pose.map(|pose| yaw(pose.head.rotation)),
            age_ms: pose.map(|pose| u64::try_from(pose.age.as_millis()).unwrap_or(u64::MAX)),
            speaking: present && link.is_some_and(|link| link.speaking),
            away: peer.away || peer.lost,
            suffers: present && suffers,
            on_fallback: link.filter(|_| present).and_then(|link| link.on_fallback),
        }
    }
}

/// Returns the direction of a look on the ground, in degrees: 0 along -z, rising to the left.
fn yaw([x, y, z, w]: [f32; 4]) -> f32 {
    // Where the rotation turns (0, 0, -1).
    let (right, back) = (-2.0 * (x * z + w * y), -1.0 + 2.0 * (x * x + y * y));
    (-right).atan2(-back).to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_has_a_direction_on_the_ground() {
        let turned = |degrees: f32| {
            let half = degrees.to_radians() / 2.0;
            yaw([0.0, half.sin(), 0.0, half.cos()])
        };
        for degrees in [0.0, 30.0, 90.0, 179.0, -45.0, -120.0] {
            assert!((turned(degrees) - degrees).abs() < 0.01, "{degrees}: {}", turned(degrees));
        }
        // A nod turns nobody.
        let half = 0.3_f32;
        assert!(yaw([half.sin(), 0.0, 0.0, half.cos()]).abs() < 0.01);
    }
}
