//! Whether a client is let in, by its token and the names that it gives.

use std::time::{SystemTime, UNIX_EPOCH};

use nucleus_core::ids::{ProductKey, RoomKey};
use nucleus_core::lobby::JoinMode;
use nucleus_core::text;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{Code, Join};

use super::SessionContext;
use super::refusal::Refusal;
use crate::token::{TokenError, VerifiedToken};

/// What a token admits to, or why it is refused.
pub(super) fn verify(context: &SessionContext, token: &[u8]) -> Result<VerifiedToken, Refusal> {
    let token = std::str::from_utf8(token)
        .map_err(|_| Refusal::new(Code::TokenMalformed, "the token is not a JWT"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let verified = context.verifier.verify(token, now);
    verified.map_err(|error| Refusal::new(token_code(&error), error.to_string()))
}

/// The room that a join names, and what its token admits to.
pub(super) fn admit(
    context: &SessionContext,
    join: &Join,
) -> Result<(RoomKey, VerifiedToken), Refusal> {
    let token = verify(context, &join.token)?;
    // Where any room will do, the server finds a name.
    let least = usize::from(!JoinMode::from_wire(join.mode).is_some_and(JoinMode::matches));
    let room = text::plain(&join.room, least, wire_limits::MAX_ROOM_NAME).ok_or_else(|| {
        Refusal::new(
            Code::BadName,
            "a room's name has 1 to 128 bytes of text without control characters",
        )
    })?;
    if !room.is_empty() && !token.room.admits(&room) {
        return Err(Refusal::new(Code::RoomNotAllowed, "the token does not admit to this room"));
    }
    let owner = ProductKey { tenant: token.tenant.clone(), product: token.product };
    Ok((owner.room(room), token))
}

/// How others see a user: as the client says, else as the token does.
pub(super) fn display_name(name: &[u8], token: &VerifiedToken) -> Result<String, Refusal> {
    if name.is_empty() {
        return Ok(token.name.clone());
    }
    text::plain(name, 1, wire_limits::MAX_NAME).ok_or_else(|| {
        Refusal::new(
            Code::BadName,
            "a name has at most 128 bytes of text without control characters",
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
