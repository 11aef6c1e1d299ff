//! The room's shared state, groups and moderation.

use std::ffi::c_char;
use std::time::Duration;

use nucleus_client::{Batch, EntityId, Group, ObjectId, ObjectMode, PeerId, Room, StateError};

use crate::client::ROOMS;
use crate::convert::{from_value, object_mode};
use crate::entry_connect::{value, write_op};
use crate::entry_realtime::group;
use crate::failure::{Failure, Outcome, counted, entry};
use crate::input;
use crate::types::{NcBytes, NcOp, NcResult, NcRoom, NcValue};
use crate::types_room::{NcAct, NcChange, NcChangeKind, NcEntity, NcObject, NcObjectMode, NcScope};

/// Requests the `count` changes at `changes`, which the server applies all together or not at all. The
/// event of `op` has the version of the state that contains them (`sequence`), or the reason of a refusal.
/// `op` may be NULL.
///
/// The role and the grants in the token say what a client may change: everybody its own fields and objects,
/// some also the room's fields. The events of the changes come before that of `op`. Unlike an event, a request is not repeated after a
/// lost session.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_WOULD_BLOCK`;
/// `NC_RESULT_INVALID_ARGUMENT` if a change is over a limit, for example a NaN, or if there is none.
///
/// # Safety
/// `changes` must point to `count` changes with their keys and values, and `op` to memory for a number or
/// be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_change(
    room: NcRoom,
    changes: *const NcChange,
    count: u32,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the list.
        let changes = unsafe { input::list(changes, count, "changes") }?;
        let mut batch = Batch::new();
        for change in changes {
            // SAFETY: the caller vouches for the key and the value.
            batch = unsafe { add(batch, change) }?;
        }
        // Tells the caller at once which change is over a limit.
        batch.clone().into_operations()?;
        let room = ROOMS.get(room)?;
        room.joined()?;
        let of = room.clone();
        let request = async move { Ok(of.joined()?.change(batch).await?) };
        let number = room.client.request(room.number, request, |version, mut done| {
            done.event.sequence = version;
            done
        })?;
        // SAFETY: the caller vouches for the memory.
        unsafe { write_op(op, number) }
    })
}

/// # Safety
/// The key and the bytes of the value must be there.
unsafe fn add(batch: Batch, change: &NcChange) -> Outcome<Batch> {
    // SAFETY: the caller vouches for the text.
    let key = || unsafe { input::needed_text(change.key, "a change's key") };
    // SAFETY: the caller vouches for the bytes.
    let value = || unsafe { value(&change.value) };
    let (peer, version) = (PeerId(change.peer), change.version);
    Ok(match change.kind {
        kind if kind == NcChangeKind::Set as u32 => {
            let entity = entity(change.entity)?;
            match value()? {
                Some(value) => batch.set(entity, key()?, value),
                None => batch.remove(entity, key()?),
            }
        }
        kind if kind == NcChangeKind::CompareAndSet as u32 => {
            let entity = entity(change.entity)?;
            match value()? {
                Some(value) => batch.compare_and_set(entity, key()?, version, value),
                None => batch.compare_and_remove(entity, key()?, version),
            }
        }
        kind if kind == NcChangeKind::Create as u32 => {
            batch.create(object(change.entity)?, mode(change.mode)?)
        }
        kind if kind == NcChangeKind::Delete as u32 => batch.delete(object(change.entity)?),
        kind if kind == NcChangeKind::Claim as u32 => batch.claim(object(change.entity)?),
        kind if kind == NcChangeKind::Give as u32 => batch.give(object(change.entity)?, peer),
        kind if kind == NcChangeKind::Host as u32 => batch.host(peer),
        other => return Err(Failure::argument(format!("there is no change of kind {other}"))),
    })
}

fn entity(from: NcEntity) -> Outcome<EntityId> {
    Ok(match from.scope {
        scope if scope == NcScope::Room as u32 => EntityId::Room,
        scope if scope == NcScope::Peer as u32 => {
            let peer = u32::try_from(from.id);
            EntityId::Peer(PeerId(peer.map_err(|_| Failure::argument("no peer has this id"))?))
        }
        scope if scope == NcScope::Object as u32 => EntityId::Object(ObjectId(from.id)),
        other => return Err(Failure::argument(format!("there is no scope {other}"))),
    })
}

fn object(from: NcEntity) -> Outcome<ObjectId> {
    match entity(from)? {
        EntityId::Object(object) => Ok(object),
        _ => Err(Failure::argument("this change is of an object")),
    }
}

fn mode(from: u32) -> Outcome<ObjectMode> {
    let stays = NcObjectMode::WithRoom as u32;
    let mode = match from & !stays {
        mode if mode == NcObjectMode::Fixed as u32 => ObjectMode::FIXED,
        mode if mode == NcObjectMode::Ask as u32 => ObjectMode::ASK,
        mode if mode == NcObjectMode::Take as u32 => ObjectMode::TAKE,
        _ => return Err(Failure::argument(format!("there is no object mode {from}"))),
    };
    Ok(if from & stays != 0 { mode.with_room() } else { mode })
}

/// Writes a field to `field`, its text or bytes to `buffer`, and its version to `version`. The state may be
/// newer than the events that were taken. `version` may be NULL.
///
/// Errors: `NC_RESULT_NOT_FOUND` if there is no such field; `NC_RESULT_BUFFER_TOO_SMALL` if the bytes do
/// not fit (`field.bytes.len` says how many there are; 4,096 are always enough);
/// `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `key` must point to a text, `field` to memory for a value, `buffer` to `capacity` bytes, and `version`
/// to memory for a number or be NULL. `field` points into `buffer` afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_field(
    room: NcRoom,
    of: NcEntity,
    key: *const c_char,
    field: *mut NcValue,
    buffer: *mut u8,
    capacity: i32,
    version: *mut u64,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the text and the memory.
        let (key, buffer) = unsafe {
            (input::needed_text(key, "key")?, input::output(buffer, capacity, "buffer")?)
        };
        let room = ROOMS.get(room)?;
        let missing = || Failure::new(NcResult::NotFound, format!("there is no field {key:?}"));
        let found = room.joined()?.field(entity(of)?, key).ok_or_else(missing)?;
        let (mut value, bytes) = from_value(Some(found.value));
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let fits = input::copy_bytes(&bytes, buffer);
        let data = if fits { buffer.as_ptr().cast() } else { std::ptr::null() };
        value.bytes = NcBytes { data, len };
        // SAFETY: the caller vouches for the memory.
        unsafe {
            input::write(field, value, "field")?;
            if !version.is_null() {
                input::write(version, found.version, "version")?;
            }
        }
        let short = || Failure::new(NcResult::BufferTooSmall, format!("the field has {len} bytes"));
        if fits { Ok(()) } else { Err(short()) }
    })
}

/// Writes the objects of the room to `objects`, at most `capacity`, and returns how many there are; at most
/// 4,096.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `objects` must point to memory for `capacity` objects; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_objects(
    room: NcRoom,
    objects: *mut NcObject,
    capacity: i32,
) -> i32 {
    counted(|| {
        // SAFETY: the caller vouches for the memory.
        let to = unsafe { input::output(objects, capacity, "objects") }?;
        let room = ROOMS.get(room)?;
        let objects = room.joined()?.objects();
        for (to, object) in to.iter_mut().zip(&objects) {
            let owner = object.owner.map_or(0, |owner| owner.0);
            to.write(NcObject { id: object.id.0, owner, mode: object_mode(object.mode) });
        }
        Ok(objects.len())
    })
}

/// Returns an id for an object that this client will create; 0 while the room is not joined. Do not use an
/// id from before an `NC_EVENT_KIND_REJOINED`.
#[unsafe(no_mangle)]
pub extern "C" fn nc_room_new_object_id(room: NcRoom) -> u64 {
    let mut id = 0;
    entry(|| {
        id = ROOMS.get(room)?.joined()?.new_object_id().0;
        Ok(())
    });
    id
}

/// Writes the version of the shared state to `version`, and its SHA-256 digest to the 32 bytes at
/// `digest`. All clients at the same version have the same digest. Both may be NULL.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`.
///
/// # Safety
/// `version` must be NULL or point to memory for a number, and `digest` be NULL or point to 32 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_state(
    room: NcRoom,
    version: *mut u64,
    digest: *mut u8,
) -> NcResult {
    entry(|| {
        let room = ROOMS.get(room)?;
        let room = room.joined()?;
        // SAFETY: the caller vouches for the memory.
        unsafe {
            if !version.is_null() {
                input::write(version, room.state_version(), "version")?;
            }
            if !digest.is_null() {
                input::copy_bytes(&room.state_digest(), input::output(digest, 32, "digest")?);
            }
        }
        Ok(())
    })
}

/// Subscribes to the `count` groups at `groups`, and unsubscribes from all others. `op` may be NULL.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
/// `NC_RESULT_WOULD_BLOCK`.
///
/// # Safety
/// `groups` must point to `count` numbers, and `op` to memory for a number or be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_subscribe(
    room: NcRoom,
    groups: *const u32,
    count: u32,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the list.
        let groups = unsafe { input::list(groups, count, "groups") }?;
        let groups = groups.iter().map(|id| group(*id)).collect::<Outcome<Vec<Group>>>()?;
        let room = ROOMS.get(room)?;
        room.joined()?;
        let of = room.clone();
        let subscribe = async move { Ok(of.joined()?.subscribe(groups).await?) };
        let number = room.client.request(room.number, subscribe, |(), done| done)?;
        // SAFETY: the caller vouches for the memory.
        unsafe { write_op(op, number) }
    })
}

/// Acts as a moderator: `act` is an `NcAct`. `peer` is the peer that the act is on, and `seconds` how long a
/// kicked user is banned; otherwise both are 0. `op` may be NULL.
///
/// Errors: as `nc_room_subscribe`. Without the right to moderate, the event of `op` has
/// `NC_RESULT_REFUSED`.
///
/// # Safety
/// `op` must be NULL, or point to memory for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_moderate(
    room: NcRoom,
    act: u32,
    peer: u32,
    seconds: u32,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        let room = ROOMS.get(room)?;
        room.joined()?;
        let of = room.clone();
        let known = acts().find(|known| *known as u32 == act);
        let act = known.ok_or_else(|| Failure::argument(format!("there is no act {act}")))?;
        let moderate = async move { Ok(moderate(of.joined()?, act, PeerId(peer), seconds).await?) };
        let number = room.client.request(room.number, moderate, |(), done| done)?;
        // SAFETY: the caller vouches for the memory.
        unsafe { write_op(op, number) }
    })
}

fn acts() -> impl Iterator<Item = NcAct> {
    use NcAct::{
        Clear, End, HandOver, Hide, Kick, Lock, Mute, MuteAll, Show, Unlock, Unmute, UnmuteAll,
    };
    let acts =
        [Kick, Lock, Unlock, Hide, Show, Mute, Unmute, MuteAll, UnmuteAll, Clear, HandOver, End];
    acts.into_iter()
}

async fn moderate(room: &Room, act: NcAct, peer: PeerId, seconds: u32) -> Result<(), StateError> {
    let ban = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
    match act {
        NcAct::Kick => room.kick(peer, ban).await,
        NcAct::Lock => room.lock(true).await,
        NcAct::Unlock => room.lock(false).await,
        NcAct::Hide => room.hide(true).await,
        NcAct::Show => room.hide(false).await,
        NcAct::Mute => room.mute(peer).await,
        NcAct::Unmute => room.unmute(peer).await,
        NcAct::MuteAll => room.mute_all(true).await,
        NcAct::UnmuteAll => room.mute_all(false).await,
        NcAct::Clear => room.clear().await,
        NcAct::HandOver => room.hand_over(peer).await,
        NcAct::End => room.end().await,
    }
}
