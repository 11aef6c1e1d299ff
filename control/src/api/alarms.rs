//! `alarms`: what an operator should look at.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::problem::Problem;
use super::responses::Common;
use super::state::ApiState;
use crate::alarms::AlarmReport;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(alarms))
}

/// What an operator should look at, and what ends next. It is computed every ten seconds; the begin of each
/// alarm is kept in memory. A key of a tenant sees the licence and the webhooks of this tenant.
#[utoipa::path(
    get,
    path = "/alarms",
    operation_id = "get_alarms",
    tag = "server",
    security(("key" = ["read"])),
    responses((status = 200, description = "The alarms", body = AlarmReport), Common)
)]
async fn alarms(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Json<AlarmReport>, Problem> {
    caller.needs(Scope::Read)?;
    let report = state.alarms().newest().await;
    Ok(Json(report.seen_by(caller.tenant_id())))
}

/// Looks for alarms again and again. Never returns.
pub async fn keep_alarms(state: ApiState) {
    state.alarms().run().await;
}
