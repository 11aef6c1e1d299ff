//! Server-sent events: the recent events that a stream goes on from, the places of the streams, and the
//! body of an answer that never ends by itself.

mod body;
mod event_ring;
mod places;

pub use event_ring::EventRing;

pub(crate) use body::{StreamSender, stream_body};
pub(crate) use event_ring::StreamEvent;
pub(crate) use places::StreamPlaces;
