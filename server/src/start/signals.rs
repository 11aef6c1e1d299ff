//! The signals of the process. A thread of its own waits for them, so that they work whatever the
//! other threads do.

use std::io;
use std::thread;

use nucleus_core::limits;
use tokio::sync::{mpsc, oneshot};

use super::logging;

/// What the signals ask the server to do.
pub struct ProcessSignals {
    /// Resolves at the first SIGTERM or SIGINT.
    pub stop: oneshot::Receiver<()>,
    /// Receives a message for each SIGHUP. Several signals in a row may make one message.
    pub reload: mpsc::Receiver<()>,
}

impl ProcessSignals {
    /// Catches the signals from this call on.
    ///
    /// After the first SIGTERM or SIGINT the process has [`limits::STOP_TIME`] to end. Then, or at a
    /// second one, this ends the process.
    ///
    /// # Errors
    ///
    /// The system refuses a thread or a handler.
    pub fn catch() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stopping, stop) = oneshot::channel();
        let (reloading, reload) = mpsc::channel(1);
        let caught = {
            let _in_runtime = runtime.enter();
            system::catch()?
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(caught.answer(stopping, reloading)))?;
        Ok(Self { stop, reload })
    }
}

/// Ends a process that takes too long to stop, or whose operator asked for it a second time.
fn end_at_once(code: i32) -> ! {
    logging::finish();
    std::process::exit(code)
}

/// Tells the operator that the process stops.
fn log_stop() {
    tracing::info!("stopping: telling every client; a second signal stops the process at once");
}

/// Ends the process, because it did not stop in time.
fn end_late() -> ! {
    let seconds = limits::STOP_TIME.as_secs();
    tracing::error!("the server did not stop within {seconds} s: ending the process");
    end_at_once(1)
}

/// The exit code at a second signal: that of a shell's command which SIGINT ends.
const INTERRUPTED: i32 = 130;

#[cfg(unix)]
mod system {
    use std::io;

    use nucleus_core::limits;
    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tokio::sync::{mpsc, oneshot};
    use tokio::time::sleep;

    use super::{INTERRUPTED, end_at_once, end_late, log_stop};

    pub(super) struct CaughtSignals {
        term: Signal,
        int: Signal,
        hup: Signal,
    }

    pub(super) fn catch() -> io::Result<CaughtSignals> {
        Ok(CaughtSignals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    impl CaughtSignals {
        /// Answers the signals until one ends the process.
        pub(super) async fn answer(
            mut self,
            stopping: oneshot::Sender<()>,
            reloading: mpsc::Sender<()>,
        ) {
            loop {
                tokio::select! {
                    _ = self.term.recv() => break,
                    _ = self.int.recv() => break,
                    // Fails if a reload waits already, which will then read the newest files.
                    _ = self.hup.recv() => drop(reloading.try_send(())),
                }
            }
            log_stop();
            // Fails if the server has failed, and the process is about to end.
            let _ = stopping.send(());
            tokio::select! {
                _ = self.term.recv() => end_at_once(INTERRUPTED),
                _ = self.int.recv() => end_at_once(INTERRUPTED),
                () = sleep(limits::STOP_TIME) => end_late(),
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use nucleus_core::limits;
    use tokio::signal::ctrl_c;
    use tokio::sync::{mpsc, oneshot};
    use tokio::time::sleep;

    use super::{INTERRUPTED, end_at_once, end_late, log_stop};

    pub(super) struct CaughtInterrupt;

    pub(super) fn catch() -> io::Result<CaughtInterrupt> {
        Ok(CaughtInterrupt)
    }

    impl CaughtInterrupt {
        /// Answers Ctrl-C until it ends the process. Nothing here asks for a reload.
        pub(super) async fn answer(
            self,
            stopping: oneshot::Sender<()>,
            _reloading: mpsc::Sender<()>,
        ) {
            if ctrl_c().await.is_err() {
                return std::future::pending().await;
            }
            log_stop();
            // Fails if the server has failed, and the process is about to end.
            let _ = stopping.send(());
            tokio::select! {
                _ = ctrl_c() => end_at_once(INTERRUPTED),
                () = sleep(limits::STOP_TIME) => end_late(),
            }
        }
    }
}
