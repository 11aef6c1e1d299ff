//! Tenants: customers with their licence, their limits, their keys and their issuers.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::Response;
use nucleus_console::link::query;
use nucleus_console::screens::{
    Choice, ErrorKind, FormProblem, TenantForm, TenantPage, TenantRow, TenantsPage,
};
use nucleus_console::text::counted;
use nucleus_console::{Mark, MenuPlace, Quantity, ShownName, ShownTime, Tone};
use serde_json::{Map, Value, json};

use super::answer::{self, PageError, PageResult};
use super::client::ApiRefusal;
use super::form::Fields;
use super::keys::{issuer_rows, key_rows};
use super::pages::page_links;
use super::reader::PageReader;
use super::row::{AnswerRow, encoded};
use super::state::ConsoleState;
use crate::api::Scope;
use crate::timestamp::Timestamp;

/// From how many days on the end of a licence is worth a warning.
const WARN_DAYS: i64 = 14;
const DAY: i64 = 86_400_000_000;
/// The limits of a tenant, as fields of the form and of the API.
const LIMITS: [&str; 3] = ["max_sessions", "max_rooms", "max_kept_rooms"];

pub(super) async fn list(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    let shell = reader.shell("Tenants and keys", MenuPlace::Tenants).await;
    let after = reader.query("after");
    let path = query("/tenants", &[("cursor", after), ("limit", "100")]);
    let list = reader.client.get(&path).await?;
    let now = state.now();
    let row = |tenant: AnswerRow<'_>| tenant_row(tenant, now);
    let rows: Vec<_> = AnswerRow(&list).rows("items").map(row).collect();
    let shown = counted(rows.len(), "tenant", "tenants");
    let href = |after: &str| query("/tenants", &[("after", after)]);
    let pages = page_links(shown, AnswerRow(&list), after, href);
    answer::page(&TenantsPage { shell, rows, pages })
}

fn tenant_row(tenant: AnswerRow<'_>, now: Timestamp) -> TenantRow {
    let products: Vec<_> = tenant.texts("products").collect();
    let limit = |name: &str| Quantity::count(tenant.count(name));
    TenantRow {
        id: tenant.text("id").to_owned(),
        name: tenant.name("name"),
        products: ShownName::new(match products.is_empty() {
            true => "all".to_owned(),
            false => products.join(", "),
        }),
        mark: mark(tenant, now),
        most_sessions: limit("max_sessions"),
        most_rooms: limit("max_rooms"),
        ends_at: tenant.time("ends_at"),
    }
}

fn mark(tenant: AnswerRow<'_>, now: Timestamp) -> Mark {
    let now = now.micros();
    let days = tenant.micros("ends_at").map(|end| (end - now).div_euclid(DAY));
    match (tenant.flag("active"), days) {
        (false, _) => Mark::new(Tone::Idle, "Switched off"),
        (_, Some(..=-1)) => Mark::new(Tone::Bad, "Licence ended"),
        (_, Some(days @ ..WARN_DAYS)) => {
            Mark::new(Tone::Warn, &format!("Ends in {}", counted(days, "day", "days")))
        }
        _ if tenant.micros("starts_at").is_some_and(|start| start > now) => {
            Mark::new(Tone::Info, "Not begun")
        }
        _ => Mark::new(Tone::Good, "Active"),
    }
}

pub(super) async fn page(
    State(state): State<ConsoleState>,
    reader: PageReader,
    Path(id): Path<String>,
) -> PageResult {
    let tenant = reader.client.get(&format!("/tenants/{}", encoded(&id))).await?;
    shown(&reader, state.now(), Some(&id), AnswerRow(&tenant), None, None).await
}

pub(super) async fn new(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    reader.needs(Scope::Manage)?;
    if !reader.sees_server() {
        return Err(PageError::Kind(ErrorKind::Forbidden));
    }
    let fresh = json!({"active": true});
    shown(&reader, state.now(), None, AnswerRow(&fresh), None, None).await
}

pub(super) async fn create(
    State(state): State<ConsoleState>,
    reader: PageReader,
    fields: Fields,
) -> Result<Response, PageError> {
    save_as(reader, state.now(), None, fields).await
}

pub(super) async fn save(
    State(state): State<ConsoleState>,
    reader: PageReader,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, PageError> {
    save_as(reader, state.now(), Some(id), fields).await
}

async fn save_as(
    reader: PageReader,
    now: Timestamp,
    id: Option<String>,
    fields: Fields,
) -> Result<Response, PageError> {
    let (method, path) = match &id {
        Some(id) => (Method::PUT, format!("/tenants/{}", encoded(id))),
        None => (Method::POST, "/tenants".to_owned()),
    };
    let stored = match &id {
        Some(_) => reader.client.get(&path).await?,
        None => Value::Null,
    };
    let saved = match body(&fields, AnswerRow(&stored)) {
        Ok(body) => reader.client.ask(method, &path, &body).await,
        Err(problem) => {
            return shown(
                &reader,
                now,
                id.as_deref(),
                AnswerRow(&Value::Null),
                Some(&fields),
                Some(problem),
            )
            .await;
        }
    };
    match saved {
        Ok(tenant) => {
            let id = AnswerRow(&tenant).text("id");
            Ok(answer::to(&format!("/tenants/{}?done=saved", encoded(id))))
        }
        Err(refusal) if refusal.is_about_form() => {
            let problem = refusal.problem(&["name", "starts_at", "ends_at"]);
            let none = AnswerRow(&Value::Null);
            shown(&reader, now, id.as_deref(), none, Some(&fields), Some(problem)).await
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Translates the form for the API. `stored`: the tenant as it is; a day that stays keeps its time of day.
fn body(fields: &Fields, stored: AnswerRow<'_>) -> Result<Value, FormProblem> {
    let mut body = Map::new();
    body.insert("name".to_owned(), fields.get("name").into());
    body.insert("products".to_owned(), fields.all("products").into());
    body.insert("active".to_owned(), (fields.get("active") == "true").into());
    for name in ["starts_at", "ends_at"] {
        if let Some(day) = fields.some(name) {
            let is_stored = ShownTime::of(stored.micros(name)).input_day() == day;
            let time = match stored.some_text(name) {
                Some(time) if is_stored => time.to_owned(),
                _ => format!("{day}T00:00:00Z"),
            };
            body.insert(name.to_owned(), time.into());
        }
    }
    for name in LIMITS {
        if let Some(text) = fields.some(name) {
            let wrong = |_| FormProblem {
                field: name.to_owned(),
                what: "This is no whole number.".to_owned(),
                remedy: "Use digits alone, or leave it empty.".to_owned(),
            };
            body.insert(name.to_owned(), text.parse::<u32>().map_err(wrong)?.into());
        }
    }
    Ok(Value::Object(body))
}

/// Shows the page of a tenant. `fields`: what was sent, if that was not accepted.
async fn shown(
    reader: &PageReader,
    now: Timestamp,
    id: Option<&str>,
    tenant: AnswerRow<'_>,
    fields: Option<&Fields>,
    problem: Option<FormProblem>,
) -> PageResult {
    let form = match fields {
        Some(fields) => sent_form(fields),
        None => stored_form(tenant),
    };
    let title = if id.is_some() {
        ShownName::new(form.name.as_str()).label()
    } else {
        "New tenant".to_owned()
    };
    let (keys, issuers) = match id {
        Some(id) => (key_rows(reader, now, Some(id)).await?, issuer_rows(reader, id).await?),
        None => (Vec::new(), Vec::new()),
    };
    answer::page(&TenantPage {
        shell: reader.shell(&title, MenuPlace::Tenants).await,
        base: String::new(),
        id: id.map(str::to_owned),
        mark: mark(tenant, now),
        form: TenantForm { products: products(reader, &form).await?, ..form },
        problem,
        may_edit: reader.sees_server() && reader.role().may_manage(),
        keys,
        issuers,
    })
}

/// The products to choose from: those of the server, which only readers of the whole server know, and the
/// tenant's own. A form that left one out would take it away.
async fn products(reader: &PageReader, form: &TenantForm) -> Result<Vec<Choice>, ApiRefusal> {
    let server = match reader.sees_server() {
        true => reader.client.get("/server").await?,
        false => Value::Null,
    };
    let choice = |product: &str| Choice {
        value: product.to_owned(),
        title: product.to_owned(),
        is_chosen: form.products.iter().any(|chosen| chosen.value == product),
    };
    let mut choices: Vec<_> = AnswerRow(&server).texts("products").map(choice).collect();
    for own in &form.products {
        if !choices.iter().any(|choice| choice.value == own.value) {
            choices.push(own.clone());
        }
    }
    Ok(choices)
}

fn chosen(product: &str) -> Choice {
    Choice { value: product.to_owned(), title: product.to_owned(), is_chosen: true }
}

fn stored_form(tenant: AnswerRow<'_>) -> TenantForm {
    let day = |name: &str| ShownTime::of(tenant.micros(name)).input_day();
    let number = |name: &str| tenant.count(name).map(|most| most.to_string()).unwrap_or_default();
    TenantForm {
        name: tenant.text("name").to_owned(),
        products: tenant.texts("products").map(chosen).collect(),
        starts_at: day("starts_at"),
        ends_at: day("ends_at"),
        max_sessions: number("max_sessions"),
        max_rooms: number("max_rooms"),
        max_kept_rooms: number("max_kept_rooms"),
        active: tenant.flag("active"),
    }
}

fn sent_form(fields: &Fields) -> TenantForm {
    let text = |name: &str| fields.get(name).to_owned();
    TenantForm {
        name: text("name"),
        products: fields.all("products").into_iter().map(chosen).collect(),
        starts_at: text("starts_at"),
        ends_at: text("ends_at"),
        max_sessions: text("max_sessions"),
        max_rooms: text("max_rooms"),
        max_kept_rooms: text("max_kept_rooms"),
        active: fields.get("active") == "true",
    }
}

impl ApiRefusal {
    /// Whether the reader can mend the form: the API does not take a value, or there is such a thing already.
    pub(super) fn is_about_form(&self) -> bool {
        matches!(self.status.as_u16(), 400 | 409 | 422)
    }

    /// Returns the problem for the form. The API's text names a field in backquotes.
    pub(super) fn problem(self, fields: &[&str]) -> FormProblem {
        let field = fields.iter().find(|field| self.detail.contains(&format!("`{field}`")));
        FormProblem {
            field: field.map(|field| (*field).to_owned()).unwrap_or_default(),
            what: self.detail,
            remedy: String::new(),
        }
    }
}
