//! Reads the certificate pins and the room from this client's own join token, and says why a text cannot
//! be a token.
//!
//! The token is **not verified** here, and need not be. The application received it over a channel
//! that it trusts (its own backend, or a user's terminal). An attacker who can forge a token there
//! can also replace the server's address. An attacker on the path to the server cannot forge `pin`,
//! because the client does not receive the token over that path. The server verifies the signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nucleus_protocol::limits;
use serde::Deserialize;

/// Returns the token without the white space and the byte order mark that a file with it may have.
pub fn trimmed(token: &str) -> String {
    token.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').to_owned()
}

/// Ends a static text with what to do about a text that cannot be a token.
macro_rules! with_advice {
    ($problem:literal) => {
        concat!(
            $problem,
            ". Hand in the complete token, as your backend or `nucleus token` has written it"
        )
    };
}

/// Returns why a text cannot be a token, and what to do; `None` if it can be one. A server refuses such a
/// text, and ends the session. The signature is not checked: only the server can do this.
pub fn problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some(with_advice!("the join token is empty"));
    } else if text.len() > limits::MAX_TOKEN {
        return Some(with_advice!("a join token has at most 4,096 bytes"));
    }
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let [header, payload, signature] = text.split('.').collect::<Vec<_>>()[..] else {
        return Some(with_advice!(
            "a join token has three parts of base64url, with dots between them"
        ));
    };
    if signature.is_empty() || !signature.bytes().all(is_base64url) {
        Some(with_advice!("a join token has three parts of base64url, with dots between them"))
    } else if !is_object(header) || !is_object(payload) {
        Some(with_advice!("the first two parts of a join token are JSON objects in base64url"))
    } else {
        None
    }
}

/// Returns whether a part of a token is a JSON object.
fn is_object(part: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(part) else { return false };
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).is_ok()
}

#[derive(Deserialize)]
struct UnverifiedClaims {
    pin: Option<PinClaim>,
    room: Option<String>,
}

/// The claim `pin`: a list, or a single text as older servers write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum PinClaim {
    List(Vec<String>),
    Single(String),
}

/// Returns the SHA-256 digests of the server's certificates that the token contains (claim `pin`,
/// base64url without padding). Ignores texts that are no such digest. Development servers put the
/// pins of their current and their next certificate into their tokens, so that a client needs only
/// the token to join.
pub fn pins_in(token: &str) -> Vec<[u8; 32]> {
    let texts = match claims(token).and_then(|claims| claims.pin) {
        None => return Vec::new(),
        Some(PinClaim::List(texts)) => texts,
        Some(PinClaim::Single(text)) => vec![text],
    };
    let digest = |text: String| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok();
    texts.into_iter().filter_map(digest).collect()
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

    #[test]
    fn what_a_file_adds_to_a_token_is_cut_off() {
        for text in ["a.b.c", "a.b.c\n", "\u{feff}a.b.c\r\n", " a.b.c "] {
            assert_eq!(trimmed(text), "a.b.c");
        }
    }

    /// The same examples as in the tests of the browser SDK, `test/shell/opening.test.ts`.
    #[test]
    fn a_text_that_cannot_be_a_token_is_told_apart() {
        const TOKEN: &str = "e30.e30.c2ln";
        assert_eq!(problem(TOKEN), None);
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for (text, says) in [
            (String::new(), "is empty"),
            ("token".to_owned(), "three parts"),
            ("ada.token".to_owned(), "three parts"),
            (format!("{TOKEN}.more"), "three parts"),
            ("e30.e30".to_owned(), "three parts"),
            ("e30.e30.".to_owned(), "three parts"),
            (format!("{TOKEN}="), "three parts"),
            ("e30.e30.c2 ln".to_owned(), "three parts"),
            ("example.com.au".to_owned(), "JSON objects"),
            (format!("e30.{}.c2ln", part("no JSON")), "JSON objects"),
            (format!("e30.{}.c2ln", part("[1]")), "JSON objects"),
            (format!("e30.{}.c2ln", part("null")), "JSON objects"),
            (format!(".{}.c2ln", part("{}")), "JSON objects"),
            (format!("Bearer {TOKEN}"), "JSON objects"),
            ("x".repeat(4_097), "at most 4,096 bytes"),
        ] {
            let found = problem(&text).unwrap_or_default();
            assert!(found.contains(says) && found.contains("Hand in"), "{text}: {found}");
        }
    }

    fn token(payload: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn pins_and_room_are_read() {
        let pin: [u8; 32] = std::array::from_fn(|i| i as u8);
        let (text, other) = (URL_SAFE_NO_PAD.encode(pin), URL_SAFE_NO_PAD.encode([7; 32]));
        let list = token(&format!(r#"{{"sub":"u","pin":["{text}","{other}"],"room":"lobby"}}"#));
        assert_eq!(pins_in(&list), [pin, [7; 32]]);
        assert_eq!(room_in(&list).as_deref(), Some("lobby"));
        assert_eq!(room_in(&token(r#"{"sub":"u","room":"class-*"}"#)), None);
        let single = token(&format!(r#"{{"sub":"u","pin":"{text}","room":"lobby"}}"#));
        assert_eq!((pins_in(&single), room_in(&single)), (vec![pin], Some("lobby".to_owned())));
        let unknown = token(&format!(r#"{{"pin":["sha512-AAAA","{text}","{text}="]}}"#));
        assert_eq!(pins_in(&unknown), [pin]);
    }

    #[test]
    fn what_is_not_there_is_not_invented() {
        let too_long = "x".repeat(limits::MAX_TOKEN + 1);
        let payloads = [
            r#"{"sub":"u"}"#,
            r#"{"pin":"AAAA"}"#,
            r#"{"pin":7}"#,
            r#"{"pin":[7]}"#,
            r#"{"pin":[]}"#,
            "nonsense",
        ];
        for token in payloads.map(token).iter().map(String::as_str).chain(["", "a.b", &too_long]) {
            assert!(pins_in(token).is_empty(), "{token}");
            assert_eq!(room_in(token), None, "{token}");
        }
    }
}
