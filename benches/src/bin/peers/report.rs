//! The report: a row for each system and round, and the ratios between systems.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::generator::Measurement;
use crate::systems::System;

/// Largest send lag (99th percentile) of a round that counts, ms.
const MAX_LAG_MS: f64 = 5.0;
/// Largest share of datagrams that may be lost at the generator's own sockets in a round that
/// counts.
const MAX_OWN_LOSS: f64 = 0.001;
/// Smallest share of the messages that a system must deliver in a round that counts. A system that
/// sheds load has less work for each message.
const MIN_DELIVERED: f64 = 0.99;
/// The pairs of systems whose costs are divided.
const RATIOS: [(System, System); 5] = [
    (System::Nucleus, System::Limit),
    (System::Quinn, System::Nucleus),
    (System::Renet, System::Nucleus),
    (System::Naive, System::Nucleus),
    (System::Enet, System::Nucleus),
];

/// Quantiles of the latency, ms; `None` if nothing arrived.
#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
}

/// The figures of one system in one round. A figure that could not be measured is `None`, never 0.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    round: u32,
    #[serde(serialize_with = "name")]
    system: System,
    /// Whether the round counts: the generator kept its schedule, and the system delivered enough.
    valid: bool,
    cpu_ns_per_message: Option<f64>,
    delivered: u64,
    expected: u64,
    duplicated: u64,
    latency_ms: Latency,
    /// CPU time of the server as a share of one core.
    cpu_share: f64,
    /// Datagrams from the server to the peers.
    datagrams: u64,
    messages_per_datagram: Option<f64>,
    /// `None` if nothing was sent; the round then does not count.
    send_lag_p99_ms: Option<f64>,
    generator_cpu_share: f64,
    /// `None` if the system does not tell; the round then does not count.
    generator_drops: Option<u64>,
}

fn name<S: serde::Serializer>(system: &System, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(system.name())
}

impl Row {
    /// Computes the row of a window of `seconds`.
    pub(crate) fn new(round: u32, system: System, seconds: f64, found: &Measurement) -> Self {
        let ledger = &found.ledger;
        let ms = |micros: u64| micros as f64 / 1_000.0;
        let quantile =
            |times: &Histogram<u64>, q| (!times.is_empty()).then(|| ms(times.value_at_quantile(q)));
        let lag = quantile(&ledger.lag, 0.99);
        let per = |total: f64, count: u64, digits| {
            (count > 0).then(|| rounded(total / count as f64, digits))
        };
        let own_loss = |drops: u64| drops as f64 / ledger.datagrams.max(1) as f64;
        let kept_all = found.drops.is_some_and(|drops| own_loss(drops) <= MAX_OWN_LOSS);
        let delivered_enough = is_enough(ledger.delivered, ledger.expected);
        let valid = lag.is_some_and(|lag| lag <= MAX_LAG_MS) && kept_all && delivered_enough;
        Row {
            round,
            system,
            valid,
            cpu_ns_per_message: per(found.server_cpu * 1e9, ledger.delivered, 1),
            delivered: ledger.delivered,
            expected: ledger.expected,
            duplicated: ledger.duplicated,
            latency_ms: Latency {
                p50: quantile(&ledger.latency, 0.5),
                p99: quantile(&ledger.latency, 0.99),
            },
            cpu_share: rounded(found.server_cpu / seconds, 4),
            datagrams: ledger.datagrams,
            messages_per_datagram: per(ledger.messages as f64, ledger.datagrams, 3),
            send_lag_p99_ms: lag,
            generator_cpu_share: rounded(found.own_cpu / seconds, 4),
            generator_drops: found.drops,
        }
    }

    /// Returns a warning if the row does not count.
    pub(crate) fn warning(&self) -> Option<String> {
        (!self.valid).then(|| {
            let (drops, lag) = (self.generator_drops, self.send_lag_p99_ms);
            format!(
                "round {}, {}: does not count (send lag p99 {} ms, {} datagrams lost at the \
                 generator, {} of {} delivered)",
                self.round,
                self.system.name(),
                lag.map_or("unknown".into(), |lag| lag.to_string()),
                drops.map_or("unknown".into(), |drops| drops.to_string()),
                self.delivered,
                self.expected
            )
        })
    }
}

/// Returns whether a system delivered enough messages for a round to count.
fn is_enough(delivered: u64, expected: u64) -> bool {
    expected > 0 && delivered as f64 >= MIN_DELIVERED * expected as f64
}

/// The cost of one system divided by that of another.
#[derive(Clone, Debug, PartialEq)]
struct Ratio {
    name: String,
    /// The ratio in each round in which both systems count, in ascending order.
    values: Vec<f64>,
}

impl Ratio {
    fn median(&self) -> Option<f64> {
        let middle = self.values.len() / 2;
        let upper = *self.values.get(middle)?;
        let odd = self.values.len() % 2 == 1;
        Some(if odd { upper } else { (self.values[middle - 1] + upper) / 2.0 })
    }

    fn spread(&self) -> Option<Spread> {
        Some(Spread { min: *self.values.first()?, max: *self.values.last()? })
    }
}

/// The smallest and the largest of several values.
#[derive(Clone, Copy, Debug)]
struct Spread {
    min: f64,
    max: f64,
}

/// All rows of a run.
pub(crate) struct Report {
    /// The options of the run.
    pub(crate) settings: Map<String, Value>,
    pub(crate) systems: Vec<System>,
    pub(crate) rounds: u32,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> Value {
        let (mut ratios, mut spread) = (Map::new(), Map::new());
        for ratio in self.ratios() {
            let median = self.known(&ratio).map(|median| rounded(median, 4));
            ratios.insert(ratio.name.clone(), json!(median));
            if let Some(Spread { min, max }) = ratio.spread() {
                let [min, max] = [min, max].map(|value| rounded(value, 4));
                spread.insert(ratio.name, json!({ "min": min, "max": max }));
            }
        }
        let mut report = self.settings.clone();
        report.insert("schema".into(), json!(1));
        report.insert("rounds".into(), json!(self.rows));
        report.insert("ratios".into(), json!(ratios));
        report.insert("spread".into(), json!(spread));
        Value::Object(report)
    }

    /// Returns the names of the systems for which too few rounds count, and of the ratios for which
    /// too few rounds count, although both systems were measured.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let systems = self.systems.iter().filter(|system| !self.is_proven(**system));
        let ratios = self.ratios().filter(|ratio| self.known(ratio).is_none());
        let systems = systems.map(|system| system.name().to_owned());
        systems.chain(ratios.map(|ratio| ratio.name)).collect()
    }

    /// Returns whether the majority of a system's rounds count.
    fn is_proven(&self, system: System) -> bool {
        let valid = self.rows.iter().filter(|row| row.system == system && row.valid).count();
        2 * valid > self.rounds as usize
    }

    /// Returns the median of a ratio; `None` unless the majority of the rounds count.
    fn known(&self, ratio: &Ratio) -> Option<f64> {
        ratio.median().filter(|_| 2 * ratio.values.len() > self.rounds as usize)
    }

    /// Returns the report as text, with the medians over the rounds that count.
    pub(crate) fn table(&self) -> String {
        let setting = |name| self.settings.get(name).map(ToString::to_string).unwrap_or_default();
        let mut text = format!(
            "{} peers in rooms of {}, {} poses a second each, tick {} ms\n\
             {:<8} {:>6} {:>10} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8}\n",
            setting("peers"),
            setting("room_size"),
            setting("hz"),
            setting("tick_ms"),
            "system",
            "rounds",
            "cpu ns/msg",
            "cpu %",
            "delivered",
            "msg/dgm",
            "p50 ms",
            "p99 ms",
            "lag ms"
        );
        for system in &self.systems {
            let rows: Vec<&Row> =
                self.rows.iter().filter(|row| row.system == *system && row.valid).collect();
            if rows.is_empty() {
                let _ = writeln!(text, "{:<8}      0  no round counts", system.name());
                continue;
            }
            let median = |figure: &dyn Fn(&Row) -> Option<f64>| {
                let values = sorted(rows.iter().filter_map(|row| figure(row)));
                Ratio { name: String::new(), values }.median().unwrap_or(f64::NAN)
            };
            let _ = writeln!(
                text,
                "{:<8} {:>6} {:>10.0} {:>8.1} {:>8.2}% {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
                system.name(),
                rows.len(),
                median(&|row| row.cpu_ns_per_message),
                median(&|row| Some(row.cpu_share * 100.0)),
                median(&|row| Some(100.0 * row.delivered as f64 / row.expected.max(1) as f64)),
                median(&|row| row.messages_per_datagram),
                median(&|row| row.latency_ms.p50),
                median(&|row| row.latency_ms.p99),
                median(&|row| row.send_lag_p99_ms),
            );
        }
        text.push('\n');
        for ratio in self.ratios() {
            let _ = match (self.known(&ratio), ratio.spread()) {
                (Some(median), Some(Spread { min, max })) => {
                    writeln!(text, "{:<14} {median:>6.2}  ({min:.2} to {max:.2})", ratio.name)
                }
                _ => {
                    let (count, rounds) = (ratio.values.len(), self.rounds);
                    writeln!(text, "{:<14} unknown: {count} of {rounds} rounds count", ratio.name)
                }
            };
        }
        text.push('\n');
        text
    }

    /// Returns the ratios of the pairs of which both systems were measured.
    fn ratios(&self) -> impl Iterator<Item = Ratio> {
        let was_measured = |system| self.systems.contains(system);
        RATIOS
            .iter()
            .filter(move |(numerator, denominator)| {
                was_measured(numerator) && was_measured(denominator)
            })
            .map(|(numerator, denominator)| Ratio {
                name: format!("{}/{}", numerator.name(), denominator.name()),
                values: sorted(
                    self.rows.iter().filter_map(|row| self.ratio(row, *numerator, *denominator)),
                ),
            })
    }

    /// Returns the ratio in the round of `row`, if that is a row of `numerator` and both systems
    /// count.
    fn ratio(&self, row: &Row, numerator: System, denominator: System) -> Option<f64> {
        let same = |other: &&Row| other.system == denominator && other.round == row.round;
        let other = self.rows.iter().find(same)?;
        let count = row.system == numerator && row.valid && other.valid;
        if !count {
            return None;
        }
        Some(row.cpu_ns_per_message? / other.cpu_ns_per_message?)
    }
}

/// Returns the reports of several loads as JSON. One report stands alone; several are the elements
/// of `loads`.
pub(crate) fn json_of(reports: &[Report]) -> Value {
    match reports {
        [report] => report.json(),
        _ => {
            let loads: Vec<Value> = reports.iter().map(Report::json).collect();
            json!({ "schema": 1, "loads": loads })
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::rooms::Rooms;
    use crate::schedule::Schedule;

    fn row(round: u32, system: System, cpu_ns_per_message: f64, valid: bool) -> Row {
        Row {
            round,
            system,
            valid,
            cpu_ns_per_message: Some(cpu_ns_per_message),
            delivered: 9,
            expected: 9,
            duplicated: 0,
            latency_ms: Latency { p50: Some(1.0), p99: Some(2.0) },
            cpu_share: 0.5,
            datagrams: 3,
            messages_per_datagram: Some(3.0),
            send_lag_p99_ms: Some(0.5),
            generator_cpu_share: 0.5,
            generator_drops: Some(0),
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        let systems = vec![System::Nucleus, System::Limit, System::Naive];
        let rounds = rows.iter().map(|row| row.round).max().unwrap_or(0);
        Report { settings: Map::new(), systems, rounds, rows }
    }

    #[test]
    fn ratios_are_medians_of_the_rounds_that_count() {
        let mut rows = Vec::new();
        for (round, nucleus, limit) in [(1, 30.0, 10.0), (2, 16.0, 8.0), (3, 50.0, 10.0)] {
            // With three rounds, the ratio of the medians would also be 30 / 10. The fourth round
            // makes the two results differ.
            rows.push(row(round, System::Limit, limit, true));
            rows.push(row(round, System::Nucleus, nucleus, true));
        }
        rows.push(row(4, System::Nucleus, 8.0, true));
        rows.push(row(4, System::Limit, 80.0, true));
        rows.push(row(5, System::Nucleus, 900.0, true));
        rows.push(row(5, System::Limit, 1.0, false));
        let report = report(rows);
        let json = report.json();
        assert_eq!(json["ratios"]["nucleus/limit"], json!(2.5));
        assert_eq!(json["spread"]["nucleus/limit"], json!({ "min": 0.1, "max": 5.0 }));
        assert_eq!(json["rounds"][0]["system"], json!("limit"));
        assert_eq!(report.unknown(), ["naive", "naive/nucleus"]);
        assert!(report.table().contains("nucleus/limit"));
    }

    #[test]
    fn a_ratio_is_known_if_the_majority_of_the_rounds_count() {
        let mut rows = Vec::new();
        for round in 1..=5 {
            rows.push(row(round, System::Limit, 10.0, true));
            rows.push(row(round, System::Nucleus, 20.0, round <= 3));
        }
        let json = report(rows.clone()).json();
        assert_eq!(json["ratios"], json!({ "nucleus/limit": 2.0, "naive/nucleus": null }));
        rows[4].valid = false;
        let report = report(rows);
        assert_eq!(report.json()["ratios"]["nucleus/limit"], Value::Null);
        assert_eq!(report.unknown(), ["naive", "nucleus/limit", "naive/nucleus"]);
        assert!(report.table().contains("unknown: 2 of 5 rounds count"), "{}", report.table());
    }

    #[test]
    fn a_system_alone_needs_the_majority_of_its_rounds_too() {
        let alone = |valid: [bool; 3]| {
            let rounds = (1..).zip(valid);
            let rows = rounds.map(|(round, valid)| row(round, System::Naive, 10.0, valid));
            Report { systems: vec![System::Naive], ..report(rows.collect()) }
        };
        assert_eq!(alone([true, false, true]).unknown(), [""; 0]);
        assert_eq!(alone([true, false, false]).unknown(), ["naive"]);
        assert_eq!(alone([false; 3]).unknown(), ["naive"]);
    }

    #[test]
    fn what_was_not_measured_is_unknown() {
        let schedule = Schedule::new(Rooms { peers: 4, size: 2 }, 60, 1_000, 0, 1.0);
        let ledger = Ledger::new(schedule, vec![0; 4]);
        let nothing = Measurement { ledger, server_cpu: 0.1, own_cpu: 0.1, drops: Some(0) };
        let row = Row::new(1, System::Naive, 1.0, &nothing);
        let json = json!(row);
        for figure in ["cpu_ns_per_message", "messages_per_datagram", "send_lag_p99_ms"] {
            assert_eq!(json[figure], Value::Null, "{figure}");
        }
        assert_eq!(json["latency_ms"], json!({ "p50": null, "p99": null }));
        assert!(!row.valid && row.warning().unwrap().contains("send lag p99 unknown"));
    }

    #[test]
    fn a_round_below_99_percent_delivered_does_not_count() {
        assert!(is_enough(1_000, 1_000) && is_enough(990, 1_000));
        assert!(!is_enough(989, 1_000) && !is_enough(1, 1_000) && !is_enough(0, 0));
    }

    #[test]
    fn several_loads_have_a_part_each_and_one_stands_alone() {
        let one = || report(vec![row(1, System::Nucleus, 3.0, true)]);
        assert_eq!(json_of(&[one()]), one().json());
        let both = json_of(&[one(), one()]);
        assert_eq!((&both["schema"], both["loads"].as_array().map(Vec::len)), (&json!(1), Some(2)));
        assert_eq!(both["loads"][1], one().json());
    }

    #[test]
    fn a_pair_is_of_one_round() {
        let rows = vec![row(1, System::Nucleus, 3.0, true), row(2, System::Limit, 1.0, true)];
        let unknown = ["nucleus", "limit", "naive", "nucleus/limit", "naive/nucleus"];
        assert_eq!(report(rows).unknown(), unknown);
    }
}
