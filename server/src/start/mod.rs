//! The start of the server: command line, configuration, data directory, sockets, log and [`run`].

mod acme;
pub mod cli;
pub mod config;
mod console;
pub mod control;
pub mod data_dir;
pub mod log_writer;
pub mod logging;
mod process_watch;
mod reload;
pub mod renewal;
pub mod run;
pub mod signals;
pub mod sockets;
mod supervised;
#[cfg(feature = "otel")]
pub mod telemetry;
pub mod tls;
