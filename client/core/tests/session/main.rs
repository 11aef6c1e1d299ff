//! Tests of a client's sessions in a room against a scripted server, without sockets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod events;
mod hostile;
mod lost;
mod rpc;
mod state;
mod streams;
mod support;
