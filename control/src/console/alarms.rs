//! The alarms of the overview, and what ends next.

use nucleus_console::link::query;
use nucleus_console::screens::{AlarmRow, LabelledMark, PageVerdict};
use nucleus_console::{Mark, Markup, ShownName, Tone};
use serde_json::Value;

use super::client::ApiAsker;
use super::row::{AnswerRow, encoded};

/// Alarms of the list, and rows of what ends next.
const ROWS: usize = 5;
/// From how many days on an end is worth a warning.
const WARN_DAYS: i64 = 14;
const DAY: i64 = 86_400_000_000;

/// What the API answers to `/alarms`.
pub(super) struct Alarms(Value);

impl Alarms {
    /// Asks for the alarms. Without an answer there are none to show: the overview stands without them.
    pub(super) async fn read(client: &ApiAsker) -> Self {
        Self(client.get("/alarms").await.unwrap_or_default())
    }

    fn all(&self) -> impl Iterator<Item = AnswerRow<'_>> {
        AnswerRow(&self.0).rows("alarms")
    }

    /// The rows of the list.
    pub(super) fn rows(&self) -> Vec<AlarmRow> {
        self.all().take(ROWS).map(alarm_row).collect()
    }

    /// How many alarms are behind those of the list.
    pub(super) fn more(&self) -> usize {
        self.all().skip(ROWS).count()
    }

    /// The answer before the figures if an alarm rings; `None`: none does.
    pub(super) fn verdict(&self) -> Option<PageVerdict> {
        let worst = self.all().next()?;
        let others = self.all().count() - 1;
        let mut detail = Markup::from(worst.text("what")).text(".");
        if others > 0 {
            let more = if others == 1 {
                " One more alarm".to_owned()
            } else {
                format!(" {others} more alarms")
            };
            let ring = if others == 1 { " rings." } else { " ring." };
            detail = detail.text(&more).text(ring);
        }
        let is_critical = tone(worst) == Tone::Bad;
        Some(PageVerdict {
            tone: tone(worst),
            headline: Markup::from(if is_critical {
                "Look at this now"
            } else {
                "Somebody should look"
            }),
            detail,
            remedy: Some(remedy(worst)),
        })
    }

    /// The days left of the certificate and of the licences that end next.
    pub(super) fn days_left(&self, host: &str, now: i64) -> Vec<LabelledMark> {
        let row = |thing: AnswerRow<'_>| {
            let days = (thing.micros("ends_at")? - now).div_euclid(DAY);
            let title = match thing.some_text("name") {
                Some(name) => Markup::from("Licence of ").then(&ShownName::new(name)),
                None => Markup::from("Certificate of ").then(&ShownName::new(host)),
            };
            let mark = match days {
                ..0 => Mark::new(Tone::Bad, "ended"),
                1 => Mark::new(Tone::Warn, "1 day"),
                0 | 2..WARN_DAYS => Mark::new(Tone::Warn, &format!("{days} days")),
                _ => Mark::new(Tone::Good, &format!("{days} days")),
            };
            Some(LabelledMark { title, mark })
        };
        AnswerRow(&self.0).rows("ends").filter_map(row).take(ROWS).collect()
    }
}

fn tone(alarm: AnswerRow<'_>) -> Tone {
    if alarm.text("severity") == "critical" { Tone::Bad } else { Tone::Warn }
}

fn alarm_row(alarm: AnswerRow<'_>) -> AlarmRow {
    AlarmRow {
        mark: Mark::new(tone(alarm), alarm.text("what")),
        since: alarm.time("since"),
        remedy: remedy(alarm),
    }
}

/// What to do, with a link to the page where it is done or where more is seen.
fn remedy(alarm: AnswerRow<'_>) -> Markup {
    let subject = encoded(alarm.text("subject"));
    let name = alarm.some_text("name").map(|name| ShownName::new(name).label());
    let name = name.unwrap_or_default();
    let fullest = || (query("/rooms", &[("sort", "peers")]), "The fullest rooms");
    let link = match alarm.text("kind") {
        "licence_ended" | "licence_ends" => Some((format!("/tenants/{subject}"), name.as_str())),
        "webhook_off" | "webhook_fails" => Some((format!("/webhooks/{subject}"), name.as_str())),
        "certificate_invalid" | "certificate_ends" | "certificate_own" | "fallback" => {
            Some(("/network".to_owned(), "Network"))
        }
        "joins_fail" => Some(("/sessions".to_owned(), "Past sessions")),
        "relay_slow" | "shard_busy" | "nearly_full" => Some(fullest()),
        _ => None,
    };
    let remedy = Markup::from(alarm.text("remedy"));
    match link {
        Some((href, text)) => remedy.text(" ").link(&href, text),
        None => remedy,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alarm(kind: &str, severity: &str, subject: Value, name: Value) -> Value {
        json!({
            "kind": kind, "severity": severity, "since": "2026-11-29T12:00:00Z", "subject": subject,
            "name": name, "what": "It is so", "remedy": "Do this.",
        })
    }

    #[test]
    fn an_alarm_says_what_to_do_and_leads_there() {
        let hostile = "<b>\u{202E}";
        let alarms = Alarms(json!({"alarms": [
            alarm("database_down", "critical", Value::Null, Value::Null),
            alarm("webhook_off", "warning", json!("w/1"), json!(hostile)),
        ]}));
        let rows = alarms.rows();
        assert_eq!(rows[0].mark.tone(), Tone::Bad);
        assert_eq!(rows[0].remedy.as_str(), "Do this.");
        let link = "Do this. <a href=\"/webhooks/w%2F1\">&lt;b&gt;[U+202E]</a>";
        assert_eq!(rows[1].remedy.as_str(), link);
        let verdict = alarms.verdict().unwrap();
        assert_eq!(verdict.tone, Tone::Bad);
        assert_eq!(verdict.detail.as_str(), "It is so. One more alarm rings.");
    }

    #[test]
    fn alarms_beyond_the_list_are_counted() {
        let one = alarm("licence_ends", "warning", json!("t1"), json!("Acme"));
        let alarms = Alarms(json!({"alarms": vec![one; 7]}));
        assert_eq!((alarms.rows().len(), alarms.more()), (5, 2));
        let none = Alarms(Value::Null);
        assert!(none.rows().is_empty() && none.verdict().is_none() && none.more() == 0);
    }

    #[test]
    fn days_left_are_counted_from_now() {
        let ends = |at: &str, name: Value| json!({"ends_at": at, "name": name});
        let alarms = Alarms(json!({"ends": [
            ends("2026-11-29T12:00:00Z", Value::Null),
            ends("2026-12-02T13:00:00Z", json!("Acme")),
            ends("2027-01-01T12:00:00Z", json!("Beta")),
        ]}));
        let now = crate::timestamp::Timestamp::parse("2026-12-01T12:00:00Z").unwrap().micros();
        let left = alarms.days_left("xr.example.org", now);
        let words: Vec<_> = left.iter().map(|row| (row.mark.words(), row.mark.tone())).collect();
        assert_eq!(words, [("ended", Tone::Bad), ("1 day", Tone::Warn), ("31 days", Tone::Good)]);
        assert!(left[0].title.as_str().contains("xr.example.org"));
    }
}
