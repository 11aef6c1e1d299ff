//! `audit`: who did what.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{ListPage, PageQuery, UrlQuery};
use super::problem::Problem;
use super::responses::Common;
use super::state::ApiState;
use crate::store::{AuditEntry, audit};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Who did what, the newest entry first.
#[utoipa::path(
    get,
    path = "/audit",
    operation_id = "list_audit",
    tag = "audit",
    params(PageQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of entries", body = ListPage<AuditEntry>), Common)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<PageQuery>,
) -> Result<Json<ListPage<AuditEntry>>, Problem> {
    caller.needs(Scope::Read)?;
    let page = query.check()?;
    let entries = audit::entries(state.database(), caller.tenant_id(), &page).await?;
    Ok(Json(ListPage::new(entries, page.limit, |entry| &entry.id)))
}
