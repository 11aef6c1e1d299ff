//! The demo page: two tabs of a browser meet in a room. It exists in development mode on loopback alone.
//!
//! The page needs join tokens without a sign-in. So every answer checks that the browser asks for this
//! machine by one of its own names: somebody else's name may point here (DNS rebinding). And a browser
//! gets a token for this page alone: another origin is refused. A program is no browser: every program
//! of this machine can get tokens of the tenant "demo". The setting `demo = false` turns the page off.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use nucleus_core::ids::Product;
use serde::Deserialize;

use crate::token::{Minter, TokenRequest};

/// The tenant of the page's users.
pub const DEMO_TENANT: &str = "demo";

/// An origin like the page's. The page is served only if such pages may hold sessions.
pub const DEMO_ORIGIN: &str = "http://127.0.0.1:8055";

/// Most bytes of a request for a token.
const MAX_REQUEST: usize = 4 << 10;

/// The files of the page, made by `npm run demo` in sdk/web: path, type and content.
const FILES: [(&str, &str, &str); 4] = [
    ("/demo", "text/html; charset=utf-8", include_str!("demo/index.html")),
    ("/demo/demo.js", "text/javascript; charset=utf-8", include_str!("demo/demo.js")),
    ("/demo/demo.css", "text/css; charset=utf-8", include_str!("demo/demo.css")),
    (
        "/demo/voice-worklet.js",
        "text/javascript; charset=utf-8",
        include_str!("demo/voice-worklet.js"),
    ),
];

/// The demo page and the tokens of its users.
pub struct Demo {
    minter: Minter,
    /// Returns the time of day, in seconds since 1970.
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Where the page's browser finds the server: `host:port`.
    server: String,
}

impl Demo {
    /// Makes the page of a server in development mode that listens at `session`. `minter` signs the
    /// tokens of its users.
    pub fn new(
        minter: Minter,
        session: SocketAddr,
        now: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        Self { minter, now, server: reachable(session) }
    }

    /// Returns the routes of the page, which is served at `addr`. `leads_root`: whether `/` leads to it,
    /// because there is no dashboard.
    pub(crate) fn router(self, addr: SocketAddr, leads_root: bool) -> Router {
        let policy = HeaderValue::try_from(format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self' https://{}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
            self.server
        ));
        // An address and a port have no characters that a header does not take.
        let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let mut router = Router::new().route("/demo/token", post(serve_token));
        if leads_root {
            router = router.route("/", get(async || Redirect::temporary("/demo")));
        }
        for (path, kind, content) in FILES {
            let file = async move || ([(header::CONTENT_TYPE, kind)], content);
            router = router.route(path, get(file));
        }
        router
            .layer(middleware::from_fn(move |request, next| {
                protect(addr, policy.clone(), request, next)
            }))
            .with_state(Arc::new(self))
    }
}

/// Returns `host:port` of a socket that is bound to `bound`, for a browser on this machine. The policy
/// of a page cannot name an IPv6 address.
fn reachable(bound: SocketAddr) -> String {
    let ip = bound.ip();
    let port = bound.port();
    match ip {
        _ if ip.is_unspecified() => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) if v6.is_loopback() => format!("localhost:{port}"),
        _ => bound.to_string(),
    }
}

/// Answers only browsers that asked this machine by its own names, and sets the policy of the page.
async fn protect(addr: SocketAddr, policy: HeaderValue, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| is_local(host, addr)) {
        let text = "the demo page is served to localhost, 127.0.0.1 and [::1] alone\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a `Host` names this machine and the port of the page, which is served at `addr`.
fn is_local(host: &str, addr: SocketAddr) -> bool {
    // A browser leaves the port 80 out.
    let (name, named_port) = match host.rsplit_once(':') {
        Some((name, text)) if !text.ends_with(']') => (name, text),
        _ => (host, "80"),
    };
    named_port == addr.port().to_string()
        && (name.eq_ignore_ascii_case("localhost")
            || ["127.0.0.1", "[::1]"].contains(&name)
            || name == addr.ip().to_string())
}

/// Whether a request comes from the demo page, by its origin. `Host` must have been checked before.
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (Some(host), Some(origin)) = (text(header::HOST), text(header::ORIGIN)) else {
        return false;
    };
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host))
        && kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json")
}

/// The user that a tab wants to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Visitor {
    user: String,
    name: String,
}

async fn serve_token(
    State(demo): State<Arc<Demo>>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, (StatusCode, String)> {
    let refuse = |status, text: &str| Err((status, format!("{text}\n")));
    if !is_own_page(&headers) {
        return refuse(StatusCode::FORBIDDEN, "tokens are for the demo page alone");
    }
    let Ok(body) = to_bytes(body, MAX_REQUEST).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long");
    };
    let Ok(Visitor { user, name }) = serde_json::from_slice(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "a JSON object with user and name is expected");
    };
    let request =
        TokenRequest { name: Some(name), ..TokenRequest::new(Product::ATOM, DEMO_TENANT, user) };
    match demo.minter.mint(request, (demo.now)()) {
        Ok(token) => {
            let answer = serde_json::json!({ "token": token, "server": demo.server });
            Ok(([(header::CONTENT_TYPE, "application/json")], answer.to_string()))
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

#[cfg(test)]
#[path = "demo/tests.rs"]
mod tests;
