//! The API over a real database (SQLite) and planes that the tests play.

mod document;
mod errors;
mod isolation;
mod keys;
mod rooms;
mod tenants;
mod world;
