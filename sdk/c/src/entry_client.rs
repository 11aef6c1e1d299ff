//! The library, and clients.

use std::ffi::c_char;

use crate::client::{CLIENTS, Client};
use crate::event::NcEvent;
use crate::failure::{Failure, counted, entry, last_error};
use crate::input;
use crate::types::{NcClient, NcConfig, NcResult};

/// The version of this ABI. A library with another one refuses `nc_client_new`.
pub const NC_ABI_VERSION: u32 = 1;

/// Returns the version of the library's ABI: compare it with `NC_ABI_VERSION`.
#[unsafe(no_mangle)]
pub extern "C" fn nc_abi_version() -> u32 {
    NC_ABI_VERSION
}

/// Returns the version of the library, as a text that stays valid.
#[unsafe(no_mangle)]
pub extern "C" fn nc_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Copies the text of the last failure in this thread to `text`, with a zero byte at its end, and returns
/// its length. What does not fit is cut off. The text is for a person, and may change.
///
/// # Safety
/// `text` must be NULL, or point to `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_last_error(text: *mut c_char, capacity: i32) -> i32 {
    // SAFETY: the caller vouches for the memory.
    let to = unsafe { input::output(text, capacity, "text") };
    let to = to.unwrap_or_default();
    let len = last_error(|last| input::copy_text(last, to)).unwrap_or(0);
    i32::try_from(len).unwrap_or(i32::MAX)
}

/// Starts a client, with a thread of its own, and writes its number to `client`. One is enough for a
/// program.
///
/// Errors: `NC_RESULT_ABI_MISMATCH`, `NC_RESULT_INVALID_ARGUMENT`, `NC_RESULT_SYSTEM`.
///
/// # Safety
/// `config` must point to an `NcConfig`, and `client` to memory for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_client_new(config: *const NcConfig, client: *mut NcClient) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the struct, of which every bit pattern is valid.
        let config = unsafe { input::sized(config, "config") }?;
        if config.abi_version != NC_ABI_VERSION {
            let text = format!(
                "the header has ABI version {}, the library {NC_ABI_VERSION}: build the program anew with the library's header",
                config.abi_version
            );
            return Err(Failure::new(NcResult::AbiMismatch, text));
        }
        let number = Client::start()?;
        // SAFETY: the caller vouches for the memory.
        let written = unsafe { input::write(client, number, "client") };
        written.inspect_err(|_| drop(Client::free(number)))
    })
}

/// Frees a client with all its rooms and social sessions, and leaves these. Returns at once; the goodbye
/// goes out within 3 s, if the process lives on. To be sure that it does, call `nc_room_leave` before,
/// and wait for `NC_EVENT_KIND_CLOSED`.
///
/// May be called on any thread, also by a finalizer, also while other calls are under way: these end
/// with an error. What `nc_poll` has returned must not be read any more.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, also if the client was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn nc_client_free(client: NcClient) -> NcResult {
    entry(|| Client::free(client))
}

/// Writes the next events to `events`, at most `capacity`, and returns their number; 0 if there are none
/// now. Call it once a frame, and again while it returns `capacity`.
///
/// What the events point to stays valid until the next call for this client, on whichever thread, or
/// until the client is freed. So one thread polls a client. Who does not poll for long is put out by the
/// server: after about 2 MiB of events the client reads no further ones, and what came meanwhile may be lost.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_INVALID_ARGUMENT`.
///
/// # Safety
/// `events` must point to memory for `capacity` events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_poll(client: NcClient, events: *mut NcEvent, capacity: i32) -> i32 {
    counted(|| {
        // SAFETY: the caller vouches for the memory.
        let events = unsafe { input::output(events, capacity, "events") }?;
        Ok(CLIENTS.get(client)?.poll(events))
    })
}
