//! Reliable events: their relay, a log of the newest for participants that resume, and a history
//! for participants that join later.

mod event;
mod history;
mod log;
mod relay;

pub use event::{Event, EventTarget};
pub(super) use relay::EventRelay;
