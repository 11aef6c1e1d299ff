//! The reports of a search and of a run.

use nucleus_console::charts::{ChartAxis, ChartSeries, LineChart};
use nucleus_console::report::{ConditionRow, ReportColumn, ReportPage, ReportTable};
use nucleus_console::screens::FactRow;
use nucleus_console::{Mark, Markup, Quantity, RenderError, ShownTime, Tone, render};

use super::{Data, at};

/// The headsets of each step of the search.
const LOADS: [i64; 8] = [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 6_370, 7_000];

/// Renders every report.
pub(crate) fn pages(data: Data) -> Result<Vec<(&'static str, String)>, RenderError> {
    Ok(vec![("report-capacity", render(&capacity(data))?)])
}

fn fact(data: Data, title: &str, value: &str) -> FactRow {
    FactRow { title: title.to_owned(), value: Markup::new().then(&data.name_of(value)) }
}

fn chart(data: Data, title: &str, unit: &str, limit: Option<f64>, lines: &[&str]) -> LineChart {
    let series = lines.iter().enumerate().map(|(index, label)| ChartSeries {
        label: (*label).to_owned(),
        values: LOADS.iter().map(|load| Some(*load as f64 / 80.0 / (index + 1) as f64)).collect(),
        color: None,
    });
    LineChart {
        title: title.to_owned(),
        context: String::new(),
        reading: "79.6 % at 6,370 headsets".to_owned(),
        unit: unit.to_owned(),
        axis: ChartAxis::Figure {
            values: data.list(LOADS.to_vec()),
            unit: "headsets".to_owned(),
            marked: data.some(6),
        },
        series: series.collect(),
        limit,
        is_low: true,
    }
}

fn condition(title: &str, measured: f64, limit: f64, unit: &str) -> ConditionRow {
    let share = measured / limit;
    ConditionRow {
        title: title.to_owned(),
        measured: Quantity::number(measured, unit),
        limit: Quantity::number(limit, unit),
        share: Some(share),
        mark: match share {
            0.0..0.95 => Mark::new(Tone::Good, "Kept"),
            0.95..=1.0 => Mark::new(Tone::Warn, "Just kept"),
            _ => Mark::new(Tone::Bad, "Missed"),
        },
    }
}

fn steps(data: Data) -> ReportTable {
    let column = |title: &str, is_figure| ReportColumn { title: title.to_owned(), is_figure };
    let row = |load: &i64| {
        vec![
            Markup::new().then(&Quantity::number(*load as f64, "")),
            Markup::new().then(&Mark::new(Tone::Good, "Kept")),
            Markup::new().then(&Quantity::share(0.142)),
            Markup::new().then(&data.name_of("server.cpu_share <= 0.8: it is 0.87")),
        ]
    };
    ReportTable {
        title: "The search".to_owned(),
        context: "8 steps of 20 s, last step 2.0 %".to_owned(),
        columns: vec![
            column("Headsets", true),
            column("Objective", false),
            column("CPU", true),
            column("Why", false),
        ],
        rows: data.list(LOADS.iter().map(row).collect()),
    }
}

fn capacity(data: Data) -> ReportPage {
    ReportPage {
        title: data.text("6,370 headsets · capacity"),
        kind: "Capacity".to_owned(),
        validity: match data {
            Data::Designed => Mark::new(Tone::Good, "Valid"),
            _ => Mark::new(Tone::Bad, "INVALID"),
        },
        answer: Quantity::count(data.some(6_370)).with_unit("headsets"),
        sentence: data.text("on this 8-core machine, in rooms of 10, poses at 30 Hz."),
        reason: data.some((
            Mark::new(Tone::Warn, "Limited by the server"),
            data.text("With 6,500 headsets: server.cpu_share <= 0.8: it is 0.813."),
        )),
        faults: match data {
            Data::Designed => Vec::new(),
            _ => vec![data.text("the generator's sends lagged by 9 ms at p99, more than 5 ms")],
        },
        line: data.list(vec![
            fact(data, "Server sends", "1,118 Mbit/s"),
            fact(data, "Server receives", "231 Mbit/s"),
        ]),
        conditions_title: "The objective, at 6,370 headsets".to_owned(),
        conditions: data.list(vec![
            condition("Server's share of its cores", 79.6, 80.0, "%"),
            condition("Pose age p99", 41.2, 60.0, "ms"),
            condition("Voice loss", 0.2, 0.1, "%"),
        ]),
        charts_title: "How it grows with the load".to_owned(),
        charts_note: "across: headsets; the dotted line marks 6,370".to_owned(),
        charts: vec![
            chart(data, "Server's share of its cores", "%", Some(80.0), &["CPU"]),
            chart(data, "Age of information", "ms", Some(60.0), &["voice p99", "pose p99"]),
            chart(data, "Line", "Mbit/s", None, &["out", "in"]),
        ],
        table: steps(data),
        remarks: vec![data.text("The generator ran on the same machine.")],
        machine: vec![fact(data, "CPU", "AMD EPYC 9354P"), fact(data, "Server", "nucleus 0.9.2")],
        command: data.text("loadgen capacity --embedded --room-size 10 --html capacity.html"),
        began: ShownTime::of(data.some(at(10, 20, 0))),
        took: Quantity::seconds(data.some(372)),
    }
}
