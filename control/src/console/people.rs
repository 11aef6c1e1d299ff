//! Those who may sign in to the dashboard.

use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use nucleus_console::link::query;
use nucleus_console::screens::{
    Choice, ErrorKind, FormProblem, OwnSession, PersonPage, PersonRow, PersonsPage,
};
use nucleus_console::text::counted;
use nucleus_console::{Mark, MenuPlace, MenuRole, ShownName, Tone};
use serde_json::{Map, Value, json};

use super::answer::{self, PageError, PageResult};
use super::form::Fields;
use super::pages::page_links;
use super::reader::{PAGE_ROWS, PageReader};
use super::row::{AnswerRow, encoded};
use super::shell::menu_role;
use super::tenant_names::{TenantNames, tenant_field, tenant_id};
use crate::people::PersonRole;

pub(super) async fn list(reader: PageReader) -> PageResult {
    shown(&reader, None, None, None).await
}

/// Shows the list. `fields`: what was sent, if that was not accepted.
async fn shown(
    reader: &PageReader,
    fields: Option<&Fields>,
    problem: Option<FormProblem>,
    new_link: Option<String>,
) -> PageResult {
    let text = |name: &str| fields.map(|fields| fields.get(name).to_owned()).unwrap_or_default();
    let after = reader.query("after");
    let path = query("/people", &[("cursor", after), ("limit", &PAGE_ROWS.to_string())]);
    let list = reader.client.get(&path).await?;
    let names = TenantNames::of_rows(reader, &list).await;
    let rows: Vec<_> =
        AnswerRow(&list).rows("items").map(|person| person_row(person, &names)).collect();
    answer::page(&PersonsPage {
        shell: reader.shell("People", MenuPlace::Accounts).await,
        roles: roles(reader, fields.map_or("viewer", |fields| fields.get("role"))),
        tenants: tenant_field(reader, "Choose a tenant", &text("tenant")).await,
        sees: text("sees"),
        email: text("email"),
        problem,
        new_link,
        pages: page_links(
            counted(rows.len(), "person", "people"),
            AnswerRow(&list),
            after,
            |after| query("/people", &[("after", after)]),
        ),
        rows,
    })
}

/// The roles that the reader may give: nobody gives more than they have.
fn roles(reader: &PageReader, chosen: &str) -> Vec<Choice> {
    let may_give = |role: &PersonRole| {
        if reader.sees_server() { true } else { role.may_be_of_tenant() }
    };
    let choice = |role: PersonRole| Choice {
        value: role.name().to_owned(),
        title: menu_role(role).title().to_owned(),
        is_chosen: role.name() == chosen,
    };
    PersonRole::ALL.into_iter().filter(may_give).map(choice).collect()
}

fn person_row(person: AnswerRow<'_>, names: &TenantNames) -> PersonRow {
    let role = MenuRole::from_name(person.text("role"));
    PersonRow {
        id: person.text("id").to_owned(),
        email: person.name("email"),
        role: role.map_or("–", MenuRole::title),
        tenant: person.some_text("tenant").map(|id| names.of(id)),
        mark: match (person.some_text("disabled_at"), person.flag("has_password")) {
            (Some(_), _) => Mark::new(Tone::Idle, "Disabled"),
            (None, false) if person.some_text("signed_in_at").is_none() => {
                Mark::new(Tone::Info, "No password yet")
            }
            _ => Mark::new(Tone::Good, "Active"),
        },
        has_totp: person.flag("has_totp"),
        seen_at: person.time("signed_in_at"),
    }
}

pub(super) async fn create(reader: PageReader, fields: Fields) -> Result<Response, PageError> {
    let mut body = Map::new();
    body.insert("email".to_owned(), fields.get("email").into());
    body.insert("role".to_owned(), fields.get("role").into());
    let tenant = match chosen_tenant(&reader, &fields) {
        Ok(tenant) => tenant,
        Err(problem) => return shown(&reader, Some(&fields), Some(problem), None).await,
    };
    match tenant_id(&reader, tenant).await? {
        Ok(None) => {}
        Ok(Some(id)) => drop(body.insert("tenant".to_owned(), id.into())),
        Err(problem) => return shown(&reader, Some(&fields), Some(problem), None).await,
    }
    let person = match reader.client.ask(Method::POST, "/people", &Value::Object(body)).await {
        Ok(person) => person,
        Err(refusal) if refusal.is_about_form() => {
            return shown(&reader, Some(&fields), Some(refusal.problem(&["email"])), None).await;
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let path = format!("/people/{}/link", encoded(AnswerRow(&person).text("id")));
    let link = reader.client.ask(Method::POST, &path, &Value::Null).await?;
    shown(&reader, None, None, Some(AnswerRow(&link).text("url").to_owned())).await
}

/// Returns the tenant that a new person is to see; empty: the whole server, or that of the reader. Nobody gets to
/// see the whole server because a field was overlooked.
fn chosen_tenant<'a>(reader: &PageReader, fields: &'a Fields) -> Result<&'a str, FormProblem> {
    let problem = |field: &str, what: &str| FormProblem {
        field: field.to_owned(),
        what: what.to_owned(),
        remedy: String::new(),
    };
    match (fields.get("sees"), fields.get("tenant")) {
        (_, tenant) if !reader.sees_server() => Ok(tenant),
        ("server", "") => Ok(""),
        ("server", _) => Err(problem("sees", "Choose the whole server or one tenant, not both.")),
        ("tenant", "") => Err(problem("tenant", "Choose the tenant that the person sees.")),
        ("tenant", tenant) => Ok(tenant),
        _ => Err(problem("sees", "Choose what the person sees.")),
    }
}

pub(super) async fn page(reader: PageReader, Path(id): Path<String>) -> PageResult {
    shown_one(&reader, &id, None).await
}

async fn shown_one(reader: &PageReader, id: &str, new_link: Option<String>) -> PageResult {
    let path = format!("/people/{}", encoded(id));
    let person = reader.client.get(&path).await?;
    let person = AnswerRow(&person);
    let sessions = sessions(reader, id).await?;
    let names = TenantNames::of_one(reader, person).await;
    let email = person.name("email");
    answer::page(&PersonPage {
        shell: reader.shell(&email.label(), MenuPlace::Accounts).await,
        person: person_row(person, &names),
        is_disabled: person.some_text("disabled_at").is_some(),
        is_reader: reader.viewer.person == id,
        roles: roles(reader, person.text("role")),
        new_link,
        sessions,
    })
}

/// Returns the browsers in which a person is signed in.
pub(super) async fn sessions(reader: &PageReader, id: &str) -> Result<Vec<OwnSession>, PageError> {
    let list = reader.client.get(&format!("/people/{}/sessions", encoded(id))).await?;
    let session = |session: AnswerRow<'_>| OwnSession {
        id: session.text("id").to_owned(),
        agent: ShownName::new(match session.text("agent") {
            "" => "unknown browser",
            agent => agent,
        }),
        ip: session.text("ip").to_owned(),
        seen_at: session.time("seen_at"),
        is_this: session.text("id") == reader.viewer.session,
    };
    Ok(AnswerRow(&list).rows("items").map(session).collect())
}

/// Changes the role, disables, deletes a person or makes a link.
pub(super) async fn act(
    reader: PageReader,
    Path((id, act)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, PageError> {
    let path = format!("/people/{}", encoded(&id));
    let (method, body, done) = match act.as_str() {
        "link" => {
            let made =
                reader.client.ask(Method::POST, &format!("{path}/link"), &Value::Null).await?;
            return shown_one(&reader, &id, Some(AnswerRow(&made).text("url").to_owned())).await;
        }
        "role" => (Method::PATCH, json!({"role": fields.get("role")}), "saved"),
        "disable" => {
            let disabled = fields.is_on("disabled")?;
            let done = if disabled { "person-disabled" } else { "person-enabled" };
            (Method::PATCH, json!({"disabled": disabled}), done)
        }
        "delete" => (Method::DELETE, Value::Null, "person-deleted"),
        _ => return Err(PageError::Kind(ErrorKind::NotFound)),
    };
    reader.client.ask(method, &path, &body).await?;
    Ok(answer::to(&match done {
        "person-deleted" => format!("/people?done={done}"),
        _ => format!("{path}?done={done}"),
    }))
}

pub(super) async fn end_session(
    reader: PageReader,
    Path((id, session)): Path<(String, String)>,
    _fields: Fields,
) -> Result<Response, PageError> {
    end(&reader, &id, &session).await?;
    Ok(answer::to(&format!("/people/{}?done=session-ended", encoded(&id))))
}

/// Ends a session of a person.
pub(super) async fn end(reader: &PageReader, id: &str, session: &str) -> Result<(), PageError> {
    let path = query(&format!("/people/{}/sessions", encoded(id)), &[("session", session)]);
    reader.client.ask(Method::DELETE, &path, &Value::Null).await?;
    Ok(())
}
