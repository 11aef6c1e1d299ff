//! `--fail-if EXPR`: compares a figure of the report with a number.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::Report;

/// A condition under which a completed run exits with 1.
#[derive(Clone, Debug)]
pub(crate) struct FailIf {
    text: String,
    path: String,
    holds: Comparison,
    limit: f64,
}

/// Most figures that are suggested for a name that does not exist.
const SUGGESTIONS: usize = 4;
/// Jaro-Winkler similarity from which a name is suggested: `pose.p9_ms` and `pose.p99_ms` have 0.98,
/// `poses.loss` and `pose.loss` 0.97.
const LEAST_LIKENESS: f64 = 0.75;
/// Bytes of a name from which on every figure that contains it is suggested.
const LEAST_PART: usize = 3;

type Comparison = fn(&f64, &f64) -> bool;

/// The longest operators come first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Comparison); 5] =
    [(">=", f64::ge), ("<=", f64::le), ("==", f64::eq), (">", f64::gt), ("<", f64::lt)];

impl FailIf {
    /// Returns whether `shape`, an empty report with the parts that the run will fill, contains the
    /// figure.
    pub(crate) fn fits(&self, shape: &Report) -> bool {
        figure(shape, &self.path).is_some()
    }

    /// Returns whether the condition holds for a report; `None` if its figure is unknown.
    pub(crate) fn holds_for(&self, report: &Report) -> Option<bool> {
        Some((self.holds)(&self.value(report)?, &self.limit))
    }

    /// Returns the figure as a share of the number, for a condition that limits a figure from
    /// above; `None` for another condition, and if the figure is unknown.
    pub(crate) fn share_of_limit(&self, report: &Report) -> Option<f64> {
        let is_upper = (self.holds)(&0.0, &1.0) && !(self.holds)(&2.0, &1.0);
        let share = self.value(report)? / self.limit;
        (is_upper && self.limit > 0.0).then_some(share)
    }

    /// Returns whether the figure is one of the server's process or counters.
    pub(crate) fn is_of_server(&self) -> bool {
        self.path.starts_with("server.")
    }

    /// Returns the condition with the figure of a report, as text.
    pub(crate) fn with_figure(&self, report: &Report) -> String {
        let value = self.value(report).map_or("unknown".into(), |value| rounded(value).to_string());
        format!("{}: it is {value}", self.text)
    }

    /// Returns the name of the figure, as `pose.p99_ms`.
    pub(crate) fn name(&self) -> String {
        short_name(&self.path)
    }

    /// Returns the number that the figure is compared with.
    pub(crate) fn limit(&self) -> f64 {
        self.limit
    }

    /// Returns the figure of a report; `None` if it is unknown.
    pub(crate) fn value(&self, report: &Report) -> Option<f64> {
        match figure(report, &self.path)? {
            FigureValue::Known(value) => Some(value),
            FigureValue::Unknown => None,
        }
    }

    /// Returns the line to show if the condition holds for a report, else `None`. A condition on a
    /// figure that is unknown holds: the run does not show that the condition is false.
    pub(crate) fn held(&self, report: &Report) -> Option<String> {
        self.holds_for(report).unwrap_or(true).then(|| self.with_figure(report))
    }
}

impl fmt::Display for FailIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for FailIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = OPERATORS
            .iter()
            .filter_map(|(sign, holds)| text.find(sign).map(|at| (at, *sign, *holds)));
        // Take the operator that comes first in the text. Of two at the same position, take the
        // longer one, which comes first in the list.
        let (at, sign, holds) = found
            .reduce(|best, next| if next.0 < best.0 { next } else { best })
            .ok_or("write FIGURE > NUMBER (or >=, <, <=, ==)")?;
        let name = text[..at].trim();
        let limit = text[at + sign.len()..].trim();
        let limit: f64 = limit.parse().map_err(|_| format!("`{limit}` is not a number"))?;
        if !limit.is_finite() {
            return Err("the number must be finite".into());
        }
        let path = full_path(name)
            .ok_or_else(|| format!("the report has no figure `{name}`; {}", suggestion(name)))?;
        Ok(FailIf { text: text.trim().to_owned(), path, holds, limit })
    }
}

/// The value of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum FigureValue {
    Known(f64),
    /// The run could not measure the figure.
    Unknown,
}

/// Rounds a figure to five digits, which is more than any measurement has.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// Returns the full path of a figure: `pose.loss` is short for `channels.pose.loss`, `pose.p99_ms`
/// for `channels.pose.latency_ms.p99`, and `pose.age_p99_ms` for `channels.pose.age_ms.p99`.
/// Whether a run has the figure depends on its profile.
fn full_path(name: &str) -> Option<String> {
    let is_meant = |path: &String| {
        let inside_channels = path.strip_prefix("channels.");
        path == name || inside_channels == Some(name) || short_name(path) == name
    };
    known_paths().into_iter().find(is_meant)
}

/// Returns how much a name is like the name of a figure, 0 to 1.
fn likeness(name: &str, known: &str) -> f64 {
    let is_part = name.len() >= LEAST_PART && known.contains(name);
    strsim::jaro_winkler(name, known).max(if is_part { LEAST_LIKENESS } else { 0.0 })
}

/// Returns a figure of a report; `None` if the report has no figure of that path. True is 1, false
/// is 0.
fn figure(report: &Report, path: &str) -> Option<FigureValue> {
    let json = serde_json::to_value(report).ok()?;
    match path.split('.').try_fold(&json, |value, key| value.get(key))? {
        Value::Null => Some(FigureValue::Unknown),
        Value::Bool(value) => Some(FigureValue::Known(f64::from(u8::from(*value)))),
        value => value.as_f64().map(FigureValue::Known),
    }
}

/// Returns the figures whose names are most like `name`, or if none is, how to see them all.
fn suggestion(name: &str) -> String {
    let mut names: Vec<_> = known_paths()
        .iter()
        .map(|path| short_name(path))
        .map(|known| (likeness(name, &known), known))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names: Vec<_> = names.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect();
    match names.as_slice() {
        [] => "its figures are those of the file that --json writes, such as `pose.p99_ms`, \
               `voice.loss`, `joins.failed` and `server.cpu_cores`"
            .to_owned(),
        [one] => format!("did you mean `{one}`?"),
        [first @ .., last] => format!("did you mean `{}` or `{last}`?", first.join("`, `")),
    }
}

/// Returns the paths of all figures that a report can have.
fn known_paths() -> Vec<String> {
    let mut paths = Vec::new();
    if let Ok(json) = serde_json::to_value(Report::full()) {
        leaves(&json, "", &mut paths);
    }
    paths
}

fn leaves(value: &Value, path: &str, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, paths);
            }
        }
        Value::Number(_) | Value::Null | Value::Bool(_) => paths.push(path.to_owned()),
        _ => {}
    }
}

/// Returns the shortest name of a figure, from which [`full_path`] finds the figure.
fn short_name(path: &str) -> String {
    let short = path.strip_prefix("channels.").unwrap_or(path);
    match (short.split_once(".latency_ms."), short.split_once(".age_ms.")) {
        (Some((channel, quantile)), _) => format!("{channel}.{quantile}_ms"),
        (_, Some((channel, quantile))) => format!("{channel}.age_{quantile}_ms"),
        _ => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::channels::Latency;

    fn report() -> Report {
        let mut report = Report::full();
        report.channels.pose.channel.latency_ms.p99 = Some(60.5);
        report.channels.pose.channel.age_ms =
            Some(Latency { p99: Some(80.0), ..Latency::default() });
        report.channels.pose.channel.loss = Some(0.001);
        report.channels.pose.channel.delivered_share = Some(0.75);
        report.channels.pose.gap_max_ms = Some(1_200.0);
        report.channels.pose.gaps_over_1s = Some(0);
        report.channels.object.as_mut().unwrap().lost = 3;
        report.joins.failed = 2;
        report.server.cpu_s = Some(19.0);
        report
    }

    fn held(text: &str) -> bool {
        text.parse::<FailIf>().unwrap().held(&report()).is_some()
    }

    #[test]
    fn compares() {
        assert!(held("pose.p99_ms > 60") && !held("pose.p99_ms>61"));
        assert!(!held("pose.loss>0.001") && held("pose.loss >= 0.001"));
        assert!(held("joins.failed>0") && held(" joins.failed == 2 "));
        assert!(!held("server.cpu_s>20") && held("server.cpu_s<20") && held("server.cpu_s<=19"));
        assert!(!held("sessions.lost>0") && held("sessions.lost == 0"));
        assert!(held("channels.pose.latency_ms.p99 > 60") && held("voice.lost < 1e0"));
        assert!(held("pose.age_p99_ms > 79") && !held("pose.age_p99_ms > 80"));
        assert!(held("pose.delivered_share < 0.8") && !held("pose.delivered_share < 0.75"));
        assert!(held("pose.gap_max_ms > 1000") && !held("pose.gaps_over_1s>0"));
        assert!(held("object.lost > 2") && held("channels.pose.age_ms.p99 == 80"));
        assert!(held("valid == 1") && !held("valid == 0"));
    }

    #[test]
    fn a_rule_on_an_unknown_figure_holds() {
        let unknown = Report::full();
        for name in [
            "server.cpu_s",
            "server.rss_bytes",
            "server.kernel_drops",
            "server.messages_per_datagram",
            "generator.kernel_drops",
            "verified_share",
            "voice.p99_ms",
            "voice.loss",
            "pointer.age_p50_ms",
            "pose.gaps_over_1s",
            "joins.p99_ms",
            "interest.near_full_rate",
            "calls.largest",
        ] {
            for operator in [">", "<", "=="] {
                let rule: FailIf = format!("{name} {operator} 0").parse().unwrap();
                let line = rule.held(&unknown).unwrap_or_default();
                assert!(line.ends_with(": it is unknown"), "{name} {operator} 0: {line}");
            }
        }
        // A part that this report does not have is not known either.
        let rule: FailIf = "late_joiners.whole < 1".parse().unwrap();
        assert!(rule.held(&Report { late_joiners: None, ..Report::full() }).is_some());
    }

    #[test]
    fn every_figure_has_a_name_that_can_be_used() {
        let names: Vec<_> = known_paths().iter().map(|path| short_name(path)).collect();
        assert!(names.len() > 100 && names.iter().any(|name| name == "valid"));
        for name in names {
            assert!(format!("{name} > 1").parse::<FailIf>().is_ok(), "{name}");
        }
    }

    #[test]
    fn refuses_what_the_report_does_not_have() {
        let wrong = [
            "",
            "pose.p99_ms",
            "pose.p98_ms > 1",
            "voice.gap_max_ms > 1",
            "p99_ms > 1",
            "poses.loss > 1",
            "pose.loss > much",
            "pose.loss > NaN",
            "pose.loss > inf",
            "> 1",
            "joins > 1",
            "server.source == 1",
            "invalid_reasons > 0",
            "pose.loss = 1",
            "pose.loss => 1",
        ];
        for text in wrong {
            assert!(text.parse::<FailIf>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mistyped_name_leads_to_the_right_one() {
        for (name, meant) in [
            ("pose.p98_ms", "pose.p99_ms"),
            ("poses.loss", "pose.loss"),
            ("voice.lost_share", "voice.lost"),
            ("cpu_share", "server.cpu_share"),
            ("join.failed", "joins.failed"),
        ] {
            let error = format!("{name} > 1").parse::<FailIf>().unwrap_err();
            assert!(error.contains(&format!("`{meant}`")), "{error}");
            assert!(error.len() < 200, "{error}");
        }
        let error = "xyzzy > 1".parse::<FailIf>().unwrap_err();
        assert!(error.contains("--json"), "{error}");
    }
}
