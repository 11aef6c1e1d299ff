//! Reads forms, and answers them: with a way to a page, or with problem details for programs.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use nucleus_core::{limits, text};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::failure::{FormFailure, seconds};
use crate::api::cookie;
use crate::api::problem::Problem;
use crate::api::rates::network;
use crate::api::request_info::RequestInfo;
use crate::api::same_origin::is_secure;
use crate::api::signed_in::wants_page;
use crate::api::state::ApiState;
use crate::store::Actor;

/// Most bytes of a form. The longest has a public key in PEM.
pub(crate) const MAX_FORM: usize = 16 << 10;
/// Most characters of what a browser says it is.
const MAX_AGENT: usize = 64;

/// The fields of a form.
pub(crate) struct FormBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for FormBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let text = "no form was sent: send its fields as \
                        `Content-Type: application/x-www-form-urlencoded`";
            return Err(Problem::bad_request(text));
        }
        let late = |_| Problem::bad_request("the form did not arrive in time");
        let reading = timeout(limits::HTTP_BODY_TIME, Bytes::from_request(request, state));
        let bytes = reading.await.map_err(late)?;
        let bytes = bytes.map_err(|rejection| match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(MAX_FORM),
            _ => Problem::bad_request("the form did not arrive"),
        })?;
        let fields = serde_urlencoded::from_bytes(&bytes);
        // The parser's own words may repeat a password.
        fields
            .map(Self)
            .map_err(|_| Problem::bad_request("the form lacks a field, or has one twice"))
    }
}

/// The browser or program that has sent a form.
pub(super) struct FormSender {
    ip: String,
    request_id: String,
    /// By what attempts of this address are counted.
    pub(super) network: String,
    /// What the browser says it is.
    pub(super) agent: String,
    /// Whether the browser came over TLS.
    pub(super) is_secure: bool,
    /// The secret of the cookie.
    pub(super) cookie: Option<String>,
    /// What a browser brings back from the provider of single sign-on.
    pub(super) flow: Option<String>,
    /// Whether a page is wanted, not an answer for a program.
    pub(super) wants_page: bool,
}

impl FromRequestParts<ApiState> for FormSender {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &ApiState,
    ) -> Result<Self, Self::Rejection> {
        let info = parts.extensions.get::<RequestInfo>().cloned();
        let (request_id, ip) = info.map(|info| (info.id, info.ip)).unwrap_or_default();
        let network = ip.parse::<IpAddr>().map(|ip| network(ip).to_string()).unwrap_or_default();
        let is_secure = is_secure(parts, state);
        Ok(Self {
            ip,
            request_id,
            network,
            agent: agent(&parts.headers),
            is_secure,
            cookie: cookie::read(&parts.headers, is_secure),
            flow: cookie::read_flow(&parts.headers, is_secure),
            wants_page: wants_page(&parts.headers),
        })
    }
}

fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    text::printable(agent.unwrap_or_default()).chars().take(MAX_AGENT).collect()
}

impl FormSender {
    /// Returns a person as the audit names them, with the address of the request.
    pub(super) fn actor(&self, person: &str) -> Actor {
        self.named(format!("person:{person}"))
    }

    /// Returns who acts, with the address of the request.
    pub(super) fn named(&self, name: impl Into<String>) -> Actor {
        Actor { name: name.into(), ip: self.ip.clone(), request_id: self.request_id.clone() }
    }

    /// Answers a form that was refused: `page`, a path perhaps with a query, shows it again and says why.
    pub(super) fn refuse(&self, page: &str, why: FormFailure) -> Response {
        if !self.wants_page {
            return why.problem().into_response();
        }
        let sign = if page.contains('?') { '&' } else { '?' };
        let wait = match why {
            FormFailure::Slow(wait) => format!("&wait={}", seconds(wait)),
            _ => String::new(),
        };
        Redirect::to(&format!("{page}{sign}failed={}{wait}", why.code())).into_response()
    }
}
