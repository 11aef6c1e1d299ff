//! Tests of users, watchers and calls: single rules, and a comparison with a model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test reports a failure by a panic with a message"
)]

mod model;
mod random;
mod rules;
mod watchers;
