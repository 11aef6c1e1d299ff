//! In the steady state a datagram costs no heap allocation: neither in the shard's core nor in the
//! thread around it, from the socket and back to it.

#![allow(unsafe_code, reason = "counting allocations takes an allocator")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nucleus_net::{BindOptions, Clock, RecvBatch, SendBatch, UdpSocket, sleep_until};
use nucleus_protocol::groups::{Group, GroupSet};
use nucleus_protocol::link::{Link, LinkConfig, Path, Role, Root, Suite};
use nucleus_protocol::realtime::{Kind, Message, TARGET_OTHERS, target_of_group};
use nucleus_protocol::time::Time;
use nucleus_server::config::Tick;
use nucleus_server::room::Seat;
use nucleus_server::room::task::RoomInput;
use nucleus_server::shard::handle::ShardMail;
use nucleus_server::shard::strays::Neighbours;
use nucleus_server::shard::thread::spawn;
use nucleus_server::shard::{
    LinkNews, OpenLink, PeerId, RoomId, Shard, ShardCommand, ShardConfig, ShardCounters,
};
use tokio::sync::mpsc;

struct Counting;

/// Of all threads, and of each.
static ALL: AtomicU64 = AtomicU64::new(0);
thread_local! {
    static OURS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALL.fetch_add(1, Relaxed);
    // A thread that is ending counts for itself no more.
    let _ended = OURS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is the system's allocator's doing; beside it a number is counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = OURS.get();
    work();
    OURS.get() - before
}

fn allocations_of_others() -> u64 {
    ALL.load(Relaxed) - OURS.get()
}

const ROOM_SIZE: u32 = 10;

fn config(tick: Tick) -> ShardConfig {
    ShardConfig {
        index: 0,
        tick,
        away_after: Duration::from_secs(10),
        egress_bits_per_s: 10_000_000,
        messages_per_s: 1_000,
        speakers: 128,
        clock_epoch: 1,
    }
}

fn root(number: u32) -> Root {
    Root::new(&[number as u8 + 1; 32], None)
}

fn room(number: u32) -> RoomId {
    RoomId(u64::from(number / ROOM_SIZE))
}

fn open(number: u32) -> Box<OpenLink> {
    Box::new(OpenLink {
        room: room(number),
        seat: Seat { peer: PeerId(number), session: 1 },
        slot: (number % ROOM_SIZE) as u16,
        link_id: 1,
        suite: Suite::Aes128Gcm,
        root: root(number),
        seed: [number as u8; 32],
    })
}

/// Two of three hear it.
const GROUP: Group = Group::new(200).unwrap();

struct Client {
    link: Link,
    path: Path,
    sequence: u16,
}

impl Client {
    fn new(now: Time, number: u32, opened: LinkNews, remote: SocketAddr) -> Self {
        let LinkNews::Opened { connection_id, spare } = opened else { panic!("{opened:?}") };
        let path = Path { remote, local: None };
        let config = LinkConfig {
            role: Role::Client,
            link_id: 1,
            suite: Suite::Aes128Gcm,
            root: root(number),
            connection_id,
            spare,
            path: Some(path),
            fallback: false,
            clock_epoch: 0,
            seed: [0; 32],
        };
        Self { link: Link::new(now, config), path, sequence: 0 }
    }

    /// Each of what it has to say at `now`: a pose at some 60 Hz, and what the link says itself.
    fn speak(
        &mut self,
        now: Time,
        number: usize,
        out: &mut Vec<u8>,
        mut send: impl FnMut(&mut [u8]),
    ) {
        // Each client at its own moments.
        if (now.as_micros() / 1_000 + number as u64).is_multiple_of(16) {
            out.clear();
            self.pose(now, out);
            send(out);
        }
        self.link.handle_timeout(now);
        loop {
            out.clear();
            if self.link.poll_output(now, out).is_none() {
                return;
            }
            send(out);
        }
    }

    fn pose(&mut self, now: Time, out: &mut Vec<u8>) {
        let start = self.link.begin(now, out);
        self.sequence = self.sequence.wrapping_add(1);
        // Every fourth is for those who hear a group.
        let to_group = self.sequence.is_multiple_of(4);
        let peer = if to_group { target_of_group(GROUP) } else { TARGET_OTHERS };
        let (sequence, time) = (self.sequence, now.as_wire_millis());
        let (kind, payload) = (Kind::Pose, &[7; 35]);
        let message = Message { kind, flags: 1, peer, channel: 0, key: 0, sequence, time, payload };
        message.encode(out);
        self.link.finish(now, out, start).unwrap();
    }
}

/// A shard's core with rooms of ten, driven by clients' own links.
struct World {
    now: Time,
    shard: Shard,
    clients: Vec<Client>,
}

impl World {
    fn new(tick: Tick, clients: u32) -> Self {
        let (now, shard) =
            (Time::from_millis(1_000), Shard::new(config(tick), Neighbours::new(1).unwrap().0));
        let mut world = Self { now, shard, clients: Vec::new() };
        for number in 0..clients {
            world.shard.handle_command(now, ShardCommand::OpenLink(open(number)));
            let opened = world.shard.poll_event().unwrap().what;
            let (room, seat) = (room(number), Seat { peer: PeerId(number), session: 1 });
            let groups: GroupSet = (number % 3 > 0).then_some(GROUP).into_iter().collect();
            world.shard.handle_command(now, ShardCommand::Subscribe { room, seat, groups });
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000 + number as u16));
            world.clients.push(Client::new(now, number, opened, address));
        }
        world
    }

    /// A millisecond: some clients send a pose, the shard does what is due, clients take what came.
    /// Gives the shard's allocations.
    fn step(&mut self, out: &mut Vec<u8>) -> u64 {
        self.now += Duration::from_millis(1);
        let (now, shard, mut allocations) = (self.now, &mut self.shard, 0);
        for (number, client) in self.clients.iter_mut().enumerate() {
            let path = client.path;
            client.speak(now, number, out, |datagram| {
                allocations += allocations_of(|| shard.handle_input(now, path, 0, datagram));
            });
        }
        allocations += allocations_of(|| {
            shard.handle_timeout(now);
            while shard.poll_event().is_some() {}
        });
        for (path, bytes) in shard.outbox.datagrams() {
            out.clear();
            out.extend_from_slice(bytes);
            let client = &mut self.clients[usize::from(path.remote.port() - 40_000)];
            let _late = client.link.handle_input(now, client.path, 0, out);
        }
        shard.outbox.clear();
        allocations
    }
}

/// Datagrams in and out, and messages out.
fn traffic(counters: &ShardCounters) -> [u64; 3] {
    [counters.datagrams_in, counters.datagrams_out, counters.messages_out]
}

fn core() {
    for tick in [Tick::Auto, Tick::Fixed(Duration::from_millis(5))] {
        let mut world = World::new(tick, 40);
        let mut out = Vec::with_capacity(2_048);
        // Paths are proven, clocks settle, buffers and queues find their size.
        let settling: u64 = (0..20_000).map(|_| world.step(&mut out)).sum();
        assert!(settling > 0, "nothing is counted");
        let before = traffic(&world.shard.counters);
        let allocations: u64 = (0..10_000).map(|_| world.step(&mut out)).sum();
        let after = traffic(&world.shard.counters);
        let [received, sent, messages] = [0, 1, 2].map(|at| after[at] - before[at]);
        assert!(received > 24_000 && sent > 10_000, "{received} in, {sent} out");
        // Nine hear one for all, six at least one of the group.
        let least = received / 4 * 3 * 9 + received / 4 * 5;
        assert!(messages > least * 9 / 10, "{messages} messages of {received}");
        assert_eq!(allocations, 0, "in {received} datagrams in and {sent} out");
    }
}

fn bind(gro: bool) -> UdpSocket {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    UdpSocket::bind(&BindOptions { addr, gro, ..BindOptions::default() }).unwrap()
}

/// The thread with its socket, its clock and its mailboxes, over loopback.
fn thread() {
    let (socket, clock) = (bind(true), Clock::new());
    let server = socket.local_addr().unwrap();
    let tick = Tick::Fixed(Duration::from_millis(5));
    let (neighbours, mut mailboxes) = Neighbours::new(1).unwrap();
    let place = (neighbours, mailboxes.pop().unwrap());
    let (handle, thread) = spawn(config(tick), socket, clock, place, None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (room_mail, mut news) = mpsc::channel(64);
    let mut clients = Vec::new();
    for number in 0..20 {
        let opened = runtime.block_on(async {
            handle.post(ShardMail::RoomOpened(room(number), room_mail.clone())).await;
            handle.post(ShardMail::OpenLink(open(number), None)).await;
            news.recv().await
        });
        let Some(RoomInput::Link(_, opened)) = opened else { panic!("no link") };
        let now = Time::from_micros(clock.now());
        clients.push((Client::new(now, number, opened, server), bind(false)));
    }
    let (mut out, mut input) = (Vec::with_capacity(2_048), RecvBatch::new(false));
    let (mut batch, mut received) = (SendBatch::new(2_048, 1), 0);
    let mut run = |millis: u64| {
        let start = clock.now() / 1_000;
        for step in start..start + millis {
            sleep_until(step * 1_000);
            let now = Time::from_millis(step);
            for (number, (client, socket)) in clients.iter_mut().enumerate() {
                while socket.recv(&mut input).unwrap() > 0 {
                    input.for_each(|datagram| {
                        received += 1;
                        let taken = client.link.handle_input(now, client.path, 0, datagram.data);
                        assert!(taken.is_ok(), "{:?}", taken.err());
                    });
                }
                client.speak(now, number, &mut out, |datagram| {
                    batch.clear();
                    assert!(batch.push(server, None, 0, datagram));
                    socket.send(&batch);
                });
            }
        }
        std::mem::take(&mut received)
    };
    run(2_000);
    let before = allocations_of_others();
    assert!(before > 0, "nothing is counted");
    let received = run(2_000);
    let allocations = allocations_of_others() - before;
    assert!(received > 3_000, "only {received} datagrams");
    // A stall of the machine may still make a buffer grow, which is a step for ever. Whatever is paid
    // for a datagram or a turn of the loop would be there by the thousand.
    assert!(allocations < 16, "{allocations} in {received} datagrams out");
    runtime.block_on(handle.post(ShardMail::Stop));
    thread.join().unwrap();
}

/// One test, because it counts what all threads do.
#[test]
fn the_steady_state_allocates_nothing() {
    core();
    thread();
}
