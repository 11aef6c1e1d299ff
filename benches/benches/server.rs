//! What a message costs in the server outside the kernel: the room's table of frames and the links
//! around it, and the room's own half.
//!
//! `cargo bench -p nucleus-benches --bench server`

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nucleus_protocol::link::{Link, LinkConfig, Path, Role, Root, Suite};
use nucleus_protocol::realtime::{ConnectionId, Kind, Message, TARGET_OTHERS};
use nucleus_protocol::session::LinkGrant;
use nucleus_protocol::time::Time;
use nucleus_server::config::{SecondDevice, Tick};
use nucleus_server::room::{Asks, JoinRequest, Quota, Room, RoomConfig, RoomRate, Seat, Terms};
use nucleus_server::shard::strays::Neighbours;
use nucleus_server::shard::{LinkNews, OpenLink, PeerId, RoomId, Shard, ShardCommand, ShardConfig};

/// A shard's tick here; the time is the bench's own.
const TICK: Duration = Duration::from_millis(10);

/// A room on a shard, and its clients' ends.
struct Stage {
    now: Time,
    shard: Shard,
    clients: Vec<(Link, Path)>,
    datagram: Vec<u8>,
}

impl Stage {
    fn new(peers: u32) -> Option<Self> {
        let config = ShardConfig {
            index: 0,
            tick: Tick::Fixed(TICK),
            away_after: Duration::from_secs(10),
            egress_bits_per_s: 1_000_000_000,
            messages_per_s: 1_000,
            speakers: 128,
            clock_epoch: 1,
        };
        let (neighbours, _mailboxes) = Neighbours::new(1).ok()?;
        let shard = Shard::new(config, neighbours);
        let now = Time::from_millis(1_000);
        let mut stage = Self { now, shard, clients: Vec::new(), datagram: Vec::new() };
        (0..peers).try_for_each(|peer| stage.join(peer))?;
        // Paths prove themselves and clocks settle.
        (0..2_000).for_each(|_| stage.tick());
        Some(stage)
    }

    fn join(&mut self, peer: u32) -> Option<()> {
        let mut secret = [7; 32];
        secret[..4].copy_from_slice(&peer.to_le_bytes());
        let root = Root::new(&secret, None);
        let (suite, link_id) = (Suite::Aes128Gcm, 1);
        let open = OpenLink {
            room: RoomId(1),
            seat: Seat { peer: PeerId(peer), session: 1 },
            slot: peer as u16,
            link_id,
            suite,
            root: root.clone(),
            seed: secret,
        };
        self.shard.handle_command(self.now, ShardCommand::OpenLink(Box::new(open)));
        let LinkNews::Opened { connection_id, spare } = self.shard.poll_event()?.what else {
            return None;
        };
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_000 + peer as u16));
        let path = Path { remote, local: None };
        let config = LinkConfig {
            role: Role::Client,
            link_id,
            suite,
            root,
            connection_id,
            spare,
            path: Some(path),
            fallback: false,
            clock_epoch: 0,
            seed: [0; 32],
        };
        self.clients.push((Link::new(self.now, config), path));
        Some(())
    }

    /// Everybody says a pose, and hears those of the others.
    fn tick(&mut self) {
        self.now += TICK;
        let now = self.now;
        for (link, path) in &mut self.clients {
            self.datagram.clear();
            let start = link.begin(now, &mut self.datagram);
            let (peer, time, payload) = (TARGET_OTHERS, now.as_wire_millis(), &[9; 33]);
            let (kind, flags, channel, key, sequence) = (Kind::Pose, 1, 0, 0, time);
            Message { kind, flags, peer, channel, key, sequence, time, payload }
                .encode(&mut self.datagram);
            // The bench stays far below the limit of packets.
            let _sealed = link.finish(now, &mut self.datagram, start);
            self.shard.handle_input(now, *path, 0, &mut self.datagram);
        }
        self.flush(now + TICK);
    }

    fn flush(&mut self, now: Time) {
        while self.shard.deadline().is_some_and(|at| at <= now) {
            self.shard.handle_timeout(now);
            for (path, bytes) in self.shard.outbox.datagrams() {
                let client = usize::from(path.remote.port() - 10_000);
                self.datagram.clear();
                self.datagram.extend_from_slice(bytes);
                let (link, path) = &mut self.clients[client];
                let _taken = link.handle_input(now, *path, 0, &mut self.datagram);
            }
            self.shard.outbox.clear();
        }
        for (link, path) in &mut self.clients {
            link.handle_timeout(now);
            self.datagram.clear();
            while link.poll_output(now, &mut self.datagram).is_some() {
                self.shard.handle_input(now, *path, 0, &mut self.datagram);
                self.datagram.clear();
            }
        }
    }
}

/// Both ends of all links are in the figure: what is sealed is opened, as on a client.
fn stages(c: &mut Criterion) {
    let mut group = c.benchmark_group("shard");
    for peers in [10, 100, 300] {
        let Some(mut stage) = Stage::new(peers) else { continue };
        group.throughput(Throughput::Elements(u64::from(peers * (peers - 1))));
        group.bench_function(format!("a pose of each to all in a room of {peers}"), |b| {
            b.iter(|| stage.tick());
        });
    }
    group.finish();
}

fn request(number: u32) -> JoinRequest {
    JoinRequest {
        user: format!("user-{number}"),
        name: format!("name-{number}"),
        role: "participant".into(),
        resume: None,
        asks: Asks::default(),
        grant: LinkGrant {
            link_id: 1,
            connection_id: [0; 8],
            spare: [0; 8],
            secret: [1; 32],
            suite: 1,
            flags: 0,
            endpoints: Vec::new(),
        },
        suite: Suite::Aes128Gcm,
        root: Root::new(&[1; 32], None),
        seed: [2; 32],
    }
}

/// A room with so many peers, all announced.
fn room(peers: u32) -> Room {
    let mut room = Room::new(
        Time::ZERO,
        RoomConfig {
            capacity: 2_000,
            peer_ttl: Duration::from_secs(30),
            second_device: SecondDevice::Allow,
            epoch: 1,
            clock_epoch: 1,
            quota: Quota::default(),
            rate: RoomRate::default(),
            terms: Terms::default(),
        },
    );
    (0..peers).for_each(|number| join(&mut room, number));
    room
}

fn join(room: &mut Room, number: u32) {
    let now = Time::from_millis(u64::from(number));
    if let Ok(seat) = room.handle_join(now, request(number)) {
        let ids = [ConnectionId([1; 8]), ConnectionId([2; 8])];
        let opened = LinkNews::Opened { connection_id: ids[0], spare: ids[1] };
        room.handle_link(now, seat, opened);
    }
    room.handle_timeout(now);
    while room.poll_output().is_some() {}
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

criterion_group!(server, stages, rooms);
criterion_main!(server);
