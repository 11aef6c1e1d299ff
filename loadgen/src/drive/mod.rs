//! The drive: threads, tasks and sockets of the headsets, and of those who come beside them.

pub(crate) mod calls;
pub(crate) mod crew;
pub(crate) mod headset;
pub(crate) mod late_joiner_links;
pub(crate) mod late_joiners;
pub(crate) mod member;
pub(crate) mod sessions;
pub(crate) mod sim_socket;
pub(crate) mod state_copy;
pub(crate) mod storm;
pub(crate) mod target;
pub(crate) mod worker;
