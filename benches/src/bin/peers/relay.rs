//! The parts that all relay servers of this program share: their task, their socket, and the
//! announcement of their address.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use nucleus_net::{BindOptions, UdpSocket};

use crate::rooms::Rooms;

/// Time between two drains of the socket, µs. The time is short enough that the receive buffer does
/// not overflow. Reading each datagram as it arrives would cost too many wake-ups.
pub(crate) const DRAIN_INTERVAL: u64 = 2_000;
/// The host name in certificates.
pub(crate) const HOST: &str = "localhost";

/// The task of a relay server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayTask {
    pub(crate) rooms: Rooms,
    /// How long a room's messages wait for others, from the first one, µs.
    pub(crate) tick: u64,
}

/// Opens a socket like that of Nucleus, but without time stamps and GRO: a relay needs no time
/// stamps, and each peer sends one datagram at a time.
///
/// # Errors
///
/// If no socket can be opened.
pub(crate) fn bind() -> io::Result<UdpSocket> {
    UdpSocket::bind(&BindOptions {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        timestamps: false,
        ..BindOptions::default()
    })
}

/// Tells the generator where the server listens, and the secret that peers need to join.
pub(crate) fn announce(address: SocketAddr, secret: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{address} {secret}")?;
    stdout.flush()
}

/// Ends this process when the parent process closes our standard input. That also happens when the
/// parent ends.
pub(crate) fn exit_with_parent() {
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}
