//! `keys`: the API keys of programs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, JsonBody, ListPage, OwnedPageQuery, RowOwner, UrlQuery, plain};
use super::idempotency::Idempotency;
use super::problem::Problem;
use super::responses::{Common, OfBody, OfOne};
use super::state::ApiState;
use crate::api_key;
use crate::id;
use crate::store::{ApiKey, NewApiKey, StoreError, api_keys};
use crate::timestamp::Timestamp;

/// Most bytes of a key's name.
const MAX_NAME: usize = 128;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// A key to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyBody {
    /// What the key is for, for people.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// The id of the tenant to which the key is limited; absent: the tenant of the caller's key, or the
    /// whole server if that key has none.
    #[serde(default)]
    tenant: Option<String>,
    /// What the key allows. Nobody gives more than they have.
    #[schema(min_items = 1, max_items = 4)]
    scopes: Vec<Scope>,
    /// From when on the key is refused; absent: never.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
struct NewKey {
    #[serde(flatten)]
    row: ApiKey,
    /// The key itself. It is shown this once; the answer to the same request sent again leaves it out.
    key: Option<String>,
}

/// The API keys that the caller's key may see, in the order of their making.
#[utoipa::path(
    get,
    path = "/keys",
    operation_id = "list_keys",
    tag = "keys",
    params(OwnedPageQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of keys", body = ListPage<ApiKey>), Common, OfOne)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<OwnedPageQuery>,
) -> Result<Json<ListPage<ApiKey>>, Problem> {
    caller.needs(Scope::Read)?;
    let (owner, page) = query.check(&caller)?;
    let keys = match &owner {
        RowOwner::Any => api_keys::list(state.database(), None, &page).await?,
        RowOwner::Tenant(tenant) => api_keys::list(state.database(), Some(tenant), &page).await?,
        RowOwner::Server => api_keys::list_of_server(state.database(), &page).await?,
    };
    Ok(Json(ListPage::new(keys, page.limit, |key| &key.id)))
}

/// Makes an API key.
#[utoipa::path(
    post,
    path = "/keys",
    operation_id = "create_key",
    tag = "keys",
    params(("idempotency-key" = Option<String>, Header, description = "Sent again: carried out once")),
    request_body = ApiKeyBody,
    security(("key" = ["manage"])),
    responses((status = 201, description = "The key, with its text", body = NewKey), Common, OfOne, OfBody)
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    idempotency: Idempotency,
    JsonBody(body): JsonBody<ApiKeyBody>,
) -> Result<Response, Problem> {
    caller.needs(Scope::Manage)?;
    if let Some(earlier) = idempotency.earlier(&state, &caller, &body).await? {
        return Ok(earlier);
    }
    let id = id::new(state.now()).map_err(StoreError::from)?;
    let (text, hash) = api_key::generate(&id).map_err(StoreError::from)?;
    let new = check(&state, &caller, &body, id, hash)?;
    let mut change = state.begin(&caller.actor).await?;
    let mut made = NewKey { row: api_keys::create(&mut change, &new).await?, key: None };
    // The secret itself is never stored.
    idempotency.keep(&state, &mut change, &caller, &body, &made).await?;
    state.commit(change).await?;
    made.key = Some(text);
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Checks the values of a key to be made.
fn check(
    state: &ApiState,
    caller: &Caller,
    body: &ApiKeyBody,
    id: String,
    hash: String,
) -> Result<NewApiKey, Problem> {
    let tenant = body.tenant.clone().or_else(|| caller.tenant_id().map(str::to_owned));
    if tenant.as_deref().is_some_and(|tenant| !caller.sees(tenant)) {
        return Err(Problem::not_found("there is no such tenant"));
    }
    let mut scopes = body.scopes.clone();
    scopes.sort();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Problem::invalid("`scopes` must name at least one"));
    }
    if let Some(more) = scopes.iter().find(|scope| !caller.may_grant(**scope)) {
        return Err(Problem::forbidden(format!("the API key lacks the scope `{more}` itself")));
    }
    if let Some(own) = caller.expires_at
        && body.expires_at.is_none_or(|end| end > own)
    {
        return Err(Problem::forbidden(format!(
            "the API key ends itself at {own}: so must this one"
        )));
    }
    if body.expires_at.is_some_and(|end| end <= state.now()) {
        return Err(Problem::invalid("`expires_at` is past"));
    }
    Ok(NewApiKey {
        id,
        tenant,
        name: plain("name", &body.name, MAX_NAME)?,
        hash,
        scopes: scopes.iter().map(ToString::to_string).collect(),
        expires_at: body.expires_at,
    })
}

/// Revokes an API key: it is refused from then on. It stays in the list.
#[utoipa::path(
    delete,
    path = "/keys/{id}",
    operation_id = "revoke_key",
    tag = "keys",
    params(("id" = String, Path, description = "The key's id")),
    security(("key" = ["manage"])),
    responses((status = 200, description = "The revoked key", body = ApiKey), Common, OfOne)
)]
async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<ApiKey>, Problem> {
    caller.needs(Scope::Manage)?;
    let mut change = state.begin(&caller.actor).await?;
    let key = api_keys::revoke(&mut change, caller.tenant_id(), &id).await?;
    state.commit(change).await?;
    Ok(Json(key))
}
