//! End-to-end tests: a real server and real clients over loopback sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

mod acknowledgements;
mod bans;
mod browser;
mod bulk;
mod calls;
mod capabilities;
mod certificates;
mod client;
mod control;
mod fairness;
mod groups_and_voice;
mod issuers;
mod lobby;
mod metrics;
mod moderation;
mod names;
mod no_realtime;
mod playback;
mod rates;
mod reconnect;
mod refusals;
mod renewal;
mod restart;
mod room_state;
mod rooms;
mod rpc;
mod servers;
mod slow_path;
mod social;
mod state;
mod streams;
mod support;
mod tickets;
mod webtransport;
mod wire;
