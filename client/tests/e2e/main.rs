//! The real server over loopback sockets, met by the real client.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

mod bulk;
mod calls;
mod lobby;
mod moderation;
mod rates;
mod refusals;
mod returns;
mod room_state;
mod rooms;
mod social;
mod state;
mod support;
mod talk;
