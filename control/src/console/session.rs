//! One person's session: why it ended, or how it is.

use axum::extract::{Path, State};
use nucleus_console::screens::{FactRow, PageVerdict, SessionPage};
use nucleus_console::{Mark, Markup, MenuPlace, Quantity, ShownTime, Tone};
use nucleus_core::limits::SESSION_IDLE;
use serde_json::Value;

use super::answer::{self, PageResult};
use super::bans;
use super::reader::PageReader;
use super::row::{AnswerRow, encoded};
use super::session_life::{changed_networks, drawing, end_mark, gone_for, happenings, key_moment};
use super::session_others::others;
use super::state::ConsoleState;
use crate::api::Scope;
use crate::timestamp::Timestamp;

pub(super) async fn page(
    State(state): State<ConsoleState>,
    reader: PageReader,
    Path(id): Path<String>,
) -> PageResult {
    let session = reader.client.get(&format!("/history/sessions/{}", encoded(&id))).await?;
    let session = AnswerRow(&session);
    let name = session.name("name");
    let shown = if name.raw().is_empty() { session.name("user") } else { name.clone() };
    let shell = reader.shell(&shown.label(), MenuPlace::Sessions).await;
    let now = Timestamp::now().micros();
    let (joined, left) = (session.micros("joined_at"), session.micros("left_at"));
    let room =
        reader.client.get(&format!("/rooms/{}", encoded(session.text("room")))).await.is_ok();
    let stats = match left {
        None if room => {
            let path = format!("/rooms/{}/stats", encoded(session.text("room")));
            reader.client.get(&path).await.unwrap_or_default()
        }
        _ => Value::Null,
    };
    let peer = AnswerRow(&stats).rows("peers").find(|peer| peer.text("id") == session.text("peer"));
    let length = joined.map(|joined| left.unwrap_or(now) - joined);
    let length = length.and_then(|micros| u64::try_from(micros / 1_000_000).ok());
    let port = state.settings.realtime_port;
    answer::page(&SessionPage {
        shell,
        base: String::new(),
        id: session.text("id").to_owned(),
        name: (!name.raw().is_empty()).then_some(name),
        user: session.name("user"),
        is_known_tenant: reader.may(Scope::Operate)
            && bans::tenant_of(&reader, session).await.is_some(),
        goes_on: peer.is_some(),
        room: session.name("room_name"),
        room_id: room.then(|| session.text("room").to_owned()),
        mark: match (left, peer) {
            (Some(_), _) => end_mark(session.text("code")),
            (None, Some(peer)) => live_mark(peer),
            (None, None) => Mark::new(Tone::Idle, "End not known"),
        },
        joined_at: session.time("joined_at"),
        verdict: match peer {
            Some(peer) => live_verdict(peer, port),
            None => verdict(session, port),
        },
        length_words: format!("{} in the room", Quantity::seconds(length).plain()),
        life: drawing(session, left.unwrap_or(now)),
        happenings: happenings(session),
        left_out: session.count("moments_left_out").unwrap_or_default(),
        facts: facts(session, peer),
        others: others(&reader, session).await,
    })
}

/// How somebody is who is in the room.
fn live_mark(peer: AnswerRow<'_>) -> Mark {
    match () {
        () if peer.flag("lost") => Mark::new(Tone::Bad, "Lost, may come back"),
        () if peer.flag("away") => Mark::new(Tone::Idle, "Here, away"),
        () if peer.text("plane") == "fallback" => Mark::new(Tone::Warn, "Here, on the fallback"),
        () => Mark::new(Tone::Good, "Here now"),
    }
}

fn live_verdict(peer: AnswerRow<'_>, port: u16) -> PageVerdict {
    let mark = live_mark(peer);
    let detail = match () {
        () if peer.flag("lost") => {
            "The connection ended without a leave. The participant keeps its place for a while."
                .to_owned()
        }
        () if peer.flag("away") => "The session is open, but nobody seems to be there.".to_owned(),
        () => format!(
            "Round trip {}, loss up {}, loss down {} at present.",
            Quantity::round_trip(peer.count("rtt_us")).plain(),
            Quantity::loss(peer.ppm("loss_in_ppm")).plain(),
            Quantity::loss(peer.ppm("loss_out_ppm")).plain()
        ),
    };
    let remedy = match () {
        () if peer.flag("lost") => Some(Markup::from(
            "ask whether the program still runs and the headset has a network: it comes back by itself.",
        )),
        () if peer.text("plane") == "fallback" => Some(fallback_remedy(port)),
        () => None,
    };
    PageVerdict {
        tone: mark.tone(),
        headline: Markup::from(mark.words()),
        detail: Markup::from(detail.as_str()),
        remedy,
    }
}

/// Answers why the person dropped, in words.
fn verdict(session: AnswerRow<'_>, port: u16) -> PageVerdict {
    let lost = key_moment(session);
    let lost_at = lost.and_then(|moment| moment.micros("at"));
    let reason = session.some_text("reason");
    let says = |tone, headline: Markup, detail: String| PageVerdict {
        tone,
        headline,
        detail: Markup::from(detail.as_str()),
        remedy: remedy(session, port),
    };
    match (lost, lost_at, session.some_text("left_at")) {
        (Some(moment), Some(at), Some(_)) if ended_later(session) => {
            let headline = Markup::from("Ended at ")
                .then(&session.time("left_at").clock())
                .text(": ")
                .text(reason.unwrap_or("the reason is not known"));
            let detail = Markup::from("Before, at ")
                .then(&moment.time("at").clock())
                .text(": ")
                .text(moment.text("text"));
            let detail = match gone_for(session, at) {
                Some(seconds) => {
                    let words = format!("; gone for {}, then back.", Quantity::seconds(seconds).plain());
                    detail.text(&words)
                }
                None => detail,
            };
            PageVerdict { detail, ..says(end_mark(session.text("code")).tone(), headline, String::new()) }
        }
        (Some(moment), Some(at), left) => {
            let heard = last_heard(moment, at);
            let headline = Markup::from("Dropped at ").then(&ShownTime::from_micros(heard).clock());
            let headline = match () {
                () if changed_networks(session, at) => {
                    headline.text(" because the client changed networks")
                }
                // The list of what happened has the whole sentence.
                () if heard < at => headline.text(": then nothing came any more"),
                () => headline.text(": ").text(cause(moment)),
            };
            let mut detail = Markup::new();
            if heard < at {
                detail = detail.text("The server gave the session up at ").then(&moment.time("at").clock()).text(". ");
            }
            let detail = match (gone_for(session, at), left) {
                (Some(seconds), _) => {
                    let words = format!("Back after {}.", Quantity::seconds(seconds).plain());
                    detail.text(&words)
                }
                (None, Some(_)) => detail
                    .text("It did not come back: the place was free again at ")
                    .then(&session.time("left_at").clock())
                    .text("."),
                (None, None) => detail.text("It has not come back yet."),
            };
            PageVerdict { detail, ..says(Tone::Warn, headline, String::new()) }
        }
        (_, _, Some(_)) => {
            let tone = end_mark(session.text("code")).tone();
            let headline = Markup::from("Ended at ")
                .then(&session.time("left_at").clock())
                .text(": ")
                .text(reason.unwrap_or("the reason is not known"));
            let detail = match session.flag("moments_known") {
                true => "The link was never lost.",
                false => "What happened in between is not known: an older server recorded it.",
            };
            says(tone, headline, detail.to_owned())
        }
        _ => says(
            Tone::Idle,
            Markup::from("The end is not known"),
            "The participant is in no live room of this server: the server was killed, the session is on another server, or its end is still to be written."
                .to_owned(),
        ),
    }
}

/// Whether somebody who had dropped was back, and was ended by something else than leaving: then that is the
/// answer, and not the drop.
fn ended_later(session: AnswerRow<'_>) -> bool {
    let lost_at = key_moment(session).and_then(|moment| moment.micros("at"));
    let was_back = lost_at.is_some_and(|at| gone_for(session, at).is_some());
    was_back && session.some_text("left_at").is_some() && session.text("code") != "left"
}

/// Returns when the server last heard of a client that it gave up at `at`, in microseconds.
fn last_heard(lost: AnswerRow<'_>, at: i64) -> i64 {
    let silence = i64::try_from(SESSION_IDLE.as_micros()).unwrap_or(0);
    if lost.text("cause") == "silent" { at - silence } else { at }
}

/// Returns why a session was lost, from the text of the moment.
fn cause<'a>(lost: AnswerRow<'a>) -> &'a str {
    let text = lost.text("text");
    text.strip_prefix("session lost: ").unwrap_or(text)
}

fn fallback_remedy(port: u16) -> Markup {
    let words = format!(
        "it takes the fallback: ask the owner of the network to open UDP {port} outbound. "
    );
    Markup::from(words.as_str()).link("/network", "Port table to send")
}

/// What the reader can do about the end; `None`: nothing has to be done.
fn remedy(session: AnswerRow<'_>, port: u16) -> Option<Markup> {
    let lost = key_moment(session).filter(|_| !ended_later(session));
    let by_cause = lost.and_then(|moment| match moment.text("cause") {
        "silent" => Some("ask whether the headset was asleep, switched off or without Wi-Fi at that time."),
        "closed" => Some("look into the client’s log of that time: its program ended, or it gave the connection up."),
        "slow" => Some("look at the client’s network: it took less than the room sent."),
        "broken" => Some("look into the client’s log of that time, and whether others dropped too."),
        _ => None,
    });
    let by_code = match session.text("code") {
        "malformed" | "event_too_large" => Some("give the client a newer version of its program."),
        "internal" => Some("look into the server’s log of that time."),
        "server_full" => Some("look whether the server has free places: the overview says it."),
        _ => None,
    };
    let on_fallback = session.count("fallback_ms").is_some_and(|millis| millis > 10_000);
    if let Some(words) = by_cause.or(by_code) {
        // A network that lets the realtime port not through is the likely cause of the rest too.
        return Some(match on_fallback {
            true => Markup::from(words).text(" Before, ").then(&fallback_remedy(port)),
            false => Markup::from(words),
        });
    }
    if session.text("code") == "kicked" {
        return Some(
            Markup::from("the ")
                .link("/audit", "audit")
                .text(" says which operator it was; a ban can be lifted under ")
                .link("/bans", "Bans")
                .text("."),
        );
    }
    on_fallback.then(|| fallback_remedy(port))
}

/// `peer`: the figures of a session that goes on.
fn facts(session: AnswerRow<'_>, peer: Option<AnswerRow<'_>>) -> Vec<FactRow> {
    let fact = |title: &str, value: Markup| FactRow { title: title.to_owned(), value };
    let name = |title: &str, name: &str| fact(title, Markup::new().then(&session.name(name)));
    let figure = |title: &str, quantity: Quantity| fact(title, Markup::new().then(&quantity));
    let count = |name: &str| session.count(name);
    if let Some(peer) = peer {
        let count = |name: &str| peer.count(name);
        return vec![
            name("Tenant", "tenant"),
            name("User", "user"),
            name("Role", "role"),
            fact(
                "Client",
                Markup::new().then(&peer.some_name("client").unwrap_or_else(|| "–".into())),
            ),
            figure("Round trip now", Quantity::round_trip(count("rtt_us"))),
            figure("Loss up now", Quantity::loss(peer.ppm("loss_in_ppm"))),
            figure("Loss down now", Quantity::loss(peer.ppm("loss_out_ppm"))),
            figure("Withheld messages", Quantity::count(count("withheld"))),
            figure("Received", Quantity::bytes(count("bytes_in"))),
            figure("Sent", Quantity::bytes(count("bytes_out"))),
        ];
    }
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
