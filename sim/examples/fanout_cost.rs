//! Runs the fan-out with simulated clients, always in the same way: a hundred clients in rooms of ten
//! each send some sixty poses a second for two simulated seconds. It prints how many messages arrived.
//! valgrind counts the instructions exactly, whatever else the machine does:
//!
//! ```text
//! cargo build --release -p nucleus-sim --example fanout_cost
//! valgrind --tool=callgrind target/release/examples/fanout_cost 5      # the tick, ms
//! ```
//!
//! The instructions are those of the fan-out and of the clients.

#![expect(clippy::print_stdout, reason = "this program writes to the terminal")]

use std::time::Duration;

use nucleus_core::fanout::{FanoutConfig, Tick};
use nucleus_core::limits::Limits;
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS};
use nucleus_sim::link_world::LinkWorld;

const CLIENTS: u32 = 100;
const ROOM_SIZE: u32 = 10;
const SIMULATED_MS: usize = 2_000;
/// Each client sends a pose every so many milliseconds, at its own times.
const POSE_EVERY_MS: usize = 16;
const POSE: [u8; 35] = [7; 35];

fn main() {
    let millis = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let tick = Tick::Fixed(Duration::from_millis(millis.unwrap_or(5)));
    let config = FanoutConfig { index: 0, tick, limits: Limits::default(), clock_epoch: 1 };
    let mut world = LinkWorld::new(config, CLIENTS, ROOM_SIZE);
    let mut received = 0;
    for step in 0..SIMULATED_MS {
        world.pass(Duration::from_millis(1));
        for client in 0..world.clients() {
            if (step + client).is_multiple_of(POSE_EVERY_MS) {
                world.send(client, MessageKind::Pose, TARGET_OTHERS, &POSE);
            }
        }
        world.seal_datagrams();
        world.take();
        if world.is_due() {
            world.flush();
        }
        received += world.receive();
    }
    println!("{received} messages");
}
