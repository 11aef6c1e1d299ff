//! The HTTP server of the control plane: one thread with a runtime of its own.
//!
//! Its use of resources is bounded: connections (`connections`), heads and their time (`serve`), and
//! bodies (the routes).

mod connections;
mod serve;

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;

use connections::Connections;

/// The protocol by which a certificate authority validates a host name (RFC 8737). The handshake is all of
/// it.
pub const ACME_PROTOCOL: &[u8] = b"acme-tls/1";

/// Longest wait for the end of the thread.
const END_TIME: Duration = Duration::from_secs(1);
/// Longest time of [`Serving::finish`].
pub const FINISH_TIME: Duration = Duration::from_millis(700);

const _: () = assert!(FINISH_TIME.as_millis() < END_TIME.as_millis());

/// Whether a request came over TLS: an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverTls(pub bool);

/// What runs on the thread beside the connections.
pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An address that the server listens on.
pub struct Listener {
    /// The bound socket.
    pub socket: TcpListener,
    /// The certificate; `None`: plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What is served there.
    pub router: Router,
}

/// What a server does.
#[derive(Default)]
pub struct Serving {
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// What runs beside the connections until the server ends.
    pub background: Vec<Background>,
    /// What is done at the end, if it takes less than [`FINISH_TIME`]; `None`: nothing.
    pub finish: Option<Background>,
}

/// A running HTTP server. Dropping it closes all connections and ends the thread, for which it waits a
/// second at most.
#[derive(Debug)]
pub struct HttpServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread ends.
    ended: mpsc::Receiver<()>,
}

impl HttpServer {
    /// Starts the thread, where `setup` makes what is served. Returns when it has.
    ///
    /// # Errors
    ///
    /// That of `setup`, or the system refuses the thread.
    pub async fn start<E>(
        setup: impl Future<Output = Result<Serving, E>> + Send + 'static,
    ) -> Result<Self, E>
    where
        E: From<io::Error> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let run = async move {
            match setup.await {
                Ok(serving) => {
                    // Fails if the server is stopped while it starts.
                    let _gone = tell.send(Ok(()));
                    serve_until(serving, stopped).await;
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        };
        let (ends, ended) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            let _ends = ends;
            runtime.block_on(run);
            // SQLite writes its file when the last connection is closed, here or on its own thread.
            runtime.shutdown_background();
        })?;
        let server = Self { stop: Some(stop), thread: Some(thread), ended };
        let gone = |_| E::from(io::Error::other("the thread of the control plane has ended"));
        told.await.map_err(gone)??;
        Ok(server)
    }
}

/// Serves until the handle is dropped. The end of the runtime then closes all connections.
async fn serve_until(serving: Serving, stopped: oneshot::Receiver<()>) {
    for listener in serving.listeners {
        // Each address has its own limit, so that clients from outside cannot use up the connections of
        // this machine's probes.
        tokio::spawn(serve::accept(listener, Arc::new(Connections::default())));
    }
    for task in serving.background {
        tokio::spawn(task);
    }
    let _dropped = stopped.await;
    if let Some(finish) = serving.finish {
        // A disk that hangs must not hold up the end of the server.
        let _late = tokio::time::timeout(FINISH_TIME, finish).await;
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A disk that hangs must not hold up the end of the server.
        if let Err(mpsc::RecvTimeoutError::Timeout) = self.ended.recv_timeout(END_TIME) {
            return tracing::warn!("the thread of the control plane hangs");
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the control plane has panicked");
        }
    }
}
