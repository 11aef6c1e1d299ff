//! A server on loopback in this process, for a machine without a running server.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use nucleus_server::start::config::{Config, HttpAddr};
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::start::run::{self, RunError};
use nucleus_server::start::sockets::Sockets;
use nucleus_server::token::{Product, TokenRequest};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server that runs until [`Self::stop`].
pub(crate) struct LocalServer {
    pub(crate) address: String,
    /// The directory with the certificate and the keys. It is deleted when this value is dropped.
    dir: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
}

impl LocalServer {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config {
            session: any,
            realtime: any,
            http: HttpAddr::Off,
            shards: 1,
            ..Config::default()
        };
        let dir = tempfile::tempdir()?;
        let (data, sockets) = (DataDir::open(dir.path())?, Sockets::bind(&config)?);
        let (ready, listening) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            // Fails only if the process is ending.
            let announce = |listening| {
                let _ = ready.send(listening);
            };
            run::run(config, &data, sockets, announce, async { drop(stopped.await) }).await
        });
        let address = listening.await?.session.to_string();
        Ok(Self { address, dir, stop, running })
    }

    /// Returns a join token that is valid for one hour, like `nucleus token`.
    pub(crate) fn token(&self, user: &str, role: &str) -> Result<String, Box<dyn Error>> {
        let mut request = TokenRequest::new(Product::ASSIST, "demo", user);
        role.clone_into(&mut request.role);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(DataDir::open(self.dir.path())?.minter().mint(request, now)?)
    }

    pub(crate) async fn stop(self) -> Result<(), Box<dyn Error>> {
        // If the server has already ended by itself, its result says why.
        let _ = self.stop.send(());
        Ok(self.running.await??)
    }
}
