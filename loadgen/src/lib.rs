//! What the load generator shares with the benches: a server of a run's own.

pub mod embedded;
