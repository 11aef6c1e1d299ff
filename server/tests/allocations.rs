//! In the steady state a datagram costs no heap allocation: neither in the fan-out nor in the
//! thread around it, from the socket and back to it.

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
/// Two of three hear it.
const GROUP: Group = Group::new(200).unwrap();
/// What a pose holds.
const POSE: [u8; 35] = [7; 35];

fn config(tick: Tick) -> FanoutConfig {
    FanoutConfig { index: 0, tick, limits: Limits::default(), clock_epoch: 1 }
}

/// Whether a client sends a pose in a millisecond, some 60 a second and each client at its own moments,
/// and to whom. Every fourth is for those who hear a group.
fn pose_target(millis: u64, client: usize) -> Option<u16> {
    let turn = millis + client as u64;
    let to_group = (turn / 16).is_multiple_of(4);
    turn.is_multiple_of(16).then_some(if to_group { target_of_group(GROUP) } else { TARGET_OTHERS })
}

/// A fan-out with rooms of ten; the clients with a number that three does not divide hear a group.
fn world(tick: Tick, clients: u32) -> LinkWorld {
    let mut world = LinkWorld::new(config(tick), clients, ROOM_SIZE);
    for number in (0..clients).filter(|number| number % 3 > 0) {
        world.subscribe(number, [GROUP].into_iter().collect());
    }
    world
}

/// A millisecond: some clients send a pose, the fan-out does what is due, clients take what came.
/// Gives the fan-out's allocations.
fn step(world: &mut LinkWorld) -> u64 {
    world.pass(Duration::from_millis(1));
    let millis = world.now.as_micros() / 1_000;
    for client in 0..world.clients() {
        if let Some(target) = pose_target(millis, client) {
            world.say(client, MessageKind::Pose, target, &POSE);
        }
    }
    world.links_speak();
    let allocations = allocations_of(|| {
        world.take();
        world.flush();
    });
    world.hear();
    allocations
}

/// Datagrams in and out, and messages out.
fn traffic(counters: &FanoutCounters) -> [u64; 3] {
    [counters.datagrams_in, counters.datagrams_out, counters.messages_out]
}

fn core() {
    for tick in [Tick::Auto, Tick::Fixed(Duration::from_millis(5))] {
        let mut world = world(tick, 40);
        // Paths are proven, clocks settle, buffers and queues find their size.
        let settling: u64 = (0..20_000).map(|_| step(&mut world)).sum();
        assert!(settling > 0, "nothing is counted");
        let before = traffic(&world.fanout.counters);
        let allocations: u64 = (0..10_000).map(|_| step(&mut world)).sum();
        let after = traffic(&world.fanout.counters);
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
    let (router, mut mailboxes) = MisdirectedRouter::new(1).unwrap();
    let mailbox = mailboxes.pop().unwrap();
    let (handle, thread) = spawn(config(tick), socket, clock, router, mailbox, None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (events, news) = mpsc::sync_channel(64);
    let mut clients = Vec::new();
    for number in 0..20 {
        let (open, events) = (open_link(number, ROOM_SIZE), events.clone());
        let note = move |_session: SessionId, event: LinkEvent| {
            // More than fit nobody wants to know.
            let _full = events.try_send(event);
            PostOutcome::Accepted
        };
        let opened = runtime.block_on(async {
            handle.post(ShardMail::RoomOpened(open.room, Box::new(note))).await;
            handle.post(ShardMail::OpenLink(Box::new(open), None)).await;
            news.recv().unwrap()
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
                        let taken = client.hear(now, datagram.data);
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
                    client.say(now, MessageKind::Pose, target, &POSE, &mut out);
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
