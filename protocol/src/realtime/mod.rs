//! The realtime plane's datagram (UDP 5056): its header, its frames and what the frames carry.

pub mod control;
pub mod frame;
pub mod header;
pub mod pose;
pub mod voice;

pub use frame::{Frame, Frames, Kind, MalformedFrame, Message};
pub use header::{ConnectionId, Header};

/// The target "everybody else in the room".
pub const TARGET_OTHERS: u16 = 0xffff;
/// Targets from here on are not slots; those not named are reserved.
pub const TARGET_RESERVED: u16 = 0xff00;
