//! Tenants on pages that are about something else: their names by their ids, and how a form asks for one.
//!
//! A server may have 10,000 tenants, so a page asks for those of its own rows.

use std::collections::{BTreeSet, HashMap};

use nucleus_console::ShownName;
use nucleus_console::link::query;
use nucleus_console::screens::{Choice, FormProblem, TenantField};
use serde_json::Value;

use super::client::ApiRefusal;
use super::reader::PageReader;
use super::row::AnswerRow;

/// The names of tenants by their ids.
pub(super) struct TenantNames(HashMap<String, String>);

impl TenantNames {
    /// Asks for the tenants of the rows of a list, at most those of one page. Tenants that are gone keep their
    /// ids, and so do all if there is no answer.
    pub(super) async fn of_rows(reader: &PageReader, list: &Value) -> Self {
        let rows = AnswerRow(list).rows("items");
        Self::of_ids(reader, rows.filter_map(|row| row.some_text("tenant")).collect()).await
    }

    /// Asks for the tenant of one thing.
    pub(super) async fn of_one(reader: &PageReader, thing: AnswerRow<'_>) -> Self {
        Self::of_ids(reader, thing.some_text("tenant").into_iter().collect()).await
    }

    async fn of_ids(reader: &PageReader, ids: BTreeSet<&str>) -> Self {
        if ids.is_empty() {
            return Self(HashMap::new());
        }
        let ids: Vec<_> = ids.into_iter().collect();
        let path = query("/tenants", &[("ids", &ids.join(","))]);
        let list = reader.client.get(&path).await.unwrap_or_default();
        let pair =
            |tenant: AnswerRow<'_>| (tenant.text("id").to_owned(), tenant.text("name").to_owned());
        Self(AnswerRow(&list).rows("items").map(pair).collect())
    }

    pub(super) fn of(&self, id: &str) -> ShownName {
        ShownName::new(self.0.get(id).map_or(id, String::as_str))
    }
}

/// Returns how a form asks for a tenant by its name. `whole`: what stands for all of them.
pub(super) async fn tenant_field(reader: &PageReader, whole: &str, chosen: &str) -> TenantField {
    if !reader.sees_server() {
        return TenantField::default();
    }
    let list = reader.client.get("/tenants?limit=200").await.unwrap_or_default();
    // Without an answer, a list of nothing but the whole server would hide that there are others.
    if list.is_null() || AnswerRow(&list).some_text("next").is_some() {
        // A list of so many would make every page large, and nobody finds anything in it.
        return TenantField { choices: Vec::new(), name: Some(chosen.to_owned()) };
    }
    let choice = |value: &str, title: String| Choice {
        value: value.to_owned(),
        title,
        is_chosen: value == chosen,
    };
    let mut choices: Vec<_> = AnswerRow(&list)
        .rows("items")
        .map(|tenant| choice(tenant.text("name"), tenant.name("name").label()))
        .collect();
    choices.sort_by(|a, b| a.title.cmp(&b.title));
    choices.insert(0, choice("", whole.to_owned()));
    TenantField { choices, name: None }
}

/// Returns the id of the tenant that a form names by its name or its id; `None`: the whole server.
///
/// # Errors
///
/// What is wrong with the field, or the API does not answer.
pub(super) async fn tenant_id(
    reader: &PageReader,
    text: &str,
) -> Result<Result<Option<String>, FormProblem>, ApiRefusal> {
    if text.is_empty() {
        return Ok(Ok(None));
    }
    if let (Some(id), Some(name)) = (&reader.viewer.tenant, &reader.viewer.tenant_name) {
        // Their forms have no such field.
        return match text == id || text == name {
            true => Ok(Ok(Some(id.clone()))),
            false => Err(ApiRefusal::nothing()),
        };
    }
    for by in ["name", "ids"] {
        let list = reader.client.get(&query("/tenants", &[(by, text)])).await?;
        if let Some(tenant) = AnswerRow(&list).rows("items").next() {
            return Ok(Ok(Some(tenant.text("id").to_owned())));
        }
    }
    Ok(Err(FormProblem {
        field: "tenant".to_owned(),
        what: "There is no tenant of this name.".to_owned(),
        remedy: "Type it as the list of tenants shows it.".to_owned(),
    }))
}
