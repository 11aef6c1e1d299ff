//! A program that does its work once a frame, in a room of a real server: what a frame costs, and what
//! the program finds after it has done nothing for two seconds.
//!
//! Prints a frame's cost:
//! `cargo test --release -p nucleus-client --test frames -- --nocapture`

#![allow(unsafe_code, reason = "counting allocations takes an allocator")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod allocator;
#[path = "../e2e/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nucleus_client::{Pose, Room, RoomEvent, To, Transform, Voice, connect};
use support::TestServer;

/// The length of a frame at 72 Hz.
const FRAME: Duration = Duration::from_micros(13_889);

fn pose(x: f32) -> Pose {
    let at = |x| Transform { position: [x, 1.7, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    Pose { head: at(x), left: Some(at(x)), right: Some(at(x)) }
}

async fn join(server: &TestServer, user: &str) -> Room {
    connect(server.options(server.token(user)).capacity(64)).await.unwrap()
}

/// Lets a peer send a pose in each frame.
fn send_poses(room: Arc<Room>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut frames = tokio::time::interval(FRAME);
        for n in 0.. {
            frames.tick().await;
            // Its own events are taken too, as every application must.
            room.poll().for_each(drop);
            room.send_pose(&pose((n % 100) as f32 / 100.0)).unwrap();
        }
    })
}

#[derive(Default)]
struct FrameCost {
    allocations: u64,
    time: Duration,
    poses: usize,
}

fn frame(room: &Room) -> FrameCost {
    let (allocations, begun) = (allocator::count(), Instant::now());
    let mut poses = 0;
    room.poll().for_each(|event| _ = black_box(event));
    room.for_each_pose(|pose| {
        black_box(&pose);
        poses += 1;
    });
    room.for_each_shown_pose(|shown| _ = black_box(shown));
    room.send_pose(&pose(0.5)).unwrap();
    FrameCost { allocations: allocator::count() - allocations, time: begun.elapsed(), poses }
}

/// Fifty peers send poses at 72 Hz.
#[expect(clippy::print_stderr, reason = "a measurement is printed")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_with_fifty_peers_allocates_nothing() {
    let server = TestServer::start().await;
    let viewer = join(&server, "viewer").await;
    let mut peers = Vec::new();
    for n in 0..50 {
        peers.push(send_poses(Arc::new(join(&server, &format!("peer-{n}")).await)));
    }
    // The program's own thread, as an engine has one.
    let costs = std::thread::spawn(move || {
        let mut costs = Vec::new();
        for _ in 0..5 * 72 {
            std::thread::sleep(FRAME);
            costs.push(frame(&viewer));
        }
        costs
    });
    let costs = tokio::task::spawn_blocking(|| costs.join().unwrap()).await.unwrap();
    peers.iter().for_each(tokio::task::JoinHandle::abort);
    // The first seconds have the joins, and buffers grow.
    let mut steady = costs.into_iter().skip(2 * 72).collect::<Vec<_>>();
    assert!(steady.iter().all(|cost| cost.poses == 50));
    let allocations: u64 = steady.iter().map(|cost| cost.allocations).sum();
    steady.sort_by_key(|cost| cost.time);
    let median = steady[steady.len() / 2].time;
    eprintln!(
        "a frame with the poses of 50 peers: median {median:?}, {allocations} allocations in {} frames",
        steady.len()
    );
    assert_eq!(allocations, 0);
}

/// What a program finds in its next frame after it has done nothing for two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_hitch_a_program_finds_the_newest_poses_no_stale_voice_and_every_event() {
    let server = TestServer::start().await;
    let viewer = join(&server, "viewer").await;
    let speakers = [join(&server, "a").await, join(&server, "b").await];
    let mut sent = 0u32;
    let send = |n: u32| {
        for room in &speakers {
            room.send_pose(&pose(n as f32 / 1_000.0)).unwrap();
            let voice = Voice { level: 30, speaking: true, flags: 0, opus: &n.to_le_bytes() };
            room.send_voice(&voice).unwrap();
            if n.is_multiple_of(5) {
                room.try_send_event(To::Others, 1, &n.to_le_bytes()).unwrap();
            }
        }
    };
    // A while with frames, then 2 s without.
    for _ in 0..50 {
        send(sent);
        sent += 1;
        viewer.poll().for_each(drop);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = sent;
    for _ in 0..100 {
        send(sent);
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The last messages arrive.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let now = viewer.server_time();
    let (mut events, mut voice) = (HashMap::new(), HashMap::new());
    for event in viewer.poll() {
        match event {
            RoomEvent::Event { from, payload, .. } => {
                let number = u32::from_le_bytes(payload.try_into().unwrap());
                events.entry(from).or_insert_with(Vec::new).push(number);
            }
            RoomEvent::Voice { from, captured, .. } => {
                let age = now.since(captured.unwrap());
                assert!(age < Duration::from_millis(800), "stale voice: {age:?}");
                *voice.entry(from).or_insert(0) += 1;
            }
            RoomEvent::Pose { .. } => panic!("poses are read, not polled"),
            _ => {}
        }
    }
    let mut poses = HashMap::new();
    viewer.for_each_pose(|pose| _ = poses.insert(pose.from, pose.pose.head.position[0]));
    for speaker in speakers.each_ref().map(Room::me) {
        let expected: Vec<u32> = (before..sent).filter(|n| n.is_multiple_of(5)).collect();
        let found = events.get(&speaker).cloned().unwrap_or_default();
        // Events of the frames before may have come late, never twice.
        let found: Vec<u32> = found.into_iter().filter(|n| *n >= before).collect();
        assert_eq!(found, expected);
        assert!(voice.get(&speaker).is_some_and(|packets| (1..=20).contains(packets)), "{voice:?}");
        let newest = (sent - 1) as f32 / 1_000.0;
        assert!((poses[&speaker] - newest).abs() < 0.002, "{poses:?}, newest {newest}");
    }
}
