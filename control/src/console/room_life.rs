//! What happened in a room: lines of its last minutes, its newest events, and that it has ended.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Path;
use nucleus_console::charts::{ChartAxis, ChartSeries, LineChart};
use nucleus_console::link::query;
use nucleus_console::screens::{
    ChartSlot, ErrorKind, Happening, OneChart, PageVerdict, PastRoomPage,
};
use nucleus_console::{Markup, MenuPlace, Quantity, ShownName, ShownTime, Tone};
use serde_json::Value;
use tokio::time::Instant;

use super::answer::{self, PageError, PageResult};
use super::client::ApiAsker;
use super::reader::PageReader;
use super::row::{AnswerRow, encoded};
use super::session_life::end_mark;
use crate::timestamp::Timestamp;

/// Events of a room that are shown.
const MOST: usize = 10;
/// How long events are shown before they are read again: they come from the database, and everybody who
/// looks at a room asks.
const KEPT: Duration = Duration::from_secs(5);
/// How much earlier than its age says a room may have begun by the clock of the audit, in seconds.
const CLOCK_SLACK: u64 = 60;
/// How far back acts are looked for, in seconds: a day. Rooms may be open for months, and the audit is searched
/// without an index of targets.
pub(super) const ACTS_FOR: u64 = 86_400;
/// From how much loss on the chart is a bad one, in per cent.
const LOSS_LIMIT: f64 = 1.0;

/// The newest events of a room, as one stream has read them last.
#[derive(Debug, Default)]
pub(super) struct NewestEvents(Mutex<Option<(Instant, Vec<Happening>)>>);

impl NewestEvents {
    /// Returns the events, read again if they are too old. If they cannot be read, the older ones stay.
    /// `from`: acts before this time are left out.
    pub(super) async fn of(
        &self,
        client: &ApiAsker,
        room: &str,
        from: Timestamp,
    ) -> Vec<Happening> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, events)) = kept.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
            return events.clone();
        }
        let events = match read(client, room, from).await {
            Some(events) => events,
            None => kept.map(|(_, events)| events).unwrap_or_default(),
        };
        let newest = Some((Instant::now(), events.clone()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        events
    }
}

/// Reads the newest events of a room from the history and the audit; `None`: the database is busy or away. It
/// reads the newest few joins, ends and acts: the newest events are among them.
async fn read(client: &ApiAsker, room: &str, from: Timestamp) -> Option<Vec<Happening>> {
    let most = MOST.to_string();
    let of_room =
        |order| query("/history/sessions", &[("room", room), ("order", order), ("limit", &most)]);
    let (joined, left) = (of_room("joined"), of_room("left"));
    let (joined, left) = (client.get(&joined).await.ok()?, client.get(&left).await.ok()?);
    let from = earlier(from, CLOCK_SLACK).to_string();
    let path = query("/audit", &[("target", room), ("from", &from), ("limit", &most)]);
    let audit = client.get(&path).await.ok()?;
    let joins = AnswerRow(&joined).rows("items").filter_map(join);
    let ends = AnswerRow(&left).rows("items").filter_map(end);
    let acts = AnswerRow(&audit).rows("items").filter_map(act);
    let mut events: Vec<_> = joins.chain(ends).chain(acts).collect();
    events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    Some(events.into_iter().take(MOST).map(|(_, event)| event).collect())
}

/// Returns a time so many seconds before another one.
pub(super) fn earlier(at: Timestamp, seconds: u64) -> Timestamp {
    let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Timestamp::from_micros(at.micros().saturating_sub(micros).max(0))
}

fn event(at: i64, tone: Tone, headline: Markup) -> (i64, Happening) {
    let at_shown = ShownTime::from_micros(at);
    (at, Happening { at: at_shown, tone, headline, detail: None, is_key: false })
}

/// The name of a session, and words behind it.
fn named(session: AnswerRow<'_>, words: &str) -> Markup {
    let name = match session.text("name") {
        "" => ShownName::new("Deleted user"),
        name => ShownName::new(name),
    };
    let href = format!("/sessions/{}", encoded(session.text("id")));
    Markup::new().link_name(&href, &name).text(words)
}

/// The join of a session.
fn join(session: AnswerRow<'_>) -> Option<(i64, Happening)> {
    Some(event(session.micros("joined_at")?, Tone::Good, named(session, " joined")))
}

/// The end of a session; `None`: it goes on, or its end is not known.
fn end(session: AnswerRow<'_>) -> Option<(i64, Happening)> {
    let mark = end_mark(session.text("code"));
    let words = named(session, ": ").text(&mark.words().to_lowercase());
    Some(event(session.micros("left_at")?, mark.tone(), words))
}

/// An act of an operator; `None`: it is not one upon a room.
fn act(entry: AnswerRow<'_>) -> Option<(i64, Happening)> {
    let words = match entry.text("action") {
        "room.lock" => "The room was locked",
        "room.unlock" => "The room was unlocked",
        "room.hide" => "The room was hidden from lobbies",
        "room.show" => "The room was shown in lobbies again",
        "room.close" => "The room was closed",
        "room.properties" => "Properties of the room were set",
        "peer.mute" => "Muted",
        "peer.unmute" => "Unmuted",
        "peer.kick" => "Removed",
        "room.unban" => "Let in again",
        _ => return None,
    };
    // The detail is the name of the room, and behind a colon whom it is about.
    let whom = entry.text("detail").split_once(": ").map(|(_, whom)| whom);
    let action = entry.text("action");
    let is_about_user = action.starts_with("peer.") || action == "room.unban";
    let headline = match whom.filter(|_| is_about_user) {
        Some(whom) => Markup::from(words).text(" ").then(&ShownName::new(whom)),
        None => Markup::from(words),
    };
    let actor = match entry.some_name("actor_email") {
        Some(email) => email,
        // The audit has the id. Here it would say nothing.
        None if entry.text("actor").starts_with("person:") => ShownName::new("a person"),
        None => entry.name("actor"),
    };
    let headline = headline.text(" by ").then(&actor);
    Some(event(entry.micros("at")?, Tone::Info, headline))
}

/// One chart alone, which the page fetches again.
pub(super) async fn chart(
    reader: PageReader,
    Path((id, name)): Path<(String, String)>,
) -> PageResult {
    // A room of another tenant looks as if there were none.
    reader.client.get(&format!("/rooms/{}", encoded(&id))).await?;
    let slots = charts(&reader.client, &id, true).await;
    let chart = slots.into_iter().find(|slot| slot.source.ends_with(&format!("/charts/{name}")));
    let chart = chart.and_then(|slot| slot.chart).ok_or(PageError::Kind(ErrorKind::NotFound))?;
    answer::page(&OneChart { chart })
}

/// `with_lines`: whether the charts have their lines; live parts leave those that the page shows.
pub(super) async fn charts(client: &ApiAsker, id: &str, with_lines: bool) -> Vec<ChartSlot> {
    let answer = match with_lines {
        true => client.get(&query("/series/rooms", &[("ids", id)])).await.unwrap_or_default(),
        false => Value::Null,
    };
    let line = AnswerRow(&answer).rows("rooms").next();
    let slot = |name: &str, make: &dyn Fn(AnswerRow<'_>) -> LineChart| ChartSlot {
        id: format!("chart-{name}"),
        source: format!("/rooms/{}/charts/{name}", encoded(id)),
        chart: with_lines.then(|| {
            let nothing = Value::Null;
            make(line.unwrap_or(AnswerRow(&nothing)))
        }),
    };
    let loss = |room: AnswerRow<'_>| {
        let lines = [("loss_in_ppm", "from the headsets"), ("loss_out_ppm", "to the headsets")];
        let newest = room.newest("loss_in_ppm").max(room.newest("loss_out_ppm"));
        let reading = match newest.and_then(|ppm| u32::try_from(ppm).ok()) {
            Some(ppm) => {
                format!("{} lost at present, in the worse direction", Quantity::loss(ppm).plain())
            }
            None => "Nothing is known of the last seconds.".to_owned(),
        };
        let chart = line_chart(AnswerRow(&answer), room, &lines, 1e-4);
        LineChart {
            title: "Loss, mean of all links".to_owned(),
            reading,
            unit: "%".to_owned(),
            limit: Some(LOSS_LIMIT),
            ..chart
        }
    };
    let peers = |room: AnswerRow<'_>| {
        let reading = Quantity::count(room.newest("peers")).plain();
        let chart = line_chart(AnswerRow(&answer), room, &[("peers", "in the room")], 1.0);
        LineChart {
            title: "In the room".to_owned(),
            reading: format!("{reading} at present"),
            ..chart
        }
    };
    vec![slot("loss", &loss), slot("peers", &peers)]
}

/// Returns lines of a room, each with its name in the answer and in the chart.
fn line_chart(
    answer: AnswerRow<'_>,
    room: AnswerRow<'_>,
    lines: &[(&str, &str)],
    factor: f64,
) -> LineChart {
    let series: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(index, (name, label))| ChartSeries {
            label: (*label).to_owned(),
            values: room.numbers(name, factor),
            color: (index == 1).then_some(3),
        })
        .collect();
    let count = series.iter().map(|line| line.values.len()).max().unwrap_or_default();
    let end = answer.micros("end").unwrap_or_default() / 1_000_000;
    let step = answer.count("step_seconds").and_then(|step| i64::try_from(step).ok()).unwrap_or(1);
    let count = i64::try_from(count).unwrap_or_default();
    LineChart {
        title: String::new(),
        context: "last 10 min".to_owned(),
        reading: String::new(),
        unit: String::new(),
        axis: ChartAxis::Times((1 - count..=0).map(|index| end + index * step).collect()),
        series,
        limit: None,
        is_low: true,
    }
}

/// Says that a room has ended, and how it was.
///
/// # Errors
///
/// Nothing is kept of it.
pub(super) async fn past(reader: &PageReader, id: &str) -> PageResult {
    let list = reader.client.get(&query("/history/rooms", &[("room", id), ("limit", "1")])).await?;
    // A room of another id may have this one as its name.
    let room = AnswerRow(&list).rows("items").find(|room| room.text("room") == id);
    let room = room.ok_or(PageError::Kind(ErrorKind::NotFound))?;
    let name = room.name("name");
    let begun = Markup::from("Begun ").then(&room.time("started_at"));
    let (headline, detail) = match room.some_text("ended_at") {
        Some(_) => {
            let counts = format!(
                ". Joins: {}, at most {} at a time.",
                Quantity::count(room.count("joins")).plain(),
                Quantity::count(room.count("most_peers")).plain()
            );
            let ended = Markup::from("This room ended ").then(&room.time("ended_at"));
            (ended, begun.text(&counts))
        }
        None => {
            let why = ". Its server was killed, or it is a room of another server.";
            (Markup::from("This room is not live on this server"), begun.text(why))
        }
    };
    let shell = reader.shell(&name.label(), MenuPlace::Rooms).await;
    let tenant = room.name("tenant");
    let verdict = PageVerdict { tone: Tone::Idle, headline, detail, remedy: None };
    answer::page(&PastRoomPage { shell, id: id.to_owned(), name, tenant, verdict })
}
