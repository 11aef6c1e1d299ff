//! `forget`: deletes what the database holds of a user.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bans::MAX_USER;
use super::caller::{Caller, Scope};
use super::extract::{JsonBody, plain};
use super::problem::Problem;
use super::responses::{Common, OfBody, OfOne};
use super::state::ApiState;
use crate::forget::{self, Forgotten};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(forget_user))
}

/// A user to be forgotten.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForgetBody {
    /// The id of the tenant; absent: the tenant of the caller's key.
    #[serde(default)]
    tenant: Option<String>,
    /// The user, as in the claim `sub` of join tokens.
    #[schema(min_length = 1, max_length = 128)]
    user: String,
}

/// Deletes what the database holds of a user, because the user asks for it. Entries of the audit stay
/// without the name. A ban in force stays. Sent again, it deletes what has come since.
#[utoipa::path(
    post,
    path = "/forget",
    operation_id = "forget_user",
    tag = "forget",
    request_body = ForgetBody,
    security(("key" = ["manage"])),
    responses((status = 200, description = "What was deleted", body = Forgotten), Common, OfOne, OfBody)
)]
async fn forget_user(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<ForgetBody>,
) -> Result<Json<Forgotten>, Problem> {
    caller.needs(Scope::Manage)?;
    let tenant = caller.tenant_of_body(body.tenant)?;
    let user = plain("user", &body.user, MAX_USER)?;
    let (database, now) = (state.database(), state.now());
    Ok(Json(forget::user(database, &caller.actor, now, &tenant, &user).await?))
}
