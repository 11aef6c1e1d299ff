//! The store on SQLite, and on PostgreSQL if `NUCLEUS_TEST_POSTGRES` names one: an address such as
//! `postgres://postgres@localhost/postgres` of a user who may make databases.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

mod backup;
mod databases;
mod forget;
#[path = "../common/fresh.rs"]
mod fresh;
mod history;
mod history_outages;
mod keys;
mod killed;
mod migrations;
mod old_rows;
mod people;
mod snapshot_age;
mod tenants;
mod time_limits;
mod unavailable;
