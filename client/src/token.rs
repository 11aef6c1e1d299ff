//! Reads the certificate pin and the room from this client's own join token.
//!
//! The token is **not verified** here, and need not be. The application received it over a channel
//! that it trusts (its own backend, or a user's terminal). An attacker who can forge a token there
//! can also replace the server's address. An attacker on the path to the server cannot forge `pin`,
//! because the client does not receive the token over that path. The server verifies the signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nucleus_protocol::limits;
use serde::Deserialize;

#[derive(Deserialize)]
struct UnverifiedClaims {
    pin: Option<String>,
    room: Option<String>,
}

/// Returns the SHA-256 digest of the server's certificate, if the token contains it (claim `pin`,
/// base64url without padding). Development servers put the pin into their tokens, so that a client
/// needs only the token to join.
pub fn pin_in(token: &str) -> Option<[u8; 32]> {
    let pin = URL_SAFE_NO_PAD.decode(claims(token)?.pin?).ok()?;
    pin.try_into().ok()
}

/// Returns the room that the token names (claim `room`). Returns `None` for a pattern such as
/// `class-*`.
pub fn room_in(token: &str) -> Option<String> {
    claims(token)?.room.filter(|room| !room.ends_with('*'))
}

fn claims(token: &str) -> Option<UnverifiedClaims> {
    if token.len() > limits::MAX_TOKEN {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn pin_and_room_are_read() {
        let pin: [u8; 32] = std::array::from_fn(|i| i as u8);
        let text = URL_SAFE_NO_PAD.encode(pin);
        let token = token(&format!(r#"{{"sub":"u","pin":"{text}","room":"lobby"}}"#));
        assert_eq!(pin_in(&token), Some(pin));
        assert_eq!(room_in(&token).as_deref(), Some("lobby"));
        assert_eq!(room_in(&self::token(r#"{"sub":"u","room":"class-*"}"#)), None);
    }

    #[test]
    fn what_is_not_there_is_not_invented() {
        let too_long = "x".repeat(limits::MAX_TOKEN + 1);
        let payloads = [r#"{"sub":"u"}"#, r#"{"pin":"AAAA"}"#, r#"{"pin":7}"#, "nonsense"];
        for token in payloads.map(token).iter().map(String::as_str).chain(["", "a.b", &too_long]) {
            assert_eq!(pin_in(token), None, "{token}");
            assert_eq!(room_in(token), None, "{token}");
        }
    }
}
