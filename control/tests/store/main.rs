//! The store on SQLite, and on PostgreSQL if `NUCLEUS_TEST_POSTGRES` names one: an address such as
//! `postgres://postgres@localhost/postgres` of a user who may make databases.

mod databases;
mod keys;
mod migrations;
mod tenants;
