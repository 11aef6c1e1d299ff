//! Figures over time, or over another figure: the words, and the data that a script draws.

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

/// What a chart shows its values over.
#[derive(Clone, Debug, PartialEq)]
pub enum ChartAxis {
    /// The times of the points, in seconds since 1970.
    Times(Vec<i64>),
    /// Another figure, such as the number of headsets.
    Figure {
        /// The values of that figure, in rising order.
        values: Vec<i64>,
        /// Its unit, as `headsets`.
        unit: String,
        /// The index of the value that the chart marks.
        marked: Option<usize>,
    },
}

impl ChartAxis {
    /// Returns the values of the points.
    fn values(&self) -> &[i64] {
        match self {
            Self::Times(values) | Self::Figure { values, .. } => values,
        }
    }
}

/// A chart of figures over time, or over another figure.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// The title.
    pub title: String,
    /// The span and what is counted, as `last hour, all shards`; may be empty.
    pub context: String,
    /// What there is to see, in words: read without scripts, and by screen readers.
    pub reading: String,
    /// The unit of the values; empty: they are counts.
    pub unit: String,
    /// What the values are shown over.
    pub axis: ChartAxis,
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
    xunit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<usize>,
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
        let values = self.series.iter().flat_map(|series| series.values.iter().take(self.len()));
        values.flatten().any(|value| value.is_finite())
    }

    /// Returns the number of points.
    fn len(&self) -> usize {
        self.axis.values().len()
    }

    /// Returns the data as JSON for a script block: no text in it can end the block.
    fn json(&self) -> Result<String, serde_json::Error> {
        let from = self.len().saturating_sub(MAX_CHART_POINTS);
        let (time, xunit, at) = match &self.axis {
            ChartAxis::Times(_) => (1, None, None),
            ChartAxis::Figure { unit, marked, .. } => {
                (0, Some(unit.as_str()), marked.and_then(|at| at.checked_sub(from)))
            }
        };
        let series = self.series.iter().map(|series| PlottedSeries {
            label: &series.label,
            // A series has as many values as there are times; what lacks is a gap.
            data: (from..self.len())
                .map(|at| series.values.get(at).copied().flatten().map(rounded))
                .collect(),
            color: series.color.map(|color| format!("series-{color}")),
        });
        let (x, series) = (&self.axis.values()[from..], series.collect());
        let chart = PlottedChart { x, time, xunit, at, limit: self.limit, series };
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
        let context = match &*self.context {
            "" => String::new(),
            context => format!("<span class=\"small muted\">{}</span>", escaped(context)),
        };
        if !self.has_points() {
            let nothing = match self.axis {
                ChartAxis::Times(_) => {
                    "Nothing was measured yet. The first figures come within a minute."
                }
                ChartAxis::Figure { .. } => "Nothing was measured.",
            };
            return write!(
                f,
                "<figure class=\"chart\"><figcaption><h2>{title}</h2>{context}\
                 </figcaption><p class=\"read\">{nothing}</p></figure>"
            );
        }
        write!(
            f,
            "<figure class=\"chart\" data-unit=\"{}\"><figcaption><h2>{title}</h2>\
             {context}</figcaption><p class=\"read\">{reading}</p>\
             <div class=\"plot{}\" role=\"img\" aria-label=\"{title}. {reading}\" hx-morph-skip></div>\
             <script type=\"application/json\">{json}</script></figure>",
            if self.unit.is_empty() { String::new() } else { escaped(&self.unit) },
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
            axis: ChartAxis::Times(vec![1, 2, 3]),
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
        empty.axis = ChartAxis::Times(Vec::new());
        empty.series[0].values = vec![Some(1.0)];
        assert!(!empty.to_string().contains("<script"));
    }

    #[test]
    fn a_figure_over_another_one_has_its_unit_and_its_mark() {
        let over = |values: Vec<i64>, marked| LineChart {
            axis: ChartAxis::Figure { values, unit: "headsets".to_owned(), marked },
            ..chart("loss")
        };
        let json = over(vec![10, 20, 30], Some(1)).json().unwrap();
        assert!(
            json.starts_with(r#"{"x":[10,20,30],"time":0,"xunit":"headsets","at":1,"#),
            "{json}"
        );
        assert!(!LineChart { context: String::new(), ..chart("") }.to_string().contains("<span"));
        assert!(over(Vec::new(), None).to_string().contains(">Nothing was measured.<"));
        let long: serde_json::Value =
            serde_json::from_str(&over((0..1_000).collect(), Some(500)).json().unwrap()).unwrap();
        let at = usize::try_from(long["at"].as_u64().unwrap()).unwrap();
        assert_eq!(long["x"][at], 500);
    }

    #[test]
    fn the_newest_points_are_kept() {
        let mut long = chart("loss");
        long.axis = ChartAxis::Times((0..1_000).collect());
        long.series[0].values = (0..1_000).map(|at| Some(f64::from(at))).collect();
        let read: serde_json::Value = serde_json::from_str(&long.json().unwrap()).unwrap();
        assert_eq!(read["x"].as_array().unwrap().len(), MAX_CHART_POINTS);
        assert_eq!(read["x"][MAX_CHART_POINTS - 1], 999);
        assert_eq!(read["series"][0]["data"][0], 280.0);
    }
}
