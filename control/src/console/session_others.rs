//! Whether others dropped when a session did: then it was not one person's network.

use nucleus_console::link::query;
use nucleus_console::{Markup, ShownName};

use super::reader::PageReader;
use super::row::{AnswerRow, encoded};
use super::session_life::key_moment;
use crate::timestamp::Timestamp;

/// The codes of sessions whose link was lost. Others were ended on purpose, by the client, an operator or the
/// server, or by a fault of one client.
const LOSSES: [&str; 2] = ["timed_out", "slow_consumer"];
/// How far the ends of two sessions lie apart that dropped for one cause, in microseconds: the server notices a
/// closed connection at once, and a silent client after half a minute.
const APART: i64 = 60_000_000;
/// How long after the loss of a session that came back the end of another one may be of the same cause: a session
/// that is lost is kept for a while before it ends.
const LATER: i64 = 120_000_000;
/// The most others that are named.
const NAMED: usize = 5;
/// The most sessions that are read of each code.
const MOST_READ: usize = 100;

/// Says who dropped at the same time; `None`: the session was never lost, or the history does not answer.
pub(super) async fn others(reader: &PageReader, session: AnswerRow<'_>) -> Option<Markup> {
    let (from, to) = span(session)?;
    let moment = |micros: i64| Timestamp::from_micros(micros).to_string();
    let (mut found, mut are_all) = (Vec::new(), true);
    for code in LOSSES {
        let path = query(
            "/history/sessions",
            &[
                ("order", "left"),
                ("code", code),
                ("from", &moment(from)),
                ("to", &moment(to)),
                ("limit", &MOST_READ.to_string()),
            ],
        );
        let list = reader.client.get(&path).await.ok()?;
        are_all &= AnswerRow(&list).rows("items").count() < MOST_READ;
        let others =
            AnswerRow(&list).rows("items").filter(|other| other.text("id") != session.text("id"));
        found.extend(others.map(|other| Other {
            path: format!("/sessions/{}", encoded(other.text("id"))),
            name: match other.name("name") {
                name if name.raw().is_empty() => other.name("user"),
                name => name,
            },
        }));
    }
    Some(words(&found, are_all, if reader.sees_server() { "this server" } else { "your tenant" }))
}

/// Another session that ended because its link was lost.
struct Other {
    path: String,
    name: ShownName,
}

/// Returns between which times the ends of others have the same cause, in microseconds; `None`: the session was
/// never lost.
fn span(session: AnswerRow<'_>) -> Option<(i64, i64)> {
    let lost_at = key_moment(session)?.micros("at")?;
    match session.micros("left_at") {
        Some(left) if LOSSES.contains(&session.text("code")) => Some((left - APART, left + APART)),
        _ => Some((lost_at, lost_at + LATER)),
    }
}

/// `are_all`: there are no more than these.
fn words(others: &[Other], are_all: bool, whom: &str) -> Markup {
    if others.is_empty() {
        let no = format!("No. No other session of {whom} was lost at about that time.");
        return Markup::from(no.as_str());
    }
    let mut words = Markup::from("Yes: ");
    for (index, other) in others.iter().take(NAMED).enumerate() {
        words = words.text(if index > 0 { ", " } else { "" }).link_name(&other.path, &other.name);
    }
    if others.len() > NAMED {
        let least = if are_all { "" } else { "at least " };
        words = words.text(&format!(" and {least}{} more", others.len() - NAMED));
    }
    words.text(match others.len() {
        1 => " was lost at about that time.",
        _ => " were lost at about that time: look at the server and at its line.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(count: usize) -> Vec<Other> {
        let other = |number| Other {
            path: format!("/sessions/{number}"),
            name: ShownName::new(format!("P{number}")),
        };
        (0..count).map(other).collect()
    }

    #[test]
    fn others_are_named_and_linked() {
        let html = |count| words(&others(count), true, "this server").to_string();
        assert!(html(0).starts_with("No. "));
        assert!(html(1).contains("href=\"/sessions/0\"") && html(1).contains(" was lost"));
        assert!(!html(5).contains("more") && html(5).contains("look at the server"));
        assert!(html(8).contains(" and 3 more were lost"));
        assert_eq!(html(8).matches("<a ").count(), NAMED);
        let more = words(&others(100), false, "this server").to_string();
        assert!(more.contains(" and at least 95 more were lost"), "{more}");
    }

    /// Two sessions that were lost for one cause see each other, whichever ended first.
    #[test]
    fn who_was_lost_within_a_minute_is_near_from_both_sides() {
        let session = |left: &str| {
            serde_json::json!({
                "code": "timed_out", "left_at": left,
                "moments": [{"kind": "lost", "at": "2026-12-01T10:00:00Z"}],
            })
        };
        let (one, other) = (session("2026-12-01T10:00:30Z"), session("2026-12-01T10:01:20Z"));
        let is_near = |one: &serde_json::Value, other: &serde_json::Value| {
            let (from, to) = span(AnswerRow(one)).expect("it was lost");
            let left = AnswerRow(other).micros("left_at").expect("it ended");
            (from..to).contains(&left)
        };
        assert!(is_near(&one, &other) && is_near(&other, &one));
        let never_lost = serde_json::json!({"code": "left", "left_at": "2026-12-01T10:00:30Z"});
        assert_eq!(span(AnswerRow(&never_lost)), None);
    }
}
