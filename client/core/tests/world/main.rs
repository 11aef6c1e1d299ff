//! Whole servers and clients in one simulation: the real rules of a room and of its clients, a small
//! edge between them, and a network on which everything goes wrong.
//!
//! | module | what it holds |
//! |---|---|
//! | `network` | connections: delays, stalled writes, breaks, and what is on its way |
//! | `room_host` | the room with its links, as the server's task runs it |
//! | `tickets` | tokens and resume tickets, with the rules of admission |
//! | `edge` | the server's end of a connection: the handshake, its streams in both directions |
//! | `server` | a server: its room, its edges, and its version in a rolling upgrade |
//! | `admission` | how a server admits a client |
//! | `delivery` | how a server carries out its room's outputs |
//! | `arrivals` | the client's end of a connection: what has arrived and is not read |
//! | `device` | a device, which runs one client after the other |
//! | `application` | what the application on a device does and expects |
//! | `ledger` | the events that were sent, and who must have received them |
//! | `rpcs` | the requests of the devices to each other, and their answers |
//! | `counter` | a field of the shared state that the devices count up |
//! | `sightings` | what has occurred |
//! | `simulation` | all of it together, driven by one clock |
//! | `faults` | what goes wrong, and how it ends |
//! | `checks` | what must hold after the faults |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod admission;
mod application;
mod arrivals;
mod checks;
mod counter;
mod delivery;
mod device;
mod edge;
mod faults;
mod ledger;
mod network;
mod room_host;
mod rpcs;
mod server;
mod sightings;
mod simulation;
mod tickets;

use std::sync::Mutex;
use std::time::Duration;

use nucleus_sim::seeds::{for_seeds, seeds};

use sightings::Sightings;
use simulation::{Simulation, Troubles};

/// What must occur in the simulations of many seeds.
const EXPECTED: [&str; 31] = [
    "behind",
    "closed: None",
    "closed: Some(Left)",
    "closed: Some(TokenExpired)",
    "closed: Some(Version)",
    "event: Rejoined",
    "event: Throttled",
    "event: RpcRequest",
    "event: TokenWanted",
    "event: TypedEvent",
    "event: Moderated",
    "handed over",
    "interrupted: None",
    "interrupted: Some(ShuttingDown)",
    "interrupted: Some(SlowConsumer)",
    "losses that were told",
    "renewal: Ok(())",
    "request: done",
    "request: refused: Some(Conflict)",
    "request: Interrupted",
    "resumed, loss: false",
    "resumed, loss: true",
    "rpc: Closed",
    "rpc: Interrupted",
    "rpc: PeerLeft",
    "rpc: TimedOut",
    "rpc: answered",
    "rpc: answered too late",
    "rpc: busy",
    "rpc: fault",
    "rpc: no such method",
];

/// Clients send events, change the state and leave, while connections break, servers restart and
/// tokens expire. Then the network is healed. No event is lost or doubled without being told, and
/// the states are equal.
#[test]
fn no_event_is_lost_or_doubled_without_being_told() {
    let all = Mutex::new(Sightings::default());
    for_seeds(1_000, |seed| {
        let mut simulation = Simulation::new(seed, Troubles::of_seconds(seed));
        let trouble = Duration::from_secs(10 + seed % 15);
        simulation.run(trouble);
        simulation.heal();
        simulation.check_quiet();
        simulation.report(&all);
    });
    if seeds(1_000).len() >= 300 {
        all.into_inner().unwrap().check(&EXPECTED);
    }
}

/// In four hours of requests to peers, with a loss now and then, nothing piles up, and no number of a
/// request means two of them.
#[test]
fn requests_go_on_for_hours() {
    for_seeds(60, |seed| {
        let mut simulation = Simulation::new(seed, Troubles::of_slow_requests(seed));
        simulation.run(Duration::from_secs(4 * 3_600));
        simulation.heal();
        simulation.check_quiet();
    });
}

/// In eight hours with a loss now and then, tokens of one hour and tickets that end, clients stay in
/// their room and do nothing without a reason.
#[test]
fn eight_hours_of_silence_are_silent() {
    for_seeds(100, |seed| {
        let mut simulation = Simulation::new(seed, Troubles::of_hours(seed));
        simulation.run(Duration::from_secs(8 * 3_600));
        simulation.check_silence();
        simulation.heal();
        simulation.check_quiet();
    });
}
