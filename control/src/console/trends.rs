//! Lines of figures over time, as the API's series tell them.

use nucleus_console::charts::{ChartAxis, ChartSeries, LineChart, Sparkline};
use serde_json::Value;

use super::row::AnswerRow;

/// The lines of an answer of `/series`.
#[derive(Clone, Debug, Default)]
pub(super) struct Trends(Value);

impl Trends {
    pub(super) fn new(answer: Value) -> Self {
        Self(answer)
    }

    fn line(&self, name: &str, shard: Option<u64>) -> Option<AnswerRow<'_>> {
        AnswerRow(&self.0)
            .rows("lines")
            .find(|line| line.text("name") == name && line.count("shard") == shard)
    }

    /// The values of a line, multiplied by `factor`; empty: there is no such line.
    pub(super) fn values(&self, name: &str, shard: Option<u64>, factor: f64) -> Vec<Option<f64>> {
        self.line(name, shard).map(|line| line.numbers("values", factor)).unwrap_or_default()
    }

    /// The newest known value of the last three.
    pub(super) fn newest(&self, name: &str, shard: Option<u64>) -> Option<f64> {
        self.values(name, shard, 1.0).into_iter().rev().take(3).flatten().next()
    }

    /// Returns the time from one value to the next, in seconds.
    pub(super) fn step_seconds(&self) -> f64 {
        AnswerRow(&self.0).count("step_seconds").map_or(1.0, |step| step.max(1) as f64)
    }

    /// The sum of the known values; `None`: none is known.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        let known: Vec<f64> = self.values(name, None, 1.0).into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }

    /// The largest known value.
    pub(super) fn largest(&self, name: &str) -> Option<f64> {
        self.values(name, None, 1.0).into_iter().flatten().reduce(f64::max)
    }

    /// A short line for a tile or a table; `None`: nothing is known.
    pub(super) fn spark(&self, name: &str, shard: Option<u64>, steps: usize) -> Option<Sparkline> {
        let mut values = self.values(name, shard, 1.0);
        let values = values.split_off(values.len().saturating_sub(steps));
        let is_known = values.iter().any(Option::is_some);
        is_known.then(|| Sparkline { values, fills_tile: shard.is_none(), ..Sparkline::default() })
    }

    /// The times of the values, in seconds since 1970.
    fn times(&self, count: usize) -> Vec<i64> {
        let answer = AnswerRow(&self.0);
        let end = answer.micros("end").unwrap_or_default() / 1_000_000;
        let step = answer.count("step_seconds").and_then(|step| i64::try_from(step).ok());
        let count = i64::try_from(count).unwrap_or_default();
        (1 - count..=0).map(|index| end + index * step.unwrap_or(1)).collect()
    }

    /// A chart of lines of the whole server: each with its name in the answer and in the chart.
    pub(super) fn chart(&self, title: &str, unit: ChartUnit, lines: &[(&str, &str)]) -> LineChart {
        let series: Vec<_> = lines
            .iter()
            .enumerate()
            .map(|(index, (name, label))| ChartSeries {
                label: (*label).to_owned(),
                values: self.values(name, None, unit.factor()),
                color: (index == 1).then_some(3),
            })
            .collect();
        let count = series.iter().map(|line| line.values.len()).max().unwrap_or_default();
        let newest = lines.first().and_then(|(name, _)| self.newest(name, None));
        let reading = newest.map(|value| value * unit.factor());
        LineChart {
            title: title.to_owned(),
            context: "last hour".to_owned(),
            reading: match reading {
                Some(value) => format!("{value:.2} {} now", unit.name()),
                None => "nothing is known yet".to_owned(),
            },
            unit: unit.name().to_owned(),
            axis: ChartAxis::Times(self.times(count)),
            series,
            limit: None,
            is_low: matches!(unit, ChartUnit::Percent),
        }
    }
}

/// The unit of a chart, and of the API's values.
#[derive(Clone, Copy, Debug)]
pub(super) enum ChartUnit {
    /// Milliseconds, of microseconds.
    Millis,
    /// Per cent, of parts per million.
    Percent,
}

impl ChartUnit {
    fn factor(self) -> f64 {
        match self {
            Self::Millis => 1e-3,
            Self::Percent => 1e-4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Percent => "%",
        }
    }
}
