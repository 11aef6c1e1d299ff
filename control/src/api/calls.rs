//! `calls`: the live calls.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::State;
use nucleus_core::control::{CallSummary, ControlReply, ControlRequest};
use nucleus_core::ids::ProductKey;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::UrlQuery;
use super::problem::Problem;
use super::responses::Common;
use super::state::ApiState;

/// Most calls of an answer, as of a page.
const MAX_CALLS: usize = 200;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A live call.
#[derive(Debug, Serialize, ToSchema)]
struct LiveCall {
    /// The call's id: 16 hexadecimal digits.
    call: String,
    /// The tenant's name.
    tenant: String,
    /// The product.
    product: String,
    /// The user id of who called.
    caller: String,
    /// How long the call exists, in seconds.
    age_seconds: u64,
    /// The time since the first acceptance, in seconds; absent: nobody has accepted yet.
    talking_seconds: Option<u64>,
    /// The user ids of the members.
    members: Vec<String>,
    /// The user ids of those whose devices ring.
    ringing: Vec<String>,
}

/// The live calls.
#[derive(Debug, Serialize, ToSchema)]
struct CallList {
    /// The oldest calls, at most 200.
    items: Vec<LiveCall>,
    /// The number of all calls that match.
    total: usize,
}

/// Which calls are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CallsQuery {
    /// The tenant's name.
    #[serde(default)]
    tenant: Option<String>,
}

/// The calls that are going on, the oldest first.
#[utoipa::path(
    get,
    path = "/calls",
    operation_id = "list_calls",
    tag = "calls",
    params(CallsQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "The calls", body = CallList), Common)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<CallsQuery>,
) -> Result<Json<CallList>, Problem> {
    caller.needs(Scope::Read)?;
    let tenant = wanted.tenant.or_else(|| caller.tenant_name().map(str::to_owned));
    if tenant.as_ref().is_some_and(|tenant| !caller.sees_named(tenant)) {
        return Ok(Json(CallList { items: Vec::new(), total: 0 }));
    }
    let ControlReply::Calls(products) =
        state.planes().ask(ControlRequest::Calls { tenant }).await?
    else {
        return Err(Problem::unavailable("the server gave another answer"));
    };
    let calls = products.iter().flat_map(|of| of.calls.iter().map(|call| (&*of.owner, call)));
    let mut calls: Vec<_> = calls.collect();
    calls.sort_by_key(|(_, call)| (Reverse(call.age), call.call));
    let total = calls.len();
    let items = calls.into_iter().take(MAX_CALLS).map(|(owner, call)| live(owner, call)).collect();
    Ok(Json(CallList { items, total }))
}

fn live(owner: &ProductKey, call: &CallSummary) -> LiveCall {
    LiveCall {
        call: format!("{:016x}", call.call),
        tenant: owner.tenant.clone(),
        product: owner.product.name().to_owned(),
        caller: call.caller.clone(),
        age_seconds: call.age.as_secs(),
        talking_seconds: call.talking.map(|time| time.as_secs()),
        members: call.members.clone(),
        ringing: call.ringing.clone(),
    }
}
