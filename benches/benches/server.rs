//! Measures what a message costs in the server outside the kernel: in the fan-out with its links,
//! and in the room itself.
//!
//! `cargo bench -p nucleus-benches --bench server`

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nucleus_core::fanout::{FanoutConfig, Tick};
use nucleus_core::ids::{RequestId, RoomId, RoomInstanceId, ServerInstanceId};
use nucleus_core::limits::Limits;
use nucleus_core::room::{RoomConfig, RoomInput, RoomOptions, SecondDevice};
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS};
use nucleus_protocol::time::Time;
use nucleus_sim::join::join_request;
use nucleus_sim::link_world::LinkWorld;
use nucleus_sim::{InstantLinks, Nobody, Server};

/// The shard's tick, in simulated time.
const TICK: Duration = Duration::from_millis(10);
const ROOM: RoomId = RoomId(1);

/// Creates a fan-out with a room of this many peers, and the clients' ends of their links.
fn world(peers: u32) -> LinkWorld {
    let limits = Limits { egress_bits_per_s: 1_000_000_000, ..Limits::default() };
    let config = FanoutConfig { index: 0, tick: Tick::Fixed(TICK), limits, clock_epoch: 1 };
    let mut world = LinkWorld::new(config, peers, peers);
    // Let all paths be validated and all clocks settle.
    (0..2_000).for_each(|_| tick(&mut world));
    world
}

/// Runs one tick: every peer sends a pose and receives the poses of the others.
fn tick(world: &mut LinkWorld) {
    for client in 0..world.clients() {
        world.send(client, MessageKind::Pose, TARGET_OTHERS, &[9; 33]);
    }
    world.take();
    world.pass(TICK);
    while world.is_due() {
        world.flush();
        world.receive();
    }
    world.seal_datagrams();
    world.take();
}

/// Measures a tick of a room. The figure includes the clients' ends of the links, which open every
/// datagram.
fn worlds(c: &mut Criterion) {
    let mut group = c.benchmark_group("shard");
    for peers in [10, 100, 300] {
        let mut world = world(peers);
        group.throughput(Throughput::Elements(u64::from(peers * (peers - 1))));
        group.bench_function(format!("a pose of each to all in a room of {peers}"), |b| {
            b.iter(|| tick(&mut world));
        });
    }
    group.finish();
}

/// Creates a server with one room of this many peers, all announced.
fn room(peers: u32) -> Server<InstantLinks> {
    let mut server = Server::new(Time::ZERO, vec![InstantLinks::default()]);
    let config = RoomConfig {
        limits: Limits::default(),
        capacity: 2_000,
        second_device: SecondDevice::Allow,
        instance: RoomInstanceId([1; 8]),
        server_instance: ServerInstanceId([1; 8]),
        clock_epoch: 1,
        options: RoomOptions::default(),
        bans: Vec::new(),
    };
    server.open_room(ROOM, config);
    (0..peers).for_each(|number| join(&mut server, number));
    server
}

/// Joins through the room's task, with a link that opens at once.
fn join(server: &mut Server<InstantLinks>, number: u32) {
    server.now = Time::from_millis(u64::from(number));
    let join = join_request(format!("user-{number}"), "participant", &[1; 32]);
    let input = RoomInput::Join { request: RequestId(number.into()), join: Box::new(join) };
    server.post(ROOM, input, &mut Nobody);
}

fn rooms(c: &mut Criterion) {
    for peers in [10, 100, 1_000] {
        c.bench_function(&format!("room/a join into {peers}"), |b| {
            b.iter_batched_ref(
                || room(peers),
                |room| join(black_box(room), peers),
                BatchSize::LargeInput,
            );
        });
    }
}

criterion_group!(server, worlds, rooms);
criterion_main!(server);
