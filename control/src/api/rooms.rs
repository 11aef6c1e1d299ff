//! `rooms` and `peers`: what is going on (`list`, `one`, `stats`, `plan`), and acts upon it (`acts`,
//! `properties`).

mod acts;
mod list;
mod one;
mod plan;
mod properties;
mod stats;

use nucleus_core::control::{ControlReply, ControlRequest, RoomDetail, RoomSummary};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

pub(super) use stats::find_stats;

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use crate::room_id::RoomAddress;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let reading = list::routes().merge(one::routes()).merge(stats::routes());
    let reading = reading.merge(properties::routes()).merge(plan::routes());
    reading.merge(acts::routes())
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

/// Asks for a room that the caller may know of.
async fn find(state: &ApiState, caller: &Caller, id: &str) -> Result<RoomDetail, Problem> {
    let address = parse(id)?;
    let ControlReply::Room(detail) = state.planes().ask(ControlRequest::Room(address.0)).await?
    else {
        return Err(Problem::unavailable("the server gave another answer"));
    };
    // A room of another tenant looks as if there were none.
    if caller.sees_named(&detail.room.key.owner.tenant) { Ok(*detail) } else { Err(absent()) }
}

/// Reads the id of a room.
fn parse(id: &str) -> Result<RoomAddress, Problem> {
    id.parse().map_err(|()| absent())
}

fn absent() -> Problem {
    Problem::not_found("there is no such room, or it has ended")
}
