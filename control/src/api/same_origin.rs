//! Whether a request was caused by a page of this server, and not by one of somebody else's.
//!
//! A browser sends the cookie also with forms of other pages. It says where the page is from:
//! `Sec-Fetch-Site`, or `Origin` if it is older.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::problem::Problem;
use super::state::ApiState;
use crate::http::OverTls;

/// The request was caused by a page of this server. A route that changes something takes it as an argument.
#[derive(Clone, Copy, Debug)]
pub struct SameOrigin(());

impl SameOrigin {
    /// Checks a request.
    ///
    /// # Errors
    ///
    /// The answer to send: another page has caused the request, or nothing says which one.
    pub(crate) fn check(parts: &Parts, state: &ApiState) -> Result<Self, Problem> {
        let headers = &parts.headers;
        let is_own = match text(headers, "sec-fetch-site") {
            Some(site) => matches!(site, "same-origin" | "none"),
            None => text(headers, "origin").is_some_and(|origin| is_own(origin, parts, state)),
        };
        if is_own {
            return Ok(Self(()));
        }
        Err(Problem::forbidden(
            "a page of another address has sent this request: send it from a page of this server. Programs \
             use an API key. Behind a proxy, `url` in `[sign_in]` must be the address that browsers show",
        ))
    }
}

impl FromRequestParts<ApiState> for SameOrigin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        Self::check(parts, state)
    }
}

fn is_own(origin: &str, parts: &Parts, state: &ApiState) -> bool {
    if own_url(state).is_some_and(|url| origin.eq_ignore_ascii_case(url)) {
        return true;
    }
    let host = if is_secure(parts, state) {
        origin.strip_prefix("https://")
    } else {
        origin.strip_prefix("http://")
    };
    host.is_some_and(|host| is_host(host, &parts.headers))
}

/// Whether a browser reaches this server over TLS: directly, or by a proxy that ends TLS and leaves `Host` as
/// it is.
pub(super) fn is_secure(parts: &Parts, state: &ApiState) -> bool {
    parts.extensions.get::<OverTls>().is_some_and(|over| over.0)
        || own_url(state)
            .and_then(|url| url.strip_prefix("https://"))
            .is_some_and(|host| is_host(host, &parts.headers))
}

fn own_url(state: &ApiState) -> Option<&str> {
    state.settings().sign_in.as_ref()?.url.as_deref()
}

fn is_host(host: &str, headers: &HeaderMap) -> bool {
    text(headers, header::HOST.as_str()).is_some_and(|own| own.eq_ignore_ascii_case(host))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
