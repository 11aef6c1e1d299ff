//! `rooms`: the list of the live rooms.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use nucleus_core::control::{ControlReply, ControlRequest, RoomOrder, RoomSearch};
use nucleus_core::ids::RoomInstanceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Room;
use crate::api::caller::{Caller, Scope};
use crate::api::extract::{UrlQuery, page_limit};
use crate::api::problem::Problem;
use crate::api::responses::{Common, OfOne};
use crate::api::state::ApiState;
use crate::room_id::RoomAddress;

/// Most bytes of a search for rooms.
const MAX_SEARCH: usize = 128;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
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
    /// The largest loss of a room's worst link first.
    Loss,
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
    /// The order: `name` (by tenant, product and name), `peers` (the fullest first), `loss` (the largest
    /// loss of the worst link first, as the newest lines of `/series/rooms` have it; rooms whose loss is not
    /// known come last) or `age` (the oldest first).
    #[serde(default)]
    #[param(inline, default = "name")]
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

/// The live rooms that the key may see. What was changed of a room is in the list within a second.
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
        Common, OfOne
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
    let named = query.tenant.clone();
    let own = caller.tenant.as_ref().map(|tenant| tenant.name.clone());
    let search = RoomSearch {
        tenant: own.or(query.tenant),
        text: query.search,
        order: match query.order {
            Order::Name => RoomOrder::Name,
            Order::Peers => RoomOrder::Peers,
            Order::Loss => RoomOrder::Loss,
            Order::Age => RoomOrder::Age,
        },
        losses: match query.order {
            Order::Loss => losses(&state),
            Order::Name | Order::Peers | Order::Age => HashMap::new(),
        },
        after: after.transpose()?.map(|address| address.0),
        limit: limit as usize,
    };
    let ControlReply::Rooms(rooms, total) =
        state.planes().ask(ControlRequest::Rooms(search)).await?
    else {
        return Err(Problem::unavailable("the server gave another answer"));
    };
    if total == 0 {
        caller.explain_empty(&state, named.as_deref())?;
    }
    let items: Vec<Room> = rooms.iter().map(Room::from).collect();
    let next = items.last().filter(|_| items.len() >= limit as usize).map(|room| room.id.clone());
    Ok(Json(RoomPage { items, total, next }))
}

/// Returns the loss of the worst link of each room where it is known, of the rooms of `/series/rooms`.
fn losses(state: &ApiState) -> HashMap<RoomInstanceId, u32> {
    let (_, lines) = state.series().rooms();
    lines.iter().filter_map(|line| Some((line.instance, line.newest_worst_loss()?))).collect()
}
