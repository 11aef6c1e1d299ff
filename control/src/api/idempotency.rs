//! `Idempotency-Key`: a request that is sent again because its answer was lost is carried out once.
//!
//! The answer is kept with the change itself, in one transaction, for a day. It may hold a secret, such as
//! a new API key, so it is sealed with a key of the data directory.

use aws_lc_rs::digest;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use crate::store::{AuditedChange, StoreError, answers};

/// The header.
const NAME: &str = "idempotency-key";
/// Most bytes of a key.
const MAX_KEY: usize = 128;

/// The key of a request, if it has one.
pub(super) struct Idempotency(Option<String>);

impl FromRequestParts<ApiState> for Idempotency {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(NAME) else { return Ok(Self(None)) };
        let key = value.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
        let wrong = "`Idempotency-Key` must have 1 to 128 visible ASCII characters";
        let key = key.ok_or_else(|| Problem::bad_request(wrong))?;
        // Keys of two routes never meet.
        Ok(Self(Some(format!("{} {key}", parts.uri.path()))))
    }
}

impl Idempotency {
    /// Returns the answer of an earlier request with this key and this body; `None`: there was none.
    ///
    /// # Errors
    ///
    /// The answer to send: another request had this key.
    pub(super) async fn earlier<T: Serialize>(
        &self,
        state: &ApiState,
        caller: &Caller,
        body: &T,
    ) -> Result<Option<Response>, Problem> {
        let Some(key) = self.hash(caller) else { return Ok(None) };
        let Some(found) = answers::find(state.database(), &key, state.now()).await? else {
            return Ok(None);
        };
        if found.request != hash(&json(body)) {
            let text = "another request was sent with this `Idempotency-Key`: choose a new one";
            return Err(Problem::conflict(text));
        }
        let answer = state.webhooks().signer.unseal(&key, &found.answer).ok_or_else(|| {
            Problem::conflict(
                "the request was carried out by a server with another `webhook-key` in its data \
                 directory, and its answer cannot be read here",
            )
        })?;
        let kind = [(header::CONTENT_TYPE, "application/json")];
        Ok(Some((StatusCode::CREATED, kind, answer).into_response()))
    }

    /// Keeps the answer of a request with the change that it makes.
    ///
    /// # Errors
    ///
    /// The answer to send: the same request is being carried out, or the database does not answer.
    pub(super) async fn keep<T: Serialize>(
        &self,
        state: &ApiState,
        change: &mut AuditedChange<'_>,
        caller: &Caller,
        body: &T,
        answer: &impl Serialize,
    ) -> Result<(), Problem> {
        let Some(key) = self.hash(caller) else { return Ok(()) };
        let sealed = state.webhooks().signer.seal(&key, &json(answer));
        let sealed =
            sealed.ok_or_else(|| Problem::unavailable("the system has no random bytes"))?;
        match answers::keep(change, &key, &hash(&json(body)), &sealed).await {
            Err(StoreError::Exists(_)) => {
                Err(Problem::conflict("the same request is being carried out: send it again"))
            }
            result => Ok(result?),
        }
    }

    /// The key in the database: of this caller alone, and of one length.
    fn hash(&self, caller: &Caller) -> Option<String> {
        self.0.as_ref().map(|key| hash(&format!("{} {key}", caller.actor.name)))
    }
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn json(value: &impl Serialize) -> String {
    // The types of bodies and answers can always be written.
    serde_json::to_string(value).unwrap_or_default()
}
