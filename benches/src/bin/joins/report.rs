//! The report: a row for each system and round, and the ratio between the two systems.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::clients::{Measurement, System};

/// The figures of one system in one round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    round: u32,
    system: &'static str,
    joins: u32,
    /// CPU time of the server for one join, µs.
    cpu_us_per_join: f64,
    /// Joins per second of elapsed time. The clients run on the same machine.
    joins_per_s: f64,
    /// Joins per second of the server's CPU time.
    joins_per_s_and_core: f64,
    join_ms: Latency,
    /// UDP datagrams to the server for one join.
    datagrams_in: f64,
    /// UDP datagrams from the server for one join.
    datagrams_out: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

impl Row {
    pub(crate) fn new(round: u32, system: System, measurement: &Measurement) -> Self {
        let joins = f64::from(measurement.joins);
        let ms = |q| measurement.latency.value_at_quantile(q) as f64 / 1_000.0;
        Row {
            round,
            system: system.name(),
            joins: measurement.joins,
            cpu_us_per_join: rounded(measurement.cpu_s * 1e6 / joins, 1),
            joins_per_s: rounded(joins / measurement.seconds, 0),
            joins_per_s_and_core: rounded(joins / measurement.cpu_s, 0),
            join_ms: Latency { p50: ms(0.5), p99: ms(0.99) },
            datagrams_in: rounded(measurement.datagrams_in as f64 / joins, 2),
            datagrams_out: rounded(measurement.datagrams_out as f64 / joins, 2),
        }
    }
}

/// All rows of a run.
pub(crate) struct Report {
    pub(crate) at_once: u32,
    pub(crate) rows: Vec<Row>,
}

/// The smallest value, the median and the largest value of a figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = values[middle];
        let even = values.len().is_multiple_of(2);
        let median = if even { (values[middle - 1] + upper) / 2.0 } else { upper };
        Some(Spread { min, median, max })
    }
}

impl Report {
    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> Value {
        let mut report = json!({ "schema": 1, "at_once": self.at_once, "rounds": self.rows });
        if let Some(Spread { min, median, max }) = self.ratio() {
            let [min, median, max] = [min, median, max].map(|value| rounded(value, 4));
            report["ratios"] = json!({ "nucleus/bare": median });
            report["spread"] = json!({ "nucleus/bare": { "min": min, "max": max } });
        }
        for system in System::ALL {
            let median = |figure: fn(&Row) -> f64| self.spread(system, figure).map(|s| s.median);
            report["medians"][system.name()] = json!({
                "cpu_us_per_join": median(|row| row.cpu_us_per_join),
                "joins_per_s": median(|row| row.joins_per_s),
                "joins_per_s_and_core": median(|row| row.joins_per_s_and_core),
            });
        }
        report
    }

    /// Returns the report as text, with the medians over the rounds.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<8} {:>11} {:>8} {:>15} {:>8} {:>8} {:>7} {:>7}\n",
            "system",
            "cpu us/join",
            "joins/s",
            "joins/s of core",
            "p50 ms",
            "p99 ms",
            "dgm in",
            "dgm out"
        );
        for system in System::ALL {
            let median = |figure: fn(&Row) -> f64| {
                self.spread(system, figure).map_or(f64::NAN, |spread| spread.median)
            };
            let _ = writeln!(
                text,
                "{:<8} {:>11.0} {:>8.0} {:>15.0} {:>8.1} {:>8.1} {:>7.1} {:>7.1}",
                system.name(),
                median(|row| row.cpu_us_per_join),
                median(|row| row.joins_per_s),
                median(|row| row.joins_per_s_and_core),
                median(|row| row.join_ms.p50),
                median(|row| row.join_ms.p99),
                median(|row| row.datagrams_in),
                median(|row| row.datagrams_out),
            );
        }
        if let Some(Spread { min, median, max }) = self.ratio() {
            let _ = writeln!(text, "\nnucleus/bare {median:>6.2}  ({min:.2} to {max:.2})");
        }
        text
    }

    /// Returns the ratio of the CPU time of Nucleus and of the bare server, computed for each
    /// round.
    fn ratio(&self) -> Option<Spread> {
        let cpu = |system: System, round| {
            let same = |row: &&Row| row.system == system.name() && row.round == round;
            self.rows.iter().find(same).map(|row| row.cpu_us_per_join)
        };
        let rounds = self.rows.iter().filter(|row| row.system == System::Nucleus.name());
        Spread::of(
            rounds.filter_map(|row| Some(row.cpu_us_per_join / cpu(System::Bare, row.round)?)),
        )
    }

    fn spread(&self, system: System, figure: fn(&Row) -> f64) -> Option<Spread> {
        Spread::of(self.rows.iter().filter(|row| row.system == system.name()).map(figure))
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(round: u32, system: System, cpu_us_per_join: f64) -> Row {
        let join_ms = Latency { p50: 1.0, p99: 2.0 };
        let (joins_per_s, joins_per_s_and_core) = (10.0, 1e6 / cpu_us_per_join);
        let system = system.name();
        Row {
            round,
            system,
            joins: 9,
            cpu_us_per_join,
            joins_per_s,
            joins_per_s_and_core,
            join_ms,
            datagrams_in: 4.0,
            datagrams_out: 5.0,
        }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_own() {
        let mut rows = Vec::new();
        // The ratio of the medians would be 30 / 10.
        for (round, nucleus, bare) in [(1, 30.0, 10.0), (2, 16.0, 8.0), (3, 50.0, 20.0)] {
            rows.push(row(round, System::Bare, bare));
            rows.push(row(round, System::Nucleus, nucleus));
        }
        rows.push(row(4, System::Nucleus, 900.0));
        let report = Report { at_once: 1, rows };
        assert_eq!(report.ratio(), Some(Spread { min: 2.0, median: 2.5, max: 3.0 }));
        assert_eq!(report.json()["ratios"]["nucleus/bare"], json!(2.5));
        assert!(report.table().ends_with("nucleus/bare   2.50  (2.00 to 3.00)\n"));
    }

    #[test]
    fn without_a_round_there_is_no_ratio() {
        let report = Report { at_once: 1, rows: Vec::new() };
        assert!(report.ratio().is_none() && report.json().get("ratios").is_none());
    }
}
