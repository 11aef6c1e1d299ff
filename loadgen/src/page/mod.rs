//! The pages of `--html`: the figures of a run or of a search, for a reader with a browser.

mod capacity;
mod conditions;
mod facts;
mod html_file;
mod run;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nucleus_console::charts::{ChartAxis, ChartSeries, LineChart};
use nucleus_console::{Quantity, ShownTime};

pub(crate) use capacity::capacity_page;
pub(crate) use html_file::HtmlFile;
pub(crate) use run::run_page;

/// How a measurement was made.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The command, as a shell takes it.
    pub(crate) command: String,
    /// When it began.
    began: SystemTime,
}

impl Origin {
    /// Returns the origin of a measurement that begins now, with the command of this process.
    pub(crate) fn of_this_process() -> Self {
        // A file's name may be no UTF-8.
        let arguments =
            std::env::args_os().skip(1).map(|argument| quoted(&argument.to_string_lossy()));
        let words: Vec<String> = std::iter::once("loadgen".to_owned()).chain(arguments).collect();
        Origin { command: words.join(" "), began: SystemTime::now() }
    }

    fn began(&self) -> ShownTime {
        let since = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        ShownTime::of(i64::try_from(since.as_micros()).ok())
    }

    fn took(&self) -> Quantity {
        Quantity::seconds(self.began.elapsed().as_ref().map(Duration::as_secs).ok())
    }
}

/// Returns an argument as a POSIX shell takes it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// A line of a chart: its label, and a value for each point.
type ChartLine = (&'static str, Vec<Option<f64>>);

/// Returns a chart over another figure. Lines without a value are left out, so that a profile without
/// voice has no empty line of voice.
fn chart(
    title: &str,
    unit: &str,
    axis: &ChartAxis,
    limit: Option<f64>,
    lines: Vec<ChartLine>,
) -> LineChart {
    let at = match axis {
        ChartAxis::Figure { marked, .. } => *marked,
        ChartAxis::Times(_) => None,
    };
    let known = lines.into_iter().filter(|(_, values)| values.iter().any(Option::is_some));
    let series: Vec<_> = known
        .map(|(label, values)| ChartSeries { label: label.to_owned(), values, color: None })
        .collect();
    let reading = series.iter().map(|series| {
        let value = match at {
            Some(at) => series.values.get(at).copied().flatten(),
            None => series.values.iter().rev().copied().flatten().next(),
        };
        format!("{} {}", series.label, Quantity::number(value, unit).plain())
    });
    LineChart {
        title: title.to_owned(),
        context: String::new(),
        reading: reading.collect::<Vec<_>>().join(" · "),
        unit: unit.to_owned(),
        axis: axis.clone(),
        series,
        limit,
        is_low: true,
    }
}

/// Returns a share as a percentage.
fn percent(share: Option<f64>) -> Option<f64> {
    share.map(|share| share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_run_again() {
        for (argument, words) in [
            ("--target", "--target"),
            ("h:5055", "h:5055"),
            ("pose.loss <= 0.001", "'pose.loss <= 0.001'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(quoted(argument), words);
        }
    }

    #[test]
    fn a_line_without_values_is_left_out() {
        let axis =
            ChartAxis::Figure { values: vec![1, 2], unit: "headsets".into(), marked: Some(0) };
        let lines = vec![("pose", vec![Some(4.0), Some(5.0)]), ("voice", vec![None, None])];
        let chart = chart("Age", "ms", &axis, Some(60.0), lines);
        assert_eq!(chart.series.len(), 1);
        assert_eq!(chart.reading, "pose 4\u{a0}ms");
    }
}
