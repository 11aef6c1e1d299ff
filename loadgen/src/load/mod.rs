//! The load: the messages that each headset sends, and their times. The command line and a seed
//! determine the whole load.

pub(crate) mod channel;
pub(crate) mod network;
pub(crate) mod payload;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod schedule;
pub(crate) mod slot_plan;
pub(crate) mod ticks;
