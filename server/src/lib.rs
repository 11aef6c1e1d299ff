//! The Nucleus server: threads, tasks and sockets around the rules of [`nucleus_core`].
//!
//! `main` parses the command line and calls [`start::run::run`]. Tests call the same function.

pub mod bans;
mod bounded_file;
pub mod commands;
pub mod edge;
pub mod health;
pub mod http;
pub mod local_access;
pub mod metrics;
mod planes;
mod private_file;
pub mod published_histogram;
pub mod queue;
mod random;
pub mod rooms;
pub mod shard;
pub mod start;
mod text_file;
mod unix_time;

pub use nucleus_tokens as token;
