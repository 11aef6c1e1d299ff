//! Reliable events: who says what to whom, the newest for those who come back, and what is kept for
//! whoever comes later.

mod history;
mod log;
mod relay;

pub(super) use history::History;
pub use log::{Event, EventTarget};
pub(super) use log::{EventLog, Recipients};
