//! The report as text for people.

use std::fmt;

use super::channels::ChannelReport;
use super::{Report, validity};

/// Shows a summary of a report.
pub(crate) struct Summary<'a>(pub(crate) &'a Report);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        writeln!(
            f,
            "{} headsets in {} rooms of {}, profile {}, {} poses a second, network {}, seed {}: {:.1} s \
             measured",
            r.headsets, r.rooms, r.room_size, r.profile, r.pose_hz, r.network, r.seed, r.duration_s
        )?;
        writeln!(
            f,
            "joins     {} of {} (from their schedule: p50 {} ms, p99 {} ms)",
            r.joins.ok,
            r.joins.attempted,
            decimal(r.joins.p50_ms, 1),
            decimal(r.joins.p99_ms, 1)
        )?;
        let s = &r.sessions;
        writeln!(
            f,
            "sessions  {} lost, {} resumed, {} rejoined, {} on the fallback after {} falls",
            s.lost, s.resumed, s.rejoined, s.on_fallback, s.fallbacks
        )?;
        channels(f, r)?;
        let l = &r.line;
        writeln!(
            f,
            "line      up {} Mbit/s, down {} Mbit/s; each headset up {}, down {} kbit/s",
            decimal(l.up_mbit_s, 2),
            decimal(l.down_mbit_s, 2),
            decimal(l.up_kbit_s_per_headset, 0),
            decimal(l.down_kbit_s_per_headset, 0)
        )?;
        server(f, r)?;
        let g = &r.generator;
        writeln!(
            f,
            "generator {} of {} cores, {}, version {}; send lag p99 {} ms, verified {} % of what arrived",
            decimal(g.cpu_cores, 2),
            g.cores,
            g.cpu_model,
            g.version,
            decimal(g.send_lag_p99_ms, 2),
            percent(r.verified_share, 2)
        )?;
        for note in &r.notes {
            writeln!(f, "note      {note}")?;
        }
        for reason in &r.invalid_reasons {
            writeln!(f, "INVALID   {reason}")?;
        }
        if r.valid {
            let least = validity::percent(validity::MIN_OFFERED);
            writeln!(
                f,
                "VALID     at least {least} % of the load was sent, and all of it measured"
            )?;
        }
        Ok(())
    }
}

/// The line above the rows of the channels.
const CHANNELS_HEAD: &str = "\
channel       sent    expected   delivered  deliv %  withheld     lost   loss %  \
age p50  age p99   p50 ms      p95      p99      max
";

/// Returns a figure as text.
fn decimal(figure: Option<f64>, digits: usize) -> String {
    figure.map_or("unknown".into(), |figure| format!("{figure:.digits$}"))
}

/// Returns a share of 0 to 1 as text, in percent.
fn percent(share: Option<f64>, digits: usize) -> String {
    decimal(share.map(|share| share * 100.0), digits)
}

/// Returns a count as text.
fn count(figure: Option<u64>) -> String {
    figure.map_or("unknown".into(), |figure| figure.to_string())
}

fn channels(f: &mut fmt::Formatter<'_>, r: &Report) -> fmt::Result {
    f.write_str(CHANNELS_HEAD)?;
    for (name, channel) in r.channels.named() {
        row(f, name, channel)?;
    }
    let pose = &r.channels.pose;
    if pose.channel.sent > 0 {
        let (longest, over) = (decimal(pose.gap_max_ms, 1), count(pose.gaps_over_1s));
        writeln!(f, "pose gaps longest {longest} ms, {over} over 1 s")?;
    }
    if let Some(interest) = &r.interest {
        let rate = percent(interest.near_full_rate, 3);
        writeln!(f, "interest  {rate} % of the poses of the {} nearest", interest.near_k)?;
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

/// Writes the row of a channel. The cells of the age are empty where the channel has none.
fn row(f: &mut fmt::Formatter<'_>, name: &str, c: &ChannelReport) -> fmt::Result {
    let age = c.age_ms.map(|age| [age.p50, age.p99].map(|figure| decimal(figure, 1)));
    let [age_p50, age_p99] = age.unwrap_or_default();
    let l = &c.latency_ms;
    let [p50, p95, p99, max] = [l.p50, l.p95, l.p99, l.max].map(|figure| decimal(figure, 2));
    writeln!(
        f,
        "{name:<7} {:>10} {:>11} {:>11} {:>8} {:>9} {:>8} {:>8} {age_p50:>8} {age_p99:>8} {p50:>8} \
         {p95:>8} {p99:>8} {max:>8}",
        c.sent,
        c.expected,
        c.delivered,
        percent(c.delivered_share, 2),
        c.withheld,
        c.lost,
        percent(c.loss, 4),
    )?;
    let irregular = [
        ("of the lost arrived too late", c.late),
        ("of the delivered took more than 100 ms", c.over_100ms),
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
        return writeln!(f, "server    unknown: no figures were read, see --http and --server-pid");
    }
    writeln!(
        f,
        "server    {} cores (shards: {}), {} MiB, version {}, tick {}; {} datagrams and {} messages \
         out ({} a datagram, {} ns CPU each), kernel drops {}, arrived too old {}",
        decimal(s.cpu_cores, 2),
        count(s.shards),
        count(s.rss_bytes.map(|bytes| bytes >> 20)),
        s.version,
        r.tick,
        count(s.datagrams_out),
        count(s.messages_out),
        decimal(s.messages_per_datagram, 1),
        count(s.cpu_ns_per_message),
        count(s.kernel_drops),
        count(s.too_old)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::channels::Latency;
    use crate::report::server::ServerFigures;

    fn server_line(server: ServerFigures) -> String {
        let text = Summary(&Report { server, ..Report::default() }).to_string();
        text.lines().find(|line| line.starts_with("server ")).unwrap_or_default().to_owned()
    }

    #[test]
    fn a_figure_without_a_source_is_unknown() {
        let process = ServerFigures {
            source: "proc",
            cpu_cores: Some(1.5),
            rss_bytes: Some(3 << 20),
            ..ServerFigures::default()
        };
        let line = server_line(process.clone());
        assert!(line.contains("1.50 cores (shards: unknown), 3 MiB"), "{line}");
        assert!(line.contains("kernel drops unknown"), "{line}");
        let counters = ServerFigures {
            source: "metrics",
            datagrams_out: Some(2),
            messages_out: Some(4),
            ..ServerFigures::default()
        };
        let line = server_line(counters);
        assert!(
            line.contains("unknown cores") && line.contains("2 datagrams and 4 messages"),
            "{line}"
        );
        assert!(
            server_line(ServerFigures { source: "none", ..process })
                .contains("unknown: no figures")
        );
    }

    #[test]
    fn what_was_shed_stands_beside_how_fast_the_rest_was() {
        let mut report = Report::full();
        let pose = &mut report.channels.pose.channel;
        (pose.expected, pose.delivered, pose.lost, pose.late) = (100, 50, 50, 7);
        (pose.delivered_share, pose.loss) = (Some(0.5), Some(0.5));
        pose.latency_ms = Latency { p50: Some(2.0), ..Latency::default() };
        pose.age_ms = Some(Latency { p50: Some(41.0), p99: Some(77.0), ..Latency::default() });
        let text = Summary(&report).to_string();
        let line = text.lines().find(|line| line.starts_with("pose ")).unwrap_or_default();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            cells[3..],
            [
                "50", "50.00", "0", "50", "50.0000", "41.0", "77.0", "2.00", "unknown", "unknown",
                "unknown"
            ]
        );
        assert!(text.contains("7 of the lost arrived too late"), "{text}");
        let header = text.lines().find(|line| line.starts_with("channel ")).unwrap_or_default();
        assert_eq!(header.len(), line.len());
    }
}
