//! The realtime plane of one room: which messages are sent, and which of the received ones are
//! delivered.

mod plane;
mod recent;
pub mod speaking;
#[cfg(test)]
mod tests;

pub use plane::{OutgoingMessage, Realtime, RealtimeCounters, ReceivedMessage};
