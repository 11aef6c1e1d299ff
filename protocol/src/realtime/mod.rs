//! The realtime plane's datagram (UDP 5056): its header, its frames and what the frames carry.

pub mod control;
pub mod frame;
pub mod header;
pub mod pose;
pub mod voice;

pub use frame::{Frame, Frames, MalformedFrame, Message, MessageKind};
pub use header::{ConnectionId, Header};

use crate::groups::Group;
use crate::limits::MAX_ROOM_PEERS;

/// The target "everybody else in the room".
pub const TARGET_OTHERS: u16 = 0xffff;
/// Targets from here on are not slots; those not named are reserved.
pub const TARGET_RESERVED: u16 = 0xff00;
/// The target that is group 0; the others follow in order, and behind them 16 that are reserved.
pub const TARGET_GROUPS: u16 = TARGET_RESERVED;

/// The target that is a group.
pub const fn target_of_group(group: Group) -> u16 {
    TARGET_GROUPS + group.number() as u16
}

/// The group that a target is, if it is one.
#[inline]
pub fn group_of_target(target: u16) -> Option<Group> {
    Group::new(u8::try_from(target.checked_sub(TARGET_GROUPS)?).ok()?)
}

const _: () = assert!(MAX_ROOM_PEERS < TARGET_RESERVED);
const _: () =
    assert!(TARGET_GROUPS as u32 + crate::groups::GROUPS as u32 + 15 == TARGET_OTHERS as u32);
