//! Which threads do a session's work.
//!
//! The server's answer to a ClientHello costs a few hundred microseconds of CPU, and a thousand of
//! them at once must not stand in the way of poses. So that alone is worked out on threads of low
//! priority; all else of a session, its join too, runs where its connection is driven, without a hop.
//!
//! Two limits of this: quinn works out the server's first flight under its endpoint's lock, so on a
//! machine without an idle core a session may wait for a handshake that waits for its turn; and a
//! ClientHello that comes in pieces is worked out where connections are driven. Places for unjoined
//! sessions and Retry bound both.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;

/// Going there needs no privilege, and a core that has nothing else to do works just as fast. A tenth
/// of an ordinary thread's share, against whatever else is busy on the machine: at 19, a seventieth,
/// joins beside two compilers took 2 to 8 s, and some ran out of their time.
const HANDSHAKE_NICE: i32 = 10;

/// The runtime of joined sessions, with as many threads as there are shards. More only wake each
/// other: with a second thread five thousand idle sessions cost a half more.
///
/// # Errors
/// When the system gives no threads.
pub fn sessions(shards: u16) -> io::Result<tokio::runtime::Runtime> {
    Builder::new_multi_thread()
        .worker_threads(shards.into())
        .thread_name("session")
        .enable_all()
        .build()
}

/// The threads of handshakes; they may use every core that nobody else wants. What is under way when
/// they are dropped is given up.
pub struct Handshakes(Option<tokio::runtime::Runtime>);

impl Handshakes {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives none.
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

    /// What `work` gives, once a thread had time for it; `None` where it was given up. Work that nobody
    /// waits for any more is not begun: else a queue that is longer than a join's time would hold
    /// nothing but dead ones, for ever.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let working = self.0.as_ref()?.spawn(async move { work() });
        let _given_up = AbortOnDrop(working.abort_handle());
        working.await.ok()
    }
}

/// Gives a task up that has not begun when nobody waits for it any more.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        // A runtime must not wait for its threads inside another one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Tells quinn to drive its connections on the sessions' runtime, whoever accepts them.
#[derive(Debug)]
pub(super) struct OnSessions(pub(super) Handle);

impl Runtime for OnSessions {
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
