//! The one world that drives the rules of `nucleus-core`: for simulations, model tests and benches.
//!
//! | module | what it simulates |
//! |---|---|
//! | [`task`] | one machine in a task, driven by the server's own loop |
//! | [`server`] | rooms in their tasks, on one or more fan-outs |
//! | [`world`] | such a server, clients, and a seeded network between them |
//! | [`lobby`] | a lobby that opens rooms in such a server |
//! | [`social`] | the users outside rooms, and their calls |
//! | [`link_world`] | one fan-out and its clients' links, without rooms, to measure it |
//!
//! Outside the server's own shells nothing else carries out an output of a machine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a simulation fails by panicking and says why"
)]

pub mod client;
pub mod crowd;
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
pub mod world;

pub use client::Client;
pub use crowd::Crowd;
pub use links::{InstantLinks, Links};
pub use server::{Address, Clients, Nobody, Server};
pub use task::Task;
pub use world::{World, WorldConfig};
