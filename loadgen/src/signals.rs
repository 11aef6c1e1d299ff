//! The signals that end this program: SIGINT, SIGTERM, and SIGHUP unless this program was started
//! with SIGHUP ignored, as `nohup` does.
//!
//! The first signal ends the run or the scenario: it measures no further, stops the server that it
//! has started, and writes its report, which is INVALID. The second signal ends this process at once,
//! and the server's watchdog then kills the server.

use std::io::Write;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit;

/// How long the last line before the end may take, if nobody reads stderr.
const TELL_TIME: Duration = Duration::from_millis(100);

/// The first signal that this process has received.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    first: OnceLock<&'static str>,
}

impl Signals {
    /// Begins to catch signals, on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the system cannot start the thread, or the signals cannot be caught.
    pub(crate) fn catch() -> std::io::Result<Arc<Self>> {
        let signals = Arc::new(Signals::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let streams = {
            let _in_runtime = runtime.enter();
            streams()?
        };
        let of_thread = signals.clone();
        let work = move || runtime.block_on(of_thread.run(streams));
        std::thread::Builder::new().name("signals".into()).spawn(work)?;
        Ok(signals)
    }

    /// Returns the name of the first signal; `None` if there was none yet.
    pub(crate) fn first(&self) -> Option<&'static str> {
        self.first.get().copied()
    }

    #[cfg(unix)]
    async fn run(&self, (mut interrupt, mut terminate, mut hangup): SignalStreams) {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                Some(()) = next(&mut hangup) => "SIGHUP",
            };
            self.record(name);
        }
    }

    #[cfg(not(unix))]
    async fn run(&self, (): ()) {
        while tokio::signal::ctrl_c().await.is_ok() {
            self.record("Ctrl-C");
        }
    }

    /// Records a signal. The second one ends the process.
    fn record(&self, name: &'static str) {
        let is_first = self.first.set(name).is_ok();
        let what = if is_first { "ending; another signal ends at once" } else { "ending at once" };
        let written = tell(format!("loadgen: {name}: {what}\n"));
        if !is_first {
            // The line is written or not; the process ends in any case.
            let _ = written.recv_timeout(TELL_TIME);
            std::process::exit(exit::NO_RESULT.into());
        }
    }
}

/// The streams of SIGINT, of SIGTERM and, if this program does not ignore it, of SIGHUP.
#[cfg(unix)]
type SignalStreams = (Signal, Signal, Option<Signal>);

/// Begins to catch signals on the current runtime.
///
/// # Errors
///
/// If the signals cannot be caught.
#[cfg(unix)]
fn streams() -> std::io::Result<SignalStreams> {
    let hangup = (!hangup_is_ignored()).then(SignalKind::hangup);
    let hangup = hangup.map(signal).transpose()?;
    Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hangup))
}

#[cfg(not(unix))]
fn streams() -> std::io::Result<()> {
    Ok(())
}

/// Writes a line to stderr on a thread of its own, because stderr may be a pipe that nobody reads.
/// Returns where the end of the write is reported.
fn tell(line: String) -> mpsc::Receiver<()> {
    let (sender, written) = mpsc::channel();
    // Without a thread, the line is missing. A closed stderr is not an error.
    let _ = std::thread::Builder::new().name("signal-line".into()).spawn(move || {
        let _ = std::io::stderr().write_all(line.as_bytes());
        let _ = sender.send(());
    });
    written
}

/// Waits for the next signal of a stream; for ever if there is no stream.
#[cfg(unix)]
async fn next(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Returns whether this process was started with SIGHUP ignored; false where the system does not
/// tell.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// Returns whether a process with this `/proc/PID/status` ignores SIGHUP, which is signal 1.
#[cfg(unix)]
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_is_sighup() {
        let status = |mask| format!("Name:\tloadgen\nSigBlk:\t0001\nSigIgn:\t{mask}\nSigCgt:\t0\n");
        assert!(ignores_hangup(&status("0000000000000001")));
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")) && !ignores_hangup(""));
    }
}
