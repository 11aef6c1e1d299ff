//! Checks whether a client is admitted: its token, the room's name and the display name.

use std::time::{SystemTime, UNIX_EPOCH};

use nucleus_core::ids::{ProductKey, RoomKey};
use nucleus_core::lobby::JoinMode;
use nucleus_core::text;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{Code, Join};

use super::SessionContext;
use super::refusal::Refusal;
use crate::token::{TokenError, VerifiedToken};

/// Checks a join token at the current time, and returns what it admits to.
///
/// # Errors
///
/// The refusal for an invalid token.
pub(super) fn verify(context: &SessionContext, token: &[u8]) -> Result<VerifiedToken, Refusal> {
    let token = std::str::from_utf8(token)
        .map_err(|_| Refusal::new(Code::TokenMalformed, "the token is not a JWT"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let verified = context.verifier.verify(token, now);
    verified.map_err(|error| Refusal::new(token_code(&error), error.to_string()))
}

/// Returns the room that a join names, and its verified token. The name is empty if any matching
/// room will do.
///
/// # Errors
///
/// The refusal for an invalid token, a bad name, or a room that the token does not admit to.
pub(super) fn admit(
    context: &SessionContext,
    join: &Join,
) -> Result<(RoomKey, VerifiedToken), Refusal> {
    let token = verify(context, &join.token)?;
    // A join that matches any room may leave the name empty.
    let min_len = usize::from(!JoinMode::from_wire(join.mode).is_some_and(JoinMode::matches));
    let room = text::plain(&join.room, min_len, wire_limits::MAX_ROOM_NAME).ok_or_else(|| {
        Refusal::new(
            Code::BadName,
            "the room's name must be 1 to 128 bytes of text without control characters",
        )
    })?;
    if !room.is_empty() && !token.room.admits(&room) {
        return Err(Refusal::new(Code::RoomNotAllowed, "the token does not admit to this room"));
    }
    let owner = ProductKey { tenant: token.tenant.clone(), product: token.product };
    Ok((owner.room(room), token))
}

/// Returns the client's choice of a display name, or the token's if the client has chosen none.
///
/// # Errors
///
/// The refusal for a bad name.
pub(super) fn display_name(name: &[u8], token: &VerifiedToken) -> Result<String, Refusal> {
    if name.is_empty() {
        return Ok(token.name.clone());
    }
    text::plain(name, 1, wire_limits::MAX_NAME).ok_or_else(|| {
        Refusal::new(
            Code::BadName,
            "the display name must be at most 128 bytes of text without control characters",
        )
    })
}

fn token_code(error: &TokenError) -> Code {
    match error {
        TokenError::WrongAlgorithm => Code::TokenAlgorithm,
        TokenError::BadSignature => Code::TokenSignature,
        TokenError::Expired => Code::TokenExpired,
        TokenError::NotYetValid => Code::TokenNotYetValid,
        TokenError::WrongAudience => Code::TokenAudience,
        _ => Code::TokenMalformed,
    }
}
