//! What came of a form, in words, for the page after it. Addresses carry a code and never the words.

use nucleus_console::{Mark, Tone};

/// Each code with its words.
const DONE: [(&str, &str); 33] = [
    ("password", "The password is set"),
    ("signed_out", "You are signed out"),
    ("drain", "The server takes no more sessions and ends"),
    ("room-closed", "Room closed"),
    ("room-locked", "Room locked"),
    ("room-unlocked", "Room unlocked"),
    ("room-locked-already", "The room was locked already"),
    ("room-unlocked-already", "The room was unlocked already"),
    ("muted", "Muted"),
    ("unmuted", "Unmuted"),
    ("kicked", "Kicked"),
    ("kicked-for-a-time", "Kicked, and kept out until the time is over or the room ends"),
    ("kicked-alone", "Kicked. Nobody else was in the room: the keep-out ends with the room"),
    ("kicked-everywhere", "Kicked, and banned from every room of the tenant for the time"),
    ("let-in", "The user can join this room again"),
    ("banned", "User banned"),
    ("ban-lifted", "Ban lifted"),
    ("forgotten", "The user is forgotten"),
    ("saved", "Saved"),
    ("key-revoked", "Key revoked"),
    ("issuer-added", "Issuer added"),
    ("issuer-deleted", "Issuer deleted"),
    ("webhook-tested", "Test sent"),
    ("webhook-replayed", "Sent again"),
    ("webhook-on", "Webhook switched on"),
    ("webhook-off", "Webhook switched off"),
    ("webhook-deleted", "Webhook deleted"),
    ("person-disabled", "The person cannot sign in any more"),
    ("person-enabled", "The person can sign in again"),
    ("person-deleted", "Person deleted"),
    ("session-ended", "Session ended"),
    ("totp", "A code is asked for from the next sign-in on"),
    ("totp-off", "The authenticator is off, and your other sessions have ended"),
];

/// Returns the words of what was done; `None`: the code is none of this program.
pub(super) fn of(code: &str) -> Option<Mark> {
    let (_, words) = DONE.iter().find(|(known, _)| *known == code)?;
    Some(Mark::new(Tone::Good, words))
}

/// Returns the words of what was refused.
pub(super) fn of_failed(code: &str) -> Option<Mark> {
    let words = match code {
        "" => return None,
        "busy" => "The server has too much to do: try again",
        _ => "This was not accepted",
    };
    Some(Mark::new(Tone::Bad, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_codes_have_words() {
        assert!(of("muted").is_some());
        assert!(of("<script>").is_none() && of("").is_none());
        assert!(of_failed("").is_none());
    }
}
