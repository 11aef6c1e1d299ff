//! Social sessions: users, the lobby's rooms, and calls.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

use nucleus_client::{CallId, EnterOptions, Social, Status, Trust, enter};

use crate::client::{CLIENTS, Client, Membership, SOCIALS};
use crate::entry_connect::{query, write_op};
use crate::failure::{Failure, Outcome, entry};
use crate::input;
use crate::types::{NcClient, NcFilter, NcOp, NcResult, NcSocial};
use crate::types_room::NcStatus;

type SocialHandle = Arc<Membership<Social>>;

/// The call of a request that is not about a call.
const NO_CALL: CallId = CallId(0);

/// How to open a social session. Set `size`, `server` and `token`, and everything that stays at its default
/// to 0. The call copies what the pointers point to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NcEnter {
    /// `sizeof(NcEnter)`.
    pub size: u32,
    /// The first status: `NcStatus`.
    pub status: u32,
    /// `host:port`, or `host` for port 5055.
    pub server: *const c_char,
    /// The join token. Its room has no effect here.
    pub token: *const c_char,
    /// The display name. NULL: the name in the token.
    pub name: *const c_char,
    /// Name and version of the application, for the server's operator.
    pub agent: *const c_char,
    /// As in `NcConnect`.
    pub ca_pem: *const c_char,
    /// As in `NcConnect`.
    pub patience_ms: u32,
    /// Unused; 0.
    pub reserved: u32,
}

/// What to do with a call.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NcCallAct {
    /// Accepts a call that rings. `NC_EVENT_KIND_CALL_ACCEPTED` names the room.
    Accept = 0,
    /// Rejects a call that rings.
    Reject = 1,
    /// Stops calling.
    Cancel = 2,
    /// Leaves the call.
    HangUp = 3,
    /// Calls one more user, named by `user`.
    Add = 4,
}

/// Begins to open a social session for the token's user, and writes its number to `social`.
/// `NC_EVENT_KIND_ENTERED` or `NC_EVENT_KIND_ENTER_FAILED` follows. Free the number in both cases.
///
/// Errors: as `nc_connect`.
///
/// # Safety
/// `enter_options` must point to an `NcEnter` whose pointers are NULL or point to texts, and `social` to
/// memory for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_enter(
    client: NcClient,
    enter_options: *const NcEnter,
    social: *mut NcSocial,
) -> NcResult {
    entry(|| {
        let client = CLIENTS.get(client)?;
        // SAFETY: the caller vouches for the struct and its pointers.
        let options = unsafe { options(&input::sized(enter_options, "enter")?) }?;
        let number = client.enter_social(enter(options))?;
        // SAFETY: the caller vouches for the memory.
        let written = unsafe { input::write(social, number, "social") };
        written.inspect_err(|_| drop(Client::free_social(number)))
    })
}

/// # Safety
/// The pointers must be NULL, or point to texts.
unsafe fn options(from: &NcEnter) -> Outcome<EnterOptions> {
    // SAFETY: the caller vouches for the texts.
    let text = |pointer, what| unsafe { input::text(pointer, what) };
    // SAFETY: the caller vouches for the texts.
    let needed = |pointer, what| unsafe { input::needed_text(pointer, what) };
    let mut options =
        EnterOptions::new(needed(from.server, "server")?, needed(from.token, "token")?);
    options = options.status(status(from.status)?);
    if let Some(name) = text(from.name, "name")? {
        options = options.name(name);
    }
    if let Some(agent) = text(from.agent, "agent")? {
        options = options.agent(agent);
    }
    if let Some(pem) = text(from.ca_pem, "ca_pem")? {
        options = options.trust(Trust::ca_pem(pem.as_bytes())?);
    }
    if from.patience_ms > 0 {
        options = options.patience(Duration::from_millis(from.patience_ms.into()));
    }
    Ok(options)
}

fn status(number: u32) -> Outcome<Status> {
    Ok(match number {
        status if status == NcStatus::Online as u32 => Status::Online,
        status if status == NcStatus::Busy as u32 => Status::Busy,
        status if status == NcStatus::Away as u32 => Status::Away,
        other => return Err(Failure::argument(format!("there is no status {other}"))),
    })
}

/// Frees a social session, and leaves it. May be called on any thread.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`.
#[unsafe(no_mangle)]
pub extern "C" fn nc_social_free(social: NcSocial) -> NcResult {
    entry(|| Client::free_social(social))
}

/// Says whether this user can be called: an `NcStatus`.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn nc_social_set_status(social: NcSocial, new: u32) -> NcResult {
    entry(|| {
        let social = SOCIALS.get(social)?;
        social.joined()?.set_status(status(new)?);
        Ok(())
    })
}

/// Watches the rooms of an application's `version` that fit the `count` filters; replaces the rooms that
/// were watched before. `NC_EVENT_KIND_ROOM_LISTED` follows for each. `version` and `op` may be NULL.
///
/// Errors: `NC_RESULT_INVALID_HANDLE`, `NC_RESULT_NOT_JOINED`, `NC_RESULT_INVALID_ARGUMENT`,
/// `NC_RESULT_WOULD_BLOCK`.
///
/// # Safety
/// `version` must be NULL or point to a text, `filters` to `count` filters, and `op` to memory for a number
/// or be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_social_watch_rooms(
    social: NcSocial,
    version: *const c_char,
    filters: *const NcFilter,
    count: u32,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the text and the list.
        let (version, query) =
            unsafe { (input::text(version, "version")?, query(filters, count)?) };
        let version = version.unwrap_or_default().to_owned();
        let watch = |social: SocialHandle| async move {
            social.joined()?.watch_rooms(&version, query).await?;
            Ok(NO_CALL)
        };
        // SAFETY: the caller vouches for the memory.
        unsafe { request(social, watch, op) }
    })
}

/// Watches the users with one of the `role_count` roles, and the `user_count` named ones; replaces the users
/// that were watched before. `NC_EVENT_KIND_USER_CHANGED` follows for each. `op` may be NULL.
///
/// Errors: as `nc_social_watch_rooms`.
///
/// # Safety
/// `roles` and `users` must point to so many texts, and `op` to memory for a number or be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_social_watch_users(
    social: NcSocial,
    roles: *const *const c_char,
    role_count: u32,
    users: *const *const c_char,
    user_count: u32,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the lists.
        let (roles, users) =
            unsafe { (texts(roles, role_count, "roles")?, texts(users, user_count, "users")?) };
        let watch = |social: SocialHandle| async move {
            social.joined()?.watch_users(&views(&roles), &views(&users)).await?;
            Ok(NO_CALL)
        };
        // SAFETY: the caller vouches for the memory.
        unsafe { request(social, watch, op) }
    })
}

/// Calls the `count` users at `users`, 1 to 16, on all of their devices. `text`, at most 256 bytes, is shown
/// to them; it may be NULL. The event of `op` has the call in `id`.
///
/// Errors: as `nc_social_watch_rooms`.
///
/// # Safety
/// `users` must point to `count` texts, `text` to a text or be NULL, and `op` to memory for a number or be
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_social_call(
    social: NcSocial,
    users: *const *const c_char,
    count: u32,
    text: *const c_char,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        // SAFETY: the caller vouches for the lists and the text.
        let (users, text) = unsafe { (texts(users, count, "users")?, input::text(text, "text")?) };
        let text = text.unwrap_or_default().to_owned();
        let start = |social: SocialHandle| async move {
            Ok(social.joined()?.start(&views(&users), &text).await?)
        };
        // SAFETY: the caller vouches for the memory.
        unsafe { request(social, start, op) }
    })
}

/// Acts on a call: `act` is an `NcCallAct`. The device that acts gets the event of `op`, and no other event
/// about its own act. `user` is NULL, except for `NC_CALL_ACT_ADD`. `op` may be NULL.
///
/// Errors: as `nc_social_watch_rooms`.
///
/// # Safety
/// `user` must be NULL or point to a text, and `op` to memory for a number or be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nc_social_call_act(
    social: NcSocial,
    call: u64,
    act: u32,
    user: *const c_char,
    op: *mut NcOp,
) -> NcResult {
    entry(|| {
        use NcCallAct::{Accept, Add, Cancel, HangUp, Reject};
        let known = [Accept, Reject, Cancel, HangUp, Add].into_iter();
        let act = known.into_iter().find(|known| *known as u32 == act);
        let act = act.ok_or_else(|| Failure::argument("there is no such act on a call"))?;
        // SAFETY: the caller vouches for the text.
        let user = unsafe { input::text(user, "user") }?.map(str::to_owned);
        if act == Add && user.is_none() {
            return Err(Failure::argument("user is NULL"));
        }
        let call = CallId(call);
        let act = |social: SocialHandle| async move {
            let (social, user) = (social.joined()?, user.unwrap_or_default());
            match act {
                Accept => social.accept(call).await,
                Reject => social.reject(call).await,
                Cancel => social.cancel(call).await,
                HangUp => social.hang_up(call).await,
                Add => social.add(call, &user).await,
            }?;
            Ok(call)
        };
        // SAFETY: the caller vouches for the memory.
        unsafe { request(social, act, op) }
    })
}

/// Carries out a request in the background.
///
/// # Safety
/// `op` must be NULL, or point to memory for a number.
unsafe fn request<F>(
    social: NcSocial,
    act: impl FnOnce(SocialHandle) -> F,
    op: *mut NcOp,
) -> Outcome
where
    F: Future<Output = Outcome<CallId>> + Send + 'static,
{
    let social = SOCIALS.get(social)?;
    social.joined()?;
    let request = act(social.clone());
    let number = social.client.request(social.number, request, |call, mut done| {
        done.event.id = call.0;
        done
    })?;
    // SAFETY: the caller vouches for the memory.
    unsafe { write_op(op, number) }
}

/// # Safety
/// `first` must point to `count` texts.
unsafe fn texts(
    first: *const *const c_char,
    count: u32,
    what: &'static str,
) -> Outcome<Vec<String>> {
    // SAFETY: the caller vouches for the list.
    let texts = unsafe { input::list(first, count, what) }?.iter();
    // SAFETY: the caller vouches for the texts.
    texts.map(|text| Ok(unsafe { input::needed_text(*text, what) }?.to_owned())).collect()
}

fn views(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
