//! The server's rules: who may join a room, who receives a message, which room fits a join, who
//! calls whom.
//!
//! This crate does no I/O. Callers pass in the time and random bytes; nothing here reads a clock,
//! draws a random number, takes a lock or uses a socket. A run can therefore be repeated from its
//! seed, and the same code runs in the server's tasks and threads, in simulations and in
//! benchmarks.
//!
//! # The driving contract
//!
//! Four state machines hold the rules: [`room::Room`], [`lobby::Lobby`], [`social::Social`] and
//! [`fanout::Fanout`]. The first three implement [`Machine`], and [`drive`] is the one loop that
//! runs them:
//!
//! 1. `handle(now, input)` takes one input. [`Machine::TIMEOUT`] is the input that says only
//!    that time has passed.
//! 2. `poll()` returns the outputs one by one. A [`Shell`] carries them out; the machine itself
//!    calls nothing outside. The reply to a request is an output with the [`ids::RequestId`] of the
//!    request. The outcome of an output may be the next input.
//! 3. `deadline()` returns the time at which the machine must be called if no input comes before.
//!
//! The packet path differs in one point: [`fanout::Fanout`] borrows the datagrams that it receives
//! and writes those that it sends into the caller's [`fanout::Outbox`] (`flush(now, &mut outbox)`).
//! An output for each datagram would need a copy of each. Its commands, events and deadline follow
//! the contract.
//!
//! # Which module uses which
//!
//! [`ids`], [`limits`], [`rate`] and [`text`] use none of the machines. `lobby` uses the listing
//! and the options of a `room`, and `room` uses the events of a link, [`fanout::LinkEvent`];
//! `fanout` and `social` use no other machine. A message from one machine to another is an output
//! of the first and an input of the second. [`certificates`] and [`acme`] are schedules without a machine;
//! [`ban_records`], [`origins`] and [`tenancy`] are lists. [`histogram`] counts for the page of metrics; [`round_trips`] and [`moments`] are for the history.
//! [`control`] and [`traffic`] are the language of the control plane.

pub mod acme;
pub mod ban_records;
pub mod certificates;
pub mod control;
mod drive;
mod edge_limits;
pub mod fanout;
pub mod histogram;
pub mod ids;
pub mod limits;
pub mod lobby;
pub mod moments;
pub mod origins;
pub mod plane_event;
mod product;
mod range;
pub mod rate;
pub mod room;
mod room_limits;
pub mod room_rate;
pub mod room_stats;
pub mod round_trips;
pub mod session_budgets;
pub mod social;
pub mod stream_rates;
pub mod tenancy;
pub mod text;
pub mod traffic;
pub mod unjoined;
pub mod validity;

pub use drive::{Machine, Shell, drive};
