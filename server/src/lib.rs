//! The Nucleus server: shells of threads, tasks and sockets around the rules of [`nucleus_core`]. `main`
//! parses and calls [`start::run::run`]; tests drive the same.

pub mod edge;
pub mod http;
pub mod metrics;
pub mod queue;
mod random;
pub mod rooms;
pub mod shard;
pub mod start;
pub mod token;
