//! Runs the state machines of `nucleus-core` on simulated time and networks, for simulations, model
//! tests and benches.
//!
//! | module | what it simulates |
//! |---|---|
//! | [`task`] | one state machine in a task, run by the server's own loop |
//! | [`server`] | rooms in their tasks, on one or more fan-outs |
//! | [`world`] | such a server, clients, and a seeded network between them |
//! | [`lobby`] | a lobby that opens rooms in such a server |
//! | [`social`] | the users outside rooms, and their calls |
//! | [`link_world`] | one fan-out and its clients' links, without rooms, for benchmarks |
//!
//! Besides the server's own shells, only this crate carries out the outputs of the machines.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a simulation reports a failure by a panic with a message"
)]

pub mod client;
pub mod crowd;
mod history_check;
pub mod join;
pub mod link_world;
pub mod links;
pub mod lobby;
#[path = "../../core/src/room/state/tests/replica.rs"]
mod replica;
pub mod seeds;
pub mod server;
pub mod social;
pub mod task;
mod visit_check;
pub mod world;

pub use client::Client;
pub use crowd::Crowd;
pub use history_check::{HistoryCheck, ReportCounts};
pub use links::{InstantLinks, Links};
pub use server::{Clients, Nobody, Server, SessionAddress};
pub use task::SimTask;
pub use world::{World, WorldConfig};
