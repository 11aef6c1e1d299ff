//! `history`: which rooms, sessions and calls there were.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, ListPage, PageQuery, UrlQuery, query_text, query_time};
use super::problem::Problem;
use super::responses::{Common, OfOne};
use super::state::ApiState;
use crate::history::{
    HistoryFilter, PastCall, PastRoom, PastSession, SessionTimeline, query, timeline,
};
use crate::store::{PageRequest, StoreError};

/// Most bytes of a name in a filter, as in join tokens.
const MAX_NAME: usize = 128;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let lists = OpenApiRouter::new()
        .routes(routes!(rooms))
        .routes(routes!(sessions))
        .routes(routes!(calls));
    lists.routes(routes!(session))
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
        let Self { tenant, user, name, room, from, to, cursor, limit } = self;
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
    let (filter, page) = wanted.check(&caller)?;
    if filter.name.is_some() {
        return Err(Problem::bad_request("`name`: only sessions are found by it"));
    }
    let _place = state.history_place().await?;
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
    let (filter, page) = wanted.check(&caller)?;
    let _place = state.history_place().await?;
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
    let _place = state.history_place().await?;
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
    let (filter, page) = wanted.check(&caller)?;
    if filter.room.is_some() {
        return Err(Problem::bad_request("`room`: calls have none"));
    }
    if filter.name.is_some() {
        return Err(Problem::bad_request("`name`: only sessions are found by it"));
    }
    let _place = state.history_place().await?;
    let found = query::calls(state.database(), &filter, &page).await.map_err(StoreError::from)?;
    if found.is_empty() {
        caller.explain_empty(&state, filter.tenant_name.as_deref())?;
    }
    Ok(Json(ListPage::new(found, page.limit, |call| &call.id)))
}
