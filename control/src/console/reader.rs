//! Who reads a page, and what the address of the page asks for.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use nucleus_console::screens::ErrorKind;
use nucleus_console::{Mark, MenuPlace, MenuRole, PageShell, Theme};

use super::answer::{self, FoundViewer, PageError};
use super::client::{ApiAsker, ApiRefusal};
use super::cookies::cookie;
use super::notice;
use super::row::AnswerRow;
use super::shell::{menu_role, shell};
use super::state::ConsoleState;
use crate::api::{Caller, Scope, SignedIn, Viewer};

/// Rows of one page of a list.
pub(super) const PAGE_ROWS: u32 = 100;

/// Somebody who is signed in and reads a page. Others are led to the sign-in.
pub(super) struct PageReader {
    pub(super) viewer: Arc<Viewer>,
    pub(super) client: ApiAsker,
    pub(super) theme: Theme,
    /// The address of the page, with its query.
    pub(super) address: String,
    query: Query,
}

impl FromRequestParts<ConsoleState> for PageReader {
    type Rejection = PageError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &ConsoleState,
    ) -> Result<Self, PageError> {
        let signed_in = SignedIn::from_request_parts(parts, &state.api).await;
        let SignedIn(viewer) = signed_in.map_err(|answer| {
            let answer = answer.into_response();
            let is_part = parts.headers.contains_key("hx-request");
            let answer = if is_part && answer.status().is_redirection() {
                answer::signed_out_part()
            } else {
                answer
            };
            PageError::Other(Box::new(answer))
        })?;
        let viewer = Arc::new(viewer);
        if let Some(found) = parts.extensions.get::<FoundViewer>() {
            found.set(viewer.clone());
        }
        Ok(Self {
            client: ApiAsker::new(state.router.clone(), parts, viewer.clone()),
            viewer,
            theme: Theme::from_cookie(cookie(&parts.headers, Theme::COOKIE)),
            address: parts.uri.to_string(),
            query: Query::of(parts),
        })
    }
}

/// The same person, as the API knows them: for streams.
pub(super) struct StreamCaller(pub(super) Caller);

impl FromRequestParts<ConsoleState> for StreamCaller {
    type Rejection = PageError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &ConsoleState,
    ) -> Result<Self, PageError> {
        let caller = Caller::from_request_parts(parts, &state.api).await;
        caller.map(Self).map_err(|problem| PageError::from(ApiRefusal::from(problem)))
    }
}

impl PageReader {
    /// Returns a value of the query; empty: there is none.
    pub(super) fn query(&self, name: &str) -> &str {
        self.query.get(name)
    }

    pub(super) fn role(&self) -> MenuRole {
        menu_role(self.viewer.role)
    }

    pub(super) fn may(&self, scope: Scope) -> bool {
        self.viewer.may(scope)
    }

    /// Checks that the reader may open a page whose only use is a form.
    ///
    /// # Errors
    ///
    /// The page that says that the role does not include it.
    pub(super) fn needs(&self, scope: Scope) -> Result<(), PageError> {
        if self.may(scope) { Ok(()) } else { Err(PageError::Kind(ErrorKind::Forbidden)) }
    }

    /// Whether the reader sees the whole server.
    pub(super) fn sees_server(&self) -> bool {
        self.viewer.tenant.is_none()
    }

    /// Returns what stands around a page. The counts of the menu are asked for here, and unknown if the
    /// planes are too busy to answer.
    pub(super) async fn shell(&self, title: &str, place: MenuPlace) -> PageShell {
        let rooms = self.client.get("/rooms?limit=1").await;
        let calls = self.client.get("/calls?limit=1").await;
        let total = |answer: Result<serde_json::Value, ApiRefusal>| {
            answer.ok().and_then(|list| AnswerRow(&list).count("total"))
        };
        PageShell {
            rooms: total(rooms),
            calls: total(calls),
            notice: self.notice(),
            ..shell(&self.viewer, self.theme, title, Some(place))
        }
    }

    fn notice(&self) -> Option<Mark> {
        notice::of(self.query("done")).or_else(|| notice::of_failed(self.query("failed")))
    }
}

/// The pairs of a query, decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self(serde_urlencoded::from_str(query).unwrap_or_default())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}
