//! Checks whether a client is admitted: its token, the room's name and the display name.

use nucleus_core::ids::{ProductKey, RoomKey, RoomPattern};
use nucleus_core::lobby::JoinMode;
use nucleus_core::room::{RenewedToken, Role};
use nucleus_core::tenancy::NotLicensed;
use nucleus_core::{limits, text};
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{Code, Join};

use super::SessionContext;
use super::carrier::Connection;
use super::refusal::Refusal;
use crate::rooms::Ticket;
use crate::token::{TokenError, VerifiedToken};
use crate::unix_time::unix_now;

/// Checks a join token at the current time, and returns what it admits to. If the tenant's issuer may
/// have published the token's key since its keys were fetched, waits until they are fetched again.
///
/// # Errors
///
/// The refusal for an invalid token.
pub(super) async fn verify(
    context: &SessionContext,
    token: &[u8],
) -> Result<VerifiedToken, Refusal> {
    let token = std::str::from_utf8(token)
        .map_err(|_| Refusal::new(Code::TokenMalformed, "the token is not a JWT"))?;
    let mut verified = context.verifier.verify(token, unix_now());
    if verified == Err(TokenError::UnknownKey)
        && let Some(tenant) = context.verifier.claimed_tenant(token)
    {
        let mut answers = context.fresh_keys.request(tenant);
        while verified == Err(TokenError::UnknownKey) && answers.next().await {
            verified = context.verifier.verify(token, unix_now());
        }
    }
    verified.map_err(|error| Refusal::new(token_code(&error), error.to_string()))
}

/// Checks the origin of a web page: the tenant must admit its sessions. Programs are not checked.
///
/// # Errors
///
/// The refusal for a page of another origin.
pub(super) fn check_origin(
    context: &SessionContext,
    connection: &Connection,
    tenant: &str,
) -> Result<(), Refusal> {
    match connection.origin() {
        Some(origin) if !context.origins.admits(tenant, origin) => {
            let text = "the tenant does not admit sessions of web pages from this origin";
            Err(Refusal::new(Code::Forbidden, text))
        }
        _ => Ok(()),
    }
}

/// Checks the licence of a tenant, and its bans. Sessions that have joined are not checked again.
///
/// # Errors
///
/// The refusal, which says why.
pub(super) fn check_licence(
    context: &SessionContext,
    key: &ProductKey,
    user: &str,
) -> Result<(), Refusal> {
    let checked = context.directory.tenants().check_licence(key, user, unix_now());
    checked.map_err(|why| {
        let code = if why == NotLicensed::Banned { Code::Kicked } else { Code::Forbidden };
        Refusal::new(code, why.to_string())
    })
}

/// A user that is admitted to a room, by a token or by a ticket.
pub(super) struct AdmittedUser {
    /// The room that the join names. The name is empty if any matching room will do.
    pub(super) room: RoomKey,
    pub(super) user: String,
    /// The display name.
    pub(super) name: String,
    pub(super) role: Role,
    /// The rooms that the user may join.
    pub(super) rooms: RoomPattern,
    /// When the participant's tickets stop admitting it to another room instance, in seconds since
    /// 1970.
    pub(super) ticket_end: u64,
    /// Whether the token has expired, so that the ticket admits the user.
    pub(super) token_expired: bool,
}

/// Admits the user of a join, by its token. If the token has expired, the ticket admits the user to
/// the ticket's room instead, see [`by_ticket`].
///
/// # Errors
///
/// The refusal for an invalid token, a bad name, or a room that the token does not admit to.
pub(super) async fn admit(
    context: &SessionContext,
    join: &Join,
    ticket: Option<Ticket>,
) -> Result<AdmittedUser, Refusal> {
    match verify(context, &join.token).await {
        Ok(token) => by_token(context, join, token),
        Err(refusal) if refusal.code == Code::TokenExpired => {
            by_ticket(context, join, ticket).unwrap_or(Err(refusal))
        }
        Err(refusal) => Err(refusal),
    }
}

fn by_token(
    context: &SessionContext,
    join: &Join,
    token: VerifiedToken,
) -> Result<AdmittedUser, Refusal> {
    // A join that matches any room may leave the name empty.
    let min_len = usize::from(!JoinMode::from_wire(join.mode).is_some_and(JoinMode::matches));
    let room = text::plain(&join.room, min_len, wire_limits::MAX_ROOM_NAME)
        .map_err(|why| Refusal::new(Code::BadName, format!("the room's name {why}")))?;
    if !room.is_empty() && !token.room.admits(&room) {
        return Err(Refusal::new(Code::RoomNotAllowed, "the token does not admit to this room"));
    }
    let owner = ProductKey { tenant: token.tenant, product: token.product };
    Ok(AdmittedUser {
        room: owner.room(room),
        user: token.user,
        name: display_name(&join.name, token.name)?,
        role: Role::new(token.role, &token.grants),
        rooms: token.room,
        ticket_end: ticket_end(context),
        token_expired: false,
    })
}

/// Returns when the tickets end that begin with a token now.
fn ticket_end(context: &SessionContext) -> u64 {
    unix_now() + context.limits.ticket_ttl.as_secs()
}

/// Checks a fresh token for a participant of a room.
///
/// # Errors
///
/// The code for which the token is refused: it is invalid, of another tenant or product, or does not
/// admit to the room.
pub(super) async fn renew(
    context: &SessionContext,
    room: &RoomKey,
    token: &[u8],
) -> Result<RenewedToken, Code> {
    let token = verify(context, token).await.map_err(|refusal| refusal.code)?;
    let owner = ProductKey { tenant: token.tenant, product: token.product };
    if owner != room.owner {
        return Err(Code::Forbidden);
    }
    if !token.room.admits(&room.name) {
        return Err(Code::RoomNotAllowed);
    }
    let ticket_ttl = context.limits.ticket_ttl.as_secs();
    Ok(RenewedToken {
        user: token.user,
        role: Role::new(token.role, &token.grants),
        ticket_end: ticket_end(context),
        ticket_ttl_s: u32::try_from(ticket_ttl).unwrap_or(u32::MAX),
    })
}

/// Admits the user of a ticket to another instance of the ticket's room, with the ticket's role and
/// the ticket's end. After a restart of the server this lets clients back in whose tokens have
/// expired. `None`: there is no ticket, the ticket has ended, or its room instance still lives. A
/// living instance decides by itself whom it still knows.
fn by_ticket(
    context: &SessionContext,
    join: &Join,
    ticket: Option<Ticket>,
) -> Option<Result<AdmittedUser, Refusal>> {
    // A ticket with a later end was made while the clock was wrong.
    let plausible = unix_now()..=unix_now() + limits::MAX_TICKET_TTL.as_secs();
    let Ticket { room, content } =
        ticket.filter(|ticket| plausible.contains(&ticket.content.end))?;
    if context.directory.live_instance(&room) == Some(content.claim.room_instance) {
        return None;
    }
    let name = display_name(&join.name, content.name);
    Some(name.map(|name| AdmittedUser {
        rooms: RoomPattern::Exact(room.name.clone()),
        room,
        user: content.user,
        name,
        role: content.role,
        ticket_end: content.end,
        token_expired: true,
    }))
}

/// Returns the client's choice of a display name, or `default` if the client has chosen none.
///
/// # Errors
///
/// The refusal for a bad name.
pub(super) fn display_name(name: &[u8], default: String) -> Result<String, Refusal> {
    if name.is_empty() {
        return Ok(default);
    }
    text::plain(name, 1, wire_limits::MAX_NAME)
        .map_err(|why| Refusal::new(Code::BadName, format!("the display name {why}")))
}

fn token_code(error: &TokenError) -> Code {
    match error {
        TokenError::WrongAlgorithm => Code::TokenAlgorithm,
        TokenError::BadSignature | TokenError::UnknownKey => Code::TokenSignature,
        TokenError::Expired => Code::TokenExpired,
        TokenError::NotYetValid => Code::TokenNotYetValid,
        TokenError::WrongAudience => Code::TokenAudience,
        _ => Code::TokenMalformed,
    }
}
