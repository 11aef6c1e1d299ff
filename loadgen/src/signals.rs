//! The signals that end this program: SIGINT, SIGTERM and SIGHUP.
//!
//! The first signal ends the run or the scenario: it measures no further, stops the server that it
//! has started, and writes its report, which is INVALID. The second signal ends this process at once,
//! and the server's watchdog then kills the server.

use std::io::Write;
use std::sync::{Arc, OnceLock, mpsc};

use crate::exit;

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
        let (caught, ready) = mpsc::channel();
        let of_thread = signals.clone();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(of_thread.run(caught)),
                // The other end waits for one message.
                Err(error) => drop(caught.send(Err(error))),
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(work)?;
        ready.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(signals)
    }

    /// Returns the name of the first signal; `None` if there was none yet.
    pub(crate) fn first(&self) -> Option<&'static str> {
        self.first.get().copied()
    }

    #[cfg(unix)]
    async fn run(&self, caught: mpsc::Sender<std::io::Result<()>>) {
        use tokio::signal::unix::{SignalKind, signal};
        let streams = || -> std::io::Result<_> {
            Ok((
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ))
        };
        let (mut interrupt, mut terminate, mut hangup) = match streams() {
            Ok(streams) => streams,
            Err(error) => return drop(caught.send(Err(error))),
        };
        let _ = caught.send(Ok(()));
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
            };
            self.record(name);
        }
    }

    #[cfg(not(unix))]
    async fn run(&self, caught: mpsc::Sender<std::io::Result<()>>) {
        let _ = caught.send(Ok(()));
        while tokio::signal::ctrl_c().await.is_ok() {
            self.record("Ctrl-C");
        }
    }

    /// Records a signal. The second one ends the process.
    fn record(&self, name: &'static str) {
        let is_first = self.first.set(name).is_ok();
        let what = if is_first { "ending; another signal ends at once" } else { "ending at once" };
        // A closed stderr is not an error.
        let _ = writeln!(std::io::stderr(), "loadgen: {name}: {what}");
        if !is_first {
            std::process::exit(exit::NO_RESULT.into());
        }
    }
}
