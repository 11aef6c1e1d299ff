//! Who is signed in to the browser that sends a request.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::cookie;
use super::problem::Problem;
use super::request_info::RequestInfo;
use super::same_origin::is_secure;
use super::state::ApiState;
use crate::people::{PersonRole, hash_secret, wants_note};
use crate::scope::Scope;
use crate::store::{Actor, Person, console_sessions};

/// Somebody who is signed in and looks at a page.
#[derive(Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The person's id.
    pub person: String,
    /// The email address, in lower case.
    pub email: String,
    /// The name, for people.
    pub name: String,
    /// What the person may do.
    pub role: PersonRole,
    /// The id of the tenant that the person sees; `None`: the whole server.
    pub tenant: Option<String>,
    /// The name of this tenant.
    pub tenant_name: Option<String>,
    /// Whether the person has a password; if not, single sign-on is used.
    pub has_password: bool,
    /// Whether signing in needs a code of an authenticator app.
    pub has_totp: bool,
    /// The id of the session.
    pub session: String,
    /// The hash of the session's secret.
    pub(super) session_hash: String,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (person, role) = (&self.person, self.role);
        f.debug_struct("Viewer")
            .field("person", person)
            .field("role", &role)
            .finish_non_exhaustive()
    }
}

impl Viewer {
    /// Whether the person's role has a scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.role.scopes().contains(&scope)
    }

    /// Returns the person as the audit names them, with the address of the request.
    pub(super) fn actor(&self, parts: &Parts) -> Actor {
        person_actor(&self.person, parts)
    }

    fn new(state: &ApiState, person: Person, session: String, hash: String) -> Option<Self> {
        let tenant_name = match &person.tenant {
            None => None,
            // The tenant was just made or deleted by another server of the same database.
            Some(tenant) => Some(state.snapshot().tenants.get(tenant)?.name.clone()),
        };
        Some(Self {
            person: person.id,
            email: person.email,
            name: person.name,
            role: person.role,
            tenant: person.tenant,
            tenant_name,
            has_password: person.has_password,
            has_totp: person.has_totp,
            session,
            session_hash: hash,
        })
    }
}

/// Returns a person as the audit names them, with the address of the request.
pub(super) fn person_actor(id: &str, parts: &Parts) -> Actor {
    let info = parts.extensions.get::<RequestInfo>().cloned();
    let (request_id, ip) = info.map(|info| (info.id, info.ip)).unwrap_or_default();
    Actor { name: format!("person:{id}"), ip, request_id }
}

/// Returns who is signed in; `None`: nobody.
///
/// # Errors
///
/// The answer to send: the database does not answer.
pub(super) async fn viewer(parts: &Parts, state: &ApiState) -> Result<Option<Viewer>, Problem> {
    if state.sign_in().is_err() {
        return Ok(None);
    }
    let Some(secret) = cookie::read(&parts.headers, is_secure(parts, state)) else {
        return Ok(None);
    };
    let (hash, now) = (hash_secret(&secret), state.now());
    let found = console_sessions::find(state.database(), &hash, now).await?;
    let Some((session, person)) = found else { return Ok(None) };
    // A page that is left open must not keep its session alive by the streams that it opens again.
    if wants_note(session.seen_at, now) && !is_for_stream(&parts.headers) {
        // No request waits for this.
        let (database, id) = (state.database().clone(), session.id.clone());
        drop(tokio::spawn(async move {
            if let Err(error) = console_sessions::note_use(&database, &id, now).await {
                tracing::debug!(%error, "a request of a person cannot be noted");
            }
        }));
    }
    Ok(Viewer::new(state, person, session.id, hash))
}

/// Whether the session of a viewer still goes on. If the database does not answer, it does.
pub(super) async fn is_signed_in(state: &ApiState, session_hash: &str) -> bool {
    let found = console_sessions::find(state.database(), session_hash, state.now()).await;
    !matches!(found, Ok(None))
}

fn is_for_stream(headers: &HeaderMap) -> bool {
    let kinds = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    kinds.is_some_and(|kinds| kinds.contains("text/event-stream"))
}

/// Whether an answer is for a person: a page, or a way to one.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let kinds = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    kinds.is_some_and(|kinds| kinds.contains("text/html"))
}

/// Somebody is signed in. A page takes it as an argument; others are led to the sign-in.
#[derive(Clone, Debug)]
pub struct SignedIn(pub Viewer);

impl FromRequestParts<ApiState> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Response> {
        match viewer(parts, state).await {
            Ok(Some(viewer)) => Ok(Self(viewer)),
            Ok(None) if wants_page(&parts.headers) && parts.method.is_safe() => {
                let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                let query = serde_urlencoded::to_string([("next", next)]).unwrap_or_default();
                Err(Redirect::to(&format!("/signin?{query}")).into_response())
            }
            Ok(None) if wants_page(&parts.headers) => {
                Err(Redirect::to("/signin?failed=ended").into_response())
            }
            Ok(None) => Err(Problem::unauthorized().into_response()),
            Err(problem) => Err(problem.into_response()),
        }
    }
}
