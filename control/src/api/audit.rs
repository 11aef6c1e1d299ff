//! `audit`: who did what.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{ListPage, PageQuery, UrlQuery, query_text, query_time};
use super::problem::Problem;
use super::responses::Common;
use super::state::ApiState;
use crate::people::read_email;
use crate::store::{AuditEntry, AuditFilter, audit, people};

/// Most bytes of a text in a filter: the longest target is the name of a user.
const MAX_TEXT: usize = 128;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which entries are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Who did it: `person:<id>`, the email address of a person, `key:<id>`, `local`; or a kind of them, as
    /// `key`.
    #[serde(default)]
    #[param(max_length = 128)]
    actor: Option<String>,
    /// What was done, as `tenant.create`; or its first part, as `tenant`.
    #[serde(default)]
    #[param(max_length = 128)]
    action: Option<String>,
    /// The id of what it was done to.
    #[serde(default)]
    #[param(max_length = 128)]
    target: Option<String>,
    /// The id or the name of the tenant.
    #[serde(default)]
    #[param(max_length = 128)]
    tenant: Option<String>,
    /// Done at this time or later.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Done before this time.
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

/// Who did what, the newest entry first.
#[utoipa::path(
    get,
    path = "/audit",
    operation_id = "list_audit",
    tag = "audit",
    params(AuditQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of entries", body = ListPage<AuditEntry>), Common)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<AuditQuery>,
) -> Result<Json<ListPage<AuditEntry>>, Problem> {
    caller.needs(Scope::Read)?;
    let AuditQuery { actor, action, target, tenant, from, to, cursor, limit } = query;
    let texts = [("actor", &actor), ("action", &action), ("target", &target), ("tenant", &tenant)];
    for (field, text) in texts {
        query_text(field, text, MAX_TEXT)?;
    }
    let page = PageQuery::new(cursor, limit).check()?;
    let (from, to) = (query_time("from", from)?, query_time("to", to)?);
    let none = || Ok(Json(ListPage::new(Vec::new(), page.limit, |entry: &AuditEntry| &entry.id)));
    let tenant = tenant.map(|text| tenant_id(&state, text));
    if tenant.as_deref().is_some_and(|tenant| !caller.sees(tenant)) {
        return none();
    }
    let filter = AuditFilter {
        tenant: caller.tenant_id().map(str::to_owned).or(tenant),
        actor: match actor {
            Some(actor) => Some(actor_name(&state, &caller, actor).await?),
            None => None,
        },
        action,
        target,
        from,
        to,
        emails_of: caller.tenant_id().map(str::to_owned),
    };
    // A filter may look at every entry, as a question to the history may.
    let looks_far =
        [&filter.actor, &filter.action, &filter.target].iter().any(|wanted| wanted.is_some())
            || filter.to.is_some();
    let _place =
        if looks_far { Some(state.history_place(caller.tenant_id()).await?) } else { None };
    let mut entries = audit::entries(state.database(), &filter, &page).await?;
    if !knows_addresses(&caller) {
        entries.iter_mut().for_each(|entry| entry.actor_email = None);
    }
    Ok(Json(ListPage::new(entries, page.limit, |entry| &entry.id)))
}

/// Returns the id of a tenant that is named by its id or its name. A tenant that was deleted has its id alone.
fn tenant_id(state: &ApiState, text: String) -> String {
    let snapshot = state.snapshot();
    snapshot.tenant_named(&text).map_or(text, |tenant| tenant.id.clone())
}

/// Email addresses are for those who act, not for whoever reads figures.
fn knows_addresses(caller: &Caller) -> bool {
    [Scope::Operate, Scope::Manage].into_iter().any(|scope| caller.needs(scope).is_ok())
}

/// Returns an actor as the audit names them. A person may be named by the email address, by those who are told it:
/// others would learn by guesses who did what.
async fn actor_name(state: &ApiState, caller: &Caller, text: String) -> Result<String, Problem> {
    let email = read_email(&text).filter(|_| knows_addresses(caller));
    let Some(email) = email else { return Ok(text) };
    let found = people::find(state.database(), &email).await?.map(|(person, _)| person);
    let own = caller.tenant_id();
    let found = found.filter(|person| own.is_none() || person.tenant.as_deref() == own);
    Ok(found.map_or(text, |person| format!("person:{}", person.id)))
}
