//! Datagrams of the realtime plane (UDP 5056): their header, their frames, and the payloads of
//! frames.

pub mod control;
pub mod frame;
pub mod header;
pub mod interest;
pub mod pose;
pub mod report;
pub mod voice;

pub use frame::{Frame, Frames, MalformedFrame, Message, MessageKind};
pub use header::{ConnectionId, Header};

use crate::groups::Group;
use crate::limits::MAX_ROOM_PEERS;

/// The target for every peer in the room except the sender.
pub const TARGET_OTHERS: u16 = 0xffff;
/// The first target that is not a slot. Targets from here on without a name are reserved.
pub const TARGET_RESERVED: u16 = 0xff00;
/// The target of group 0. The other groups follow in order; the 16 targets behind them are
/// reserved.
pub const TARGET_GROUPS: u16 = TARGET_RESERVED;

/// Returns the target of a group.
pub const fn target_of_group(group: Group) -> u16 {
    TARGET_GROUPS + group.number() as u16
}

/// Returns the group of a target, or `None` if the target is not a group.
#[inline]
pub fn group_of_target(target: u16) -> Option<Group> {
    Group::new(u8::try_from(target.checked_sub(TARGET_GROUPS)?).ok()?)
}

/// Reserved: everybody else in the room, at any distance.
pub const TARGET_ANY_DISTANCE: u16 = 0xfffe;

const _: () = assert!(MAX_ROOM_PEERS < TARGET_RESERVED);
const _: () =
    assert!(TARGET_GROUPS as u32 + crate::groups::GROUPS as u32 + 15 == TARGET_OTHERS as u32);
