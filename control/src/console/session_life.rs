//! The lanes of a session's life and its verdict, of the moments that the history keeps.

use nucleus_console::charts::{LifeDrawing, LifeLane, LifeSpan, LifeSpanKind};
use nucleus_console::screens::Happening;
use nucleus_console::{Mark, Markup, Tone};

use super::row::AnswerRow;

/// How long two moments may lie apart and belong together, in microseconds: three seconds.
const TOGETHER: i64 = 3_000_000;

/// The ways of realtime messages, as the lane shows them.
const REALTIME: (LifeSpanKind, &str) = (LifeSpanKind::Normal, "Realtime port");
const FALLBACK: (LifeSpanKind, &str) = (LifeSpanKind::Fallback, "Fallback, inside the session");

/// Returns how a session ended, by its code.
pub(super) fn end_mark(code: &str) -> Mark {
    match code {
        "left" => Mark::new(Tone::Good, "Left"),
        "kicked" => Mark::new(Tone::Info, "Removed"),
        "timed_out" => Mark::new(Tone::Bad, "Dropped: nothing came any more"),
        "shutting_down" | "room_ended" | "replaced" => {
            Mark::new(Tone::Info, &code.replace('_', " "))
        }
        "" => Mark::new(Tone::Idle, "Unknown"),
        other => Mark::new(Tone::Warn, &other.replace('_', " ")),
    }
}

/// The moment that answers why somebody dropped: the last loss; else the end.
pub(super) fn key_moment<'a>(session: AnswerRow<'a>) -> Option<AnswerRow<'a>> {
    let moments: Vec<_> = session.rows("moments").collect();
    moments.iter().rev().find(|moment| moment.text("kind") == "lost").copied()
}

/// Returns what happened, the oldest first.
pub(super) fn happenings(session: AnswerRow<'_>) -> Vec<Happening> {
    let key = key_moment(session).map(|moment| moment.text("at"));
    session
        .rows("moments")
        .map(|moment| Happening {
            at: moment.time("at"),
            tone: tone(moment.text("kind")),
            headline: Markup::from(moment.text("text")),
            detail: None,
            is_key: moment.text("kind") == "lost" && Some(moment.text("at")) == key,
        })
        .collect()
}

fn tone(kind: &str) -> Tone {
    match kind {
        "lost" => Tone::Bad,
        "fallback" | "removed" => Tone::Warn,
        "joined" | "resumed" | "realtime" | "back" => Tone::Good,
        "away" => Tone::Idle,
        _ => Tone::Info,
    }
}

/// A lane while it is drawn.
struct Pen {
    lane: LifeLane,
    open: Option<(i64, LifeSpanKind, String)>,
}

impl Pen {
    fn new(title: &str) -> Self {
        Self { lane: LifeLane { title: title.to_owned(), spans: Vec::new() }, open: None }
    }

    /// Ends the span, and begins another one if there is a kind for it.
    fn turn(&mut self, at: i64, next: Option<(LifeSpanKind, &str)>) {
        if let Some((from, kind, words)) = self.open.take()
            && at > from
        {
            self.lane.spans.push(LifeSpan { from, to: at, kind, words });
        }
        self.open = next.map(|(kind, words)| (at, kind, words.to_owned()));
    }
}

/// Draws the lanes of a session that ended at `to`; `None`: its moments are not known.
pub(super) fn drawing(session: AnswerRow<'_>, to: i64) -> Option<LifeDrawing> {
    let from = session.micros("joined_at")?;
    if !session.flag("moments_known") || to <= from {
        return None;
    }
    let (mut presence, mut way, mut address) =
        (Pen::new("Presence"), Pen::new("Route"), Pen::new("Address"));
    presence.turn(from, Some((LifeSpanKind::Normal, "Here")));
    // What a resume goes on with: the history has no moment if the way is the same as before.
    let (mut last_way, mut last_address) = (None, String::new());
    for moment in session.rows("moments") {
        let at = moment.micros("at").unwrap_or(from).clamp(from, to);
        let place = moment.text("address");
        match moment.text("kind") {
            "away" => presence.turn(at, Some((LifeSpanKind::Away, "Away"))),
            "back" => presence.turn(at, Some((LifeSpanKind::Normal, "Here"))),
            "resumed" => {
                presence.turn(at, Some((LifeSpanKind::Normal, "Here again")));
                way.turn(at, last_way);
                if last_way == Some(REALTIME) {
                    address.turn(at, Some((LifeSpanKind::Normal, &last_address)));
                }
            }
            "lost" => {
                presence.turn(at, Some((LifeSpanKind::Gone, "Gone")));
                way.turn(at, None);
                address.turn(at, None);
            }
            "realtime" | "moved" => {
                (last_way, last_address) = (Some(REALTIME), place.to_owned());
                way.turn(at, last_way);
                address.turn(at, Some((LifeSpanKind::Normal, place)));
            }
            "fallback" => {
                last_way = Some(FALLBACK);
                way.turn(at, last_way);
                address.turn(at, None);
            }
            _ => {}
        }
    }
    let lanes = [presence, way, address].map(|mut pen| {
        pen.turn(to, None);
        pen.lane
    });
    let cursor = key_moment(session).and_then(|moment| moment.micros("at"));
    Some(LifeDrawing {
        from,
        to,
        lanes: lanes.into_iter().filter(|lane| !lane.spans.is_empty()).collect(),
        round_trips: Vec::new(),
        cursor: cursor.map(|at| (at, "lost".to_owned())),
        label: "Lanes of the session: presence, plane and address over time. The list says the same in words."
            .to_owned(),
    })
}

/// Returns for how long the participant was gone after a loss; `None`: it never came back.
pub(super) fn gone_for(session: AnswerRow<'_>, lost_at: i64) -> Option<u64> {
    let resumed = session.rows("moments").find(|moment| {
        moment.text("kind") == "resumed" && moment.micros("at").is_some_and(|at| at >= lost_at)
    });
    let micros = resumed?.micros("at")? - lost_at;
    u64::try_from(micros / 1_000_000).ok()
}

/// Whether the address or the way changed just before or after a moment: the client changed networks.
pub(super) fn changed_networks(session: AnswerRow<'_>, lost_at: i64) -> bool {
    let mut before = None;
    let back_at = gone_for(session, lost_at).and_then(|seconds| i64::try_from(seconds).ok());
    let end = lost_at + back_at.unwrap_or(0) * 1_000_000 + TOGETHER;
    for moment in session.rows("moments") {
        let Some(at) = moment.micros("at") else { continue };
        if at > end {
            break;
        }
        let host = moment.some_text("address").and_then(|address| address.rsplit_once(':'));
        let Some((host, _)) = host else { continue };
        let is_near = at >= lost_at - TOGETHER;
        match before {
            Some(old) if is_near && old != host => return true,
            _ => before = Some(host),
        }
    }
    false
}
