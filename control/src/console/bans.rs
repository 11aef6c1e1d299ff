//! Bans of users from their tenant.

use axum::extract::Path;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use nucleus_console::link::query;
use nucleus_console::screens::{BanRow, BansPage, ErrorKind, FormProblem};
use nucleus_console::text::counted;
use nucleus_console::{Mark, MenuPlace, ShownName, Tone};
use serde_json::{Map, Value};

use super::answer::{self, PageError, PageResult};
use super::client::ApiRefusal;
use super::form::Fields;
use super::pages::page_links;
use super::reader::{PAGE_ROWS, PageReader};
use super::row::{AnswerRow, encoded};
use super::tenant_names::{self, TenantNames, tenant_field};
use crate::timestamp::Timestamp;

pub(super) async fn page(reader: PageReader) -> PageResult {
    let user = reader.query("user").to_owned();
    shown(&reader, user, "", None).await
}

/// `user` and `tenant`: what a form had that was not accepted, or what is searched for.
async fn shown(
    reader: &PageReader,
    user: String,
    tenant: &str,
    problem: Option<FormProblem>,
) -> PageResult {
    let after = reader.query("after");
    let searched = if problem.is_some() { "" } else { user.as_str() };
    let limit = PAGE_ROWS.to_string();
    let path = query("/bans", &[("user", searched), ("cursor", after), ("limit", &limit)]);
    let list = reader.client.get(&path).await?;
    let names = TenantNames::of_rows(reader, &list).await;
    let rows: Vec<_> = AnswerRow(&list).rows("items").map(|ban| ban_row(ban, &names)).collect();
    let pages = page_links(counted(rows.len(), "ban", "bans"), AnswerRow(&list), after, |after| {
        query("/bans", &[("user", searched), ("after", after)])
    });
    let tenants = tenant_field(reader, "Choose a tenant", tenant).await;
    let shell = reader.shell("Bans", MenuPlace::Bans).await;
    answer::page(&BansPage { shell, user, tenants, problem, rows, pages })
}

fn ban_row(ban: AnswerRow<'_>, names: &TenantNames) -> BanRow {
    let has_ended = ban.micros("ends_at").is_some_and(|end| end <= Timestamp::now().micros());
    BanRow {
        id: ban.text("id").to_owned(),
        user: ban.name("user"),
        tenant: names.of(ban.text("tenant")),
        mark: match has_ended {
            true => Mark::new(Tone::Idle, "Ended"),
            false => Mark::new(Tone::Bad, "Banned"),
        },
        is_in_force: !has_ended,
        reason: Some(ban.text("reason")).filter(|text| !text.is_empty()).map(ShownName::new),
        made_at: ban.time("created_at"),
        ends_at: ban.time("ends_at"),
    }
}

pub(super) async fn create(reader: PageReader, fields: Fields) -> Result<Response, PageError> {
    let (user, tenant) = (fields.get("user").to_owned(), fields.get("tenant"));
    let id = match tenant_names::tenant_id(&reader, tenant).await? {
        Ok(id) => id,
        Err(problem) => {
            return Ok(shown(&reader, user, tenant, Some(problem)).await.into_response());
        }
    };
    match ban(&reader, id.as_deref(), &user, &fields).await {
        Ok(()) => Ok(answer::to("/bans?done=banned")),
        Err(refusal) if refusal.is_about_form() => {
            let problem = refusal.problem(&[]);
            Ok(shown(&reader, user, tenant, Some(problem)).await.into_response())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

pub(super) async fn lift(
    reader: PageReader,
    Path(id): Path<String>,
    _fields: Fields,
) -> Result<Response, PageError> {
    reader.client.ask(Method::DELETE, &format!("/bans/{}", encoded(&id)), &Value::Null).await?;
    Ok(answer::to("/bans?done=ban-lifted"))
}

/// Bans a user of the tenant with an id; `None`: that of the reader. The form says why and for how long.
pub(super) async fn ban(
    reader: &PageReader,
    tenant: Option<&str>,
    user: &str,
    fields: &Fields,
) -> Result<(), ApiRefusal> {
    // What is no number is refused by the API.
    let number = |text: &str| text.parse::<u32>().map_or_else(|_| text.into(), Value::from);
    let seconds = fields.some("seconds").map(number);
    ban_for(reader, tenant, user, fields.get("reason"), seconds).await
}

/// As [`ban`]. `seconds`: for how long; `None`: until it is lifted.
pub(super) async fn ban_for(
    reader: &PageReader,
    tenant: Option<&str>,
    user: &str,
    reason: &str,
    seconds: Option<Value>,
) -> Result<(), ApiRefusal> {
    let mut body = Map::new();
    body.insert("user".to_owned(), user.into());
    body.insert("reason".to_owned(), reason.into());
    if let Some(tenant) = tenant {
        body.insert("tenant".to_owned(), tenant.into());
    }
    if let Some(seconds) = seconds {
        body.insert("seconds".to_owned(), seconds);
    }
    reader.client.ask(Method::POST, "/bans", &Value::Object(body)).await.map(drop)
}

/// Returns the id of the tenant of a name; `None`: the database has no such tenant, and the reader may
/// see others.
pub(super) async fn tenant_id(reader: &PageReader, name: &str) -> Option<String> {
    if let Some(own) = &reader.viewer.tenant {
        return Some(own.clone());
    }
    let list = reader.client.get(&query("/tenants", &[("name", name)])).await.ok()?;
    let found = AnswerRow(&list).rows("items").next();
    found.map(|tenant| tenant.text("id").to_owned())
}

/// Returns the id of the tenant of a past session; `None`: there is none. Another tenant may have the name by now,
/// so the id counts; a session from before the tenant was made has none.
pub(super) async fn tenant_of(reader: &PageReader, session: AnswerRow<'_>) -> Option<String> {
    match session.some_text("tenant_id") {
        Some(id) => Some(id.to_owned()),
        None => tenant_id(reader, session.text("tenant")).await,
    }
}

/// As [`tenant_id`], for an act that cannot do without.
///
/// # Errors
///
/// There is nothing to act upon.
pub(super) async fn known_tenant(reader: &PageReader, name: &str) -> Result<String, PageError> {
    tenant_id(reader, name).await.ok_or(PageError::Kind(ErrorKind::NotFound))
}
