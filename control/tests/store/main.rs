//! The store on SQLite, and on PostgreSQL if `NUCLEUS_TEST_POSTGRES` names one: an address such as
//! `postgres://postgres@localhost/postgres` of a user who may make databases.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

mod databases;
mod history;
mod keys;
mod migrations;
mod tenants;
mod unavailable;
