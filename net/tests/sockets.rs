//! Single datagrams: addresses, sources, time stamps, waiting, buffers.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use common::{bind, options, port_at, receive, send, sizes};
use nucleus_net::{
    BindOptions, Clock, RECV_MESSAGES, RecvBatch, SendBatch, UdpSocket, Waker, probe_port_free,
};
use std::{io, net::IpAddr, thread, time::Duration};

fn roundtrip(server: &str, client: &str, ip: &str) {
    let (mut server, mut client) = (bind(server), bind(client));
    let dest = port_at(ip, &server);
    assert_eq!(send(&mut client, dest, 0, b"there").sent_datagrams, 1);
    let got = receive(&mut server, 1);
    assert_eq!(sizes(&got), [5]);
    assert_eq!(got[0].remote, client.local_addr().unwrap());
    assert_eq!(got[0].local, Some(ip.parse().unwrap()));

    let mut answer = SendBatch::new(100, 1);
    assert!(answer.push(got[0].remote, got[0].local, 0, b"back"));
    assert_eq!(server.send(&answer).sent_bytes, 4);
    let back = receive(&mut client, 1);
    assert_eq!((back[0].remote, &back[0].data[..]), (dest, &b"back"[..]));
}

#[test]
fn ipv4_ipv6_and_both_on_one_socket() {
    roundtrip("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1");
    roundtrip("[::1]:0", "[::1]:0", "::1");
    roundtrip("[::]:0", "127.0.0.1:0", "127.0.0.1");
    roundtrip("[::]:0", "[::1]:0", "::1");
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    // Without a source address, the kernel would send the answer from 127.0.0.1.
    roundtrip("0.0.0.0:0", "127.0.0.1:0", "127.0.0.2");
    roundtrip("[::]:0", "127.0.0.1:0", "127.0.0.2");
}

#[test]
fn an_ipv6_only_socket_leaves_ipv4_alone() {
    let only = BindOptions { only_v6: true, ..options("[::]:0") };
    let (mut server, mut client) = (UdpSocket::bind(&only).unwrap(), bind("127.0.0.1:0"));
    send(&mut client, port_at("127.0.0.1", &server), 0, b"x");
    assert!(!server.wait_readable(None, Duration::from_millis(20)).unwrap());
    let v4 = client.local_addr().unwrap();
    assert_eq!(send(&mut server, v4, 0, b"x").failed, 1);
    assert_eq!(send(&mut client, "[::1]:9".parse().unwrap(), 0, b"x").failed, 1);
}

#[test]
fn an_empty_datagram_is_a_datagram() {
    let (mut server, mut client) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let dest = server.local_addr().unwrap();
    assert_eq!(send(&mut client, dest, 0, b"").sent_datagrams, 1);
    assert_eq!(sizes(&receive(&mut server, 1)), [0]);
    assert_eq!(server.recv(&mut RecvBatch::new(false)).unwrap(), 0);
}

#[test]
fn a_datagram_too_long_is_gone_and_hides_nothing() {
    let (mut server, mut client) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let mut batch = SendBatch::new(1 << 20, 100);
    for _ in 0..RECV_MESSAGES + 1 {
        assert!(batch.push(server.local_addr().unwrap(), None, 0, &[0; 3000]));
    }
    assert!(batch.push(server.local_addr().unwrap(), None, 0, b"behind"));
    assert_eq!(client.send(&batch).sent_datagrams, 66);
    assert!(server.wait_readable(None, Duration::from_secs(2)).unwrap());
    assert_eq!(server.recv(&mut RecvBatch::new(false)).unwrap(), 1);
}

#[test]
fn stamps_are_recent_and_never_of_the_future() {
    for timestamps in [true, false] {
        let wanted = BindOptions { timestamps, ..options("[::]:0") };
        let (mut server, mut client) = (UdpSocket::bind(&wanted).unwrap(), bind("127.0.0.1:0"));
        let (dest, clock) = (port_at("127.0.0.1", &server), Clock::new());
        // The kernel turns time stamps on in a work queue, shortly after the first request.
        thread::sleep(Duration::from_millis(50));
        let before = clock.now();
        send(&mut client, dest, 0, b"x");
        let sent = clock.now();
        thread::sleep(Duration::from_millis(100));
        let got = receive(&mut server, 1)[0].received;
        assert!(got <= clock.now());
        if timestamps {
            // The stamp is the arrival, not the read 100 ms later. 1 ms allows for the clocks'
            // drift.
            assert!(got + 1000 >= before && got <= sent + 50_000, "{before} {got} {sent}");
        } else {
            assert!(got >= sent + 100_000, "{sent} {got}");
        }
    }
}

#[test]
fn congestion_marks_are_read() {
    for (addr, ip) in [("[::]:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")] {
        let mut server = bind(addr);
        let ip: IpAddr = ip.parse().unwrap();
        let client = std::net::UdpSocket::bind((ip, 0)).unwrap();
        let raw = socket2::SockRef::from(&client);
        // EF and "congestion experienced".
        match ip {
            IpAddr::V4(_) => raw.set_tos_v4(46 << 2 | 3).unwrap(),
            IpAddr::V6(_) => raw.set_tclass_v6(46 << 2 | 3).unwrap(),
        }
        client.send_to(b"x", (ip, server.local_addr().unwrap().port())).unwrap();
        assert_eq!(receive(&mut server, 1)[0].ecn, 3, "{addr} {ip}");
    }
}

#[test]
fn waits_end_by_datagram_waker_and_time() {
    let (mut client, server) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let (clock, waker) = (Clock::new(), Waker::new().unwrap());
    let wait = |limit| server.wait_readable(Some(&waker), Duration::from_micros(limit)).unwrap();

    let start = clock.now();
    assert!(!wait(1500));
    assert!(clock.now() - start >= 1500);

    let start = clock.now();
    let other = waker.clone();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        other.wake();
    });
    assert!(!wait(20_000_000));
    assert!(clock.now() - start < 10_000_000, "the waker did not wake");
    assert!(!wait(20_000_000), "awake until drained");
    waker.drain();
    waker.drain();
    let start = clock.now();
    assert!(!wait(5000));
    assert!(clock.now() - start >= 5000, "drained");
    thread.join().unwrap();

    send(&mut client, server.local_addr().unwrap(), 0, b"x");
    assert!(wait(2_000_000));
}

#[test]
fn overflow_is_counted() {
    let small = BindOptions { recv_buffer: 4096, ..options("127.0.0.1:0") };
    let (mut server, mut client) = (UdpSocket::bind(&small).unwrap(), bind("127.0.0.1:0"));
    assert_eq!(server.kernel_drops().unwrap(), 0);
    let dest = server.local_addr().unwrap();
    for _ in 0..200 {
        send(&mut client, dest, 0, &[0; 1000]);
    }
    let kept = receive(&mut server, 1).len();
    assert!(kept < 200);
    assert_eq!(server.kernel_drops().unwrap() as usize + kept, 200);
}

#[test]
fn buffers_are_granted_and_read_back() {
    let size = |recv_buffer| {
        let wanted = BindOptions { recv_buffer, ..options("127.0.0.1:0") };
        UdpSocket::bind(&wanted).unwrap().recv_buffer_size().unwrap()
    };
    assert_eq!(size(100_000), 200_000);
    assert!(size(usize::MAX) > 0, "clamped, not refused");
}

#[test]
fn a_second_server_is_found_out() {
    let shared = BindOptions { reuse_port: true, ..options("[::]:0") };
    let server = UdpSocket::bind(&shared).unwrap();
    let addr = server.local_addr().unwrap();
    let joined = BindOptions { addr, ..shared };
    UdpSocket::bind(&joined).expect("the group lets anybody in, hence the probe");
    assert_eq!(probe_port_free(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    let v4 = port_at("0.0.0.0", &server);
    assert_eq!(probe_port_free(v4).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(server);
    probe_port_free(addr).unwrap();
}

#[test]
fn options_out_of_range_are_refused() {
    let refused = UdpSocket::bind(&BindOptions { dscp: 64, ..options("127.0.0.1:0") });
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let gro = BindOptions { gro: true, ..options("127.0.0.1:0") };
    let error = UdpSocket::bind(&gro).unwrap().recv(&mut RecvBatch::new(false)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_shard_may_take_all_of_it_to_its_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<(UdpSocket, RecvBatch, SendBatch, Clock)>();
    fn assert_shared<T: Send + Sync + Clone>() {}
    assert_shared::<Waker>();
}
