//! `bans`: users of a tenant who may join no room.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, JsonBody, ListPage, PageQuery, UrlQuery, plain};
use super::idempotency::Idempotency;
use super::problem::Problem;
use super::responses::{Common, OfBody, OfOne};
use super::state::ApiState;
use crate::store::{NewTenantBan, TenantBan, bans};
use crate::timestamp::Timestamp;

/// Most bytes of a user, as in join tokens.
pub(super) const MAX_USER: usize = 128;
/// Most bytes of a reason.
const MAX_REASON: usize = 256;
/// Most bans of a tenant: each is in memory, 200 bytes, on every server of the database.
const MAX_BANS: u32 = 10_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}

/// Which bans are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BansQuery {
    /// The user.
    #[serde(default)]
    #[param(max_length = 128)]
    user: Option<String>,
    /// `next` of the page before.
    #[serde(default)]
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Bans of the page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// A ban to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BanBody {
    /// The id of the tenant; absent: the tenant of the caller's key.
    #[serde(default)]
    tenant: Option<String>,
    /// The user, as in the claim `sub` of join tokens.
    #[schema(min_length = 1, max_length = 128)]
    user: String,
    /// Why, for people.
    #[serde(default)]
    #[schema(max_length = 256)]
    reason: Option<String>,
    /// From when on the user may join again; absent: once the ban is lifted.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// How long the ban lasts, in place of `ends_at`.
    #[serde(default)]
    #[schema(minimum = 1)]
    seconds: Option<u32>,
}

/// The bans that the key may see, in the order of their making. One that has ended stays in the list
/// until the tenant makes another.
#[utoipa::path(
    get,
    path = "/bans",
    operation_id = "list_bans",
    tag = "bans",
    params(BansQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of bans", body = ListPage<TenantBan>), Common)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<BansQuery>,
) -> Result<Json<ListPage<TenantBan>>, Problem> {
    caller.needs(Scope::Read)?;
    let BansQuery { user, cursor, limit } = query;
    if user.as_ref().is_some_and(|user| user.len() > MAX_USER) {
        return Err(Problem::bad_request(format!("`user` has more than {MAX_USER} bytes")));
    }
    let page = PageQuery::new(cursor, limit).check()?;
    let found = bans::list(state.database(), caller.tenant_id(), user.as_deref(), &page).await?;
    Ok(Json(ListPage::new(found, page.limit, |ban| &ban.id)))
}

/// Bans a user from all rooms of a tenant: nobody joins as this user, and the user's sessions end within a
/// moment, on every server of the database. An earlier ban of the user is replaced.
#[utoipa::path(
    post,
    path = "/bans",
    operation_id = "create_ban",
    tag = "bans",
    params(("idempotency-key" = Option<String>, Header, description = "Sent again: carried out once")),
    request_body = BanBody,
    security(("key" = ["operate"])),
    responses((status = 201, description = "The ban", body = TenantBan), Common, OfOne, OfBody)
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    idempotency: Idempotency,
    JsonBody(body): JsonBody<BanBody>,
) -> Result<Response, Problem> {
    caller.needs(Scope::Operate)?;
    if let Some(earlier) = idempotency.earlier(&state, &caller, &body).await? {
        return Ok(earlier);
    }
    let new = check(&state, &caller, &body)?;
    let mut change = state.begin(&caller.actor).await?;
    let ban = bans::create(&mut change, &new, MAX_BANS).await?;
    idempotency.keep(&state, &mut change, &caller, &body, &ban).await?;
    state.commit(change).await?;
    Ok((StatusCode::CREATED, Json(ban)).into_response())
}

/// Checks the values of a ban to be made.
fn check(state: &ApiState, caller: &Caller, body: &BanBody) -> Result<NewTenantBan, Problem> {
    let tenant = caller.tenant_of_body(body.tenant.clone())?;
    let now = state.now();
    let ends_at = match (body.ends_at, body.seconds) {
        (Some(_), Some(_)) => return Err(Problem::invalid("give `ends_at` or `seconds`")),
        (None, Some(0)) => return Err(Problem::invalid("`seconds` must be at least 1")),
        (None, Some(seconds)) => {
            let seconds = i64::from(seconds) * 1_000_000;
            Some(Timestamp::from_micros(now.micros().saturating_add(seconds)))
        }
        (end, None) => end,
    };
    if ends_at.is_some_and(|end| end <= now) {
        return Err(Problem::invalid("`ends_at` is past"));
    }
    let reason = match body.reason.as_deref() {
        None | Some("") => String::new(),
        Some(reason) => plain("reason", reason, MAX_REASON)?,
    };
    let user = plain("user", &body.user, MAX_USER)?;
    Ok(NewTenantBan { tenant, user, reason, ends_at })
}

/// Lifts a ban.
#[utoipa::path(
    delete,
    path = "/bans/{id}",
    operation_id = "delete_ban",
    tag = "bans",
    params(("id" = String, Path, description = "The ban's id")),
    security(("key" = ["operate"])),
    responses((status = 204, description = "It is lifted"), Common, OfOne)
)]
async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Operate)?;
    let mut change = state.begin(&caller.actor).await?;
    bans::delete(&mut change, caller.tenant_id(), &id).await?;
    state.commit(change).await?;
    Ok(StatusCode::NO_CONTENT)
}
