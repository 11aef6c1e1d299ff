//! Joining and leaving rooms.

use std::ffi::c_char;
use std::time::Duration;

use nucleus_client::{
    Capabilities, ConnectOptions, Query, ReturnTicket, RoomOptions, Trust, Value, connect,
};

use crate::client::{CLIENTS, Client, ROOMS};
use crate::failure::{Failure, Outcome, counted, entry};
use crate::input;
use crate::types::{
    NcClient, NcConnect, NcField, NcFilter, NcJoinMode, NcOp, NcResult, NcRoom, NcRoomFlag,
    NcValue, NcValueKind,
};

/// Begins to join a room, and writes its number to `room`. `NC_EVENT_KIND_JOINED` or
/// `NC_EVENT_KIND_JOIN_FAILED` follows, within a minute. Free the number in both cases.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`; `NC_RESULT_INVALID_ARGUMENT` if an argument is NULL, no text in UTF-8, or
/// unknown; `NC_RESULT_WOULD_BLOCK` if the client has 64 rooms and social sessions. Texts that are too long, and
/// servers that are no `host:port`, are reported by `NC_EVENT_KIND_JOIN_FAILED`.
///
/// # Safety
/// `connect` must point to an `NcConnect` whose pointers are NULL or point to what their fields say, and
/// `room` to memory for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_connect(
    client: NcClient,
    connect_options: *const NcConnect,
    room: *mut NcRoom,
) -> NcResult {
    entry(|| {
        let client = CLIENTS.get(client)?;
        // SAFETY: the caller vouches for the struct and its pointers.
        let options = unsafe { options(&input::sized(connect_options, "connect")?) }?;
        let number = client.join_room(connect(options))?;
        // SAFETY: the caller vouches for the memory.
        let written = unsafe { input::write(room, number, "room") };
        written.inspect_err(|_| drop(Client::free_room(number)))
    })
}

/// Leaves a room: events that were sent before still arrive, and the others see the leave at once.
/// `NC_EVENT_KIND_CLOSED` follows, after 2 s at the latest.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`.
#[unsafe(no_mangle)]
pub extern "C" fn nc_room_leave(room: NcRoom) -> NcResult {
    entry(|| {
        let room = ROOMS.get(room)?;
        room.joined()?;
        Client::leave_room(&room);
        Ok(())
    })
}

/// Frees a room, and leaves it. Its events that were not taken are lost; results of its requests
/// (`NC_EVENT_KIND_DONE`) may still come. May be called on any thread, also while the room is being joined.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, also if the room was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn nc_room_free(room: NcRoom) -> NcResult {
    entry(|| Client::free_room(room))
}

/// Copies the ticket of the room's session to `ticket`, with a zero byte at its end, and returns its
/// length; 0 if there is no ticket. Pass it as `NcConnect.ticket` in a later process to resume the
/// session, with the events that were not taken. It is as secret as a password. Copy it anew after each
/// event that must not come again, and at least every two minutes.
///
/// If `capacity` is not above the length, nothing is written: call again with a larger buffer.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `ticket` must point to `capacity` bytes; it may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_ticket(room: NcRoom, ticket: *mut c_char, capacity: i32) -> i32 {
    counted(|| {
        // SAFETY: the caller vouches for the memory.
        let to = unsafe { input::output(ticket, capacity, "ticket") }?;
        let room = ROOMS.get(room)?;
        let Some(ticket) = room.joined()?.ticket() else { return Ok(0) };
        let text = ticket.to_text();
        if text.len() < to.len() {
            input::copy_text(&text, to);
        }
        Ok(text.len())
    })
}

/// Hands in a fresh token of the same user, after `NC_EVENT_KIND_TOKEN_WANTED`. The event of `op` has the
/// server's answer. `op` may be NULL.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
/// `NC_RESULT_WOULD_BLOCK`.
///
/// # Safety
/// `token` must point to a text, and `op` to memory for a number or be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_renew(
    room: NcRoom,
    token: *const c_char,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the text.
        let token = unsafe { input::needed_text(token, "token") }?.to_owned();
        let room = ROOMS.get(room)?;
        room.joined()?;
        let of = room.clone();
        let renew = async move { Ok(of.joined()?.renew(token).await?) };
        let number = room.client.request(room.number, renew, |(), done| done)?;
        // SAFETY: the caller vouches for the memory.
        unsafe { write_op(op, number) }
    })
}

/// Writes the number of a request, if the caller wants it.
///
/// # Safety
/// `op` must be NULL, or point to memory for a number.
pub(crate) unsafe fn write_op(op: *mut NcOp, number: NcOp) -> Outcome {
    if op.is_null() {
        return Ok(());
    }
    // SAFETY: the caller vouches for the memory.
    unsafe { input::write(op, number, "op") }
}

/// # Safety
/// The pointers must be NULL, or point to what their fields say.
unsafe fn options(from: &NcConnect) -> Outcome<ConnectOptions> {
    // SAFETY: the caller vouches for the texts.
    let text = |pointer, what| unsafe { input::text(pointer, what) };
    // SAFETY: the caller vouches for the texts.
    let needed = |pointer, what| unsafe { input::needed_text(pointer, what) };
    let mut options =
        ConnectOptions::new(needed(from.server, "server")?, needed(from.token, "token")?);
    if let Some(room) = text(from.room, "room")? {
        options = options.room(room);
    }
    if let Some(name) = text(from.name, "name")? {
        options = options.name(name);
    }
    if let Some(version) = text(from.version, "version")? {
        options = options.version(version);
    }
    if let Some(password) = text(from.password, "password")? {
        options = options.password(password);
    }
    if let Some(agent) = text(from.agent, "agent")? {
        options = options.agent(agent);
    }
    if let Some(ticket) = text(from.ticket, "ticket")? {
        let ticket = ReturnTicket::from_text(ticket);
        options = options.ticket(ticket.ok_or_else(|| Failure::argument("the ticket is damaged"))?);
    }
    if let Some(pem) = text(from.ca_pem, "ca_pem")? {
        options = options.trust(Trust::ca_pem(pem.as_bytes())?);
    }
    // SAFETY: the caller vouches for the lists.
    let (room, query) = unsafe { (room_options(from)?, query(from.filters, from.filter_count)?) };
    options = options.options(room);
    // SAFETY: the caller vouches for the list.
    for user in unsafe { input::list(from.expected, from.expected_count, "expected") }? {
        options = options.expect_users([needed(*user, "an expected user")?]);
    }
    options = match from.mode {
        mode if mode == NcJoinMode::JoinOrCreate as u32 => options,
        mode if mode == NcJoinMode::Create as u32 => options.create(),
        mode if mode == NcJoinMode::Join as u32 => options.join_only(),
        mode if mode == NcJoinMode::Match as u32 => options.match_room(query),
        mode if mode == NcJoinMode::MatchOrCreate as u32 => options.match_or_create(query),
        other => return Err(Failure::argument(format!("there is no join mode {other}"))),
    };
    if from.patience_ms > 0 {
        options = options.patience(Duration::from_millis(from.patience_ms.into()));
    }
    if from.no_realtime_port != 0 {
        let capabilities = Capabilities { realtime_port: false, ..Capabilities::default() };
        options = options.capabilities(capabilities);
    }
    Ok(options)
}

/// # Safety
/// The lists must have what their fields say.
unsafe fn room_options(from: &NcConnect) -> Outcome<RoomOptions> {
    let mut options = RoomOptions::new();
    if from.capacity > 0 {
        let capacity = u16::try_from(from.capacity);
        let capacity = capacity.map_err(|_| Failure::argument("capacity is above 65,535"))?;
        options = options.capacity(capacity);
    }
    let known = NcRoomFlag::Hidden as u32
        | NcRoomFlag::Locked as u32
        | NcRoomFlag::Kept as u32
        | NcRoomFlag::ByInvitation as u32;
    if from.room_flags & !known != 0 {
        return Err(Failure::argument("room_flags has bits that this library does not know"));
    }
    let has = |flag: NcRoomFlag| from.room_flags & flag as u32 != 0;
    if has(NcRoomFlag::Hidden) {
        options = options.hidden();
    }
    if has(NcRoomFlag::Locked) {
        options = options.locked();
    }
    if has(NcRoomFlag::Kept) {
        options = options.kept();
    }
    if has(NcRoomFlag::ByInvitation) {
        options = options.by_invitation();
    }
    if from.empty_ttl_ms > 0 {
        options = options.empty_ttl(Duration::from_millis(from.empty_ttl_ms.into()));
    }
    // SAFETY: the caller vouches for the lists and their texts.
    unsafe {
        for NcField { key, value } in input::list(from.fields, from.field_count, "fields")? {
            let key = input::needed_text(*key, "a field's key")?;
            options = options.field(key, needed_value(value)?);
        }
        let mut listed = Vec::new();
        for key in input::list(from.listed, from.listed_count, "listed")? {
            listed.push(input::needed_text(*key, "a listed key")?);
        }
        Ok(options.listed(listed))
    }
}

/// Reads filters.
///
/// # Safety
/// `filters` must point to `count` filters.
pub(crate) unsafe fn query(filters: *const NcFilter, count: u32) -> Outcome<Query> {
    let mut query = Query::new();
    // SAFETY: the caller vouches for the list, its texts and values.
    for filter in unsafe { input::list(filters, count, "filters") }? {
        // SAFETY: as above.
        let (key, values, low, high) = unsafe {
            let key = input::needed_text(filter.key, "a filter's key")?;
            let values = input::list(filter.values, filter.value_count, "a filter's values")?;
            let values = values.iter().map(|value| needed_value(value));
            let values = values.collect::<Outcome<Vec<Value>>>()?;
            (key, values, value(&filter.low)?, value(&filter.high)?)
        };
        query = match (values.is_empty(), low, high) {
            (false, None, None) => query.one_of(key, values),
            (true, Some(low), Some(high)) => query.between(key, low, high),
            (true, Some(low), None) => query.at_least(key, low),
            (true, None, Some(high)) => query.at_most(key, high),
            _ => return Err(Failure::argument("a filter has either values, or low or high")),
        };
    }
    Ok(query)
}

unsafe fn needed_value(from: &NcValue) -> Outcome<Value> {
    // SAFETY: the caller vouches for the bytes.
    unsafe { value(from) }?.ok_or_else(|| Failure::argument("a value has no type"))
}

/// Reads a value; `None` if it has no type.
///
/// # Safety
/// The bytes of a text or byte string must be there.
pub(crate) unsafe fn value(from: &NcValue) -> Outcome<Option<Value>> {
    // SAFETY: the caller vouches for the bytes.
    let bytes = || unsafe { input::list(from.bytes.data, from.bytes.len, "a value's bytes") };
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec());
        text.map_err(|_| Failure::argument("a text value is not UTF-8"))
    };
    Ok(Some(match from.kind {
        kind if kind == NcValueKind::None as u32 => return Ok(None),
        kind if kind == NcValueKind::Bool as u32 => Value::Bool(from.integer != 0),
        kind if kind == NcValueKind::Integer as u32 => Value::Integer(from.integer),
        kind if kind == NcValueKind::Float as u32 => Value::Float(from.number),
        kind if kind == NcValueKind::Text as u32 => Value::Text(text(bytes()?)?),
        kind if kind == NcValueKind::Bytes as u32 => Value::Bytes(bytes()?.to_vec()),
        other => return Err(Failure::argument(format!("there is no value of type {other}"))),
    }))
}
