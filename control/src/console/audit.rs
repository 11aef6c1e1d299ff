//! The audit: who did what.

use axum::extract::State;
use axum::response::Response;
use nucleus_console::link::query;
use nucleus_console::screens::{AuditPage, AuditRow, AuditSearch};
use nucleus_console::text::counted;
use nucleus_console::{MenuPlace, ShownName, csv};
use serde_json::Value;

use super::answer::{self, PageError, PageResult};
use super::pages::page_links;
use super::reader::{PAGE_ROWS, PageReader};
use super::row::AnswerRow;
use super::sessions::{first_moment, last_moment};
use super::state::ConsoleState;
use super::tenant_names::TenantNames;
use crate::api::Scope;

/// Most entries of the CSV file.
const CSV_ROWS: usize = 10_000;

/// Reads which entries the address of a page asks for.
fn search(reader: &PageReader) -> AuditSearch {
    let text = |name: &str| reader.query(name).trim().to_owned();
    AuditSearch {
        actor: text("actor"),
        action: text("action"),
        target: text("target"),
        tenant: reader.sees_server().then(|| text("tenant")),
        from: text("from"),
        to: text("to"),
    }
}

/// Returns the address of a list of these entries.
fn href(search: &AuditSearch, path: &str, after: &str) -> String {
    let pairs = [
        ("actor", search.actor.as_str()),
        ("action", &search.action),
        ("target", &search.target),
        ("tenant", search.tenant.as_deref().unwrap_or_default()),
        ("from", &search.from),
        ("to", &search.to),
        ("after", after),
    ];
    query(path, &pairs)
}

fn api_path(search: &AuditSearch, limit: u32, cursor: &str) -> String {
    let pairs = [
        ("actor", search.actor.as_str()),
        ("action", &search.action),
        ("target", &search.target),
        ("tenant", search.tenant.as_deref().unwrap_or_default()),
        ("from", &first_moment(&search.from)),
        ("to", &last_moment(&search.to)),
        ("cursor", cursor),
        ("limit", &limit.to_string()),
    ];
    query("/audit", &pairs)
}

pub(super) async fn page(reader: PageReader) -> PageResult {
    let (after, search) = (reader.query("after").to_owned(), search(&reader));
    let shell = reader.shell("Audit", MenuPlace::Audit).await;
    let list = reader.client.get(&api_path(&search, PAGE_ROWS, &after)).await?;
    let names = TenantNames::of_rows(&reader, &list).await;
    let mut rows: Vec<_> = rows(&list, &names).collect();
    let unnamed = match (reader.may(Scope::Operate), reader.sees_server()) {
        (false, _) => "a person",
        // Of the people of a tenant, its operators know the addresses.
        (true, false) => "the server's operator, or a deleted person",
        (true, true) => "a deleted person",
    };
    rows.iter_mut().for_each(|row| row.actor_email = shown_person(row, unnamed));
    let shown = counted(rows.len(), "entry", "entries");
    let pages = page_links(shown, AnswerRow(&list), &after, |after| href(&search, "/audit", after));
    let csv_href = href(&search, "/audit.csv", "");
    answer::page(&AuditPage { shell, csv_href, search, rows, pages })
}

pub(super) async fn csv(
    State(state): State<ConsoleState>,
    reader: PageReader,
) -> Result<Response, PageError> {
    let _place = state.export_place()?;
    let search = search(&reader);
    let mut text = csv::line(&AuditRow::CSV_HEADINGS);
    let (mut after, mut count) = (String::new(), 0);
    loop {
        let list = reader.client.get(&api_path(&search, 200, &after)).await?;
        let names = TenantNames::of_rows(&reader, &list).await;
        for row in rows(&list, &names) {
            text.push_str(&row.csv_line());
            count += 1;
        }
        match AnswerRow(&list).some_text("next") {
            Some(next) if count < CSV_ROWS => after = next.to_owned(),
            _ => return Ok(answer::csv("audit.csv", text)),
        }
    }
}

/// Returns what a page shows of who did it, for a person whose address the reader may not know.
fn shown_person(row: &AuditRow, unnamed: &str) -> Option<ShownName> {
    let is_unnamed = row.actor_email.is_none() && row.actor.starts_with("person:");
    if is_unnamed { Some(ShownName::new(unnamed)) } else { row.actor_email.clone() }
}

fn rows<'a>(list: &'a Value, names: &'a TenantNames) -> impl Iterator<Item = AuditRow> + 'a {
    AnswerRow(list).rows("items").map(|entry| AuditRow {
        at: entry.time("at"),
        actor: entry.text("actor").to_owned(),
        actor_email: entry.some_name("actor_email"),
        action: entry.text("action").to_owned(),
        target: entry.name("target"),
        detail: entry.text("detail").to_owned(),
        tenant: entry.some_text("tenant").map(|id| names.of(id)),
        ip: entry.text("ip").to_owned(),
    })
}
