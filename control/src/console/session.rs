//! One person's past session: why it ended.

use axum::extract::Path;
use nucleus_console::link::query;
use nucleus_console::screens::{FactRow, PageVerdict, SessionPage};
use nucleus_console::{Mark, Markup, MenuPlace, Quantity, Tone};

use super::answer::{self, PageResult};
use super::client::ApiAsker;
use super::reader::PageReader;
use super::row::{AnswerRow, encoded};
use super::session_life::{changed_networks, drawing, end_mark, gone_for, happenings, key_moment};
use crate::timestamp::Timestamp;

/// How far around a loss others are counted who left too, in microseconds: five seconds.
const AROUND: i64 = 5_000_000;

pub(super) async fn page(reader: PageReader, Path(id): Path<String>) -> PageResult {
    let session = reader.client.get(&format!("/history/sessions/{}", encoded(&id))).await?;
    let session = AnswerRow(&session);
    let name = session.name("name");
    let shown = if name.raw().is_empty() { session.name("user") } else { name.clone() };
    let shell = reader.shell(&shown.label(), MenuPlace::Sessions).await;
    let now = Timestamp::now().micros();
    let (joined, left) = (session.micros("joined_at"), session.micros("left_at"));
    let room = reader.client.get(&format!("/rooms/{}", session.text("room"))).await.is_ok();
    let length = joined.map(|joined| left.unwrap_or(now) - joined);
    let length = length.and_then(|micros| u64::try_from(micros / 1_000_000).ok());
    answer::page(&SessionPage {
        shell,
        base: String::new(),
        name: (!name.raw().is_empty()).then_some(name),
        room: session.name("room_name"),
        room_id: room.then(|| session.text("room").to_owned()),
        mark: match left {
            Some(_) => end_mark(session.text("code")),
            None if room => Mark::new(Tone::Good, "Goes on"),
            None => Mark::new(Tone::Idle, "End unknown"),
        },
        joined_at: session.time("joined_at"),
        verdict: verdict(session, room),
        length_words: format!("{} in the room", Quantity::seconds(length).plain()),
        life: drawing(session, left.unwrap_or(now)),
        charts: Vec::new(),
        happenings: happenings(session),
        left_out: session.count("moments_left_out").unwrap_or_default(),
        facts: facts(session),
        others: others(&reader.client, session).await,
    })
}

/// Answers why the person dropped, in words.
fn verdict(session: AnswerRow<'_>, room_is_live: bool) -> PageVerdict {
    let lost = key_moment(session);
    let lost_at = lost.and_then(|moment| moment.micros("at"));
    let reason = session.some_text("reason");
    let says = |tone, headline: Markup, detail: String| PageVerdict {
        tone,
        headline,
        detail: Markup::from(detail.as_str()),
        remedy: None,
    };
    match (lost, lost_at, session.some_text("left_at")) {
        (Some(moment), Some(at), left) => {
            let time = moment.time("at").clock();
            let headline = Markup::from("Dropped at ").then(&time);
            let headline = if changed_networks(session, at) {
                headline.text(" because the client changed networks")
            } else {
                headline.text(": ").text(moment.text("text"))
            };
            let detail = match (gone_for(session, at), left) {
                (Some(seconds), _) => {
                    format!("Gone for {}, then back.", Quantity::seconds(seconds).plain())
                }
                (None, Some(_)) => {
                    format!("It did not come back. {}", reason.unwrap_or_default())
                }
                (None, None) => "It has not come back yet.".to_owned(),
            };
            PageVerdict { remedy: remedy(session), ..says(Tone::Warn, headline, detail) }
        }
        (_, _, Some(_)) => {
            let tone = end_mark(session.text("code")).tone();
            let headline = Markup::from(sentence(reason.unwrap_or("it ended")).as_str());
            let detail = match session.flag("moments_known") {
                true => "The link was never lost.",
                false => "What happened in between is not known: an older server recorded it.",
            };
            says(tone, headline, detail.to_owned())
        }
        _ if room_is_live => says(
            Tone::Good,
            Markup::from("The session goes on"),
            "What happened in it is shown here once it has ended; how it is now, in its room."
                .to_owned(),
        ),
        _ => says(
            Tone::Idle,
            Markup::from("The end is not known"),
            "The server was killed, or this session's end is still to be written.".to_owned(),
        ),
    }
}

/// Returns a text with a capital letter at its beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn remedy(session: AnswerRow<'_>) -> Option<Markup> {
    let on_fallback = session.count("fallback_ms").is_some_and(|millis| millis > 10_000);
    on_fallback.then(|| {
        Markup::from("part of the session took the fallback: ask the owner of the network to open UDP 5056 outbound. ")
            .link("/network", "Port table to send")
    })
}

fn facts(session: AnswerRow<'_>) -> Vec<FactRow> {
    let fact = |title: &str, value: Markup| FactRow { title: title.to_owned(), value };
    let name = |title: &str, name: &str| fact(title, Markup::new().then(&session.name(name)));
    let figure = |title: &str, quantity: Quantity| fact(title, Markup::new().then(&quantity));
    let count = |name: &str| session.count(name);
    vec![
        name("Tenant", "tenant"),
        name("User", "user"),
        name("Role", "role"),
        figure("Resumes", Quantity::count(count("resumes"))),
        figure("On the fallback", Quantity::millis(count("fallback_ms"))),
        figure("Round trip p50", Quantity::round_trip(count("rtt_p50_us"))),
        figure("Round trip p95", Quantity::round_trip(count("rtt_p95_us"))),
        figure("Loss of the client", Quantity::loss(session.ppm("loss_ppm"))),
        figure("Withheld messages", Quantity::count(count("withheld"))),
        figure("Received", Quantity::bytes(count("bytes_in"))),
        figure("Sent", Quantity::bytes(count("bytes_out"))),
        fact("End", Markup::new().then(&session.time("left_at"))),
    ]
}

/// Says whether others left at the same time: then it was not one person's network.
async fn others(client: &ApiAsker, session: AnswerRow<'_>) -> Option<Markup> {
    let at = key_moment(session).and_then(|moment| moment.micros("at"))?;
    let moment = |micros: i64| Timestamp::from_micros(micros).to_string();
    let path = query(
        "/history/sessions",
        &[
            ("tenant", session.text("tenant")),
            ("from", &moment(at - 12 * 3_600_000_000)),
            ("to", &moment(at + AROUND)),
            ("limit", "200"),
        ],
    );
    let list = client.get(&path).await.ok()?;
    let is_near = |other: &AnswerRow<'_>| {
        other.text("id") != session.text("id")
            && other.text("code") != "left"
            && other
                .micros("left_at")
                .is_some_and(|left| (at - AROUND..at + 60_000_000).contains(&left))
    };
    Some(match AnswerRow(&list).rows("items").filter(is_near).count() {
        0 => Markup::from("No. Nobody else of this tenant dropped within a minute."),
        1 => Markup::from("One other session of this tenant dropped within a minute."),
        more => Markup::from(
            format!("{more} other sessions of this tenant dropped within a minute: look at the server and its line.")
                .as_str(),
        ),
    })
}
