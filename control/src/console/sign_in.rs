//! Pages without a menu: signing in, and setting a password by a link.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use nucleus_console::screens::{FormProblem, LinkPage, SignInPage};
use nucleus_console::{ShownName, Theme};

use super::answer::{self, PageError, PageResult};
use super::client::ApiRefusal;
use super::cookies::cookie;
use super::notice;
use super::reader::Query;
use super::state::ConsoleState;
use crate::api::{self, FormFailure, LinkPurpose};

/// Somebody who is not signed in, or whose session does not matter here.
pub(super) struct Stranger {
    theme: Theme,
    query: Query,
}

impl FromRequestParts<ConsoleState> for Stranger {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &ConsoleState) -> Result<Self, PageError> {
        let theme = Theme::from_cookie(cookie(&parts.headers, Theme::COOKIE));
        Ok(Self { theme, query: Query::of(parts) })
    }
}

pub(super) async fn page(State(state): State<ConsoleState>, stranger: Stranger) -> PageResult {
    let failed = stranger.query.get("failed");
    answer::page(&SignInPage {
        base: String::new(),
        theme: stranger.theme,
        host: ShownName::new(state.settings.host.as_str()),
        email: String::new(),
        notice: notice::of(stranger.query.get("done")),
        problem: problem(failed, stranger.query.get("wait"), sign_in_field(failed)),
        has_single_sign_on: api::single_sign_on_label(&state.api).is_some(),
        next: stranger.query.get("next").to_owned(),
    })
}

fn sign_in_field(failed: &str) -> &'static str {
    match failed {
        "wrong" => "password",
        "code" | "wrong_code" => "code",
        _ => "",
    }
}

pub(super) async fn link(State(state): State<ConsoleState>, stranger: Stranger) -> PageResult {
    let token = stranger.query.get("token");
    let purpose = api::link_purpose(&state.api, token).await;
    let purpose = purpose.map_err(|problem| PageError::from(ApiRefusal::from(problem)))?;
    let failed = stranger.query.get("failed");
    let field = match failed {
        "short" | "long" | "like_email" => "password",
        "email" => "email",
        _ => "",
    };
    answer::page(&LinkPage {
        base: String::new(),
        theme: stranger.theme,
        asks_email: purpose == Some(LinkPurpose::FirstAdmin),
        email: match purpose {
            Some(LinkPurpose::Password { email }) => Some(ShownName::new(email)),
            _ => None,
        },
        token: token.to_owned(),
        problem: problem(failed, "", field),
    })
}

fn problem(failed: &str, wait: &str, field: &str) -> Option<FormProblem> {
    let (what, remedy) = why(failed)?;
    let remedy = match wait.parse::<u32>() {
        Ok(seconds) => format!("Wait {seconds} s and try again."),
        Err(_) => remedy.to_owned(),
    };
    Some(FormProblem { field: field.to_owned(), what: what.to_owned(), remedy })
}

/// Returns what was wrong with a form and what to do, by the code that the address of its page has; `None`:
/// nothing was wrong.
pub(super) fn why(failed: &str) -> Option<(&'static str, &'static str)> {
    Some(match (failed, FormFailure::from_code(failed)) {
        ("", _) => return None,
        (_, Some(failure)) => failure.words(),
        // Pages lead here themselves when a session is over.
        ("ended", None) => ("Your session has ended.", "Sign in again."),
        _ => ("This was not accepted.", "Try again."),
    })
}
