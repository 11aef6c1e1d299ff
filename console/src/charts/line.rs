//! Figures over time: the words, and the data that a script draws.

use std::fmt;

use askama::filters::HtmlSafe;
use serde::Serialize;

use crate::text::escaped;

/// Most points of a series: 24 hours in steps of two minutes. A longer one loses its oldest points.
pub const MAX_CHART_POINTS: usize = 720;

/// A line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct ChartSeries {
    /// The name, written at the end of the line.
    pub label: String,
    /// The values, in the chart's unit; absent: nothing was measured.
    pub values: Vec<Option<f64>>,
    /// The number of the colour, 1 to 6; absent: by the order of the series.
    pub color: Option<u8>,
}

/// A chart of figures over time.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// The title.
    pub title: String,
    /// The span and what is counted, as `last hour, all shards`.
    pub context: String,
    /// What there is to see, in words: read without scripts, and by screen readers.
    pub reading: String,
    /// The unit of the values; empty: they are counts.
    pub unit: String,
    /// The times of the points, in seconds since 1970.
    pub times: Vec<i64>,
    /// The lines, at most four: each has a dash of its own.
    pub series: Vec<ChartSeries>,
    /// A value that should not be exceeded.
    pub limit: Option<f64>,
    /// Whether the chart is a low one.
    pub is_low: bool,
}

#[derive(Serialize)]
struct PlottedChart<'a> {
    x: &'a [i64],
    time: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    series: Vec<PlottedSeries<'a>>,
}

#[derive(Serialize)]
struct PlottedSeries<'a> {
    label: &'a str,
    data: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<String>,
}

impl LineChart {
    fn has_points(&self) -> bool {
        let values =
            self.series.iter().flat_map(|series| series.values.iter().take(self.times.len()));
        values.flatten().any(|value| value.is_finite())
    }

    /// Returns the data as JSON for a script block: no text in it can end the block.
    fn json(&self) -> Result<String, serde_json::Error> {
        let from = self.times.len().saturating_sub(MAX_CHART_POINTS);
        let times = &self.times[from..];
        let series = self.series.iter().map(|series| PlottedSeries {
            label: &series.label,
            // A series has as many values as there are times; what lacks is a gap.
            data: (from..self.times.len())
                .map(|at| series.values.get(at).copied().flatten().map(rounded))
                .collect(),
            color: series.color.map(|color| format!("series-{color}")),
        });
        let chart = PlottedChart { x: times, time: 1, limit: self.limit, series: series.collect() };
        Ok(script_json(&serde_json::to_string(&chart)?))
    }
}

/// Rounds to thousandths: less than a pixel, and a third of the bytes.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Escapes JSON for a script block. In JSON these characters stand only inside texts.
fn script_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

impl fmt::Display for LineChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.json().map_err(|_| fmt::Error)?;
        let (title, reading) = (escaped(&self.title), escaped(&self.reading));
        if !self.has_points() {
            let context = escaped(&self.context);
            return write!(
                f,
                "<figure class=\"chart\"><figcaption><h2>{title}</h2><span class=\"small muted\">{context}</span>\
                 </figcaption><p class=\"read\">Nothing was measured yet. The first figures come within a minute.</p></figure>"
            );
        }
        write!(
            f,
            "<figure class=\"chart\" data-unit=\"{}\"><figcaption><h2>{title}</h2>\
             <span class=\"small muted\">{}</span></figcaption><p class=\"read\">{reading}</p>\
             <div class=\"plot{}\" role=\"img\" aria-label=\"{title}. {reading}\" hx-morph-skip></div>\
             <script type=\"application/json\">{json}</script></figure>",
            if self.unit.is_empty() { String::new() } else { escaped(&self.unit) },
            escaped(&self.context),
            if self.is_low { " low" } else { "" },
        )
    }
}

impl HtmlSafe for LineChart {}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(label: &str) -> LineChart {
        LineChart {
            title: "Loss".to_owned(),
            context: "last hour".to_owned(),
            reading: "0.9 % now".to_owned(),
            unit: "%".to_owned(),
            times: vec![1, 2, 3],
            series: vec![ChartSeries {
                label: label.to_owned(),
                values: vec![Some(0.123_456), None],
                color: None,
            }],
            limit: Some(1.0),
            is_low: true,
        }
    }

    #[test]
    fn gaps_are_null() {
        let json = chart("loss").json().unwrap();
        let expected = r#"{"x":[1,2,3],"time":1,"limit":1.0,"series":[{"label":"loss","data":[0.123,null,null]}]}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn no_text_ends_the_block() {
        let hostile = "</script><script>alert(1)<!--\u{2028}";
        let html = LineChart { title: hostile.to_owned(), ..chart(hostile) }.to_string();
        assert_eq!(html.matches("</script>").count(), 1);
        assert_eq!(html.matches("<script").count(), 1);
        let json = html.split("json\">").nth(1).unwrap().split("</script>").next().unwrap();
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(read["series"][0]["label"], hostile);
    }

    #[test]
    fn values_that_are_not_finite_are_gaps() {
        let mut odd = chart("loss");
        odd.series[0].values = vec![Some(f64::NAN), Some(f64::INFINITY), Some(1.0)];
        assert!(odd.json().unwrap().contains("[null,null,1.0]"));
    }

    #[test]
    fn a_chart_without_values_says_so() {
        let mut empty = chart("loss");
        empty.series[0].values = vec![None, Some(f64::NAN)];
        let html = empty.to_string();
        assert!(html.contains("Nothing was measured yet.") && !html.contains("plot"), "{html}");
        empty.times.clear();
        empty.series[0].values = vec![Some(1.0)];
        assert!(!empty.to_string().contains("<script"));
    }

    #[test]
    fn the_newest_points_are_kept() {
        let mut long = chart("loss");
        long.times = (0..1_000).collect();
        long.series[0].values = (0..1_000).map(|at| Some(f64::from(at))).collect();
        let read: serde_json::Value = serde_json::from_str(&long.json().unwrap()).unwrap();
        assert_eq!(read["x"].as_array().unwrap().len(), MAX_CHART_POINTS);
        assert_eq!(read["x"][MAX_CHART_POINTS - 1], 999);
        assert_eq!(read["series"][0]["data"][0], 280.0);
    }
}
