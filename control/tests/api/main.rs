//! The API over a real database (SQLite) and planes that the tests play.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

mod bans;
mod document;
mod errors;
mod history;
mod isolation;
mod issuers;
mod keys;
mod rooms;
mod tenants;
mod tokens;
mod world;
