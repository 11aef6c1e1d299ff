//! Checks that in the steady state a datagram costs no heap allocation, neither in the fan-out nor
//! in the shard's thread between the socket and the fan-out.

#![allow(unsafe_code, reason = "counting allocations takes an allocator")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use nucleus_core::fanout::{FanoutConfig, FanoutCounters, LinkEvent, Tick};
use nucleus_core::ids::SessionId;
use nucleus_core::limits::Limits;
use nucleus_net::{BindOptions, Clock, RecvBatch, SendBatch, UdpSocket, sleep_until};
use nucleus_protocol::groups::Group;
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS, target_of_group};
use nucleus_protocol::time::Time;
use nucleus_server::shard::{MisdirectedRouter, PostOutcome, ShardMail, spawn};
use nucleus_sim::link_world::{LinkClient, LinkWorld, open_link};

/// The system's allocator, with counters of the allocations.
struct CountingAllocator;

/// Allocations of all threads.
static ALL: AtomicU64 = AtomicU64::new(0);
thread_local! {
    /// Allocations of this thread.
    static OURS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALL.fetch_add(1, Relaxed);
    // Fails in a thread that is ending.
    let _ended = OURS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: all calls are passed to the system's allocator. Counting does not allocate.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the arguments are passed on unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = OURS.get();
    work();
    OURS.get() - before
}

fn allocations_of_others() -> u64 {
    ALL.load(Relaxed) - OURS.get()
}

const ROOM_SIZE: u32 = 10;
/// Two of three clients subscribe to this group.
const GROUP: Group = Group::new(200).unwrap();
/// The payload of a pose.
const POSE: [u8; 35] = [7; 35];

fn config(tick: Tick) -> FanoutConfig {
    FanoutConfig { index: 0, tick, limits: Limits::default(), clock_epoch: 1 }
}

/// Returns the target of the pose that a client sends in a millisecond, if it sends one. Each
/// client sends some 60 a second, at its own times. Every fourth pose is for the group.
fn pose_target(millis: u64, client: usize) -> Option<u16> {
    let turn = millis + client as u64;
    let to_group = (turn / 16).is_multiple_of(4);
    turn.is_multiple_of(16).then_some(if to_group { target_of_group(GROUP) } else { TARGET_OTHERS })
}

/// Makes a fan-out with rooms of ten. The clients whose number is not a multiple of three subscribe
/// to the group.
fn world(tick: Tick, clients: u32) -> LinkWorld {
    let mut world = LinkWorld::new(config(tick), clients, ROOM_SIZE);
    for number in (0..clients).filter(|number| number % 3 > 0) {
        world.subscribe(number, [GROUP].into_iter().collect());
    }
    world
}

/// Simulates a millisecond: some clients send a pose, the fan-out handles and flushes what is due,
/// and the clients receive. Returns the fan-out's allocations.
fn step(world: &mut LinkWorld) -> u64 {
    world.pass(Duration::from_millis(1));
    let millis = world.now.as_micros() / 1_000;
    for client in 0..world.clients() {
        if let Some(target) = pose_target(millis, client) {
            world.send(client, MessageKind::Pose, target, &POSE);
        }
    }
    world.seal_datagrams();
    let allocations = allocations_of(|| {
        world.take();
        world.flush();
    });
    world.receive();
    allocations
}

/// The numbers of datagrams and messages that the fan-out received and sent.
#[derive(Clone, Copy)]
struct Traffic {
    datagrams_in: u64,
    datagrams_out: u64,
    messages_out: u64,
}

fn traffic(counters: &FanoutCounters) -> Traffic {
    let FanoutCounters { datagrams_in, datagrams_out, messages_out, .. } = *counters;
    Traffic { datagrams_in, datagrams_out, messages_out }
}

fn core() {
    for tick in [Tick::Auto, Tick::Fixed(Duration::from_millis(5))] {
        let mut world = world(tick, 40);
        // In the first 20 s paths are validated, clocks settle, and buffers and queues grow to
        // their final size.
        let settling: u64 = (0..20_000).map(|_| step(&mut world)).sum();
        assert!(settling > 0, "no allocations are counted");
        let before = traffic(&world.fanout.counters);
        let allocations: u64 = (0..10_000).map(|_| step(&mut world)).sum();
        let after = traffic(&world.fanout.counters);
        let received = after.datagrams_in - before.datagrams_in;
        let sent = after.datagrams_out - before.datagrams_out;
        let messages = after.messages_out - before.messages_out;
        assert!(received > 24_000 && sent > 10_000, "{received} in, {sent} out");
        // A pose for all has nine recipients; one for the group has at least five.
        let expected = received / 4 * 3 * 9 + received / 4 * 5;
        assert!(messages > expected * 9 / 10, "{messages} messages of {received}");
        assert_eq!(allocations, 0, "in {received} datagrams in and {sent} out");
    }
}

fn bind(gro: bool) -> UdpSocket {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    UdpSocket::bind(&BindOptions { addr, gro, ..BindOptions::default() }).unwrap()
}

/// Runs a shard's thread with its socket, clock and mailboxes, over loopback.
fn thread() {
    let (socket, clock) = (bind(true), Clock::new());
    let server = socket.local_addr().unwrap();
    let tick = Tick::Fixed(Duration::from_millis(5));
    let (router, mut mailboxes) = MisdirectedRouter::new(1).unwrap();
    let mailbox = mailboxes.pop().unwrap();
    let (handle, thread) = spawn(config(tick), socket, clock, router, mailbox, None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (events, link_events) = mpsc::sync_channel(64);
    let mut clients = Vec::new();
    for number in 0..20 {
        let (open, events) = (open_link(number, ROOM_SIZE), events.clone());
        let post = move |_session: SessionId, event: LinkEvent| {
            // Only the first event of each link is needed. The others may be dropped.
            let _full = events.try_send(event);
            PostOutcome::Accepted
        };
        let opened = runtime.block_on(async {
            handle.post(ShardMail::RoomOpened(open.room, Box::new(post))).await;
            handle.post(ShardMail::OpenLink(Box::new(open), None)).await;
            link_events.recv().unwrap()
        });
        let now = Time::from_micros(clock.now());
        clients.push((LinkClient::new(now, number, opened, server), bind(false)));
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
                        let taken = client.receive(now, datagram.data);
                        assert!(taken.is_ok(), "{:?}", taken.err());
                    });
                }
                let mut send = |datagram: &mut Vec<u8>| {
                    batch.clear();
                    assert!(batch.push(server, None, 0, datagram));
                    socket.send(&batch);
                    datagram.clear();
                };
                if let Some(target) = pose_target(step, number) {
                    client.send(now, MessageKind::Pose, target, &POSE, &mut out);
                    send(&mut out);
                }
                while client.speak(now, &mut out) {
                    send(&mut out);
                }
            }
        }
        std::mem::take(&mut received)
    };
    run(2_000);
    let before = allocations_of_others();
    assert!(before > 0, "no allocations are counted");
    let received = run(2_000);
    let allocations = allocations_of_others() - before;
    assert!(received > 3_000, "only {received} datagrams");
    // If the machine stalls, a buffer may grow once. An allocation for each datagram or each turn
    // of the loop would count in the thousands.
    assert!(allocations < 16, "{allocations} in {received} datagrams out");
    runtime.block_on(handle.post(ShardMail::Stop));
    thread.join().unwrap();
}

/// One test, because it counts the allocations of all threads.
#[test]
fn the_steady_state_allocates_nothing() {
    core();
    thread();
}
