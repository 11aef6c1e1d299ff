//! What the system says of this process, under the names that all Prometheus exporters use.

use std::fs;

use super::page::{MetricKind, Page};

/// Writes the figures that the system tells.
pub(super) fn write(page: &mut Page, started: u64) {
    let text = "CPU time that the process has used, user and system.";
    if let Ok(seconds) = nucleus_net::process_cpu_seconds(None) {
        page.single("process_cpu_seconds_total", MetricKind::Counter, text, seconds);
    }
    let mut gauge = |name, help, value: Option<u64>| {
        if let Some(value) = value {
            page.single(name, MetricKind::Gauge, help, value);
        }
    };
    let resident = nucleus_net::process_rss_bytes(None).ok();
    gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", resident);
    gauge("process_open_fds", "Open files and sockets of the process.", open_files());
    gauge(
        "process_max_fds",
        "Most files and sockets that the process may have open.",
        most_files(),
    );
    let help = "When the process was started, in seconds since 1970.";
    gauge("process_start_time_seconds", help, Some(started));
}

fn open_files() -> Option<u64> {
    // One of them is that of the directory, open while it is read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

/// `None` also if there is no limit.
fn most_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted() {
        let before = open_files().unwrap();
        // Other tests open and close files at the same time.
        let held: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = open_files().unwrap();
        assert!(after.abs_diff(before + 200) < 100, "{before}, {after}");
        assert!(most_files().is_none_or(|most| most > after));
        drop(held);
    }

    #[test]
    fn all_figures_are_known_on_linux() {
        let mut page = Page::new();
        write(&mut page, 7);
        let text = page.into_text();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_start_time_seconds",
        ] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            let value: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
            assert!(value > 0.0, "{text}");
        }
    }
}
