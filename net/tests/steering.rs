//! Checks on the running kernel what `steering.rs` assumes: offset 0 is the payload's first byte,
//! and an index beyond the group makes the kernel use its hash.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use common::{bind, options, port_at, receive, send};
use nucleus_net::{BindOptions, Steering, UdpSocket, attach_steering};

fn group(shards: u32, plane: Steering) -> Vec<UdpSocket> {
    let first = UdpSocket::bind(&BindOptions { reuse_port: true, ..options("[::]:0") }).unwrap();
    // Attached to the first socket, the program applies to sockets that join later.
    attach_steering(&first, plane, shards).unwrap();
    let addr = first.local_addr().unwrap();
    let shared = BindOptions { addr, reuse_port: true, ..BindOptions::default() };
    let others = (1..shards).map(|_| UdpSocket::bind(&shared).unwrap());
    std::iter::once(first).chain(others).collect()
}

/// Sends each datagram from a socket of its own. Returns the datagrams that each shard received.
fn steer(sockets: &mut [UdpSocket], ip: &str, datagrams: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let dest = port_at(ip, &sockets[0]);
    for datagram in datagrams {
        let mut client = bind(if dest.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" });
        assert_eq!(send(&mut client, dest, 0, datagram).sent_datagrams, 1);
    }
    let read = |socket| receive(socket, 0).into_iter().map(|got| got.data).collect();
    let shards: Vec<Vec<Vec<u8>>> = sockets.iter_mut().map(read).collect();
    assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), datagrams.len());
    shards
}

/// Returns a datagram that shows a wrong offset: each byte differs from its neighbours modulo 2 and
/// 4.
fn datagram(len: usize, byte0: u8, byte1: u8, byte6: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|index| (index * 3 + 1) as u8).collect();
    let ids = [(0, byte0), (1, byte1), (6, byte6)];
    ids.iter().filter(|(at, _)| *at < len).for_each(|&(at, byte)| bytes[at] = byte);
    bytes
}

#[test]
fn the_realtime_id_decides() {
    for shards in [2u32, 4] {
        for ip in ["127.0.0.1", "::1"] {
            let mut sockets = group(shards, Steering::Realtime);
            let sent: Vec<_> = (0..=255).step_by(5).map(|id| datagram(14, 0x80, id, !id)).collect();
            for (shard, got) in steer(&mut sockets, ip, &sent).iter().enumerate() {
                assert!(!got.is_empty());
                assert!(got.iter().all(|got| u32::from(got[1]) % shards == shard as u32));
            }
        }
    }
}

#[test]
fn the_session_id_decides_by_header_form() {
    for shards in [2u32, 4] {
        for ip in ["127.0.0.1", "::1"] {
            let mut sockets = group(shards, Steering::Session);
            let sent: Vec<_> = (0..=255u8)
                .step_by(5)
                .flat_map(|id| [datagram(21, 0xc3, !id, id), datagram(21, 0x43, id, !id)])
                .collect();
            for (shard, got) in steer(&mut sockets, ip, &sent).iter().enumerate() {
                let id = |got: &[u8]| if got[0] & 0x80 != 0 { got[6] } else { got[1] };
                assert!(!got.is_empty());
                assert!(got.iter().all(|got| u32::from(id(got)) % shards == shard as u32));
            }
        }
    }
}

#[test]
fn what_is_too_short_is_spread_by_the_hash() {
    for (plane, len) in [(Steering::Realtime, 13), (Steering::Session, 20), (Steering::Session, 0)]
    {
        let mut sockets = group(2, plane);
        // All have the same id, so steering would put all of them into one socket. With the hash,
        // the probability of that is 1 in 2^63.
        let got = steer(&mut sockets, "127.0.0.1", &vec![datagram(len, 0x40, 0, 0); 64]);
        assert!(got.iter().all(|got| !got.is_empty()), "{plane:?} {len}");
    }
}

#[test]
fn shards_not_yet_bound_are_spread_by_the_hash() {
    let mut sockets = group(1, Steering::Realtime);
    attach_steering(&sockets[0], Steering::Realtime, 4).unwrap();
    let got = steer(&mut sockets, "127.0.0.1", &[datagram(14, 0, 3, 0)]);
    assert_eq!(got[0].len(), 1);
}

#[test]
fn wrong_counts_are_refused() {
    let sockets = group(1, Steering::Realtime);
    for shards in [0, 257, u32::MAX] {
        assert!(attach_steering(&sockets[0], Steering::Session, shards).is_err());
    }
}
