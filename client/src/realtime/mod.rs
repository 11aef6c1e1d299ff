//! The realtime plane of one room: [`Realtime`], which contains the rules and does no I/O, and the
//! realtime task, which drives it with one UDP socket.

mod core;
pub(crate) mod driver;
mod recent;
pub mod speaking;
#[cfg(test)]
mod tests;

pub use core::{OutgoingMessage, Realtime, RealtimeCounters, ReceivedMessage};
