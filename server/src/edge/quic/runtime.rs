//! The threads that run sessions and TLS handshakes.
//!
//! The server's answer to a ClientHello costs a few hundred microseconds of CPU time. A thousand
//! answers at once must not delay poses, so they are computed on threads of low priority. The rest
//! of a session, its join included, runs on the threads that drive its connection, and never
//! changes threads.
//!
//! In two cases a handshake can still delay a session. quinn computes the server's first flight
//! under the lock of its endpoint: on a machine without an idle core, a session may wait for a
//! handshake thread that waits for the CPU. And a ClientHello that arrives in pieces is answered on
//! the threads that drive connections. The limit of unjoined sessions and the Retry packets bound
//! both cases.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;

/// Nice value of the handshake threads. On a busy core such a thread gets a tenth of an ordinary
/// thread's share of CPU time; on an idle core it is not slower. Raising a nice value needs no
/// privilege. With a nice value of 19, which gives a seventieth of the share, joins beside two
/// compilers took 2 to 8 s, and some exceeded the time limit of a join.
const HANDSHAKE_NICE: i32 = 10;

/// Makes the runtime of sessions, with one thread per shard. More threads only wake each other:
/// with a second thread, five thousand idle sessions cost half as much again.
///
/// # Errors
///
/// The system refuses a thread.
pub fn sessions(shards: u16) -> io::Result<tokio::runtime::Runtime> {
    Builder::new_multi_thread()
        .worker_threads(shards.into())
        .thread_name("session")
        .enable_all()
        .build()
}

/// The threads that compute TLS handshakes, one per core. Dropping this abandons unfinished
/// handshakes.
pub struct Handshakes(Option<tokio::runtime::Runtime>);

impl Handshakes {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("handshake")
            .on_thread_start(|| {
                if let Err(error) = nucleus_net::set_thread_nice(HANDSHAKE_NICE) {
                    tracing::debug!(%error, "handshakes run at ordinary priority");
                }
            })
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Returns the handle of the threads; `None`: they were stopped.
    pub fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(tokio::runtime::Runtime::handle)
    }

    /// Runs `work` on one of the threads and returns its result. `None`: the threads were stopped.
    ///
    /// Dropping the future before a thread has begun `work` cancels `work`. Otherwise, once the
    /// queue takes longer than the time limit of a join, the threads would compute only handshakes
    /// that have timed out.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let task = self.0.as_ref()?.spawn(async move { work() });
        let _abort = AbortOnDrop(task.abort_handle());
        task.await.ok()
    }
}

/// Aborts a task when dropped. Has no effect on a task whose work has begun, which never yields.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        // Dropping a runtime inside another runtime panics, because it waits for its threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes quinn drive its connections on the runtime of sessions, whatever thread accepts them.
#[derive(Debug)]
pub(super) struct SessionRuntime(pub(super) Handle);

impl Runtime for SessionRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _entered = self.0.enter();
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _entered = self.0.enter();
        TokioRuntime.wrap_udp_socket(socket)
    }
}
