//! The C library of Nucleus: the client as functions that an engine, or another language, calls.
//!
//! Every entry checks what it is passed, catches panics, and returns at once. What takes longer goes on
//! in the client's thread, and ends with an event. The header `include/nucleus.h` is made from these
//! files, and has the rules for callers at its head.
//!
//! | module | content |
//! |---|---|
//! | `types`, `types_room`, `event` | the data of the ABI |
//! | `client` | the client's thread, its rooms, and the events that wait |
//! | `entry_*` | the functions |
//! | `codec` | Opus, with the feature `opus` |
//! | `input`, `failure`, `handles`, `convert` | pointers, results, numbers and conversions |

#![allow(
    unsafe_code,
    reason = "a C library is passed pointers: `input` reads and writes them, entries only call it"
)]

mod client;
#[cfg(feature = "opus")]
mod codec;
mod convert;
mod entry_client;
mod entry_connect;
mod entry_realtime;
mod entry_room;
mod entry_rpc;
mod entry_social;
mod entry_state;
mod entry_voice;
mod event;
mod failure;
mod handles;
mod input;
mod types;
mod types_room;

pub use entry_client::*;
pub use entry_connect::*;
pub use entry_realtime::*;
pub use entry_room::*;
pub use entry_rpc::*;
pub use entry_social::*;
pub use entry_state::*;
pub use entry_voice::*;
pub use event::*;
pub use types::*;
pub use types_room::*;
