//! Reads bodies and query parameters. Unknown names and wrong types are errors that say so.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use nucleus_core::{limits, text};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::problem::Problem;
use crate::id;
use crate::store::PageRequest;
use crate::timestamp::Timestamp;

/// Most bytes of a request's body. The largest one makes a tenant.
pub(super) const MAX_BODY: usize = 64 << 10;

/// Rows of a page unless the request says how many.
const DEFAULT_PAGE: u32 = 50;
/// Most rows of a page.
pub(super) const MAX_PAGE: u32 = 200;

/// A body in JSON.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::unsupported_type());
        }
        let late = || Problem::bad_request("the body did not arrive in time");
        let reading = timeout(limits::HTTP_BODY_TIME, Bytes::from_request(request, state));
        let bytes = reading.await.map_err(|_| late())?.map_err(|rejection| {
            match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(MAX_BODY),
                _ => Problem::bad_request("the body did not arrive"),
            }
        })?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let body = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            wrong_body(&path, &error.into_inner(), &bytes)
        })?;
        json.end().map_err(|error| wrong_body("", &error, &bytes))?;
        Ok(Self(body))
    }
}

/// Returns the problem of a body. `path` is the field that does not fit, as `webhook.url`.
fn wrong_body(path: &str, error: &serde_json::Error, body: &[u8]) -> Problem {
    let words = error.to_string();
    match error.classify() {
        serde_json::error::Category::Data => Problem::invalid(wrong_value(path, &words)),
        // A number in place of one of several words counts as a fault of the JSON there.
        _ if serde_json::from_slice::<IgnoredAny>(body).is_ok() => {
            Problem::invalid("a field of the body has a value of the wrong kind")
        }
        _ => Problem::bad_request(format!("the body is not JSON: {words}")),
    }
}

/// Says in plain words which field does not fit, from the words of the JSON library.
fn wrong_value(path: &str, words: &str) -> String {
    let words = words.rsplit_once(" at line ").map_or(words, |(words, _)| words);
    // A value may itself have such words.
    let (what, expected) = words.rsplit_once(", expected ").unwrap_or((words, ""));
    let expected = expected.strip_prefix("one of ").unwrap_or(expected);
    if let Some(value) = what.strip_prefix("unknown variant ") {
        return format!("`{path}` may not be {value}; it may be {expected}");
    }
    if let Some(name) = what.strip_prefix("unknown field ") {
        return format!("there is no field {name}; there are {expected}");
    }
    if let Some(name) = what.strip_prefix("missing field ") {
        return format!("the field {name} is missing");
    }
    let must_be = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        name if name.starts_with("struct ") => "an object",
        "" => return format!("`{path}`: {what}"),
        other => other,
    };
    match path {
        "." | "" => format!("the body must be {must_be}"),
        path => format!("`{path}` must be {must_be}"),
    }
}

/// The id in an address.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::bad_request("the address is not UTF-8"))?;
        Ok(Self(id))
    }
}

/// Query parameters.
pub(super) struct UrlQuery<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for UrlQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri);
        let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
        Ok(Self(query))
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// `next` of the page before.
    #[serde(default)]
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Rows of the page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

impl PageQuery {
    /// Makes the part of a list of a route with further parameters.
    pub(super) fn new(cursor: Option<String>, limit: Option<u32>) -> Self {
        Self { cursor, limit }
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// The answer to send.
    pub(super) fn check(self) -> Result<PageRequest, Problem> {
        if self.cursor.as_ref().is_some_and(|cursor| !id::is_id(cursor)) {
            return Err(Problem::bad_request("`cursor` must be `next` of the page before"));
        }
        Ok(PageRequest { after: self.cursor, limit: page_limit(self.limit)? })
    }
}

/// Which part of a list is wanted, and of whom.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OwnedPageQuery {
    /// The id of a tenant: what belongs to it; or `server`: what belongs to no tenant. Absent: all that the
    /// key may see.
    #[serde(default)]
    #[param(max_length = 64)]
    tenant: Option<String>,
    /// `next` of the page before.
    #[serde(default)]
    #[param(max_length = 64)]
    cursor: Option<String>,
    /// Rows of the page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Whose rows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowOwner {
    /// Anybody's that the caller sees.
    Any,
    /// Those of the tenant with this id.
    Tenant(String),
    /// Those of the whole server.
    Server,
}

impl OwnedPageQuery {
    /// Checks the values.
    ///
    /// # Errors
    ///
    /// The answer to send: the caller does not see the owner, or a value is wrong.
    pub(super) fn check(self, caller: &Caller) -> Result<(RowOwner, PageRequest), Problem> {
        let Self { tenant, cursor, limit } = self;
        let page = PageQuery::new(cursor, limit).check()?;
        let own = caller.tenant_id();
        let owner = match (tenant, own) {
            (None, None) => RowOwner::Any,
            (None, Some(own)) => RowOwner::Tenant(own.to_owned()),
            (Some(tenant), None) if tenant == "server" => RowOwner::Server,
            (Some(tenant), _) if caller.sees(&tenant) => RowOwner::Tenant(tenant),
            _ => return Err(Problem::not_found("there is no such tenant")),
        };
        Ok((owner, page))
    }
}

/// Checks the number of rows that a request asks for.
pub(super) fn page_limit(limit: Option<u32>) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` must be 1 to {MAX_PAGE}")));
    }
    Ok(limit)
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListPage<T: ToSchema> {
    /// The rows.
    items: Vec<T>,
    /// What to send as `cursor` for the next page; absent: there is none.
    next: Option<String>,
}

impl<T: ToSchema> ListPage<T> {
    /// Makes the page of a request from its rows. `id` returns the id of a row.
    pub(super) fn new(items: Vec<T>, limit: u32, id: impl Fn(&T) -> &str) -> Self {
        let is_full = items.len() >= limit as usize;
        let next = items.last().filter(|_| is_full).map(|last| id(last).to_owned());
        Self { items, next }
    }

    /// Makes a page behind which there is none.
    pub(super) fn last(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// Whether something is so from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchBody {
    /// Whether it is so from now on.
    pub(super) on: bool,
}

/// Reads a time of a query.
///
/// # Errors
///
/// The answer to send: it names the field.
pub(super) fn query_time(field: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let read = |text: String| {
        let wrong = || format!("`{field}` is written as in 2026-11-29T12:00:00Z");
        Timestamp::parse(&text).ok_or_else(|| Problem::bad_request(wrong()))
    };
    text.map(read).transpose()
}

/// Checks the length of a text of a query.
///
/// # Errors
///
/// The answer to send: it names the field.
pub(super) fn query_text(field: &str, text: &Option<String>, max: usize) -> Result<(), Problem> {
    match text {
        Some(text) if text.len() > max => {
            Err(Problem::bad_request(format!("`{field}` has more than {max} bytes")))
        }
        _ => Ok(()),
    }
}

/// Checks a text of a body, and returns it in its normal form.
///
/// # Errors
///
/// The answer to send: it names the field.
pub(super) fn plain(field: &str, text: &str, max: usize) -> Result<String, Problem> {
    text::plain(text.as_bytes(), 1, max).map_err(|why| Problem::invalid(format!("`{field}` {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading is tested")]
    struct SentBody {
        role: SentRole,
        seconds: Option<u32>,
        on: Option<bool>,
        names: Option<Vec<String>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum SentRole {
        Viewer,
        Operator,
    }

    #[test]
    fn a_wrong_body_is_described_without_a_library_s_words() {
        for (json, words) in [
            (
                r#"{"role":"emperor"}"#,
                "`role` may not be `emperor`; it may be `viewer` or `operator`",
            ),
            (r#"{"role":"viewer","seconds":"abc"}"#, "`seconds` must be a whole number, 0 or more"),
            (r#"{"role":"viewer","seconds":-5}"#, "`seconds` must be a whole number, 0 or more"),
            (r#"{"role":"viewer","seconds":1.5}"#, "`seconds` must be a whole number, 0 or more"),
            (r#"{"role":"viewer","on":"yes"}"#, "`on` must be true or false"),
            (r#"{"role":"viewer","names":["a",2]}"#, "`names[1]` must be a text"),
            (r#"{"role":"viewer","names":"a"}"#, "`names` must be a list"),
            (r#"{}"#, "the field `role` is missing"),
            (
                r#"{"role":"viewer","rank":1}"#,
                "there is no field `rank`; there are `role`, `seconds`, `on`, `names`",
            ),
            (r#"{"role":5}"#, "a field of the body has a value of the wrong kind"),
            ("[]", "the body must be an object"),
            (r#""x""#, "the body must be an object"),
            (r#"{"role":"viewer","on":[]}"#, "`on` must be true or false"),
        ] {
            let mut reader = serde_json::Deserializer::from_str(json);
            let error = serde_path_to_error::deserialize::<_, SentBody>(&mut reader).unwrap_err();
            let path = error.path().to_string();
            let detail = wrong_body(&path, &error.into_inner(), json.as_bytes()).into_detail();
            assert!(detail.starts_with(words), "{json}: {detail}");
            assert!(!detail.contains("line") && !detail.contains("variant"), "{detail}");
        }
    }
}
