//! The reader's own account.

use axum::extract::{Path, State};
use axum::response::Response;
use nucleus_console::MenuPlace;
use nucleus_console::screens::{AccountPage, FormProblem, TotpSetup, TotpState};

use super::answer::{self, PageError, PageResult};
use super::client::ApiRefusal;
use super::form::Fields;
use super::people;
use super::reader::PageReader;
use super::sign_in::why;
use super::state::ConsoleState;
use crate::api;

/// The characters of a group of the secret that is typed.
const GROUP: usize = 4;

pub(super) async fn page(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    let sessions = people::sessions(&reader, &reader.viewer.person).await?;
    let failed = reader.query("failed");
    let totp = match (reader.viewer.has_totp, reader.query("totp")) {
        (true, _) => TotpState::On,
        (false, "new") => enrolling(&state, &reader)?,
        (false, _) => TotpState::Off,
    };
    let problem = problem(failed, &totp);
    answer::page(&AccountPage {
        shell: reader.shell("Your account", MenuPlace::Account).await,
        has_password: reader.viewer.has_password,
        totp,
        problem,
        sessions,
    })
}

/// Says at which field of the page a refused form was wrong.
fn problem(failed: &str, totp: &TotpState) -> Option<FormProblem> {
    let (what, remedy) = why(failed)?;
    let field = match (failed, totp) {
        ("wrong", _) => "password",
        ("short" | "long" | "like_email", _) => "new_password",
        ("wrong_code" | "enrolment", _) => "code",
        _ => "",
    };
    Some(FormProblem { field: field.to_owned(), what: what.to_owned(), remedy: remedy.to_owned() })
}

fn enrolling(state: &ConsoleState, reader: &PageReader) -> Result<TotpState, PageError> {
    let begun = api::begin_totp(&state.api, &reader.viewer);
    let begun = begun.map_err(|problem| PageError::from(ApiRefusal::from(problem)))?;
    let letters: Vec<_> = begun.secret.chars().collect();
    let groups: Vec<String> = letters.chunks(GROUP).map(|group| group.iter().collect()).collect();
    Ok(TotpState::Enrolling(TotpSetup {
        secret: groups.join(" "),
        address: begun.address,
        enrolment: begun.enrolment,
        picture: None,
    }))
}

pub(super) async fn end_session(
    reader: PageReader,
    Path(session): Path<String>,
    _fields: Fields,
) -> Result<Response, PageError> {
    people::end(&reader, &reader.viewer.person, &session).await?;
    Ok(answer::to("/account?done=session-ended"))
}
