//! The Nucleus server as a library: `main` parses and calls [`run::run`]; tests drive the same, or
//! the pure cores [`room::Room`] and [`shard::Shard`] without a socket.

pub mod cli;
pub mod config;
pub mod data_dir;
pub mod directory;
pub mod hall;
pub mod http;
pub mod limits;
pub mod lobby;
pub mod logging;
pub mod metrics;
pub mod rate;
pub mod room;
pub mod run;
pub mod session;
pub mod shard;
pub mod sockets;
pub mod tenants;
pub mod tls;
pub mod token;
pub mod wish;
