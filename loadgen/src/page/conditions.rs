//! The conditions of a page: what had to be true, and what was measured.

use nucleus_console::report::ConditionRow;
use nucleus_console::{Mark, Quantity, Tone};

use crate::report::Report;
use crate::report::fail_if::FailIf;

/// The share of its limit from which a figure is only just kept.
const NEAR: f64 = 0.95;

/// Returns the row of a condition. `wants` says whether the condition must be true, as an objective, or
/// must not, as a `--fail-if`.
pub(super) fn condition_row(condition: &FailIf, report: &Report, wants: bool) -> ConditionRow {
    let figure = ShownFigure::named(&condition.name());
    let kept = condition.holds_for(report).map(|holds| holds == wants);
    let share = condition.share_of_limit(report).filter(|_| wants);
    let mark = match (kept, share) {
        (None, _) => Mark::new(Tone::Bad, "Unknown"),
        (Some(false), _) => Mark::new(Tone::Bad, "Missed"),
        (Some(true), Some(NEAR..)) => Mark::new(Tone::Warn, "Just kept"),
        (Some(true), _) => Mark::new(Tone::Good, "Kept"),
    };
    ConditionRow {
        // A rule of `--fail-if` is shown as it was written, with its operator.
        title: if wants { figure.title } else { condition.to_string() },
        measured: figure.unit.quantity(condition.value(report)),
        limit: figure.unit.quantity(Some(condition.limit())),
        share,
        mark,
    }
}

/// A figure of a report as a reader knows it.
struct ShownFigure {
    title: String,
    unit: FigureUnit,
}

/// How the value of a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FigureUnit {
    Millis,
    Share,
    Number,
}

impl FigureUnit {
    fn quantity(self, value: Option<f64>) -> Quantity {
        match self {
            FigureUnit::Millis => Quantity::number(value, "ms"),
            FigureUnit::Share => Quantity::share(value),
            FigureUnit::Number => Quantity::number(value, ""),
        }
    }
}

impl ShownFigure {
    /// Returns the figure of a name such as `pose.age_p99_ms`. One without words of its own keeps its
    /// name.
    fn named(name: &str) -> Self {
        if name == "server.cpu_share" {
            let title = "Server's share of its cores".to_owned();
            return ShownFigure { title, unit: FigureUnit::Share };
        }
        let (channel, figure) = name.split_once('.').unwrap_or_default();
        let is_share = figure == "loss" || figure.ends_with("_share");
        let unit = match figure {
            _ if figure.ends_with("_ms") => FigureUnit::Millis,
            _ if is_share => FigureUnit::Share,
            _ => FigureUnit::Number,
        };
        let quantile =
            |text: &str| text.strip_prefix('p').map(|rest| rest.trim_end_matches("_ms").to_owned());
        let words = match figure {
            "loss" => Some("loss".to_owned()),
            _ if !matches!(channel, "pose" | "voice" | "event" | "object" | "pointer") => None,
            _ => match figure.strip_prefix("age_") {
                Some(rest) => quantile(rest).map(|number| format!("age p{number}")),
                None => quantile(figure)
                    .filter(|number| number.chars().all(|c| c.is_ascii_digit()))
                    .map(|number| format!("latency p{number}")),
            },
        };
        let title = match words {
            Some(words) => {
                let (first, rest) = channel.split_at(channel.len().min(1));
                format!("{}{rest} {words}", first.to_uppercase())
            }
            None => name.to_owned(),
        };
        ShownFigure { title, unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_words_and_units() {
        for (name, title, unit) in [
            ("pose.loss", "Pose loss", FigureUnit::Share),
            ("pose.age_p99_ms", "Pose age p99", FigureUnit::Millis),
            ("voice.p99_ms", "Voice latency p99", FigureUnit::Millis),
            ("server.cpu_share", "Server's share of its cores", FigureUnit::Share),
            ("joins.failed", "joins.failed", FigureUnit::Number),
            ("joins.p99_ms", "joins.p99_ms", FigureUnit::Millis),
            ("pose.gap_max_ms", "pose.gap_max_ms", FigureUnit::Millis),
            ("valid", "valid", FigureUnit::Number),
        ] {
            let figure = ShownFigure::named(name);
            assert_eq!((&*figure.title, figure.unit), (title, unit), "{name}");
        }
    }

    #[test]
    fn a_condition_says_whether_it_was_kept() {
        let mut report = Report::full();
        let condition: FailIf = "pose.loss <= 0.001".parse().expect("a condition");
        for (loss, wants, words) in [
            (Some(0.0001), true, "Kept"),
            (Some(0.00099), true, "Just kept"),
            (Some(0.002), true, "Missed"),
            (Some(0.0001), false, "Missed"),
            (Some(0.002), false, "Kept"),
            (None, true, "Unknown"),
        ] {
            report.channels.pose.channel.loss = loss;
            let row = condition_row(&condition, &report, wants);
            assert_eq!(row.mark.words(), words, "{loss:?} {wants}");
            assert_eq!(row.limit.plain(), "0.1\u{a0}%");
        }
    }
}
