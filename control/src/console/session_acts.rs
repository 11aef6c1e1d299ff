//! What is done to the user of a session.

use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use nucleus_console::screens::ErrorKind;
use serde_json::{Value, json};

use super::answer::{self, PageError};
use super::bans;
use super::form::Fields;
use super::reader::PageReader;
use super::row::{AnswerRow, encoded};

pub(super) async fn ban(
    reader: PageReader,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, PageError> {
    let (tenant, user) = user_of(&reader, &id).await?;
    bans::ban(&reader, Some(&tenant), &user, &fields).await?;
    Ok(answer::to(&format!("/sessions/{}?done=banned", encoded(&id))))
}

/// Deletes what the database holds of the user. The page of the session is gone then.
pub(super) async fn forget(
    reader: PageReader,
    Path(id): Path<String>,
    _fields: Fields,
) -> Result<Response, PageError> {
    let (tenant, user) = user_of(&reader, &id).await?;
    let body: Value = json!({"tenant": tenant, "user": user});
    reader.client.ask(Method::POST, "/forget", &body).await?;
    Ok(answer::to("/sessions?done=forgotten"))
}

/// Returns the id of the tenant of a session, and the user.
async fn user_of(reader: &PageReader, id: &str) -> Result<(String, String), PageError> {
    let session = reader.client.get(&format!("/history/sessions/{}", encoded(id))).await?;
    let session = AnswerRow(&session);
    let user = session.text("user").to_owned();
    if user.is_empty() {
        return Err(PageError::Kind(ErrorKind::NotFound));
    }
    Ok((bans::tenant_of(reader, session).await.ok_or(PageError::Kind(ErrorKind::NotFound))?, user))
}
