//! The audit: who did what.

use axum::response::Response;
use nucleus_console::link::query;
use nucleus_console::screens::{AuditPage, AuditRow, PageLinks};
use nucleus_console::{MenuPlace, csv};
use serde_json::Value;

use super::answer::{self, PageError, PageResult};
use super::reader::{PAGE_ROWS, PageReader};
use super::row::AnswerRow;
use super::tenants::TenantNames;

/// Most entries of the CSV file.
const CSV_ROWS: usize = 10_000;

pub(super) async fn page(reader: PageReader) -> PageResult {
    let after = reader.query("after").to_owned();
    let shell = reader.shell("Audit", MenuPlace::Audit).await;
    let path = query("/audit", &[("cursor", &after), ("limit", &PAGE_ROWS.to_string())]);
    let list = reader.client.get(&path).await?;
    let names = TenantNames::read(&reader).await;
    let rows: Vec<_> = rows(&list, &names).collect();
    let pages = PageLinks {
        shown: format!("{} entries", rows.len()),
        previous: (!after.is_empty()).then(|| "/audit".to_owned()),
        next: AnswerRow(&list).some_text("next").map(|next| query("/audit", &[("after", next)])),
    };
    answer::page(&AuditPage { shell, csv_href: "/audit.csv".to_owned(), rows, pages })
}

pub(super) async fn csv(reader: PageReader) -> Result<Response, PageError> {
    let names = TenantNames::read(&reader).await;
    let mut text = csv::line(&AuditRow::CSV_HEADINGS);
    let (mut after, mut count) = (String::new(), 0);
    loop {
        let path = query("/audit", &[("cursor", &after), ("limit", "200")]);
        let list = reader.client.get(&path).await?;
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

fn rows<'a>(list: &'a Value, names: &'a TenantNames) -> impl Iterator<Item = AuditRow> + 'a {
    AnswerRow(list).rows("items").map(|entry| AuditRow {
        at: entry.time("at"),
        actor: entry.name("actor"),
        action: entry.text("action").to_owned(),
        target: entry.name("target"),
        detail: entry.text("detail").to_owned(),
        tenant: entry.some_text("tenant").map(|id| names.of(id)),
        ip: entry.text("ip").to_owned(),
    })
}
