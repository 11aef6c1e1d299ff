//! `--fail-if EXPR`: compares a figure of the report with a number.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::Report;

/// A condition under which a completed run exits with 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FailIf {
    text: String,
    path: String,
    operator: Operator,
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
}

/// The longest operators come first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 5] = [
    (">=", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("==", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
];

impl FailIf {
    /// Returns whether `shape`, an empty report with the parts that the run will fill, contains the
    /// figure.
    pub(crate) fn fits(&self, shape: &Report) -> bool {
        figure(shape, &self.path).is_some()
    }

    /// Returns the line to show if the condition holds for a report, else `None`.
    pub(crate) fn held(&self, report: &Report) -> Option<String> {
        let value = figure(report, &self.path)?;
        let held = match self.operator {
            Operator::Greater => value > self.limit,
            Operator::GreaterOrEqual => value >= self.limit,
            Operator::Less => value < self.limit,
            Operator::LessOrEqual => value <= self.limit,
            Operator::Equal => value == self.limit,
        };
        held.then(|| format!("{}: it is {value}", self.text))
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
            .filter_map(|(sign, operator)| text.find(sign).map(|at| (at, *sign, *operator)));
        // Take the operator that comes first in the text. Of two at the same position, take the
        // longer one, which comes first in the list.
        let (at, sign, operator) = found
            .reduce(|best, next| if next.0 < best.0 { next } else { best })
            .ok_or("write FIGURE > NUMBER (or >=, <, <=, ==)")?;
        let name = text[..at].trim();
        let limit = text[at + sign.len()..].trim();
        let limit: f64 = limit.parse().map_err(|_| format!("`{limit}` is not a number"))?;
        if !limit.is_finite() {
            return Err("the number must be finite".into());
        }
        let path = full_path(name)
            .ok_or_else(|| format!("the report has no figure `{name}`; {}", known_figures()))?;
        Ok(FailIf { text: text.trim().to_owned(), path, operator, limit })
    }
}

/// Returns the full path of a figure: `pose.loss` is short for `channels.pose.loss`, and
/// `pose.p99_ms` for `channels.pose.latency_ms.p99`. Whether a run has the figure depends on its
/// profile.
fn full_path(name: &str) -> Option<String> {
    let quantile = name.split_once('.').and_then(|(channel, figure)| {
        Some(format!("channels.{channel}.latency_ms.{}", figure.strip_suffix("_ms")?))
    });
    let spelled = [Some(name.to_owned()), Some(format!("channels.{name}")), quantile];
    let full = Report::full();
    spelled.into_iter().flatten().find(|path| figure(&full, path).is_some())
}

fn figure(report: &Report, path: &str) -> Option<f64> {
    let json = serde_json::to_value(report).ok()?;
    let leaf = path.split('.').try_fold(&json, |value, key| value.get(key))?;
    leaf.as_f64()
}

fn known_figures() -> String {
    let mut names = Vec::new();
    if let Ok(json) = serde_json::to_value(Report::full()) {
        leaves(&json, "", &mut names);
    }
    format!("there are: {}", names.join(", "))
}

fn leaves(value: &Value, path: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, names);
            }
        }
        Value::Number(_) => {
            let short = path.strip_prefix("channels.").unwrap_or(path);
            names.push(match short.split_once(".latency_ms.") {
                Some((channel, quantile)) => format!("{channel}.{quantile}_ms"),
                None => short.to_owned(),
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::full();
        report.channels.pose.channel.latency_ms.p99 = 60.5;
        report.channels.pose.channel.loss = 0.001;
        report.channels.pose.gap_max_ms = 1_200.0;
        report.channels.object.as_mut().unwrap().lost = 3;
        report.joins.failed = 2;
        report.server.cpu_s = 19.0;
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
        assert!(held("generator.send_lag_p99_ms > -1"));
        assert!(held("pose.gap_max_ms > 1000") && !held("pose.gaps_over_1s>0"));
        assert!(held("object.lost > 2") && held("pointer.p50_ms == 0"));
        assert!(held("interest.near_full_rate<0.95"));
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
            "valid == 1",
            "pose.loss = 1",
            "pose.loss => 1",
        ];
        for text in wrong {
            assert!(text.parse::<FailIf>().is_err(), "{text}");
        }
        let error = "poses > 1".parse::<FailIf>().unwrap_err();
        for name in ["pose.p99_ms", "pose.gap_max_ms", "pointer.loss", "server.cpu_s"] {
            assert!(error.contains(name), "{error}");
        }
    }
}
