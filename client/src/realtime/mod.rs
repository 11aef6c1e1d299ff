//! The realtime plane of one room: its rules ([`Realtime`]), and the task that drives them with one
//! UDP socket.

pub(crate) mod driver;

pub use nucleus_client_core::realtime::*;
