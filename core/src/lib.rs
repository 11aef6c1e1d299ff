//! The server's rules: who may join, who hears what, which room fits, who rings whom.
//!
//! Everything here is pure. Time and random bytes are passed in; nothing reads a clock, draws a
//! number, takes a lock or knows a socket. So a seed replays a run, and the same code runs in the
//! server's tasks and threads, in simulations and in benchmarks.
//!
//! # The driving contract
//!
//! Four state machines hold the rules: [`room::Room`], [`lobby::Lobby`], [`social::Social`] and
//! [`fanout::Fanout`]. The first three are a [`Machine`], and [`drive`] is the one loop that runs them:
//!
//! 1. `handle(now, input)` takes one input. [`Machine::TIMEOUT`] is the input that says only
//!    that time has passed.
//! 2. `poll()` gives the outputs one by one. An output is carried out by a [`Shell`]: the machine
//!    itself never calls anybody. A reply to a request is an output that bears the [`ids::RequestId`]
//!    of the request. The outcome of an output may be the next input.
//! 3. `deadline()` says when the machine wants to be called, should nothing happen before.
//!
//! The packet path differs in one point: [`fanout::Fanout`] takes borrowed datagrams and writes
//! datagrams into an [`fanout::Outbox`] of the caller's (`flush(now, &mut outbox)`), because an output
//! for each would be a copy for each. Its commands, events and deadline follow the contract.
//!
//! # Which module uses which
//!
//! [`ids`], [`limits`], [`rate`] and [`text`] use none of the machines. `lobby` uses what a `room` shows
//! and is made with, and `room` uses the events of a link, [`fanout::LinkEvent`]; `fanout` and `social`
//! use no other machine. What one machine must tell another is an output of the one and an input of the
//! other.

mod drive;
pub mod fanout;
pub mod ids;
pub mod limits;
pub mod lobby;
pub mod rate;
pub mod room;
pub mod social;
pub mod text;

pub use drive::{Machine, Shell, drive};
