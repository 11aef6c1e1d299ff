//! Webhooks and their deliveries.

use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use nucleus_console::link::query;
use nucleus_console::screens::{
    Choice, DeliveryRow, ErrorKind, FormProblem, PageLinks, TenantField, WebhookForm, WebhookPage,
    WebhookRow, WebhooksPage,
};
use nucleus_console::text::counted;
use nucleus_console::{Mark, Markup, MenuPlace, Quantity, Tone};
use serde_json::{Map, Value, json};

use super::answer::{self, PageError, PageResult};
use super::form::Fields;
use super::pages::page_links;
use super::reader::{PAGE_ROWS, PageReader};
use super::row::{AnswerRow, encoded};
use super::tenant_names::{TenantNames, tenant_field, tenant_id};
use crate::api::Scope;
use crate::events::PlaneEventKind;

pub(super) async fn list(reader: PageReader) -> PageResult {
    let after = reader.query("after").to_owned();
    let path = query("/webhooks", &[("cursor", &after), ("limit", &PAGE_ROWS.to_string())]);
    let list = reader.client.get(&path).await?;
    let names = TenantNames::of_rows(&reader, &list).await;
    let rows: Vec<_> =
        AnswerRow(&list).rows("items").map(|webhook| webhook_row(webhook, &names)).collect();
    let shown = counted(rows.len(), "webhook", "webhooks");
    let href = |after: &str| query("/webhooks", &[("after", after)]);
    let pages = page_links(shown, AnswerRow(&list), &after, href);
    let shell = reader.shell("Webhooks", MenuPlace::Webhooks).await;
    answer::page(&WebhooksPage { shell, rows, pages })
}

fn webhook_row(webhook: AnswerRow<'_>, names: &TenantNames) -> WebhookRow {
    WebhookRow {
        id: webhook.text("id").to_owned(),
        name: webhook.name("name"),
        tenant: webhook.some_text("tenant").map(|id| names.of(id)),
        url: webhook.name("url"),
        mark: mark(webhook),
    }
}

fn mark(webhook: AnswerRow<'_>) -> Mark {
    match (webhook.flag("on"), webhook.some_text("off_reason"), webhook.some_text("problem")) {
        (true, _, None) => Mark::new(Tone::Good, "On"),
        (true, _, Some(_)) => Mark::new(Tone::Warn, "On, with a problem"),
        (false, Some(reason), _) => Mark::new(Tone::Bad, &format!("Off: {reason}")),
        (false, None, _) => Mark::new(Tone::Idle, "Off"),
    }
}

pub(super) async fn page(reader: PageReader, Path(id): Path<String>) -> PageResult {
    let webhook = reader.client.get(&format!("/webhooks/{}", encoded(&id))).await?;
    shown(&reader, AnswerRow(&webhook), None).await
}

async fn shown(
    reader: &PageReader,
    webhook: AnswerRow<'_>,
    new_secret: Option<String>,
) -> PageResult {
    let id = webhook.text("id");
    let after = reader.query("after");
    let path = query(
        &format!("/webhooks/{}/deliveries", encoded(id)),
        &[("cursor", after), ("limit", &PAGE_ROWS.to_string())],
    );
    let list = reader.client.get(&path).await?;
    let deliveries: Vec<_> = AnswerRow(&list).rows("items").map(delivery_row).collect();
    let here = format!("/webhooks/{}", encoded(id));
    let shown = counted(deliveries.len(), "delivery", "deliveries");
    let href = |after: &str| query(&here, &[("after", after)]);
    let pages = page_links(shown, AnswerRow(&list), after, href);
    let name = webhook.name("name");
    answer::page(&WebhookPage {
        shell: reader.shell(&name.label(), MenuPlace::Webhooks).await,
        base: String::new(),
        id: Some(id.to_owned()),
        mark: mark(webhook),
        problem_words: problem_words(webhook),
        is_on: webhook.flag("on"),
        new_secret,
        form: WebhookForm {
            name: webhook.text("name").to_owned(),
            url: webhook.text("url").to_owned(),
            tenants: TenantField::default(),
            events: events(&webhook.texts("events").collect::<Vec<_>>()),
        },
        problem: None,
        deliveries,
        pages,
    })
}

fn problem_words(webhook: AnswerRow<'_>) -> Option<Markup> {
    let words = webhook.some_text("off_reason").or_else(|| webhook.some_text("problem"))?;
    Some(Markup::from(words).text(
        ". Look at the address, then switch the webhook on; deliveries of the last days can be sent again.",
    ))
}

fn events(chosen: &[&str]) -> Vec<Choice> {
    let choice = |kind: PlaneEventKind| Choice {
        value: kind.name().to_owned(),
        title: kind.name().to_owned(),
        is_chosen: chosen.contains(&kind.name()),
    };
    PlaneEventKind::ALL.into_iter().map(choice).collect()
}

fn delivery_row(delivery: AnswerRow<'_>) -> DeliveryRow {
    let mark = match (delivery.some_text("delivered_at"), delivery.some_text("next_at")) {
        (Some(_), _) => Mark::new(Tone::Good, "Taken"),
        (None, Some(_)) => Mark::new(Tone::Warn, "Waits"),
        (None, None) => Mark::new(Tone::Bad, "Given up"),
    };
    DeliveryRow {
        id: delivery.text("id").to_owned(),
        kind: delivery.text("kind").to_owned(),
        created_at: delivery.time("created_at"),
        mark,
        answer: delivery.some_name("answer"),
        tries: Quantity::count(delivery.count("tries")),
        next_at: delivery.time("next_at"),
    }
}

pub(super) async fn new(reader: PageReader) -> PageResult {
    reader.needs(Scope::Manage)?;
    new_page(&reader, None, None).await
}

async fn new_page(
    reader: &PageReader,
    fields: Option<&Fields>,
    problem: Option<FormProblem>,
) -> PageResult {
    let text = |name: &str| fields.map(|fields| fields.get(name).to_owned()).unwrap_or_default();
    let tenants = tenant_field(reader, "All tenants", &text("tenant")).await;
    let chosen = fields.map(|fields| fields.all("events")).unwrap_or_default();
    answer::page(&WebhookPage {
        shell: reader.shell("New webhook", MenuPlace::Webhooks).await,
        base: String::new(),
        id: None,
        mark: Mark::new(Tone::Idle, "New"),
        problem_words: None,
        is_on: false,
        new_secret: None,
        form: WebhookForm {
            name: text("name"),
            url: text("url"),
            tenants,
            events: events(&chosen),
        },
        problem,
        deliveries: Vec::new(),
        pages: PageLinks::default(),
    })
}

pub(super) async fn create(reader: PageReader, fields: Fields) -> Result<Response, PageError> {
    let mut body = Map::new();
    body.insert("name".to_owned(), fields.get("name").into());
    body.insert("url".to_owned(), fields.get("url").into());
    body.insert("events".to_owned(), fields.all("events").into());
    match tenant_id(&reader, fields.get("tenant")).await? {
        Ok(None) => {}
        Ok(Some(id)) => drop(body.insert("tenant".to_owned(), id.into())),
        Err(problem) => return new_page(&reader, Some(&fields), Some(problem)).await,
    }
    match reader.client.ask(Method::POST, "/webhooks", &Value::Object(body)).await {
        Ok(made) => {
            let secret = AnswerRow(&made).some_text("secret").map(str::to_owned);
            shown(&reader, AnswerRow(&made), secret).await
        }
        Err(refusal) if refusal.is_about_form() => {
            new_page(&reader, Some(&fields), Some(refusal.problem(&["name", "url"]))).await
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Tests, replays, switches or deletes a webhook.
pub(super) async fn act(
    reader: PageReader,
    Path((id, act)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, PageError> {
    let path = format!("/webhooks/{}", encoded(&id));
    let (method, path, body, done) = match act.as_str() {
        "test" => (Method::POST, format!("{path}/test"), Value::Null, "webhook-tested"),
        "replay" => {
            let body = json!({"delivery": fields.get("delivery")});
            (Method::POST, format!("{path}/replay"), body, "webhook-replayed")
        }
        "switch" => {
            let on = fields.is_on("on")?;
            let done = if on { "webhook-on" } else { "webhook-off" };
            (Method::POST, format!("{path}/switch"), json!({"on": on}), done)
        }
        "delete" => (Method::DELETE, path, Value::Null, "webhook-deleted"),
        _ => return Err(PageError::Kind(ErrorKind::NotFound)),
    };
    reader.client.ask(method, &path, &body).await?;
    Ok(answer::to(&match done {
        "webhook-deleted" => format!("/webhooks?done={done}"),
        _ => format!("/webhooks/{}?done={done}", encoded(&id)),
    }))
}
