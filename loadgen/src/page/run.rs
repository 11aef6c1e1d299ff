//! The page of a run.

use nucleus_console::charts::{ChartAxis, LineChart};
use nucleus_console::report::{ReportColumn, ReportPage, ReportTable};
use nucleus_console::text::counted;
use nucleus_console::{Mark, Markup, Quantity, Tone};

use super::conditions::condition_row;
use super::facts::{line_facts, machine_facts, remarks};
use super::{Origin, chart, percent};
use crate::report::Report;
use crate::report::channels::ChannelReport;
use crate::report::fail_if::FailIf;
use crate::report::over_time::OverTime;

/// Returns the page of a report. `rules` are those of `--fail-if`.
pub(crate) fn run_page(
    report: &Report,
    rules: &[FailIf],
    is_embedded: bool,
    origin: &Origin,
) -> ReportPage {
    let answer = Quantity::count(report.joins.ok).with_unit("headsets");
    let is_kept = rules.iter().all(|rule| rule.held(report).is_none());
    ReportPage {
        title: format!("{} · run", answer.plain()),
        kind: "Run".to_owned(),
        validity: match (report.valid, is_kept) {
            (true, true) => Mark::new(Tone::Good, "Valid"),
            (true, false) => Mark::new(Tone::Bad, "Valid, a condition failed"),
            (false, _) => Mark::new(Tone::Bad, "INVALID"),
        },
        answer,
        sentence: sentence(report),
        reason: None,
        faults: report.invalid_reasons.clone(),
        line: line_facts(report),
        conditions_title: "The conditions of --fail-if".to_owned(),
        // A run fails if such a condition holds.
        conditions: rules.iter().map(|rule| condition_row(rule, report, false)).collect(),
        charts_title: "Over time".to_owned(),
        charts_note: "across: seconds of the measured time".to_owned(),
        charts: report.over_time.as_ref().map(charts).unwrap_or_default(),
        table: channels(report),
        remarks: remarks(report, is_embedded),
        machine: machine_facts(report),
        command: origin.command.clone(),
        began: origin.began(),
        took: origin.took(),
    }
}

fn sentence(report: &Report) -> String {
    let poses = Quantity::number(report.pose_hz, "Hz").plain();
    let time = Quantity::number(report.duration_s, "s").plain();
    let network = match &*report.network {
        "clean" => String::new(),
        name => format!(", over the simulated network {name}"),
    };
    format!(
        "joined, in {} of up to {}, profile {}, poses at {poses}, measured for {time}{network}",
        counted(report.rooms, "room", "rooms"),
        report.room_size,
        report.profile
    )
}

fn charts(over_time: &OverTime) -> Vec<LineChart> {
    let slots = over_time.pose.missing.len().max(over_time.down_mbit_s.len());
    let axis = ChartAxis::Figure {
        // The end of each slot.
        values: (1..=slots).map(|slot| (slot as f64 * over_time.slot_s).round() as i64).collect(),
        unit: "s".to_owned(),
        marked: None,
    };
    let percents = |shares: &[Option<f64>]| shares.iter().copied().map(percent).collect();
    let (pose, voice) = (&over_time.pose, &over_time.voice);
    let chart = |title: &str, unit: &str, lines| chart(title, unit, &axis, None, lines);
    vec![
        chart(
            "Latency",
            "ms",
            vec![
                ("pose p99", pose.latency_p99_ms.clone()),
                ("voice p99", voice.latency_p99_ms.clone()),
                ("pose p50", pose.latency_p50_ms.clone()),
                ("voice p50", voice.latency_p50_ms.clone()),
            ],
        ),
        chart(
            "Age of information",
            "ms",
            vec![
                ("pose p99", pose.age_p99_ms.clone()),
                ("voice p99", voice.age_p99_ms.clone()),
                ("pose p50", pose.age_p50_ms.clone()),
            ],
        ),
        chart(
            "Lost or withheld",
            "%",
            vec![("pose", percents(&pose.missing)), ("voice", percents(&voice.missing))],
        ),
        chart("Withheld by the server", "%", vec![("withheld", percents(&over_time.withheld))]),
        chart(
            "Server's share of its cores",
            "%",
            vec![("CPU", percents(&over_time.server_cpu_share))],
        ),
        chart(
            "Line of the server",
            "Mbit/s",
            vec![("out", over_time.down_mbit_s.clone()), ("in", over_time.up_mbit_s.clone())],
        ),
        chart(
            "Messages per datagram",
            "",
            vec![("messages", over_time.messages_per_datagram.clone())],
        ),
    ]
}

/// Returns the table of the channels.
fn channels(report: &Report) -> ReportTable {
    let column = |title: &str| ReportColumn { title: title.to_owned(), is_figure: true };
    let used = report.channels.named().filter(|(_, channel)| channel.expected > 0);
    ReportTable {
        title: "Channels".to_owned(),
        context: "over the whole measured time".to_owned(),
        columns: vec![
            ReportColumn { title: "Channel".to_owned(), is_figure: false },
            column("Expected"),
            column("Delivered"),
            column("Withheld"),
            column("Lost"),
            column("Age p99"),
            column("Latency p50"),
            column("Latency p99"),
            column("Corrupt"),
            column("Misrouted"),
        ],
        rows: used.map(|(name, channel)| row(name, channel)).collect(),
    }
}

fn row(name: &str, channel: &ChannelReport) -> Vec<Markup> {
    let figure = |quantity: Quantity| Markup::new().then(&quantity);
    let count = |count: u64| figure(Quantity::count(count));
    let millis = |value: Option<f64>| figure(Quantity::number(value, "ms"));
    vec![
        Markup::from(name),
        count(channel.expected),
        figure(Quantity::share(channel.delivered_share)),
        count(channel.withheld),
        figure(Quantity::share(channel.loss)),
        millis(channel.age_ms.and_then(|age| age.p99)),
        millis(channel.latency_ms.p50),
        millis(channel.latency_ms.p99),
        count(channel.corrupt),
        count(channel.misrouted),
    ]
}
