//! `tokens`: join tokens that the server signs itself.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nucleus_core::ids::Product;
use nucleus_tokens::{DEFAULT_ROLE, MintError, TokenRequest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::JsonBody;
use super::problem::Problem;
use super::responses::{Common, OfBody};
use super::state::ApiState;
use crate::timestamp::Timestamp;

/// Longest validity of a token, in seconds: a day. A token cannot be revoked.
const MAX_VALID: u32 = 86_400;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// A join token to be signed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    /// The product, one of the server's.
    product: String,
    /// The tenant's name, as in the claim `tenant`; absent: the tenant of the caller's key.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    tenant: Option<String>,
    /// The user, unique within the tenant.
    #[schema(min_length = 1, max_length = 128)]
    user: String,
    /// The name that others see; absent: the user.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// The room that the token admits to, or the beginning of names of rooms with a `*` at the end;
    /// absent: every room of the tenant's product.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    room: Option<String>,
    /// The role in the room: `host`, `presenter`, `participant`, `observer`, `expert`, `technician`; any
    /// other has the rights of a participant.
    #[serde(default = "default_role")]
    #[schema(min_length = 1, max_length = 64)]
    role: String,
    /// Rights in addition to the role's: `state.room`, `state.objects`, `moderate`.
    #[serde(default)]
    #[schema(max_items = 32)]
    grants: Vec<String>,
    /// How long the token is valid, in seconds.
    #[serde(default = "default_valid")]
    #[schema(minimum = 1, maximum = 86_400)]
    valid_s: u32,
}

fn default_role() -> String {
    DEFAULT_ROLE.to_owned()
}

const fn default_valid() -> u32 {
    3_600
}

/// A join token.
#[derive(Debug, Serialize, ToSchema)]
struct NewToken {
    /// The token, which a client needs to join. Nobody else may see it.
    token: String,
    /// From when on it is refused.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Signs a join token. Needs `mint_tokens` in the server's configuration, or development mode.
#[utoipa::path(
    post,
    path = "/tokens",
    operation_id = "create_token",
    tag = "tokens",
    request_body = TokenBody,
    security(("key" = ["tokens"])),
    responses((status = 201, description = "The token", body = NewToken), Common, OfBody)
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<TokenBody>,
) -> Result<Response, Problem> {
    caller.needs(Scope::Tokens)?;
    let minter = state.settings().minter.as_ref().ok_or_else(|| {
        Problem::conflict(
            "this server signs no join tokens: set `mint_tokens = true` in [control], or let the web \
             server of [tokens] sign them",
        )
    })?;
    let request = check(&state, &caller, body)?;
    let (tenant, user) = (request.tenant.clone(), request.user.clone());
    let detail = format!("{} as {}", request.product, request.role);
    let now = state.now();
    let expires_at = Timestamp::from_seconds(now.seconds() + request.ttl.as_secs());
    let token = minter.mint(request, now.seconds()).map_err(|error| match error {
        MintError::Signing => Problem::unavailable("the token could not be signed"),
        refused => Problem::invalid(refused.to_string()),
    })?;
    // Nobody gets a token that is not in the audit.
    state.try_note(&caller.actor, Some(&tenant), "token.create", &user, &detail).await?;
    Ok((StatusCode::CREATED, Json(NewToken { token, expires_at })).into_response())
}

/// Checks what the minter does not.
fn check(state: &ApiState, caller: &Caller, body: TokenBody) -> Result<TokenRequest, Problem> {
    let own = caller.tenant_name();
    let tenant = body.tenant.or_else(|| own.map(str::to_owned));
    let tenant = tenant.ok_or_else(|| Problem::invalid("`tenant` is missing"))?;
    if !caller.sees_named(&tenant) {
        return Err(Problem::forbidden("the API key is of another tenant"));
    }
    let known = &state.settings().products;
    let product = Product::parse(&body.product).filter(|product| known.contains(product));
    let product = product.ok_or_else(|| state.unknown_product("product", &body.product))?;
    if !(1..=MAX_VALID).contains(&body.valid_s) {
        return Err(Problem::invalid(format!("`valid_s` must be 1 to {MAX_VALID}")));
    }
    Ok(TokenRequest {
        product,
        tenant,
        user: body.user,
        name: body.name,
        room: body.room,
        role: body.role,
        grants: body.grants,
        ttl: Duration::from_secs(body.valid_s.into()),
    })
}
