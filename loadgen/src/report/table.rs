//! The report as text for people.

use std::fmt;

use super::{ChannelReport, Report};

/// Shows a summary of a report.
pub(crate) struct Summary<'a>(pub(crate) &'a Report);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        writeln!(
            f,
            "{} headsets in {} rooms, profile {}, network {}, seed {}: {:.1} s measured",
            r.headsets, r.rooms, r.profile, r.network, r.seed, r.duration_s
        )?;
        writeln!(
            f,
            "joins     {} of {} (p50 {:.1} ms, p99 {:.1} ms)",
            r.joins.ok, r.joins.attempted, r.joins.p50_ms, r.joins.p99_ms
        )?;
        let s = &r.sessions;
        writeln!(
            f,
            "sessions  {} lost, {} resumed, {} rejoined, {} on the fallback after {} falls",
            s.lost, s.resumed, s.rejoined, s.on_fallback, s.fallbacks
        )?;
        channels(f, r)?;
        server(f, r)?;
        let g = &r.generator;
        writeln!(f, "generator {:.2} s CPU, send lag p99 {:.2} ms", g.cpu_s, g.send_lag_p99_ms)?;
        for note in &r.notes {
            writeln!(f, "note      {note}")?;
        }
        for reason in &r.invalid_reasons {
            writeln!(f, "INVALID   {reason}")?;
        }
        Ok(())
    }
}

fn channels(f: &mut fmt::Formatter<'_>, r: &Report) -> fmt::Result {
    writeln!(
        f,
        "channel {:>10} {:>11} {:>11} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "sent",
        "expected",
        "delivered",
        "withheld",
        "lost",
        "loss %",
        "p50 ms",
        "p95",
        "p99",
        "max"
    )?;
    for (name, channel) in r.channels.named() {
        row(f, name, channel)?;
    }
    let pose = &r.channels.pose;
    if pose.channel.sent > 0 {
        let (longest, over) = (pose.gap_max_ms, pose.gaps_over_1s);
        writeln!(f, "pose gaps longest {longest:.1} ms, {over} over 1 s")?;
    }
    if let Some(interest) = &r.interest {
        let rate = interest.near_full_rate * 100.0;
        writeln!(f, "interest  {rate:.3} % of the poses of the {} nearest", interest.near_k)?;
    }
    if let Some(s) = &r.state {
        writeln!(
            f,
            "state     {} rooms checked, {} diverged; {} objects, {} requests answered, {} refused",
            s.rooms_checked, s.rooms_diverged, s.objects, s.answered, s.refused
        )?;
    }
    Ok(())
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, c: &ChannelReport) -> fmt::Result {
    let withheld = c.superseded + c.suppressed;
    let l = &c.latency_ms;
    writeln!(
        f,
        "{name:<7} {:>10} {:>11} {:>11} {:>9} {:>8} {:>8.4} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
        c.sent,
        c.expected,
        c.delivered,
        withheld,
        c.lost,
        c.loss * 100.0,
        l.p50,
        l.p95,
        l.p99,
        l.max
    )?;
    let irregular = [
        ("duplicated", c.duplicated),
        ("reordered", c.reordered),
        ("corrupt", c.corrupt),
        ("misrouted", c.misrouted),
    ];
    for (what, count) in irregular.into_iter().filter(|(_, count)| *count > 0) {
        writeln!(f, "        {count} {what}")?;
    }
    Ok(())
}

fn server(f: &mut fmt::Formatter<'_>, r: &Report) -> fmt::Result {
    let s = &r.server;
    if s.source == "none" {
        return writeln!(f, "server    no figures: give --http and --server-pid");
    }
    let (process, each) = if s.has_process() {
        let process = format!("{:.2} s CPU, {} MiB", s.cpu_s, s.rss_bytes >> 20);
        (process, format!("{} ns each", s.cpu_ns_per_message))
    } else {
        ("CPU unknown, memory unknown".to_owned(), "CPU of each unknown".to_owned())
    };
    if !s.has_counters() {
        return writeln!(f, "server    {process}, datagrams and messages unknown");
    }
    writeln!(
        f,
        "server    {process}, {} datagrams and {} messages out ({:.1} a datagram, {each}), kernel \
         drops {}",
        s.datagrams_out, s.messages_out, s.messages_per_datagram, s.kernel_drops
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ServerFigures;

    fn server_line(source: &str) -> String {
        let figures = ServerFigures {
            source: source.into(),
            cpu_s: 1.5,
            rss_bytes: 3 << 20,
            datagrams_out: 2,
            messages_out: 4,
            ..ServerFigures::default()
        };
        let report = Report { server: figures.finish(), ..Report::default() };
        let text = Summary(&report).to_string();
        text.lines().find(|line| line.starts_with("server ")).unwrap_or_default().to_owned()
    }

    #[test]
    fn a_figure_without_a_source_is_unknown() {
        let line = server_line("metrics");
        assert!(line.contains("CPU unknown, memory unknown, 2 datagrams"), "{line}");
        assert!(!line.contains("MiB") && !line.contains(" ns "), "{line}");
        let line = server_line("proc");
        assert!(line.contains("1.50 s CPU, 3 MiB, datagrams and messages unknown"), "{line}");
        let line = server_line("proc+metrics");
        assert!(line.contains("1.50 s CPU, 3 MiB, 2 datagrams and 4 messages"), "{line}");
        assert!(!line.contains("unknown"), "{line}");
    }
}
