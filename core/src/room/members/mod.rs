//! Who is in a room: its participants with their slots and roles, whose voice is dropped, and what the
//! roster says of them.

mod mutes;
mod participant;
mod role;
mod roster;
mod slots;

pub(super) use mutes::Mutes;
pub(super) use participant::Participant;
pub use role::{Rights, Role};
pub(super) use roster::RosterLog;
pub(super) use slots::Slots;
