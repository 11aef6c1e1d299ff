//! Batches of many datagrams: GSO, GRO, and the effect of one bad entry.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use common::{bind, options, port_at, receive, send, sizes};
use nucleus_net::{BindOptions, SendBatch, SendReport, UdpSocket};
use std::net::SocketAddr;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index / 7 + index) as u8).collect()
}

/// Sends `len` bytes as one entry and expects datagrams of `segment` bytes, of which the last may
/// be shorter.
fn segmented(server: &BindOptions, client: &str, ip: &str, gso: bool, len: usize, segment: usize) {
    let (mut server, mut client) = (UdpSocket::bind(server).unwrap(), bind(client));
    if !gso {
        client.disable_gso();
    }
    assert_eq!(client.gso(), gso, "this kernel can");
    let (bytes, count) = (pattern(len), len.div_ceil(segment));
    let report = send(&mut client, port_at(ip, &server), segment, &bytes);
    let (sent_datagrams, sent_bytes) = (count as u64, len as u64);
    assert_eq!(report, SendReport { sent_datagrams, sent_bytes, ..SendReport::default() });
    let got = receive(&mut server, count);
    let expected: Vec<_> = bytes.chunks(segment).collect();
    assert_eq!(got.iter().map(|got| &got.data[..]).collect::<Vec<_>>(), expected);
    let port = client.local_addr().unwrap().port();
    assert!(got.iter().all(|got| got.remote == SocketAddr::new(ip.parse().unwrap(), port)));
}

#[test]
fn segments_arrive_as_datagrams() {
    for gro in [false, true] {
        for gso in [false, true] {
            let v4 = BindOptions { gro, ..options("127.0.0.1:0") };
            let dual = BindOptions { gro, ..options("[::]:0") };
            segmented(&v4, "127.0.0.1:0", "127.0.0.1", gso, 5 * 1200 + 100, 1200);
            segmented(&dual, "127.0.0.1:0", "127.0.0.1", gso, 5 * 1200, 1200);
            // An IPv4 destination from a dual-stack socket, and IPv6 itself.
            segmented(&dual, "[::]:0", "127.0.0.1", gso, 3 * 1200 + 1, 1200);
            segmented(&dual, "[::1]:0", "::1", gso, 3 * 1200 + 1, 1200);
            // Entries that exceed the limits of one send: first the limit of segments, then the
            // limit of bytes.
            segmented(&v4, "127.0.0.1:0", "127.0.0.1", gso, 150 * 10 + 3, 10);
            segmented(&v4, "127.0.0.1:0", "127.0.0.1", gso, 100 * 1200, 1200);
        }
    }
}

#[test]
fn gro_really_joins() {
    let gro = BindOptions { gro: true, ..options("127.0.0.1:0") };
    let (mut server, mut client) = (UdpSocket::bind(&gro).unwrap(), bind("127.0.0.1:0"));
    assert!(server.gro());
    send(&mut client, server.local_addr().unwrap(), 100, &pattern(100 * 60));
    let mut raw = vec![0; 65_536];
    let len = server_read(&mut server, &mut raw);
    assert_eq!(len, 6000, "one read, sixty datagrams");
}

#[test]
fn without_gro_each_datagram_comes_alone() {
    let gro = BindOptions { gro: true, ..options("127.0.0.1:0") };
    let (mut server, mut client) = (UdpSocket::bind(&gro).unwrap(), bind("127.0.0.1:0"));
    let dest = server.local_addr().unwrap();
    let socket = std::mem::replace(&mut server, bind("127.0.0.1:0")).into_std();
    nucleus_net::disable_gro(&socket).unwrap();
    send(&mut client, dest, 100, &pattern(100 * 60));
    socket.set_nonblocking(false).unwrap();
    let lengths = (0..60).map(|_| socket.recv(&mut [0; 65_536]).unwrap());
    assert!(lengths.eq([100; 60]));
}

fn server_read(server: &mut UdpSocket, buffer: &mut [u8]) -> usize {
    let patience = std::time::Duration::from_secs(2);
    assert!(server.wait_readable(None, patience).unwrap());
    let socket = std::mem::replace(server, bind("127.0.0.1:0")).into_std();
    socket.recv(buffer).unwrap()
}

#[test]
fn a_large_batch_arrives_in_order() {
    let (mut server, mut client) = (bind("[::]:0"), bind("[::]:0"));
    let dest = port_at("127.0.0.1", &server);
    let mut batch = SendBatch::new(1 << 20, 1000);
    for index in 0..300u32 {
        let start = batch.buffer().len();
        batch.buffer().extend_from_slice(&index.to_be_bytes());
        assert!(batch.commit(dest, None, 0, start));
    }
    assert_eq!(client.send(&batch).sent_datagrams, 300);
    let got = receive(&mut server, 300);
    let read = |data: &[u8]| u32::from_be_bytes(data.try_into().unwrap());
    assert!(got.iter().map(|got| read(&got.data)).eq(0..300));
}

/// Sends ten entries, of which the sixth is `bad`. The other nine must arrive.
fn one_bad(gso: bool, bad: impl Fn(&mut SendBatch)) -> SendReport {
    let (mut server, mut client) = (bind("127.0.0.1:0"), bind("0.0.0.0:0"));
    if !gso {
        client.disable_gso();
    }
    let dest = server.local_addr().unwrap();
    let mut batch = SendBatch::new(1 << 20, 10);
    for index in 0..10 {
        match index {
            5 => bad(&mut batch),
            _ => assert!(batch.push(dest, None, 100, &[index; 250])),
        }
    }
    let report = client.send(&batch);
    assert_eq!((report.sent_datagrams, report.dropped), (27, 0), "{report:?}");
    assert_eq!(sizes(&receive(&mut server, 27)), [100, 100, 50].repeat(9));
    assert_eq!(client.gso(), gso, "no peer may cost GSO: {report:?}");
    assert!(!report.gso_disabled_now);
    report
}

#[test]
fn one_bad_entry_costs_itself_only() {
    let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
    let push = |batch: &mut SendBatch, dest, src: Option<&str>, segment, len| {
        let src = src.map(|src| src.parse().unwrap());
        assert!(batch.push(dest, src, segment, &vec![9; len]));
    };
    let localhost = addr("127.0.0.1:9");
    for gso in [true, false] {
        let oversized = one_bad(gso, |batch| push(batch, localhost, None, 0, 66_000));
        assert_eq!(oversized.failed, 1);
        let family = one_bad(gso, |batch| push(batch, addr("[::1]:9"), None, 0, 10));
        assert_eq!(family.failed, 1);
        let port = one_bad(gso, |batch| push(batch, addr("127.0.0.1:0"), None, 10, 100));
        assert_eq!(port.failed, 10, "port 0, ten segments");
        let source = one_bad(gso, |batch| push(batch, localhost, Some("192.0.2.1"), 10, 95));
        assert_eq!(source.failed, 10, "a source we do not hold");
        // A broadcast without SO_BROADCAST (EACCES).
        let unreachable = one_bad(gso, |batch| push(batch, addr("255.255.255.255:9"), None, 0, 10));
        assert_eq!(unreachable.failed, 1);
    }
}

#[test]
fn a_full_send_buffer_does_not_hold_the_caller() {
    let small = BindOptions { send_buffer: 4096, ..options("127.0.0.1:0") };
    let (server, mut client) = (bind("127.0.0.1:0"), UdpSocket::bind(&small).unwrap());
    let mut batch = SendBatch::new(1 << 22, 1000);
    for _ in 0..1000 {
        assert!(batch.push(server.local_addr().unwrap(), None, 0, &[0; 1200]));
    }
    let (clock, start) = (nucleus_net::Clock::new(), nucleus_net::Clock::new().now());
    let report = client.send(&batch);
    assert_eq!(report.sent_datagrams + report.dropped, 1000, "{report:?}");
    assert_eq!(report.failed, 0);
    assert!(clock.now() - start < 1_000_000, "2 ms of waiting and a thousand sends");
}
