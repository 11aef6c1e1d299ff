//! Many headsets in one process, each a [`Room`] as an application has one. They send what the load
//! generator's profile "meeting" sends, so that a server's load and the latency can be compared with
//! those that the load generator measures:
//!
//! ```text
//! cargo run --release -p nucleus-client --example crowd -- --server 127.0.0.1:5055 --tokens tokens.txt
//! ```
//!
//! The file has a join token in each line, one for each headset:
//!
//! ```text
//! for n in $(seq 50); do nucleus token --product atom --tenant load --user c$n; done > tokens.txt
//! ```

#![expect(clippy::print_stdout, reason = "this program prints its measurements")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use nucleus_client::{ConnectOptions, Pose, Room, RoomEvent, To, Transform, Voice, connect};
use tokio::time::{Instant, MissedTickBehavior};

/// Headsets in a room.
const ROOM_SIZE: usize = 10;
/// Interval of poses, 30 Hz.
const POSES: Duration = Duration::from_micros(33_333);
/// Interval of voice packets of a peer that speaks.
const VOICE: Duration = Duration::from_millis(20);
/// Interval of the voice packets of a peer that speaks now and then.
const SELDOM_VOICE: Duration = Duration::from_millis(83);
/// Interval of events.
const EVENTS: Duration = Duration::from_millis(3_333);

/// Lets headsets meet in rooms of ten.
#[derive(Parser)]
struct Options {
    /// Server, host:port
    #[arg(long)]
    server: String,
    /// File with a join token for each headset
    #[arg(long)]
    tokens: std::path::PathBuf,
    /// How long the headsets stay, in seconds
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

/// What all headsets count.
#[derive(Default)]
struct Counts {
    is_measuring: AtomicBool,
    /// Poses by their age on arrival, in steps of 1 ms, up to 1 s.
    ages: Ages,
    received: AtomicU64,
}

struct Ages(Vec<AtomicU64>);

impl Default for Ages {
    fn default() -> Self {
        Self((0..1_000).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Ages {
    fn record(&self, age: Duration) {
        self.0[(age.as_millis() as usize).min(self.0.len() - 1)].fetch_add(1, Relaxed);
    }

    /// Returns the age that this share of the poses does not exceed, in ms.
    fn quantile(&self, share: f64) -> usize {
        let total: u64 = self.0.iter().map(|count| count.load(Relaxed)).sum();
        let mut left = (total as f64 * share) as u64;
        self.0
            .iter()
            .position(|count| {
                let count = count.load(Relaxed);
                let found = count > left;
                left = left.saturating_sub(count);
                found
            })
            .unwrap_or_default()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let tokens = std::fs::read_to_string(&options.tokens)
        .map_err(|error| format!("{}: {error}", options.tokens.display()))?;
    let counts = Arc::new(Counts::default());
    let mut headsets = Vec::new();
    let tokens = tokens.lines().map(str::trim).filter(|token| !token.is_empty());
    for (number, token) in tokens.enumerate() {
        let room = format!("crowd-{}", number / ROOM_SIZE);
        let room = connect(ConnectOptions::new(options.server.as_str(), token).room(room)).await?;
        headsets.push(tokio::spawn(live(room, number, counts.clone())));
    }
    if headsets.is_empty() {
        return Err("there is no token in the file".into());
    }
    println!("{} headsets have joined", headsets.len());
    tokio::time::sleep(Duration::from_secs(2)).await;
    counts.is_measuring.store(true, Relaxed);
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    counts.is_measuring.store(false, Relaxed);
    let (p50, p99) = (counts.ages.quantile(0.5), counts.ages.quantile(0.99));
    let received = counts.received.load(Relaxed);
    println!("{received} messages received; age of poses: p50 {p50} ms, p99 {p99} ms");
    headsets.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// Sends and receives until the task is aborted.
async fn live(room: Room, number: usize, counts: Arc<Counts>) {
    let every = |period: Duration| {
        // Spread out, as people are.
        let begin = Instant::now() + period.mul_f64((number as f64 * 0.618).fract());
        let mut ticks = tokio::time::interval_at(begin, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    };
    let (mut poses, mut events) = (every(POSES), every(EVENTS));
    let speaks = number % ROOM_SIZE <= 2;
    let mut voice = every(if number % ROOM_SIZE == 2 { SELDOM_VOICE } else { VOICE });
    let at = |x: f32| Transform { position: [x, 1.7, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    for n in 0u32.. {
        let x = (n % 1_000) as f32 / 1_000.0;
        // Fails only after the room is closed, and `next` tells so.
        tokio::select! {
            _ = poses.tick() => {
                let pose = Pose { head: at(x), left: Some(at(x)), right: Some(at(x)) };
                let _ = room.send_pose(&pose);
            }
            _ = voice.tick(), if speaks => {
                let opus = [n as u8; 80];
                let _ = room.send_voice(&Voice { level: 30, speaking: true, flags: 0, opus: &opus });
            }
            _ = events.tick() => {
                let _ = room.try_send_event(To::Others, 1, &[n as u8; 100]);
            }
            event = room.next() => match event {
                Some(RoomEvent::Pose { age, .. }) if counts.is_measuring.load(Relaxed) => {
                    counts.received.fetch_add(1, Relaxed);
                    if let Some(age) = age {
                        counts.ages.record(age);
                    }
                }
                Some(RoomEvent::Voice { .. }) if counts.is_measuring.load(Relaxed) => {
                    counts.received.fetch_add(1, Relaxed);
                }
                Some(_) => {}
                None => return,
            },
        }
    }
}
