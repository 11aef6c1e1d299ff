//! The rules of users, watchers and calls: one by one, and against a model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking and says why"
)]

mod model;
mod random;
mod rules;
mod watchers;
