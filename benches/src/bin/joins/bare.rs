//! The bare server, with which Nucleus is compared: quinn with the TLS and transport settings of
//! Nucleus, and nothing else. It accepts a connection, sends one byte, and keeps the connection
//! until the client closes it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nucleus_net::{BindOptions, UdpSocket};
use nucleus_server::edge::quic;
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::start::tls::{Identity, ServedCertificate, quic_config};
use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime};

/// The server's process. Dropping this ends the process.
#[derive(Debug)]
pub(crate) struct BareServer {
    process: Child,
    /// The address on which the server listens.
    pub(crate) address: SocketAddr,
}

impl BareServer {
    /// Starts this program again as the bare server, with the certificate of `data_dir`, and waits
    /// until the server listens.
    ///
    /// # Errors
    ///
    /// If the process cannot be started, or ends before it listens.
    pub(crate) fn start(data_dir: &Path) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").arg(data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        match read_address(&mut process) {
            Some(address) => Ok(BareServer { process, address }),
            None => {
                stop(&mut process);
                Err(io::Error::other("the bare server ended before it listened"))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

fn read_address(process: &mut Child) -> Option<SocketAddr> {
    let mut line = String::new();
    BufReader::new(process.stdout.take()?).read_line(&mut line).ok()?;
    line.trim_end().parse().ok()
}

/// Kills the process, which has nothing to save. Ignores errors, because nothing else can be done.
fn stop(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// Serves until the process ends.
///
/// # Errors
///
/// If the server cannot start.
pub(crate) fn serve(data_dir: &Path) -> io::Result<()> {
    exit_with_parent();
    let data = DataDir::open(data_dir).map_err(io::Error::other)?;
    let tls = Identity::development(data.certificates().in_service())
        .and_then(ServedCertificate::new)
        .and_then(quic_config)
        .map_err(io::Error::other)?;
    let config = quic::server_config(tls, data.address_token_key()).map_err(io::Error::other)?;
    let socket = UdpSocket::bind(&BindOptions {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        // quinn sets these options itself.
        timestamps: false,
        gro: false,
        ..BindOptions::default()
    })?;
    let address = socket.local_addr()?;
    quic::sessions(threads())?.block_on(async {
        let (socket, quinn) = (socket.into_std(), Arc::new(TokioRuntime));
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, quinn)?;
        announce(address)?;
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(greet(incoming));
        }
        Ok(())
    })
}

/// Returns the number of threads that Nucleus uses for its sessions.
fn threads() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).clamp(1, 64) as u16
}

/// Accepts a connection. The byte tells the client that it is accepted, as `Joined` does in
/// Nucleus.
async fn greet(incoming: Incoming) {
    let Ok(connection) = incoming.await else { return };
    let Ok(mut stream) = connection.open_uni().await else { return };
    if stream.write_all(&[0]).await.is_ok() && stream.finish().is_ok() {
        connection.closed().await;
    }
}

fn announce(address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{address}")?;
    stdout.flush()
}

/// Ends this process when the parent process closes our standard input. That also happens when the
/// parent ends.
fn exit_with_parent() {
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}
