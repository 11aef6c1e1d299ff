//! The facts of a page: the line to order, the machine and the programs.

use std::fs;

use nucleus_console::screens::FactRow;
use nucleus_console::text::counted;
use nucleus_console::{Markup, Quantity, ShownName};

use crate::report::Report;

fn fact(title: &str, value: Markup) -> FactRow {
    FactRow { title: title.to_owned(), value }
}

/// Returns the row of a figure.
fn figure(title: &str, value: &Quantity) -> FactRow {
    fact(title, Markup::new().then(value))
}

/// Returns the line that the load of a report needs, and the memory.
pub(super) fn line_facts(report: &Report) -> Vec<FactRow> {
    let line = &report.line;
    let rows = [
        ("Server sends", line.down_mbit_s, "Mbit/s"),
        ("Server receives", line.up_mbit_s, "Mbit/s"),
        ("One headset receives", line.down_kbit_s_per_headset, "kbit/s"),
        ("One headset sends", line.up_kbit_s_per_headset, "kbit/s"),
    ];
    let lines = rows.map(|(title, value, unit)| figure(title, &Quantity::number(value, unit)));
    let memory = figure("Memory of the server", &Quantity::bytes(report.server.rss_bytes));
    lines.into_iter().chain([memory]).collect()
}

/// Returns the machine of the generator, and the programs.
pub(super) fn machine_facts(report: &Report) -> Vec<FactRow> {
    let (server, generator) = (&report.server, &report.generator);
    let text = |title: &str, text: String| fact(title, Markup::from(text.as_str()));
    let cores = counted(generator.cores, "core", "cores");
    let shards = match server.shards {
        Some(1) => "1 shard".to_owned(),
        shards => format!("{} shards", Quantity::count(shards).plain()),
    };
    vec![
        text("CPU", format!("{}, {cores}", generator.cpu_model)),
        text("System", system()),
        text("Server", format!("nucleus {}, {shards}, tick {}", server.version, report.tick)),
        text("Load generator", format!("loadgen {}", generator.version)),
        figure("CPU of the generator", &Quantity::number(generator.cpu_cores, "cores")),
        figure("Send lag p99", &Quantity::number(generator.send_lag_p99_ms, "ms")),
        figure("Compared byte for byte", &Quantity::share(report.verified_share)),
        fact("Profile", Markup::new().then(&ShownName::new(report.profile.clone()))),
        fact("Network", Markup::new().then(&ShownName::new(report.network.clone()))),
    ]
}

/// Returns the name of the system, as `Debian GNU/Linux 12, Linux 6.1.0`; the parts that are unknown are
/// left out.
fn system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let kernel = kernel.map(|version| format!("Linux {}", version.trim()));
    let parts: Vec<String> =
        name.map(|name| name.trim_matches('"').to_owned()).into_iter().chain(kernel).collect();
    if parts.is_empty() { "unknown".to_owned() } else { parts.join(", ") }
}

/// Returns what the figures of a run do not show.
pub(super) fn remarks(report: &Report, is_embedded: bool) -> Vec<String> {
    let mut remarks = Vec::new();
    if report.network != "clean" {
        remarks.push(format!(
            "The network between the headsets and the server was simulated ({}): its delays and losses are \
             part of the figures.",
            report.network
        ));
    }
    if report.tick == "auto" {
        remarks.push(
            "A server that needs more than half a core gathers messages longer before it sends them \
             (tick auto). From there on CPU time grows more slowly, and latency and age are up to 16 ms higher."
                .to_owned(),
        );
    }
    if is_embedded {
        remarks.push(
            "The generator ran on the server's machine and used its CPU time. The server alone \
             carries more."
                .to_owned(),
        );
        remarks.push(
            "No datagram crossed a network card. Plan for a card and a line that carry the Mbit/s \
             above, and measure once more from a second machine with --target."
                .to_owned(),
        );
    }
    remarks.push(
        "The joins were evenly spread. A company that joins in one minute needs more CPU time in \
         that minute."
            .to_owned(),
    );
    remarks.push(
        "The Mbit/s are means, with the headers of UDP and IP, without those of Ethernet and \
         without the sessions on UDP 5055."
            .to_owned(),
    );
    remarks.extend(report.notes.iter().cloned());
    remarks
}
