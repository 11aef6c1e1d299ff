//! Drives the headsets and the other clients of a run: their threads, tasks and sockets.

pub(crate) mod calls;
pub(crate) mod context;
mod endpoints;
pub(crate) mod headset;
pub(crate) mod headset_session;
pub(crate) mod late_joiner_links;
pub(crate) mod late_joiners;
pub(crate) mod server_target;
pub(crate) mod sessions;
mod sim_network;
pub(crate) mod sim_socket;
pub(crate) mod state_load;
pub(crate) mod storms;
pub(crate) mod tasks;
pub(crate) mod worker;
