//! The language of Nucleus: what stands on the wire, and the rules both ends follow.
//!
//! No socket, no thread, no clock and no async runtime below this line. The state machine here
//! ([`link::Link`]) is driven by the caller as the server's machines are, with buffers of the caller's:
//!
//! * `handle_input(now, ..)` takes what arrived,
//! * `handle_timeout(now)` does what has become due, `deadline()` says when that is,
//! * `poll_output(now, ..)` gives what must be sent, until it answers `None`.
//!
//! The time is a value ([`time::Time`]) and randomness is drawn by the caller, so that the same
//! inputs always give the same outputs. docs/PROTOCOL.md describes every byte laid out here;
//! `protocol/vectors` holds the test vectors.

pub mod codec;
#[cfg(feature = "quic")]
pub mod congestion;
pub mod groups;
pub mod ids;
pub mod limits;
pub mod link;
pub mod realtime;
pub mod session;
pub mod time;
