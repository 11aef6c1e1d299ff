//! What the servers of this program share: how they are told what to do, and how they tell where they
//! listen.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use nucleus_net::{BindOptions, UdpSocket};

use crate::rooms::Rooms;

/// µs between two drains of the socket: the receive buffer must not run over, and a wake-up for each
/// datagram costs more than it brings.
pub(crate) const DRAIN_INTERVAL: u64 = 2_000;
/// The host name in certificates.
pub(crate) const HOST: &str = "localhost";

/// What a server is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) rooms: Rooms,
    /// µs between two flushes.
    pub(crate) tick: u64,
}

impl Task {
    /// The first flush after `now`, µs.
    pub(crate) fn next_flush(self, now: u64) -> u64 {
        now - now % self.tick + self.tick
    }
}

/// A socket as the server has it, without what a relay does not ask of it: time stamps, GRO (each
/// peer sends one datagram at a time).
pub(crate) fn bind() -> io::Result<UdpSocket> {
    UdpSocket::bind(&BindOptions {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        timestamps: false,
        ..BindOptions::default()
    })
}

/// Tells the generator where the server listens, and what else it needs to join.
pub(crate) fn announce(address: SocketAddr, secret: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{address} {secret}")?;
    stdout.flush()
}

/// The process ends when whoever started it closes our standard input, by its own end if need be.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}
