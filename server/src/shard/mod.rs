//! The realtime plane: one thread a shard with its socket, and the mailboxes around it. What it does is
//! decided by [`nucleus_core::fanout::Fanout`].

mod handle;
mod misdirected;
mod thread;

pub use handle::{LinkEvents, PostOutcome, Published, SessionDatagram, ShardHandle, ShardMail};
pub use misdirected::{MisdirectedMailbox, MisdirectedRouter};
pub use thread::spawn;
