//! The start of the server: command line, configuration, data directory, sockets, log and [`run`].

pub mod cli;
pub mod config;
pub mod data_dir;
pub mod logging;
pub mod renewal;
pub mod run;
pub mod sockets;
pub mod tls;
