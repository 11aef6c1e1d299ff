//! Tests of the portable implementation, which run on Linux too.

use super::*;
use std::net::{IpAddr, Ipv4Addr};

fn bind(addr: &str) -> UdpSocket {
    let addr = addr.parse().unwrap();
    UdpSocket::bind(&BindOptions { addr, ..BindOptions::default() }).unwrap()
}

fn receive(socket: &mut UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let (mut batch, mut got) = (RecvBatch::new(false), Vec::new());
    while got.len() < count {
        assert!(socket.wait_readable(None, Duration::from_secs(2)).unwrap(), "{got:?}");
        socket.recv(&mut batch).unwrap();
        batch.for_each(|datagram| got.push((datagram.remote, datagram.data.to_vec())));
    }
    assert_eq!(socket.recv(&mut batch).unwrap(), 0);
    got
}

#[test]
fn segments_empties_and_refusals() {
    let (mut sender, mut receiver) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let dest = receiver.local_addr().unwrap();
    let mut batch = SendBatch::new(100_000, 8);
    assert!(batch.push(dest, None, 4, &[1; 10]));
    assert!(batch.push(dest, None, 0, &[2; 66_000]), "too long for UDP");
    assert!(batch.push(dest, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0, &[]));
    let report = sender.send(&batch);
    let expected = SendReport { sent_datagrams: 4, sent_bytes: 10, failed: 1, ..report };
    assert_eq!((report, report.dropped), (expected, 0));
    let sizes: Vec<_> = receive(&mut receiver, 4).iter().map(|(_, data)| data.len()).collect();
    assert_eq!(sizes, [4, 4, 2, 0]);
}

#[test]
fn a_dual_stack_socket_knows_its_ipv4_peer_by_its_ipv4_address() {
    let (mut dual, mut peer) = (bind("[::]:0"), bind("127.0.0.1:0"));
    let dest = SocketAddr::from((Ipv4Addr::LOCALHOST, dual.local_addr().unwrap().port()));
    let mut batch = SendBatch::new(100, 1);
    assert!(batch.push(dest, None, 0, b"there"));
    assert_eq!(peer.send(&batch).sent_datagrams, 1);
    let got = receive(&mut dual, 1);
    assert_eq!(got, [(peer.local_addr().unwrap(), b"there".to_vec())]);
    batch.clear();
    assert!(batch.push(got[0].0, None, 0, b"back"));
    assert_eq!(dual.send(&batch).sent_datagrams, 1);
    assert_eq!(receive(&mut peer, 1), [(dest, b"back".to_vec())]);
}

#[test]
fn waits_end_by_waker_and_by_time() {
    let (socket, waker) = (bind("127.0.0.1:0"), Waker::new().unwrap());
    let start = Clock::new().now();
    assert!(!socket.wait_readable(Some(&waker), Duration::from_millis(10)).unwrap());
    assert!(since(start) >= Duration::from_millis(10));
    waker.wake();
    let start = Clock::new().now();
    assert!(!socket.wait_readable(Some(&waker), Duration::from_secs(20)).unwrap());
    assert!(since(start) < Duration::from_secs(10));
}

#[test]
fn a_taken_port_is_found_out_and_the_rest_is_unsupported() {
    let socket = bind("127.0.0.1:0");
    let addr = socket.local_addr().unwrap();
    assert_eq!(probe_port_free(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(socket);
    probe_port_free(addr).unwrap();
    assert!(attach_steering(&(), Steering::Session, 2).is_err());
    assert!(UdpSocket::bind(&BindOptions { reuse_port: true, ..BindOptions::default() }).is_err());
}
