//! The checks: compare the messages that arrived with the messages that were sent, and count both.

pub(crate) mod ages;
pub(crate) mod arrivals;
pub(crate) mod distortion;
pub(crate) mod events;
pub(crate) mod gaps;
pub(crate) mod ledger;
pub(crate) mod nearest;
pub(crate) mod outcome;
mod receive_state;
pub(crate) mod recompute;
pub(crate) mod rosters;
pub(crate) mod sent_log;
pub(crate) mod sequence;
pub(crate) mod session_log;
pub(crate) mod states;
pub(crate) mod tally;
pub(crate) mod time_slots;
pub(crate) mod times;
pub(crate) mod withheld;
