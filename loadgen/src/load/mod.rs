//! The load: what each headset sends, and when. Everything follows from the command line and a
//! seed.

pub(crate) mod channel;
pub(crate) mod network;
pub(crate) mod payload;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod schedule;
pub(crate) mod ticks;
