//! Starts the real `nucleus` binary in surroundings that misbehave: a stderr that is full, closed or
//! stuck, no file descriptors, a full or read-only disk, a moved clock, threads that hang, signals, a second
//! instance, plain sockets, clients that take as much memory or as many handshakes as they can. In each case
//! the server goes on, or says in one line why it cannot.
//!
//! `cargo test --workspace` builds the binary. To run these tests alone:
//! `cargo build && cargo test -p nucleus-process`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]
#![allow(clippy::print_stdout, reason = "a test of a figure prints the figure")]

mod clients;
mod clock;
mod files;
mod flood;
mod hangs;
mod heavy;
mod log_reader;
mod logs;
mod memory;
mod raw;
mod server;
mod shim;
mod signals;
mod social_memory;
mod sockets;
mod web_memory;
