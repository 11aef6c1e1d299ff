//! The API over a real database and planes that the tests play. The database is SQLite, or PostgreSQL if
//! `NUCLEUS_TEST_POSTGRES` names one, as for the tests of the store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

mod alarms;
mod audit;
mod bans;
mod browser;
mod changed_accounts;
mod console;
mod console_life;
mod console_roles;
mod document;
mod errors;
mod events;
mod forget;
#[path = "../common/fresh.rs"]
mod fresh;
mod gone_clients;
mod history;
mod isolation;
mod issuers;
mod keys;
mod live;
mod many_tenants;
mod own_account;
mod people;
mod role_table;
mod rooms;
mod series;
mod shown_forms;
mod sign_in;
mod sign_in_guesses;
mod single_sign_on;
mod stream;
mod stream_connections;
mod tenants;
mod tokens;
mod webhook_sender;
mod webhooks;
mod world;
mod wrong_forms;
