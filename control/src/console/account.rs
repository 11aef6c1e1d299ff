//! The reader's own account.

use axum::extract::{Path, State};
use axum::response::Response;
use nucleus_console::MenuPlace;
use nucleus_console::charts::CodeDrawing;
use nucleus_console::screens::{AccountPage, FormProblem, TotpSetup, TotpState};
use qrcode::{Color, EcLevel, QrCode};

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
    let problem = problem(failed, reader.query("totp"));
    answer::page(&AccountPage {
        shell: reader.shell("Your account", MenuPlace::Account).await,
        has_password: reader.viewer.has_password,
        totp,
        problem,
        sessions,
    })
}

/// Says at which field of the page a refused form was wrong. `form`: which form of the authenticator was sent;
/// empty: that of the password.
fn problem(failed: &str, form: &str) -> Option<FormProblem> {
    let (what, remedy) = why(failed)?;
    let field = match (failed, form) {
        ("wrong", "off") => "totp_password",
        ("wrong", _) => "password",
        ("short" | "long" | "like_email", _) => "new_password",
        ("wrong_code" | "enrolment", _) => "code",
        _ => "",
    };
    let what = if failed == "wrong" { "This password is wrong." } else { what };
    Some(FormProblem { field: field.to_owned(), what: what.to_owned(), remedy: remedy.to_owned() })
}

fn enrolling(state: &ConsoleState, reader: &PageReader) -> Result<TotpState, PageError> {
    let begun = match api::resume_totp(&state.api, &reader.viewer, reader.query("enrolment")) {
        Some(begun) => begun,
        None => {
            let begun = api::begin_totp(&state.api, &reader.viewer);
            begun.map_err(|problem| PageError::from(ApiRefusal::from(problem)))?
        }
    };
    let letters: Vec<_> = begun.secret.chars().collect();
    let groups: Vec<String> = letters.chunks(GROUP).map(|group| group.iter().collect()).collect();
    Ok(TotpState::Enrolling(TotpSetup {
        secret: groups.join(" "),
        picture: picture(&begun.address),
        address: begun.address,
        enrolment: begun.enrolment,
    }))
}

/// Draws an address as a QR code; `None`: it is too long for one, which no email address makes it. The level M
/// corrects a code of which 15 % cannot be read, as on a screen with a reflection.
fn picture(address: &str) -> Option<CodeDrawing> {
    let code = QrCode::with_error_correction_level(address, EcLevel::M).ok()?;
    let colors = code.to_colors();
    let row = |row: &[Color]| row.iter().map(|color| *color == Color::Dark).collect();
    Some(CodeDrawing { rows: colors.chunks(code.width()).map(row).collect() })
}

pub(super) async fn end_session(
    reader: PageReader,
    Path(session): Path<String>,
    _fields: Fields,
) -> Result<Response, PageError> {
    people::end(&reader, &reader.viewer.person, &session).await?;
    Ok(answer::to("/account?done=session-ended"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The modules that the SVG paints dark, without the margin of four modules.
    fn painted(svg: &str) -> HashSet<(usize, usize)> {
        let (_, path) = svg.split_once(" d=\"").unwrap();
        let modules = path.split_once('"').unwrap().0.split('M').filter(|text| !text.is_empty());
        let module = |text: &str| {
            let (x, y) = text.strip_suffix("h1v1h-1z").unwrap().split_once(' ').unwrap();
            (x.parse::<usize>().unwrap() - 4, y.parse::<usize>().unwrap() - 4)
        };
        modules.map(module).collect()
    }

    #[test]
    fn the_drawing_has_the_modules_of_the_code() {
        let long = format!("otpauth://totp/Nucleus:{}?secret=JBSWY3DPEHPK3PXP", "%C3".repeat(254));
        for address in ["otpauth://totp/Nucleus:ada%40example.com?secret=JBSWY3DPEHPK3PXP", &long] {
            let svg = picture(address).unwrap().to_string();
            let painted = painted(&svg);
            let code = QrCode::with_error_correction_level(address, EcLevel::M).unwrap();
            let edge = code.width();
            assert!(svg.contains(&format!("viewBox=\"0 0 {0} {0}\"", edge + 8)), "{svg}");
            for (x, y) in (0..edge).flat_map(|y| (0..edge).map(move |x| (x, y))) {
                let is_dark = code[(x, y)] == Color::Dark;
                assert_eq!(painted.contains(&(x, y)), is_dark, "{x} {y}");
            }
            // Three corners have the squares by which a camera finds the code.
            for (x, y) in [(0, 0), (edge - 7, 0), (0, edge - 7)] {
                let square = (0..7)
                    .all(|at| painted.contains(&(x + at, y)) && painted.contains(&(x, y + at)));
                assert!(
                    square
                        && !painted.contains(&(x + 1, y + 1))
                        && painted.contains(&(x + 3, y + 3))
                );
            }
        }
        assert_eq!(picture(&"x".repeat(3_000)), None);
    }
}
