//! The realtime plane: one thread per shard, its socket and its mailboxes.
//! [`nucleus_core::fanout::Fanout`] decides what the thread sends.

mod handle;
mod misdirected;
mod thread;

pub use handle::{
    PostLinkEvent, PostOutcome, Published, QueuedDatagram, SessionDatagram, ShardHandle, ShardMail,
    TakeHeadPoses, TakePeerLinks, TakeRoomLinks, TakeTraffic,
};
pub use misdirected::{MisdirectedMailbox, MisdirectedRouter};
pub use thread::spawn;
