//! The protocol of Nucleus: the bytes on the wire, and the rules that client and server follow.
//!
//! This crate uses no socket, thread, clock or async runtime. The caller drives its state machine
//! ([`link::Link`]) as it drives the server's machines, and owns the buffers:
//!
//! * `handle_input(now, ..)` takes a datagram that arrived.
//! * `handle_timeout(now)` does what has become due; `deadline()` returns when to call it.
//! * `poll_output(now, ..)` writes the next datagram to send, or returns `None`.
//!
//! The time is a value ([`time::Time`]) and the caller draws the randomness, so the same inputs
//! always give the same outputs. docs/PROTOCOL.md describes every byte; `protocol/vectors` holds
//! the test vectors.

pub mod codec;
#[cfg(feature = "quic")]
pub mod congestion;
pub mod groups;
pub mod ids;
pub mod limits;
pub mod link;
pub mod realtime;
pub mod session;
pub mod text;
pub mod time;
