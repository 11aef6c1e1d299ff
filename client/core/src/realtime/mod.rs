//! The realtime plane of one room: which messages are sent, and which of the received ones are
//! delivered.

mod clock;
mod inbox;
mod lists;
mod message;
mod plane;
mod quality;
mod recent;
mod reports;
mod sending;
mod sent;
mod sequences;
pub mod speaking;
#[cfg(test)]
mod tests;

pub use clock::JoinedClock;
pub use message::{MessageView, OutgoingMessage, PeerPose, RealtimeCounters, ReceivedMessage};
pub use plane::Realtime;
pub use quality::{ConnectionFigures, ConnectionQuality};
pub use reports::RealtimeReport;
pub use sent::SentSequences;
