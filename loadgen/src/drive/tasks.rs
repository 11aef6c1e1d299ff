//! The tasks of a run's clients, and the runtimes that they run on.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::shared::RunShared;

/// The nice value of a thread of low priority, the same as of the server's handshake threads. With a
/// lower priority, joins would time out on a machine without an idle core.
const LOW_PRIORITY: i32 = 10;

/// Returns a runtime with one thread of low priority, so that the clients' half of many handshakes
/// does not delay the messages of the headsets.
///
/// # Errors
///
/// If the system cannot start a thread.
pub(super) fn low_priority_runtime(thread_name: &str) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(thread_name)
        .on_thread_start(|| {
            // Ignore an error: with normal priority, the thread only takes more CPU time from the
            // generator.
            let _ = nucleus_net::set_thread_nice(LOW_PRIORITY);
        })
        .enable_all()
        .build()
}

/// Waits until the tasks of all clients have ended, at most for `time`. A task that hangs is aborted
/// with its runtime.
pub(crate) async fn join_all(tasks: Vec<JoinHandle<()>>, time: Duration) {
    let deadline = Instant::now() + time;
    for task in tasks {
        // A task that failed has logged its problem.
        let _ = timeout_at(deadline, task).await;
    }
}

/// Passes the datagrams of a session to a thread, until the session or the thread ends. Drops and
/// counts those for which the thread's queue has no space.
pub(super) async fn pass_datagrams<C>(
    connection: quinn::Connection,
    shared: Arc<RunShared>,
    commands: mpsc::SyncSender<C>,
    command: impl Fn(Bytes) -> C,
) {
    while let Ok(bytes) = connection.read_datagram().await {
        match commands.try_send(command(bytes)) {
            Ok(()) => {}
            Err(mpsc::TrySendError::Full(_)) => {
                shared.progress.overflow.fetch_add(1, Relaxed);
            }
            Err(mpsc::TrySendError::Disconnected(_)) => return,
        }
    }
}
