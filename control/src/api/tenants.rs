//! `tenants`: customers, their licences and limits.

use std::collections::BTreeSet;

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
use crate::store::{StoreError, Tenant, TenantSettings, tenants};
use crate::timestamp::Timestamp;

/// Largest limit of a tenant: that of the server's own settings.
const MAX_TENANT_LIMIT: u32 = 1_000_000;
/// Most ids of a question: those of the rows of a page.
const MAX_IDS: usize = 200;
/// Most bytes of a tenant's name, as in join tokens.
const MAX_NAME: usize = 64;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, replace, delete))
}

/// All that may be set of a tenant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TenantBody {
    /// The name that join tokens carry in the claim `tenant`. No two tenants have the same.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// The products that the tenant has; empty: all of the server.
    #[serde(default)]
    products: Vec<String>,
    /// Begin of the licence.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// End of the licence. From then on nobody joins; running sessions stay.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// Most sessions at a time, if less than the server's configuration says.
    #[serde(default)]
    #[schema(maximum = 1_000_000)]
    max_sessions: Option<u32>,
    /// Most rooms at a time, if less than the configuration says.
    #[serde(default)]
    #[schema(maximum = 1_000_000)]
    max_rooms: Option<u32>,
    /// Most rooms that do not end when they are empty, if less than the configuration says.
    #[serde(default)]
    #[schema(maximum = 1_000_000)]
    max_kept_rooms: Option<u32>,
    /// Whether the tenant's users may join.
    #[serde(default = "yes")]
    active: bool,
}

const fn yes() -> bool {
    true
}

impl TenantBody {
    /// Checks the values.
    fn check(&self, state: &ApiState) -> Result<TenantSettings, Problem> {
        let known = &state.settings().products;
        let is_known = |name: &&String| known.iter().any(|product| product.name() == **name);
        if let Some(unknown) = self.products.iter().find(|name| !is_known(name)) {
            return Err(state.unknown_product("products", unknown));
        }
        if let (Some(start), Some(end)) = (self.starts_at, self.ends_at)
            && end <= start
        {
            return Err(Problem::invalid("`ends_at` must be after `starts_at`"));
        }
        let limits = [
            ("max_sessions", self.max_sessions),
            ("max_rooms", self.max_rooms),
            ("max_kept_rooms", self.max_kept_rooms),
        ];
        for (name, limit) in limits {
            if limit.is_some_and(|limit| limit > MAX_TENANT_LIMIT) {
                return Err(Problem::invalid(format!("`{name}` must be 0 to {MAX_TENANT_LIMIT}")));
            }
        }
        if self.name.trim() != self.name {
            // It would look like another tenant's, and no join token would be of it by mistake.
            return Err(Problem::invalid("`name` must not begin or end with a space"));
        }
        let mut products = self.products.clone();
        products.sort();
        products.dedup();
        Ok(TenantSettings {
            name: plain("name", &self.name, MAX_NAME)?,
            products,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            max_sessions: self.max_sessions,
            max_rooms: self.max_rooms,
            max_kept_rooms: self.max_kept_rooms,
            active: self.active,
        })
    }
}

/// Which tenants are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TenantsQuery {
    /// The ids of tenants, at most 200, with commas between them: these alone, on one page.
    #[serde(default)]
    #[param(max_length = 8192)]
    ids: Option<String>,
    /// The name of a tenant: this one alone.
    #[serde(default)]
    #[param(max_length = 64)]
    name: Option<String>,
    /// `next` of the page before.
    #[serde(default)]
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Rows of the page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// The tenants that the key may see, in the order of their making.
#[utoipa::path(
    get,
    path = "/tenants",
    operation_id = "list_tenants",
    tag = "tenants",
    params(TenantsQuery),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "A page of tenants", body = ListPage<Tenant>),
        (status = 431, description = "The address of the request is too long"),
        Common
    )
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<TenantsQuery>,
) -> Result<Json<ListPage<Tenant>>, Problem> {
    caller.needs(Scope::Read)?;
    let TenantsQuery { ids, name, cursor, limit } = query;
    let page = PageQuery::new(cursor, limit).check()?;
    if ids.is_some() || name.is_some() {
        let found = known(&state, ids.as_deref(), name.as_deref())?;
        let seen = found.into_iter().filter(|tenant| caller.sees(&tenant.id)).collect();
        // No page has as many rows as this, so there is no next one.
        return Ok(Json(ListPage::new(seen, u32::MAX, |tenant: &Tenant| &tenant.id)));
    }
    let found = tenants::list(state.database(), caller.tenant_id(), &page).await?;
    Ok(Json(ListPage::new(found, page.limit, |tenant| &tenant.id)))
}

/// Returns tenants by their ids or their name, from memory: a page asks for those of its rows.
fn known(state: &ApiState, ids: Option<&str>, name: Option<&str>) -> Result<Vec<Tenant>, Problem> {
    let snapshot = state.snapshot();
    let Some(ids) = ids else {
        return Ok(name
            .and_then(|name| snapshot.tenant_named(name))
            .cloned()
            .into_iter()
            .collect());
    };
    let ids: BTreeSet<&str> = ids.split(',').collect();
    if ids.len() > MAX_IDS {
        return Err(Problem::bad_request(format!("`ids` may have {MAX_IDS} ids")));
    }
    let found = ids.into_iter().filter_map(|id| snapshot.tenants.get(id));
    Ok(found.filter(|tenant| name.is_none_or(|name| tenant.name == name)).cloned().collect())
}

/// Makes a tenant.
#[utoipa::path(
    post,
    path = "/tenants",
    operation_id = "create_tenant",
    tag = "tenants",
    params(("idempotency-key" = Option<String>, Header, description = "Sent again: carried out once")),
    request_body = TenantBody,
    security(("key" = ["manage"])),
    responses((status = 201, description = "The tenant", body = Tenant), Common, OfBody)
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    idempotency: Idempotency,
    JsonBody(body): JsonBody<TenantBody>,
) -> Result<Response, Problem> {
    caller.needs_server(Scope::Manage)?;
    if let Some(earlier) = idempotency.earlier(&state, &caller, &body).await? {
        return Ok(earlier);
    }
    let wanted = body.check(&state)?;
    let mut change = state.begin(&caller.actor).await?;
    let tenant = match tenants::create(&mut change, &wanted).await {
        Err(StoreError::Exists(kind)) => {
            drop(change);
            // Perhaps the same request has made it just now.
            let earlier = idempotency.earlier(&state, &caller, &body).await?;
            return earlier.ok_or_else(|| StoreError::Exists(kind).into());
        }
        result => result?,
    };
    idempotency.keep(&state, &mut change, &caller, &body, &tenant).await?;
    state.commit(change).await?;
    Ok((StatusCode::CREATED, Json(tenant)).into_response())
}

/// One tenant.
#[utoipa::path(
    get,
    path = "/tenants/{id}",
    operation_id = "get_tenant",
    tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id")),
    security(("key" = ["read"])),
    responses((status = 200, description = "The tenant", body = Tenant), Common, OfOne)
)]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Tenant>, Problem> {
    caller.needs(Scope::Read)?;
    seen(&caller, &id)?;
    Ok(Json(tenants::get(state.database(), &id).await?))
}

/// Sets everything of a tenant. What the body leaves out gets its default.
#[utoipa::path(
    put,
    path = "/tenants/{id}",
    operation_id = "replace_tenant",
    tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id")),
    request_body = TenantBody,
    security(("key" = ["manage"])),
    responses((status = 200, description = "The tenant", body = Tenant), Common, OfOne, OfBody)
)]
async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    JsonBody(body): JsonBody<TenantBody>,
) -> Result<Json<Tenant>, Problem> {
    caller.needs_server(Scope::Manage)?;
    let wanted = body.check(&state)?;
    let mut change = state.begin(&caller.actor).await?;
    let tenant = tenants::set(&mut change, &id, &wanted).await?;
    state.commit(change).await?;
    Ok(Json(tenant))
}

/// Deletes a tenant with its keys, issuers and webhooks. Running sessions stay.
#[utoipa::path(
    delete,
    path = "/tenants/{id}",
    operation_id = "delete_tenant",
    tag = "tenants",
    params(("id" = String, Path, description = "The tenant's id")),
    security(("key" = ["manage"])),
    responses((status = 204, description = "It is gone"), Common, OfOne)
)]
async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    caller.needs_server(Scope::Manage)?;
    let mut change = state.begin(&caller.actor).await?;
    tenants::delete(&mut change, &id).await?;
    state.commit(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Checks that the caller may know of a tenant.
fn seen(caller: &Caller, id: &str) -> Result<(), Problem> {
    if caller.sees(id) { Ok(()) } else { Err(Problem::not_found("there is no such tenant")) }
}
