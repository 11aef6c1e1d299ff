//! Checks that in the steady state a frame of an application costs no heap allocation: the client
//! handles the datagrams that have arrived, takes all messages, and reads all poses.
//!
//! Prints a frame's cost:
//! `cargo test --release -p nucleus-client-core --test frame_allocations -- --ignored --nocapture`

#![allow(unsafe_code, reason = "counting allocations takes an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use nucleus_client_core::realtime::{JoinedClock, Realtime, ReceivedMessage, SentSequences};
use nucleus_client_core::roster::{PeerId, Slot};
use nucleus_protocol::limits;
use nucleus_protocol::link::{Link, LinkConfig, LinkSide, Path, Planes, RootSecret, Suite};
use nucleus_protocol::realtime::frame::NEWEST_WINS;
use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::realtime::{ConnectionId, Message, MessageKind};
use nucleus_protocol::time::Time;

/// The system's allocator, with a counter of the allocations.
struct CountingAllocator;

thread_local! {
    /// Allocations of this thread.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // Fails in a thread that is ending.
    let _ended = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
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

const PEERS: u16 = 50;
/// Peers that also speak, point and send other messages.
const BUSY_PEERS: u16 = 8;
/// The length of a frame at 72 Hz.
const FRAME: Duration = Duration::from_micros(13_889);
/// Frames until clocks settle and buffers have their final size: 20 s.
const SETTLING: u32 = 20 * 72;

/// Allocations and time of one step, summed over frames.
#[derive(Clone, Copy, Debug, Default)]
struct StepCost {
    allocations: u64,
    time: Duration,
}

impl StepCost {
    fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let (before, start) = (ALLOCATIONS.get(), Instant::now());
        let result = work();
        self.time += start.elapsed();
        self.allocations += ALLOCATIONS.get() - before;
        result
    }
}

/// The cost of the parts of frames.
#[derive(Clone, Copy, Debug, Default)]
struct FrameCosts {
    /// The link: opening datagrams and answering them. Delivering their messages is a part of it.
    link: StepCost,
    pop: StepCost,
    poses: StepCost,
    /// The interpolated poses.
    shown: StepCost,
    /// The voice to play.
    voice: StepCost,
    messages: u64,
    datagrams: u64,
}

/// A client in a room of 50 peers, and the server's end of its link.
struct RoomOfFifty {
    now: Time,
    client: Realtime,
    server: Link,
    sequence: u16,
    pose: Vec<u8>,
    /// Whether some peers send more than poses.
    is_busy: bool,
    /// Datagrams of the server, reused.
    to_client: Vec<Vec<u8>>,
    to_server: Vec<u8>,
    taken: ReceivedMessage,
    opus: Vec<u8>,
}

fn path(port: u16) -> Path {
    Path { remote: ([127, 0, 0, 1], port).into(), local: None }
}

fn link(now: Time, side: LinkSide) -> Link {
    let config = LinkConfig {
        side,
        link_id: 1,
        suite: Suite::Aes128Gcm,
        root: RootSecret::new(&[7; 32], None),
        connection_id: ConnectionId::new(0, 1, 2),
        spare: ConnectionId::new(0, 1, 3),
        path: (side == LinkSide::Client).then_some(path(5056)),
        planes: Planes::PortOnly,
        max_body: limits::MAX_BODY,
        report_interval: limits::REPORT_INTERVAL_MAX,
        clock_epoch: 1,
        seed: [9; 32],
    };
    Link::new(now, config)
}

/// Returns the payload of a pose with two hands.
fn encoded_pose() -> Vec<u8> {
    let at = |x| Transform { position: [x, 1.5, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    let mut payload = Vec::new();
    Pose { head: at(1.0), left: Some(at(0.7)), right: Some(at(1.3)) }.encode(&mut payload);
    payload
}

impl RoomOfFifty {
    fn new(is_busy: bool) -> Self {
        let now = Time::from_millis(100_000);
        let clock = JoinedClock { at: now, server_time: now, epoch: 1 };
        let of_client = link(now, LinkSide::Client);
        let mut client = Realtime::new(of_client, clock, &SentSequences::default());
        (0..PEERS).for_each(|slot| client.add_peer(now, Slot(slot), PeerId(slot.into())));
        Self {
            now,
            client,
            server: link(now, LinkSide::Server),
            sequence: 0,
            pose: encoded_pose(),
            is_busy,
            to_client: Vec::new(),
            to_server: Vec::new(),
            taken: ReceivedMessage::default(),
            opus: Vec::new(),
        }
    }

    /// Lets the server seal the messages that arrive during one frame. Returns the number of
    /// datagrams.
    fn seal_frame(&mut self) -> usize {
        let Self { now, server, sequence, pose, .. } = self;
        *sequence = sequence.wrapping_add(1);
        let (sequence, time) = (*sequence, Some((*now - FRAME).as_wire_millis()));
        let of = |peer, kind, flags, payload| {
            let (channel, key) = (0, 0);
            Message { kind, flags, peer, channel, key, sequence, time, payload }
        };
        let poses = (0..PEERS).map(|peer| of(peer, MessageKind::Pose, NEWEST_WINS, &pose[..]));
        let busy = if self.is_busy { 0..BUSY_PEERS } else { 0..0 };
        let more = busy.flat_map(|peer| {
            // The length of voice packets varies.
            let voice = &[0x80; 90][..60 + usize::from((sequence + peer) % 30)];
            [
                of(peer, MessageKind::Voice, 0, voice),
                of(peer, MessageKind::Pointer, NEWEST_WINS, &[1; 12]),
                of(peer, MessageKind::Unreliable, 0, &[2; 40]),
            ]
        });
        let mut sealed = 0;
        let mut messages = poses.chain(more).peekable();
        while messages.peek().is_some() {
            if self.to_client.len() == sealed {
                self.to_client.push(Vec::new());
            }
            let datagram = &mut self.to_client[sealed];
            datagram.clear();
            let start = server.begin(*now, datagram);
            let end = start + limits::HEADER + limits::MAX_BODY;
            while let Some(message) =
                messages.next_if(|message| datagram.len() + message.encoded_len() <= end)
            {
                message.encode(datagram);
            }
            server.finish(*now, datagram, start).expect("a link has many packet numbers");
            sealed += 1;
        }
        sealed
    }

    fn frame(&mut self, costs: &mut FrameCosts) {
        self.now += FRAME;
        self.server.handle_timeout(self.now);
        let sealed = self.seal_frame();
        let Self { now, client, server, to_client, to_server, taken, is_busy, opus, .. } = self;
        costs.link.measure(|| {
            client.handle_timeout(*now);
            for datagram in &mut to_client[..sealed] {
                client.handle_input(*now, path(5056), 0, datagram);
            }
        });
        costs.datagrams += sealed as u64;
        costs.messages += client.waiting() as u64;
        costs.pop.measure(|| {
            while let Some(message) = client.pop(*now) {
                black_box(&message);
                message.copy_to(taken);
            }
        });
        let poses = costs.poses.measure(|| client.poses().map(black_box).count());
        assert_eq!(poses, usize::from(PEERS));
        costs.shown.measure(|| client.shown_poses(*now).map(black_box).count());
        if *is_busy {
            let speakers = (0..BUSY_PEERS).map(|peer| PeerId(peer.into()));
            costs.voice.measure(|| {
                speakers.for_each(|peer| _ = black_box(client.play_voice(*now, peer, opus)));
            });
        }
        // The link's own datagrams.
        loop {
            to_server.clear();
            if costs.link.measure(|| client.poll_output(*now, to_server)).is_none() {
                break;
            }
            server.handle_input(*now, path(9), 0, to_server).expect("the datagram is authentic");
            to_server.clear();
            while server.poll_output(*now, to_server).is_some() {
                costs.link.measure(|| client.handle_input(*now, path(5056), 0, to_server));
                to_server.clear();
            }
        }
    }

    fn frames(&mut self, frames: u32) -> FrameCosts {
        let mut costs = FrameCosts::default();
        (0..frames).for_each(|_| self.frame(&mut costs));
        costs
    }
}

#[test]
fn a_frame_allocates_nothing() {
    for is_busy in [false, true] {
        let mut room = RoomOfFifty::new(is_busy);
        let settling = room.frames(SETTLING);
        assert!(settling.link.allocations > 0, "no allocations are counted");
        let costs = room.frames(30 * 72);
        // Voice is not taken as a message.
        let more = if is_busy { 2 * u64::from(BUSY_PEERS) } else { 0 };
        assert_eq!(costs.messages, 30 * 72 * (u64::from(PEERS) + more));
        let FrameCosts { link, pop, poses, shown, voice, datagrams, .. } = costs;
        let allocations = [link, pop, poses, shown, voice].map(|step| step.allocations);
        assert_eq!(allocations, [0; 5], "in {datagrams} datagrams");
    }
}

#[test]
#[ignore = "prints times, and checks nothing"]
#[expect(clippy::print_stdout, reason = "the output is the purpose")]
fn what_a_frame_costs() {
    const FRAMES: u32 = 20_000;
    for is_busy in [false, true] {
        let mut room = RoomOfFifty::new(is_busy);
        room.frames(SETTLING);
        let costs = room.frames(FRAMES);
        let micros = |step: StepCost| step.time.as_secs_f64() * 1e6 / f64::from(FRAMES);
        println!(
            "a frame with {:.0} messages in {:.1} datagrams: link and delivery {:.2} us, pop {:.2} us, poses {:.2} us, interpolated {:.2} us, voice {:.2} us",
            costs.messages as f64 / f64::from(FRAMES),
            costs.datagrams as f64 / f64::from(FRAMES),
            micros(costs.link),
            micros(costs.pop),
            micros(costs.poses),
            micros(costs.shown),
            micros(costs.voice),
        );
    }
}
