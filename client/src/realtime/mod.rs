//! The realtime plane of one room: a pure core over the protocol's link, and the task that drives
//! it with one UDP socket.

mod core;
pub(crate) mod driver;
mod recent;
pub mod speaking;
#[cfg(test)]
mod tests;

pub use core::{OutgoingMessage, Realtime, RealtimeCounters, ReceivedMessage};
