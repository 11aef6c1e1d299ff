//! Typed events, and calls with an answer.

use std::ffi::c_char;
use std::time::Duration;

use nucleus_client::{PeerId, RpcFault, RpcId};

use crate::client::ROOMS;
use crate::entry_connect::write_op;
use crate::entry_realtime::target;
use crate::failure::entry;
use crate::input;
use crate::types::{NcOp, NcResult, NcRoom, NcTarget};

/// Sends a reliable, ordered event with a type of 1 to 64 bytes, for example `door_opened`. It needs no
/// channel, and arrives as `NC_EVENT_KIND_TYPED_EVENT`. `to` may be NULL: to all others. The payload may have
/// 16,383 bytes less the length of the type.
///
/// Errors: as `nc_room_send_event`.
///
/// # Safety
/// `to` must be NULL or point to a target, `event_type` to a text, and `payload` to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_send_typed_event(
    room: NcRoom,
    to: *const NcTarget,
    event_type: *const c_char,
    payload: *const u8,
    len: u32,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the target, the text and the bytes.
        let (to, event_type, payload) = unsafe {
            let event_type = input::needed_text(event_type, "event_type")?;
            (target(to)?, event_type, input::list(payload, len, "payload")?)
        };
        Ok(ROOMS.get(room)?.joined()?.try_send_typed_event(to, event_type, payload)?)
    })
}

/// Asks a peer: calls its `method`, a name of 1 to 64 bytes, with a payload of at most 16,374 bytes less the
/// length of the method. The event of `op` has the
/// answer in `payload`, or the reason why there is none, after `timeout_ms` (1 to 60,000) at the latest.
///
/// The other peer gets `NC_EVENT_KIND_RPC_REQUEST`, at most once. With `NC_RESULT_TIMED_OUT` and
/// `NC_RESULT_INTERRUPTED` it is unknown whether it has carried the call out.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
/// `NC_RESULT_WOULD_BLOCK`. Limits of the method, the payload and the timeout are reported by the event of `op`.
///
/// # Safety
/// `method` must point to a text, `payload` to `len` bytes, and `op` to memory for a number or be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_rpc(
    room: NcRoom,
    peer: u32,
    method: *const c_char,
    payload: *const u8,
    len: u32,
    timeout_ms: u32,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the text and the bytes.
        let (method, payload) = unsafe {
            let method = input::needed_text(method, "method")?.to_owned();
            (method, input::list(payload, len, "payload")?.to_vec())
        };
        let room = ROOMS.get(room)?;
        room.joined()?;
        let of = room.clone();
        let timeout = Duration::from_millis(timeout_ms.into());
        let call =
            async move { Ok(of.joined()?.rpc(PeerId(peer), &method, &payload, timeout).await?) };
        let number = room.client.request(room.number, call, |answer, done| done.payload(answer))?;
        // SAFETY: the caller vouches for the memory.
        unsafe { write_op(op, number) }
    })
}

/// Answers an `NC_EVENT_KIND_RPC_REQUEST`, named by its `id`. `code` 0: the payload is the answer. `code` 1:
/// there is no such method. `code` 256 to 65,535: an error of the application, with a text as payload.
///
/// Errors: `NC_RESULT_NOT_FOUND` if the peer no longer waits; otherwise as `nc_room_send_event`.
///
/// # Safety
/// `payload` must point to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_room_answer(
    room: NcRoom,
    id: u64,
    code: u16,
    payload: *const u8,
    len: u32,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the bytes.
        let payload = unsafe { input::list(payload, len, "payload") }?;
        let fault = || RpcFault::new(code, String::from_utf8_lossy(payload));
        let answer = if code == 0 { Ok(payload) } else { Err(fault()) };
        Ok(ROOMS.get(room)?.joined()?.answer_rpc(RpcId(id), answer)?)
    })
}
