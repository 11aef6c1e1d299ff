//! The part of the load generator that the benches use too: a server process for one run.

pub mod embedded;
