//! `history`: which rooms, sessions and calls there were.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, ListPage, PageQuery, UrlQuery, query_text, query_time};
use super::problem::Problem;
use super::responses::{Common, OfOne};
use super::state::ApiState;
use crate::history::{
    EndedWhere, HistoryFilter, PastCall, PastRoom, PastSession, SessionTimeline, query, timeline,
};
use crate::room_id::RoomAddress;
use crate::store::{PageRequest, StoreError};

/// Most bytes of a name in a filter, as in join tokens.
const MAX_NAME: usize = 128;
/// Most bytes of a code, as `timed_out`.
const MAX_CODE: usize = 32;
/// The longest time between the ends of sessions that are asked for by their ends, in microseconds: such an
/// answer reads every session that ended in that time.
const LONGEST_SPAN: i64 = 600_000_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let lists = OpenApiRouter::new()
        .routes(routes!(rooms))
        .routes(routes!(sessions))
        .routes(routes!(calls));
    lists.routes(routes!(session))
}

/// An order of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SessionOrder {
    /// Those that joined last first.
    #[default]
    Joined,
    /// Those that ended last first.
    Left,
}

/// Which rows are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// The tenant's name.
    #[serde(default)]
    #[param(max_length = 128)]
    tenant: Option<String>,
    /// A user: who was there, called, or was called.
    #[serde(default)]
    #[param(max_length = 128)]
    user: Option<String>,
    /// A part of the display name or of the user id, in any case: of sessions alone. Looks at the newest
    /// 20,000 sessions that the other filters leave behind the cursor.
    #[serde(default)]
    #[param(max_length = 128)]
    name: Option<String>,
    /// The id or the name of a room. Calls have none.
    #[serde(default)]
    #[param(max_length = 128)]
    room: Option<String>,
    /// The order of sessions: `joined` (those that joined last first) or `left` (those that ended last first;
    /// those without an end are left out). The second takes `limit`, and either the id of a room as `room`, or
    /// `from` and `to`, which are then times of the end at most ten minutes apart, with or without `code`.
    #[serde(default)]
    #[param(inline, default = "joined")]
    order: SessionOrder,
    /// Why sessions ended, as `timed_out`: with the order `left` alone.
    #[serde(default)]
    #[param(max_length = 32)]
    code: Option<String>,
    /// Begun at this time or later.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Begun before this time.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// `next` of the page before.
    #[serde(default)]
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Rows of the page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

impl HistoryQuery {
    fn check(self, caller: &Caller) -> Result<(HistoryFilter, PageRequest), Problem> {
        caller.needs(Scope::Read)?;
        let Self { tenant, user, name, room, order: _, code, from, to, cursor, limit } = self;
        if code.is_some() {
            return Err(Problem::bad_request("`code`: only the order `left` has one"));
        }
        let texts = [("tenant", &tenant), ("user", &user), ("name", &name), ("room", &room)];
        for (field, value) in texts {
            query_text(field, value, MAX_NAME)?;
        }
        let filter = HistoryFilter {
            tenant: caller.tenant_id().map(str::to_owned),
            tenant_name: tenant,
            user,
            name,
            room,
            from: query_time("from", from)?,
            to: query_time("to", to)?,
        };
        Ok((filter, PageQuery::new(cursor, limit).check()?))
    }

    /// Returns which sessions are wanted by their ends, and how many; `None`: another order is wanted.
    fn ended(&self) -> Result<Option<(EndedWhere, u32)>, Problem> {
        if self.order == SessionOrder::Joined {
            return Ok(None);
        }
        let Self { tenant, user, name, room, code, from, to, cursor, .. } = self;
        let wrong = || {
            Problem::bad_request(
                "`order`: `left` takes `limit`, and either the id of a room as `room`, or `from` and `to` at \
                 most ten minutes apart, with or without `code`; and nothing else",
            )
        };
        if [tenant, user, name, cursor].iter().any(|other| other.is_some()) {
            return Err(wrong());
        }
        query_text("code", code, MAX_CODE)?;
        let from = query_time("from", from.clone())?;
        let to = query_time("to", to.clone())?;
        let wanted = match (room.as_deref(), from, to, code) {
            (Some(room), None, None, None) => {
                EndedWhere::InRoom(room.parse::<RoomAddress>().map_err(|_| wrong())?)
            }
            (None, Some(from), Some(to), code)
                if to.micros().saturating_sub(from.micros()) <= LONGEST_SPAN =>
            {
                EndedWhere::Between { from, to, code: code.clone() }
            }
            _ => return Err(wrong()),
        };
        let page = PageQuery::new(None, self.limit).check()?;
        Ok(Some((wanted, page.limit)))
    }

    /// # Errors
    ///
    /// The answer to send: an order of sessions is asked for, and this is no list of sessions.
    fn has_no_order(&self) -> Result<(), Problem> {
        match self.order {
            SessionOrder::Joined => Ok(()),
            SessionOrder::Left => Err(Problem::bad_request("`order`: only sessions have one")),
        }
    }
}

/// The rooms that there are and were, those that began last first.
#[utoipa::path(
    get,
    path = "/history/rooms",
    operation_id = "list_past_rooms",
    tag = "history",
    params(HistoryQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of rooms", body = ListPage<PastRoom>), Common, OfOne)
)]
async fn rooms(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<HistoryQuery>,
) -> Result<Json<ListPage<PastRoom>>, Problem> {
    wanted.has_no_order()?;
    let (filter, page) = wanted.check(&caller)?;
    if filter.name.is_some() {
        return Err(Problem::bad_request("`name`: only sessions are found by it"));
    }
    let _place = state.history_place(caller.tenant_id()).await?;
    let found = query::rooms(state.database(), &filter, &page).await.map_err(StoreError::from)?;
    if found.is_empty() {
        caller.explain_empty(&state, filter.tenant_name.as_deref())?;
    }
    Ok(Json(ListPage::new(found, page.limit, |room| &room.id)))
}

/// The participants of rooms that there are and were, those who joined last first. A participant is one
/// row, over all its resumes.
#[utoipa::path(
    get,
    path = "/history/sessions",
    operation_id = "list_past_sessions",
    tag = "history",
    params(HistoryQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of sessions", body = ListPage<PastSession>), Common, OfOne)
)]
async fn sessions(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<HistoryQuery>,
) -> Result<Json<ListPage<PastSession>>, Problem> {
    caller.needs(Scope::Read)?;
    if let Some((ended, limit)) = wanted.ended()? {
        let _place = state.history_place(caller.tenant_id()).await?;
        let found = query::ended_sessions(state.database(), ended, caller.tenant_id(), limit);
        let items = found.await.map_err(StoreError::from)?;
        return Ok(Json(ListPage::last(items)));
    }
    let (filter, page) = wanted.check(&caller)?;
    let _place = state.history_place(caller.tenant_id()).await?;
    let found =
        query::sessions(state.database(), &filter, &page).await.map_err(StoreError::from)?;
    if found.is_empty() {
        caller.explain_empty(&state, filter.tenant_name.as_deref())?;
    }
    Ok(Json(ListPage::new(found, page.limit, |session| &session.id)))
}

/// One participant of a room, with what happened: the join, the routes of the realtime messages, changes of
/// the address, sleeps, losses, resumes, mutes, and why it ended. What happened in between is known once
/// the participant has left.
#[utoipa::path(
    get,
    path = "/history/sessions/{id}",
    operation_id = "get_past_session",
    tag = "history",
    params(("id" = String, Path, description = "The id of the row, or the id of the peer")),
    security(("key" = ["read"])),
    responses((status = 200, description = "The session", body = SessionTimeline), Common, OfOne)
)]
async fn session(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<SessionTimeline>, Problem> {
    caller.needs(Scope::Read)?;
    let _place = state.history_place(caller.tenant_id()).await?;
    let found = timeline::session(state.database(), caller.tenant_id(), &id).await;
    let found = found.map_err(StoreError::from)?;
    found.map(Json).ok_or_else(|| Problem::not_found("there is no such session in the history"))
}

/// The calls that there are and were, those that began last first.
#[utoipa::path(
    get,
    path = "/history/calls",
    operation_id = "list_past_calls",
    tag = "history",
    params(HistoryQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of calls", body = ListPage<PastCall>), Common, OfOne)
)]
async fn calls(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<HistoryQuery>,
) -> Result<Json<ListPage<PastCall>>, Problem> {
    wanted.has_no_order()?;
    let (filter, page) = wanted.check(&caller)?;
    if filter.room.is_some() {
        return Err(Problem::bad_request("`room`: calls have none"));
    }
    if filter.name.is_some() {
        return Err(Problem::bad_request("`name`: only sessions are found by it"));
    }
    let _place = state.history_place(caller.tenant_id()).await?;
    let found = query::calls(state.database(), &filter, &page).await.map_err(StoreError::from)?;
    if found.is_empty() {
        caller.explain_empty(&state, filter.tenant_name.as_deref())?;
    }
    Ok(Json(ListPage::new(found, page.limit, |call| &call.id)))
}
