//! The participants of a room, with their slots, roles and mutes, and the roster that describes
//! them.

mod mutes;
mod participant;
mod participants;
mod recipients;
mod role;
mod roster;
mod slots;
mod taken_events;

pub(super) use mutes::Mutes;
pub(super) use participant::{NewParticipant, PendingLink};
pub(super) use participants::Participants;
pub(super) use recipients::Recipients;
pub use role::{Rights, Role};
