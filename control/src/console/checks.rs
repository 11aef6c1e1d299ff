//! Whether a fresh server is ready for visitors.

use nucleus_console::screens::LabelledMark;
use nucleus_console::{Mark, Markup, Tone};

use super::reader::PageReader;
use super::row::AnswerRow;
use super::state::ConsoleSettings;
use crate::api::Scope;

/// Returns what a server needs for visitors, each with its status. `server`: the answer to `/server`.
pub(super) async fn checks(
    settings: &ConsoleSettings,
    reader: &PageReader,
    server: AnswerRow<'_>,
) -> Vec<LabelledMark> {
    let mut checks = ports(settings);
    checks.push(database(server));
    checks.push(certificate(server));
    if reader.may(Scope::Manage) {
        checks.push(administrators(reader).await);
        checks.push(webhooks(reader).await);
    }
    checks
}

fn check(title: Markup, tone: Tone, words: &str) -> LabelledMark {
    LabelledMark { title, mark: Mark::new(tone, words) }
}

/// The server has begun, so it listens on all its ports.
fn ports(settings: &ConsoleSettings) -> Vec<LabelledMark> {
    let udp = [settings.session_port].into_iter().chain(settings.session_also.iter().copied());
    let mut checks: Vec<_> = udp
        .map(|port| {
            check(Markup::from(format!("UDP {port}, sessions").as_str()), Tone::Good, "Listens")
        })
        .collect();
    let realtime = format!("UDP {}, realtime", settings.realtime_port);
    checks.push(check(Markup::from(realtime.as_str()), Tone::Good, "Listens"));
    checks.push(match settings.https_port {
        Some(port) => {
            let title = format!("TCP {port}, this dashboard over HTTPS");
            check(Markup::from(title.as_str()), Tone::Good, "Listens")
        }
        None => check(Markup::from("HTTPS"), Tone::Idle, "Off: reached from this machine alone"),
    });
    checks
}

fn database(server: AnswerRow<'_>) -> LabelledMark {
    let (tone, words) = match server.flag("database_answers") {
        true => (Tone::Good, "Answers"),
        false => (Tone::Bad, "Does not answer"),
    };
    check(Markup::from("Database"), tone, words)
}

fn certificate(server: AnswerRow<'_>) -> LabelledMark {
    let title = Markup::from("Certificate ");
    match certificate_words(server) {
        Some((tone, words)) => {
            let mark = if tone == Tone::Info { "For a trial" } else { "Served" };
            check(title.then(&words), tone, mark)
        }
        None => check(title, Tone::Warn, "Cannot be read"),
    }
}

/// Says where the certificate comes from and until when it is valid, and how good that is; `None`: it cannot
/// be read.
pub(super) fn certificate_words(server: AnswerRow<'_>) -> Option<(Tone, Markup)> {
    let found = AnswerRow(server.0.get("certificate")?);
    let (tone, words) = match found.text("kind") {
        "files" => (Tone::Good, "from your files"),
        "acme" => (Tone::Good, "from an authority"),
        _ if server.flag("production") => {
            (Tone::Warn, "of the server\u{2019}s own making, which clients must pin")
        }
        _ => (Tone::Info, "for development, which clients must pin"),
    };
    let end = Some(found.time("ends_at")).filter(|end| end.is_known())?;
    Some((tone, Markup::from(words).text(", until ").then(&end.day())))
}

/// Whether somebody who may change everything signs in with a code. An account with a password alone is open
/// to whoever learns it.
async fn administrators(reader: &PageReader) -> LabelledMark {
    let title = Markup::from("Administrators with an authenticator app");
    let Ok(people) = reader.client.get("/people?limit=200").await else {
        return check(title, Tone::Idle, "Not known");
    };
    let people: Vec<_> = AnswerRow(&people)
        .rows("items")
        .filter(|person| person.text("role") == "super_admin")
        .filter(|person| person.some_text("disabled_at").is_none())
        .collect();
    let safe = people.iter().filter(|person| person.flag("has_totp")).count();
    let words = format!("{safe} of {}", people.len());
    let tone = if safe > 0 { Tone::Good } else { Tone::Warn };
    check(Markup::new().link("/account", "Administrators with an authenticator app"), tone, &words)
}

async fn webhooks(reader: &PageReader) -> LabelledMark {
    let title = Markup::new().link("/webhooks", "Webhooks");
    let Ok(list) = reader.client.get("/webhooks?limit=200").await else {
        return check(title, Tone::Idle, "Not known");
    };
    let all: Vec<_> = AnswerRow(&list).rows("items").collect();
    let on = all.iter().filter(|webhook| webhook.flag("on")).count();
    match (all.len(), on) {
        (0, _) => check(title, Tone::Idle, "None: your programs ask the API"),
        (all, on) if all == on => check(title, Tone::Good, &format!("{on} on")),
        (all, on) => check(title, Tone::Warn, &format!("{on} of {all} on")),
    }
}
