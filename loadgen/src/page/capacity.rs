//! The page of a search for the capacity.

use nucleus_console::charts::{ChartAxis, LineChart};
use nucleus_console::report::{ReportColumn, ReportPage, ReportTable};
use nucleus_console::text::counted;
use nucleus_console::{Mark, Markup, Quantity, Tone};

use super::conditions::condition_row;
use super::facts::{line_facts, machine_facts, remarks};
use super::{Origin, chart, percent};
use crate::capacity::{CapacityResult, CapacityStep};
use crate::report::Report;

/// Returns the page of a result.
pub(crate) fn capacity_page(result: &CapacityResult, origin: &Origin) -> ReportPage {
    let curve = Curve::new(result);
    let report = curve.marked.map(|index| curve.reports[index]);
    // Where no load kept the objective, the machine is that of the last step.
    let any = report.or(curve.reports.last().copied());
    let answer = Quantity::count(result.headsets.map(u64::from)).with_unit("headsets");
    let plain = answer.plain();
    let known = result.headsets.is_some();
    ReportPage {
        title: if known { format!("{plain} · capacity") } else { "capacity".to_owned() },
        kind: "Capacity".to_owned(),
        validity: match result.valid {
            true => Mark::new(Tone::Good, "Valid"),
            false => Mark::new(Tone::Bad, "INVALID"),
        },
        answer,
        sentence: any.map(|report| sentence(result, report)).unwrap_or_default(),
        reason: reason(result),
        faults: if result.valid { Vec::new() } else { result.invalid_reasons.clone() },
        line: report.map(line_facts).unwrap_or_default(),
        conditions_title: format!("The objective, at {plain}"),
        conditions: match report {
            Some(report) => {
                let conditions = result.conditions.iter();
                conditions.map(|condition| condition_row(condition, report, true)).collect()
            }
            None => Vec::new(),
        },
        charts_title: "How it grows with the load".to_owned(),
        charts_note: match known {
            true => format!("across: headsets; the dotted line marks {plain}"),
            false => "across: headsets".to_owned(),
        },
        charts: curve.charts(result),
        table: steps(result),
        remarks: any.map(|report| remarks(report, result.is_embedded)).unwrap_or_default(),
        machine: any.map(machine_facts).unwrap_or_default(),
        command: origin.command.clone(),
        began: origin.began(),
        took: origin.took(),
    }
}

/// Says what the number is of.
fn sentence(result: &CapacityResult, report: &Report) -> String {
    let rooms = match result.room_size {
        Some(size) => format!("in rooms of {size}"),
        None => "in one room".to_owned(),
    };
    let machine = match result.is_embedded {
        true => {
            let cores = counted(report.generator.cores, "core", "cores");
            format!("on this machine with {cores}, ")
        }
        false => String::new(),
    };
    let profile = &result.profile;
    let poses = Quantity::number(report.pose_hz, "Hz").plain();
    format!("{machine}{rooms}, profile {profile}, poses at {poses}")
}

/// Says what limits the number.
fn reason(result: &CapacityResult) -> Option<(Mark, String)> {
    let (tone, words) = match result.limited_by? {
        "server" => (Tone::Info, "Limited by the server"),
        "objective" => (Tone::Warn, "Limited by the objective"),
        "max" => (Tone::Warn, "Not limited: the most that was asked for"),
        _ => (Tone::Bad, "Limited by the load generator"),
    };
    Some((Mark::new(tone, words), result.why.clone().unwrap_or_default()))
}

/// The reports by load: of each load the last one.
struct Curve<'a> {
    loads: Vec<i64>,
    reports: Vec<&'a Report>,
    /// The index of the load that is the answer.
    marked: Option<usize>,
}

impl<'a> Curve<'a> {
    fn new(result: &'a CapacityResult) -> Self {
        let measured = result.steps.iter().filter_map(|step| Some((step, step.report.as_ref()?)));
        let mut points: Vec<(u32, bool, &Report)> =
            measured.map(|(step, report)| (step.headsets, step.ok, report)).collect();
        // The sort is stable. Of one load, the try that kept the objective comes last, else the last.
        points.sort_by_key(|(headsets, ok, _)| (*headsets, *ok));
        points.reverse();
        points.dedup_by_key(|(headsets, ..)| *headsets);
        points.reverse();
        let is_answer =
            |(headsets, ok, _): &(u32, bool, _)| *ok && Some(*headsets) == result.headsets;
        Curve {
            marked: points.iter().position(is_answer),
            loads: points.iter().map(|(headsets, ..)| i64::from(*headsets)).collect(),
            reports: points.into_iter().map(|(_, _, report)| report).collect(),
        }
    }

    fn values(&self, figure: impl Fn(&Report) -> Option<f64>) -> Vec<Option<f64>> {
        self.reports.iter().map(|report| figure(report)).collect()
    }

    fn charts(&self, result: &CapacityResult) -> Vec<LineChart> {
        let axis = ChartAxis::Figure {
            values: self.loads.clone(),
            unit: "headsets".to_owned(),
            marked: self.marked,
        };
        let limit = |name: &str| {
            let mut conditions = result.conditions.iter();
            conditions.find(|condition| condition.name() == name).map(|found| found.limit())
        };
        let voice_age = |report: &Report| report.channels.voice.age_ms.and_then(|age| age.p99);
        let pose_age = |report: &Report| report.channels.pose.channel.age_ms;
        let withheld = |report: &Report| {
            let pose = &report.channels.pose.channel;
            (pose.expected > 0).then(|| pose.withheld as f64 / pose.expected as f64)
        };
        vec![
            chart(
                "Server's share of its cores",
                "%",
                &axis,
                percent(limit("server.cpu_share")),
                vec![("CPU", self.values(|report| percent(report.server.cpu_share)))],
            ),
            chart(
                "Age of information",
                "ms",
                &axis,
                limit("pose.age_p99_ms"),
                vec![
                    ("pose p99", self.values(|report| pose_age(report)?.p99)),
                    ("voice p99", self.values(voice_age)),
                    ("pose p50", self.values(|report| pose_age(report)?.p50)),
                ],
            ),
            chart(
                "Latency",
                "ms",
                &axis,
                limit("voice.p99_ms"),
                vec![
                    ("pose p99", self.values(|r| r.channels.pose.channel.latency_ms.p99)),
                    ("voice p99", self.values(|r| r.channels.voice.latency_ms.p99)),
                    ("pose p50", self.values(|r| r.channels.pose.channel.latency_ms.p50)),
                ],
            ),
            chart(
                "Loss",
                "%",
                &axis,
                percent(limit("pose.loss")),
                vec![
                    ("pose", self.values(|report| percent(report.channels.pose.channel.loss))),
                    ("voice", self.values(|report| percent(report.channels.voice.loss))),
                ],
            ),
            chart(
                "Line of the server",
                "Mbit/s",
                &axis,
                None,
                vec![
                    ("out", self.values(|report| report.line.down_mbit_s)),
                    ("in", self.values(|report| report.line.up_mbit_s)),
                ],
            ),
            chart(
                "Messages per datagram",
                "",
                &axis,
                None,
                vec![("messages", self.values(|report| report.server.messages_per_datagram))],
            ),
            chart(
                "Poses withheld by the server",
                "%",
                &axis,
                None,
                vec![("withheld", self.values(|report| percent(withheld(report))))],
            ),
        ]
    }
}

/// Returns the table of the steps, in the order in which they were measured.
fn steps(result: &CapacityResult) -> ReportTable {
    let column = |title: &str, is_figure| ReportColumn { title: title.to_owned(), is_figure };
    let count = result.steps.len();
    let duration = result.steps.iter().find_map(|step| Some(step.report.as_ref()?.duration_s));
    let duration = Quantity::number(duration, "s").plain();
    ReportTable {
        title: "The search".to_owned(),
        context: format!("{}, each of {duration}", counted(count, "step", "steps")),
        columns: vec![
            column("Headsets", true),
            column("Objective", false),
            column("CPU", true),
            column("Pose age p99", true),
            column("Voice p99", true),
            column("Pose loss", true),
            column("Why", false),
        ],
        rows: result.steps.iter().map(row).collect(),
    }
}

fn row(step: &CapacityStep) -> Vec<Markup> {
    let report = step.report.as_ref();
    let figure = |quantity: Quantity| Markup::new().then(&quantity);
    let of = |value: fn(&Report) -> Option<f64>| report.and_then(value);
    let mark = match (step.ok, report.is_some_and(|report| !report.valid)) {
        (true, _) => Mark::new(Tone::Good, "Kept"),
        (false, false) => Mark::new(Tone::Bad, "Missed"),
        (false, true) => Mark::new(Tone::Bad, "INVALID"),
    };
    vec![
        figure(Quantity::count(u64::from(step.headsets))),
        Markup::new().then(&mark),
        figure(Quantity::share(of(|report| report.server.cpu_share))),
        figure(Quantity::number(of(|r| r.channels.pose.channel.age_ms?.p99), "ms")),
        figure(Quantity::number(of(|r| r.channels.voice.latency_ms.p99), "ms")),
        figure(Quantity::share(of(|r| r.channels.pose.channel.loss))),
        Markup::from(step.reason.as_str()),
    ]
}
