//! `calls`: the live calls, and their end by an operator.

use std::fmt;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nucleus_core::control::{
    CallSummary, ControlError, ControlReply, ControlRequest, ProductCalls,
};
use nucleus_core::ids::ProductKey;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, UrlQuery, page_limit};
use super::problem::Problem;
use super::responses::{Common, OfOne};
use super::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(end))
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

/// A page of live calls.
#[derive(Debug, Serialize, ToSchema)]
struct CallPage {
    /// The calls.
    items: Vec<LiveCall>,
    /// Calls that match, on all pages.
    total: usize,
    /// What to send as `cursor` for the next page; absent: there is none.
    next: Option<String>,
}

/// The place of a call in the list: those that began first come first. It holds also after the call has
/// ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CallPlace {
    started_micros: u64,
    call: u64,
}

impl CallPlace {
    fn of(call: &CallSummary) -> Self {
        Self { started_micros: call.started.as_micros(), call: call.call }
    }

    fn parse(text: &str) -> Option<Self> {
        let (started, call) = text.split_once('-')?;
        Some(Self { started_micros: digits(started)?, call: digits(call)? })
    }
}

/// Reads a number of 16 hexadecimal digits.
fn digits(text: &str) -> Option<u64> {
    let is_whole = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_whole.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for CallPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.started_micros, self.call)
    }
}

/// Which calls are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CallsQuery {
    /// The tenant's name.
    #[serde(default)]
    #[param(max_length = 128)]
    tenant: Option<String>,
    /// `next` of the page before.
    #[serde(default)]
    #[param(max_length = 33, pattern = "^[0-9a-f]{16}-[0-9a-f]{16}$")]
    cursor: Option<String>,
    /// Calls of the page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// The calls that are going on, the oldest first.
#[utoipa::path(
    get,
    path = "/calls",
    operation_id = "list_calls",
    tag = "calls",
    params(CallsQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of calls", body = CallPage), Common, OfOne)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(wanted): UrlQuery<CallsQuery>,
) -> Result<Json<CallPage>, Problem> {
    caller.needs(Scope::Read)?;
    let limit = page_limit(wanted.limit)? as usize;
    let wrong = || Problem::bad_request("`cursor` must be `next` of the page before");
    let after = wanted.cursor.as_deref().map(|text| CallPlace::parse(text).ok_or_else(wrong));
    let after = after.transpose()?;
    let named = wanted.tenant.clone();
    let tenant = wanted.tenant.or_else(|| caller.tenant_name().map(str::to_owned));
    if tenant.as_ref().is_some_and(|tenant| !caller.sees_named(tenant)) {
        return Ok(Json(CallPage { items: Vec::new(), total: 0, next: None }));
    }
    let products = products(&state, tenant).await?;
    let calls = products.iter().flat_map(|of| of.calls.iter().map(|call| (&*of.owner, call)));
    let mut calls: Vec<_> = calls.collect();
    let total = calls.len();
    if total == 0 {
        caller.explain_empty(&state, named.as_deref())?;
    }
    calls.retain(|(_, call)| after.is_none_or(|after| CallPlace::of(call) > after));
    calls.sort_unstable_by_key(|(_, call)| CallPlace::of(call));
    let has_more = calls.len() > limit;
    calls.truncate(limit);
    let last = calls.last().filter(|_| has_more);
    let next = last.map(|(_, call)| CallPlace::of(call).to_string());
    let items = calls.into_iter().map(|(owner, call)| live(owner, call)).collect();
    Ok(Json(CallPage { items, total, next }))
}

/// Asks for the live calls of a tenant, or of all.
async fn products(state: &ApiState, tenant: Option<String>) -> Result<Vec<ProductCalls>, Problem> {
    match state.planes().ask(ControlRequest::Calls { tenant }).await? {
        ControlReply::Calls(products) => Ok(products),
        _ => Err(Problem::unavailable("the server gave another answer")),
    }
}

/// Ends a call for everybody. For its users, it ends as if its room had been closed.
#[utoipa::path(
    post,
    path = "/calls/{id}/end",
    operation_id = "end_call",
    tag = "calls",
    params(("id" = String, Path, description = "The call's id")),
    security(("key" = ["operate"])),
    responses((status = 204, description = "It has ended"), Common, OfOne)
)]
async fn end(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Operate)?;
    let absent = || Problem::not_found("there is no such call, or it has ended");
    let call = digits(&id).ok_or_else(absent)?;
    // What a key of a tenant may not see is not among these.
    let products = products(&state, caller.tenant_name().map(str::to_owned)).await?;
    let found = products.iter().find_map(|of| {
        let found = of.calls.iter().find(|live| live.call == call)?;
        Some((of.owner.tenant.clone(), found.caller.clone()))
    });
    let (tenant, user) = found.ok_or_else(absent)?;
    let actor = caller.actor.clone();
    // A task of its own: a caller who goes away meanwhile must not leave an act without its entry.
    let acting = tokio::spawn(async move {
        let request = ControlRequest::EndCall { tenant: tenant.clone(), call };
        let result = state.planes().ask(request).await;
        let mut detail = format!("call of: {user}");
        if matches!(result, Err(ControlError::Busy)) {
            detail += ", no answer in time: perhaps not done";
        }
        if matches!(result, Ok(_) | Err(ControlError::Busy)) {
            let target = format!("{call:016x}");
            state.note(&actor, Some(&tenant), "call.end", &target, &detail).await;
        }
        result
    });
    acting.await.map_err(|_| Problem::unavailable("the act was broken off"))??;
    Ok(StatusCode::NO_CONTENT)
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
