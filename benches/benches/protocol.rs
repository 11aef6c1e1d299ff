//! Measures what one message and one datagram cost outside the kernel.
//!
//! `cargo bench -p nucleus-benches --bench protocol`

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use criterion::{Criterion, criterion_group, criterion_main};
use nucleus_protocol::limits;
use nucleus_protocol::link::{Link, LinkConfig, LinkSide, Path, Planes, RootSecret, Suite};
use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::realtime::{ConnectionId, Frames, Message, MessageKind, TARGET_OTHERS};
use nucleus_protocol::time::Time;

fn link(side: LinkSide, suite: Suite) -> Link {
    let remote = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 5056);
    let config = LinkConfig {
        side,
        link_id: 1,
        suite,
        root: RootSecret::new(&[7; 32], None),
        connection_id: ConnectionId([1; 8]),
        spare: ConnectionId([2; 8]),
        path: Some(Path { remote, local: None }),
        planes: Planes::PortOnly,
        max_body: limits::MAX_BODY,
        report_interval: limits::REPORT_INTERVAL_MAX,
        clock_epoch: 1,
        seed: [3; 32],
    };
    Link::new(Time::ZERO, config)
}

fn message(payload: &[u8]) -> Message<'_> {
    Message {
        kind: MessageKind::Pose,
        flags: 1,
        peer: TARGET_OTHERS,
        channel: 0,
        key: 0,
        sequence: 1,
        time: Some(1),
        payload,
    }
}

/// Writes a datagram of `count` poses, sealed by the client.
fn sealed(client: &mut Link, count: usize, out: &mut Vec<u8>) {
    let now = Time::from_millis(1);
    out.clear();
    let start = client.begin(now, out);
    for _ in 0..count {
        message(&[9; 33]).encode(out);
    }
    // Cannot fail: the bench stays far below the limit of packets for a key.
    let _sealed = client.finish(now, out, start);
}

fn poses(c: &mut Criterion) {
    let hand = Transform { position: [0.3, 1.2, 0.4], rotation: [0.1, 0.7, 0.1, 0.7] };
    let pose = Pose { head: hand, left: Some(hand), right: Some(hand) };
    let mut bytes = Vec::new();
    pose.encode(&mut bytes);
    c.bench_function("pose/encode", |b| {
        let mut out = Vec::with_capacity(64);
        b.iter(|| {
            out.clear();
            black_box(&pose).encode(&mut out);
        });
    });
    c.bench_function("pose/parse", |b| b.iter(|| Pose::parse(black_box(&bytes)).is_ok()));
}

fn frames(c: &mut Criterion) {
    let mut body = Vec::new();
    (0..20).for_each(|_| message(&[9; 33]).encode(&mut body));
    c.bench_function("frames/parse 20", |b| b.iter(|| Frames::new(black_box(&body)).count()));
}

fn links(c: &mut Criterion) {
    for suite in [Suite::Aes128Gcm, Suite::ChaCha20Poly1305] {
        for count in [1, 20] {
            let mut client = link(LinkSide::Client, suite);
            let mut out = Vec::with_capacity(2_048);
            c.bench_function(&format!("link/{suite:?}/seal {count}"), |b| {
                b.iter(|| sealed(&mut client, count, &mut out));
            });
            let mut client = link(LinkSide::Client, suite);
            let mut server = link(LinkSide::Server, suite);
            let from = Path { remote: ([127, 0, 0, 1], 9).into(), local: None };
            c.bench_function(&format!("link/{suite:?}/seal and open {count}"), |b| {
                b.iter(|| {
                    sealed(&mut client, count, &mut out);
                    let now = Time::from_millis(2);
                    server.handle_input(now, from, 0, &mut out).map(Iterator::count)
                });
            });
        }
    }
}

criterion_group!(protocol, poses, frames, links);
criterion_main!(protocol);
