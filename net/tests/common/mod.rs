//! Helpers: sockets on loopback, and a receive that waits.

#![allow(dead_code, reason = "each test binary uses its part")]

use nucleus_net::{BindOptions, RecvBatch, SendBatch, SendReport, UdpSocket};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// An owned copy of a received datagram.
#[derive(Clone, Debug)]
pub(crate) struct OwnedDatagram {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<IpAddr>,
    pub(crate) ecn: u8,
    pub(crate) received: u64,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn options(addr: &str) -> BindOptions {
    BindOptions { addr: addr.parse().unwrap(), ..BindOptions::default() }
}

pub(crate) fn bind(addr: &str) -> UdpSocket {
    UdpSocket::bind(&options(addr)).unwrap()
}

pub(crate) fn port_at(ip: &str, socket: &UdpSocket) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), socket.local_addr().unwrap().port())
}

pub(crate) fn send(
    socket: &mut UdpSocket,
    dest: SocketAddr,
    segment: usize,
    bytes: &[u8],
) -> SendReport {
    let mut batch = SendBatch::new(bytes.len(), 1);
    assert!(batch.push(dest, None, segment, bytes));
    socket.send(&batch)
}

/// Receives until `count` datagrams have arrived and no more arrive for 20 ms.
pub(crate) fn receive(socket: &mut UdpSocket, count: usize) -> Vec<OwnedDatagram> {
    let (mut batch, mut all) = (RecvBatch::new(socket.gro()), Vec::new());
    loop {
        let patience = if all.len() < count { 2000 } else { 20 };
        if !socket.wait_readable(None, Duration::from_millis(patience)).unwrap() {
            return all;
        }
        let reported = socket.recv(&mut batch).unwrap();
        let before = all.len();
        batch.for_each(|got| {
            let (remote, local, ecn, received) = (got.remote, got.local, got.ecn, got.received);
            all.push(OwnedDatagram { remote, local, ecn, received, data: got.data.to_vec() });
        });
        assert_eq!(all.len() - before, reported);
    }
}

pub(crate) fn sizes(got: &[OwnedDatagram]) -> Vec<usize> {
    got.iter().map(|got| got.data.len()).collect()
}
