//! Poses, voice and other realtime messages, and reliable messages.

use nucleus_client::{
    END_TO_END, Group, PeerId, Pose, Room, SPURT_START, SendError, To, Transform, Voice, VoiceStep,
};

use crate::client::ROOMS;
use crate::convert::shown_pose;
use crate::entry_connect::write_op;
use crate::failure::{Failure, Outcome, counted, entry};
use crate::input;
use crate::types::{NcOp, NcResult, NcRoom, NcTarget, NcTargetKind};
use crate::types_room::{NcPose, NcShownPose, NcTransform, NcVoiceFlag, NcVoiceStep};

/// Writes the poses of the others to `poses`, at most `capacity`, and returns how many there are: those to show
/// in this frame, interpolated, evenly in time, and a little later than they arrive. Call it once a frame.
/// Allocates nothing once everybody has sent.
///
/// They are in no order. A peer may have several bodies: show only those with the channel and key that your
/// application uses, usually 0. If the result is above `capacity`, use a larger array in the next frame.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `poses` must point to memory for `capacity` poses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_poses(
    room: NcRoom,
    poses: *mut NcShownPose,
    capacity: i32,
) -> i32 {
    counted(|| {
        // SAFETY: the caller vouches for the memory.
        let poses = unsafe { input::output(poses, capacity, "poses") }?;
        let room = ROOMS.get(room)?;
        let mut count = 0;
        room.joined()?.for_each_shown_pose(|shown| {
            if let Some(pose) = poses.get_mut(count) {
                pose.write(shown_pose(&shown));
            }
            count += 1;
        });
        Ok(count)
    })
}

/// Copies the bytes that travel with the newest pose of a peer to `rest`, and returns their number; 0 if there
/// are none. `key` is 0, unless the peer has several bodies. If they do not fit, nothing is copied: 900 bytes are
/// always enough. They belong to a pose that is a little newer than the shown one.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `rest` must point to `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_pose_rest(
    room: NcRoom,
    peer: u32,
    key: u16,
    rest: *mut u8,
    capacity: i32,
) -> i32 {
    counted(|| {
        // SAFETY: the caller vouches for the memory.
        let to = unsafe { input::output(rest, capacity, "rest") }?;
        let room = ROOMS.get(room)?;
        let mut len = 0;
        room.joined()?.for_each_pose(|pose| {
            if (pose.from, pose.channel, pose.key) == (PeerId(peer), 0, key) {
                input::copy_bytes(pose.rest, to);
                len = pose.rest.len();
            }
        });
        Ok(len)
    })
}

/// Sends the pose of head and hands; the newest one wins. `to` may be NULL: to all others. `key` is 0,
/// unless this client has several bodies. The `rest_len` bytes at `rest` travel with the pose, for example
/// fingers and buttons: at most 867. The others read them with `nc_room_pose_rest`.
///
/// Errors: `NC_RESULT_INVALID_ARGUMENT` if a number is NaN, infinite or out of range;
/// `NC_RESULT_TOO_LARGE`, `NC_RESULT_UNKNOWN_PEER`, `NC_RESULT_CLOSED`, `NC_RESULT_NOT_JOINED`,
/// `NC_RESULT_INVALID_HANDLE`.
///
/// # Safety
/// `to` must be NULL or point to a target, `pose` to a pose, and `rest` to `rest_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_send_pose(
    room: NcRoom,
    to: *const NcTarget,
    key: u16,
    pose: *const NcPose,
    rest: *const u8,
    rest_len: u32,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the target, the pose and the bytes.
        let (to, pose, rest) = unsafe {
            let pose = input::list(pose, 1, "pose")?;
            (target(to)?, pose.first().copied(), input::list(rest, rest_len, "rest")?)
        };
        let room = ROOMS.get(room)?;
        let part =
            |from: NcTransform| Transform { position: from.position, rotation: from.rotation };
        let pose = pose.unwrap_or_default();
        let pose = Pose {
            head: part(pose.head),
            left: (pose.has_left != 0).then(|| part(pose.left)),
            right: (pose.has_right != 0).then(|| part(pose.right)),
        };
        Ok(room.joined()?.send_pose_to(to, key, &pose, rest)?)
    })
}

/// Sends an Opus packet of 20 ms, at most 898 bytes. `level` is its loudness in -dBov: 0 is loudest, 127 is
/// silence. `flags` are bits of `NcVoiceFlag`. Does nothing while this client has muted itself.
///
/// Errors: as `nc_room_send_pose`.
///
/// # Safety
/// `to` must be NULL or point to a target, and `opus` to `opus_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_send_voice(
    room: NcRoom,
    to: *const NcTarget,
    level: u8,
    flags: u32,
    opus: *const u8,
    opus_len: u32,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the target and the bytes.
        let (to, opus) = unsafe { (target(to)?, input::list(opus, opus_len, "opus")?) };
        let has = |flag: NcVoiceFlag| flags & flag as u32 != 0;
        let known = [NcVoiceFlag::Speaking, NcVoiceFlag::SpurtStart, NcVoiceFlag::EndToEnd];
        if known.iter().fold(flags, |rest, flag| rest & !(*flag as u32)) != 0 {
            return Err(Failure::argument("flags has bits that this library does not know"));
        }
        let bit = |flag: NcVoiceFlag, bit: u8| if has(flag) { bit } else { 0 };
        let voice = Voice {
            level,
            speaking: has(NcVoiceFlag::Speaking),
            flags: bit(NcVoiceFlag::SpurtStart, SPURT_START)
                | bit(NcVoiceFlag::EndToEnd, END_TO_END),
            opus,
        };
        Ok(ROOMS.get(room)?.joined()?.send_voice_to(to, &voice)?)
    })
}

/// Writes what to play for the next 20 ms of a speaker to `step` (`NcVoiceStep`), the Opus packet to
/// `opus`, and returns the packet's length. Call it for each speaker every 20 ms, by the clock of the sound
/// device; it may be called on the sound device's thread. 1,000 bytes are enough for every packet.
///
/// From the first call on, voice of this room no longer comes as `NC_EVENT_KIND_VOICE`.
///
/// Errors: `NC_RESULT_BUFFER_TOO_SMALL`: the packet is lost. `NC_RESULT_INVALID_HANDLE`,
/// `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `opus` must point to `capacity` bytes, and `step` to memory for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_voice(
    room: NcRoom,
    peer: u32,
    opus: *mut u8,
    capacity: i32,
    step: *mut u32,
) -> i32 {
    counted(|| {
        // SAFETY: the caller vouches for the memory.
        let to = unsafe { input::output(opus, capacity, "opus") }?;
        let room = ROOMS.get(room)?;
        let mut packet = room.packet.take();
        let played = room.joined()?.play_voice(PeerId(peer), &mut packet);
        let len = packet.len();
        let fits = input::copy_bytes(&packet, to);
        room.packet.give_back(packet);
        let played = match played {
            VoiceStep::Packet { .. } if !fits => {
                return Err(Failure::new(NcResult::BufferTooSmall, "the packet does not fit"));
            }
            VoiceStep::Packet { .. } => NcVoiceStep::Packet,
            VoiceStep::Conceal => NcVoiceStep::Conceal,
            _ => NcVoiceStep::Silence,
        };
        // SAFETY: the caller vouches for the memory.
        unsafe { input::write(step, played as u32, "step") }?;
        Ok(if played == NcVoiceStep::Packet { len } else { 0 })
    })
}

/// Mutes or unmutes this client. It stops sending voice at once; the event of `op` says that the server
/// knows. `op` may be NULL.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_WOULD_BLOCK`.
///
/// # Safety
/// `op` must be NULL, or point to memory for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_set_muted(room: NcRoom, muted: u32, op: *mut NcOp) -> NcResult {
    entry(|| {
        let room = ROOMS.get(room)?;
        room.joined()?;
        let of = room.clone();
        let mute = async move { Ok(of.joined()?.set_muted(muted != 0).await?) };
        let number = room.client.request(room.number, mute, |(), done| done)?;
        // SAFETY: the caller vouches for the memory.
        unsafe { write_op(op, number) }
    })
}

/// Sends a pointer or cursor of at most 900 bytes. The newest one of each `channel` and `key` wins.
///
/// Errors: as `nc_room_send_pose`.
///
/// # Safety
/// `to` must be NULL or point to a target, and `payload` to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_send_pointer(
    room: NcRoom,
    to: *const NcTarget,
    channel: u8,
    key: u16,
    payload: *const u8,
    len: u32,
) -> NcResult {
    let message = Message { to, channel, payload, len };
    // SAFETY: the caller vouches for the pointers.
    unsafe { send(room, message, |room, to, channel, p| room.send_pointer(to, channel, key, p)) }
}

/// Sends an unreliable message of at most 900 bytes: it may be lost, and does not replace others.
///
/// Errors: as `nc_room_send_pose`.
///
/// # Safety
/// As for `nc_room_send_pointer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_send_unreliable(
    room: NcRoom,
    to: *const NcTarget,
    channel: u8,
    key: u16,
    payload: *const u8,
    len: u32,
) -> NcResult {
    let message = Message { to, channel, payload, len };
    // SAFETY: the caller vouches for the pointers.
    unsafe { send(room, message, |room, to, channel, p| room.send_unreliable(to, channel, key, p)) }
}

/// Sends an unreliable message of at most 900 bytes that replaces earlier ones of its `channel` and `key`,
/// for example an object's movement.
///
/// Errors: as `nc_room_send_pose`.
///
/// # Safety
/// As for `nc_room_send_pointer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_send_newest(
    room: NcRoom,
    to: *const NcTarget,
    channel: u8,
    key: u16,
    payload: *const u8,
    len: u32,
) -> NcResult {
    let message = Message { to, channel, payload, len };
    // SAFETY: the caller vouches for the pointers.
    unsafe { send(room, message, |room, to, channel, p| room.send_newest(to, channel, key, p)) }
}

/// Sends a reliable, ordered event of at most 16 KiB on a channel below 240. It arrives once, also over a
/// lost session.
///
/// Peers that are not in the room are left out, without an error.
///
/// Errors: `NC_RESULT_WOULD_BLOCK` if too many events wait: try again in a later frame;
/// `NC_RESULT_TOO_LARGE`, `NC_RESULT_CLOSED`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
/// `NC_RESULT_INVALID_HANDLE`.
///
/// # Safety
/// As for `nc_room_send_pointer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_send_event(
    room: NcRoom,
    to: *const NcTarget,
    channel: u8,
    payload: *const u8,
    len: u32,
) -> NcResult {
    let message = Message { to, channel, payload, len };
    // SAFETY: the caller vouches for the pointers.
    unsafe { send(room, message, Room::try_send_event) }
}

/// Sends a reliable message of at most 64 KiB on the bulk lane, so that no event waits for it.
///
/// Errors: as `nc_room_send_event`.
///
/// # Safety
/// As for `nc_room_send_pointer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_send_bulk(
    room: NcRoom,
    to: *const NcTarget,
    channel: u8,
    payload: *const u8,
    len: u32,
) -> NcResult {
    let message = Message { to, channel, payload, len };
    // SAFETY: the caller vouches for the pointers.
    unsafe { send(room, message, Room::try_send_bulk) }
}

/// A message as the caller passes it.
struct Message {
    to: *const NcTarget,
    channel: u8,
    payload: *const u8,
    len: u32,
}

/// # Safety
/// `to` must be NULL or point to a target, and `payload` to `len` bytes.
unsafe fn send(
    room: NcRoom,
    message: Message,
    send: impl FnOnce(&Room, To, u8, &[u8]) -> Result<(), SendError>,
) -> NcResult {
    entry(|| {
        let Message { to, channel, payload, len } = message;
        // SAFETY: the caller vouches for the target and the bytes.
        let (to, payload) = unsafe { (target(to)?, input::list(payload, len, "payload")?) };
        Ok(send(ROOMS.get(room)?.joined()?, to, channel, payload)?)
    })
}

/// Reads a target; NULL means all others.
///
/// # Safety
/// `to` must be NULL or point to a target with its list of peers.
pub(crate) unsafe fn target(to: *const NcTarget) -> Outcome<To> {
    if to.is_null() {
        return Ok(To::Others);
    }
    // SAFETY: the caller vouches for the target.
    let Some(to) = unsafe { input::list(to, 1, "to") }?.first() else { return Ok(To::Others) };
    Ok(match to.kind {
        kind if kind == NcTargetKind::Others as u32 => To::Others,
        kind if kind == NcTargetKind::Peer as u32 => To::Peer(PeerId(to.id)),
        kind if kind == NcTargetKind::Host as u32 => To::Host,
        kind if kind == NcTargetKind::Group as u32 => To::Group(group(to.id)?),
        kind if kind == NcTargetKind::All as u32 => To::All,
        kind if kind == NcTargetKind::Peers as u32 => {
            // SAFETY: the caller vouches for the list.
            let peers = unsafe { input::list(to.peers, to.peer_count, "the target's peers") }?;
            To::Peers(peers.iter().map(|peer| PeerId(*peer)).collect())
        }
        kind if kind == NcTargetKind::OthersAndLater as u32 => To::OthersAndLater,
        other => return Err(Failure::argument(format!("there is no target of kind {other}"))),
    })
}

pub(crate) fn group(id: u32) -> Outcome<Group> {
    let group = u8::try_from(id).ok().and_then(Group::new);
    group.ok_or_else(|| Failure::argument(format!("there is no group {id}: groups are 0 to 239")))
}
