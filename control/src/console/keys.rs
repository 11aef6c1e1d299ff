//! API keys and issuers of join tokens.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::Response;
use nucleus_console::link::query;
use nucleus_console::screens::{Choice, IssuerRow, KeyRow, KeysPage};
use nucleus_console::{Mark, MenuPlace, ShownName, Tone};
use serde_json::{Map, Value, json};

use super::answer::{self, PageError, PageResult};
use super::form::Fields;
use super::reader::PageReader;
use super::row::{AnswerRow, encoded};
use super::state::ConsoleState;
use crate::api::Scope;
use crate::timestamp::Timestamp;

/// Most pages of keys or issuers of one owner, of 200 rows each. Revoked keys stay in the list.
const MOST_PAGES: usize = 10;

pub(super) async fn page(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    let tenant = reader.query("tenant").to_owned();
    let tenant = Some(tenant).filter(|id| !id.is_empty()).or_else(|| reader.viewer.tenant.clone());
    shown(&reader, state.now(), tenant, None).await
}

async fn shown(
    reader: &PageReader,
    now: Timestamp,
    tenant: Option<String>,
    new_key: Option<String>,
) -> PageResult {
    let name = match &tenant {
        Some(id) => {
            let tenant = reader.client.get(&format!("/tenants/{}", encoded(id))).await?;
            Some(AnswerRow(&tenant).name("name"))
        }
        None => None,
    };
    let scopes = Scope::ALL.into_iter().filter(|scope| reader.may(*scope)).map(|scope| Choice {
        value: scope.name().to_owned(),
        title: match scope {
            Scope::Read => "Read",
            Scope::Operate => "Act on rooms",
            Scope::Tokens => "Make tokens",
            Scope::Manage => "Change settings",
        }
        .to_owned(),
        is_chosen: scope == Scope::Read,
    });
    answer::page(&KeysPage {
        shell: reader.shell("Keys", MenuPlace::Tenants).await,
        base: String::new(),
        keys: key_rows(reader, now, tenant.as_deref()).await?,
        id: tenant,
        tenant: name,
        new_key,
        scopes: scopes.collect(),
    })
}

/// Returns the rows of a list of the API whose tenant is `tenant`, or `None` the server's own.
async fn rows_of(
    reader: &PageReader,
    path: &str,
    tenant: Option<&str>,
) -> Result<Vec<Value>, PageError> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for _ in 0..MOST_PAGES {
        let owner = tenant.unwrap_or("server");
        let path = query(path, &[("tenant", owner), ("cursor", &cursor), ("limit", "200")]);
        let list = reader.client.get(&path).await?;
        found.extend(AnswerRow(&list).rows("items").map(|row| row.0.clone()));
        match AnswerRow(&list).some_text("next") {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    Ok(found)
}

pub(super) async fn key_rows(
    reader: &PageReader,
    now: Timestamp,
    tenant: Option<&str>,
) -> Result<Vec<KeyRow>, PageError> {
    let keys = rows_of(reader, "/keys", tenant).await?;
    Ok(keys.iter().map(|key| key_row(AnswerRow(key), now)).collect())
}

fn key_row(key: AnswerRow<'_>, now: Timestamp) -> KeyRow {
    let now = now.micros();
    let mark = match (key.some_text("revoked_at"), key.micros("expires_at")) {
        (Some(_), _) => Mark::new(Tone::Idle, "Revoked"),
        (_, Some(end)) if end <= now => Mark::new(Tone::Idle, "Ended"),
        _ => Mark::new(Tone::Good, "Active"),
    };
    KeyRow {
        id: key.text("id").to_owned(),
        name: key.name("name"),
        scopes: key.texts("scopes").collect::<Vec<_>>().join(", "),
        is_active: key.some_text("revoked_at").is_none(),
        mark,
        last_used_at: key.time("last_used_at"),
        expires_at: key.time("expires_at"),
    }
}

pub(super) async fn issuer_rows(
    reader: &PageReader,
    tenant: &str,
) -> Result<Vec<IssuerRow>, PageError> {
    let issuers = rows_of(reader, "/issuers", Some(tenant)).await?;
    Ok(issuers.iter().map(|issuer| issuer_row(AnswerRow(issuer))).collect())
}

fn issuer_row(issuer: AnswerRow<'_>) -> IssuerRow {
    let url = issuer.some_text("jwks_url");
    let key = url.map(str::to_owned).unwrap_or_else(|| {
        let parts = [issuer.text("algorithm"), issuer.text("kid")];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    });
    IssuerRow {
        id: issuer.text("id").to_owned(),
        name: issuer.name("name"),
        key: ShownName::new(key),
        mark: match (url, issuer.some_text("keys_at")) {
            (None, _) => Mark::new(Tone::Good, "Key known"),
            (Some(_), Some(_)) => Mark::new(Tone::Good, "Keys known"),
            (Some(_), None) => Mark::new(Tone::Warn, "Not fetched yet"),
        },
        keys_at: issuer.time("keys_at"),
    }
}

pub(super) async fn create(
    State(state): State<ConsoleState>,
    reader: PageReader,
    fields: Fields,
) -> Result<Response, PageError> {
    let mut body = Map::new();
    body.insert("name".to_owned(), fields.get("name").into());
    body.insert("scopes".to_owned(), fields.all("scopes").into());
    if let Some(tenant) = fields.some("tenant") {
        body.insert("tenant".to_owned(), tenant.into());
    }
    if let Some(day) = fields.some("expires_at") {
        body.insert("expires_at".to_owned(), format!("{day}T00:00:00Z").into());
    }
    let made = reader.client.ask(Method::POST, "/keys", &Value::Object(body)).await?;
    let tenant = fields.some("tenant").map(str::to_owned);
    shown(&reader, state.now(), tenant, AnswerRow(&made).some_text("key").map(str::to_owned)).await
}

pub(super) async fn revoke(
    reader: PageReader,
    Path(id): Path<String>,
    _fields: Fields,
) -> Result<Response, PageError> {
    let path = format!("/keys/{}", encoded(&id));
    let key = reader.client.ask(Method::DELETE, &path, &Value::Null).await?;
    Ok(answer::to(&match AnswerRow(&key).some_text("tenant") {
        Some(tenant) => format!("/tenants/{}?done=key-revoked", encoded(tenant)),
        None => "/keys?done=key-revoked".to_owned(),
    }))
}

pub(super) async fn add_issuer(reader: PageReader, fields: Fields) -> Result<Response, PageError> {
    let tenant = fields.get("tenant").to_owned();
    let mut body = Map::new();
    body.insert("name".to_owned(), fields.get("name").into());
    body.insert("tenant".to_owned(), tenant.as_str().into());
    match fields.some("public_key") {
        Some(key) => {
            body.insert("public_key".to_owned(), key.into());
            body.insert("algorithm".to_owned(), fields.get("algorithm").into());
        }
        None => {
            body.insert("jwks_url".to_owned(), json!(fields.get("jwks_url")));
        }
    }
    reader.client.ask(Method::POST, "/issuers", &Value::Object(body)).await?;
    Ok(answer::to(&format!("/tenants/{}?done=issuer-added", encoded(&tenant))))
}

pub(super) async fn delete_issuer(
    reader: PageReader,
    Path(id): Path<String>,
    _fields: Fields,
) -> Result<Response, PageError> {
    reader.client.ask(Method::DELETE, &format!("/issuers/{}", encoded(&id)), &Value::Null).await?;
    Ok(answer::to("/tenants?done=issuer-deleted"))
}
