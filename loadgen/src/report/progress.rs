//! Live progress on stderr. On a terminal one line is rewritten; elsewhere a line is added every
//! few seconds.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::shared::RunShared;

/// Time between two lines on a terminal, and elsewhere, µs.
const TERMINAL_EVERY: u64 = 1_000_000;
const PLAIN_EVERY: u64 = 5_000_000;

/// Writes the progress line.
pub(crate) struct Ticker {
    shared: Arc<RunShared>,
    terminal: bool,
    started: u64,
    last: u64,
    /// The realtime messages that were sent and delivered before the last line.
    before: [u64; 2],
}

impl Ticker {
    pub(crate) fn new(shared: Arc<RunShared>) -> Self {
        let started = shared.clock.now();
        let terminal = std::io::stderr().is_terminal();
        Ticker { shared, terminal, started, last: started, before: [0; 2] }
    }

    /// Writes a line if the next line is due.
    pub(crate) fn tick(&mut self, phase: &str) {
        let now = self.shared.clock.now();
        let every = if self.terminal { TERMINAL_EVERY } else { PLAIN_EVERY };
        let passed = now.saturating_sub(self.last);
        if passed < every {
            return;
        }
        self.last = now;
        let line = self.line(phase, now, passed);
        let mut out = std::io::stderr().lock();
        // A run goes on even if its progress cannot be written.
        let _ = if self.terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }

    /// Clears the line.
    pub(crate) fn end(&self) {
        if self.terminal {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[K");
            let _ = out.flush();
        }
    }

    fn line(&mut self, phase: &str, now: u64, passed: u64) -> String {
        let p = &self.shared.progress;
        let totals = [&p.sent, &p.delivered].map(|total| total.load(Relaxed));
        let [sent, delivered] =
            std::array::from_fn(|i| (totals[i] - self.before[i]) * 1_000_000 / passed.max(1));
        self.before = totals;
        format!(
            "{:>5.1} s {phase}: {} joined, {} failed, {} lost, {} back; {sent} sent/s, {delivered} delivered/s",
            now.saturating_sub(self.started) as f64 / 1e6,
            p.joined.load(Relaxed),
            p.failed.load(Relaxed),
            p.lost_sessions.load(Relaxed),
            p.resumed.load(Relaxed) + p.rejoined.load(Relaxed),
        )
    }
}
