//! Why the server refuses, in words for a person.

use nucleus_protocol::session::Code;

/// Returns the name of a code, or its number if this version does not know it.
pub(crate) fn code_name(code: Option<Code>, number: u16) -> String {
    code.map_or_else(|| format!("code {number}"), |code| code.to_string())
}

/// Returns the meaning of a code, for a refusal without a text.
pub(crate) fn reason(code: Option<Code>) -> &'static str {
    let Some(code) = code else { return "no reason given" };
    match code {
        Code::Left | Code::Leaving => "the client left",
        Code::Version => "client and server have no version of the protocol in common",
        Code::Malformed => "a message was invalid",
        Code::JoinTimeout => "the join did not arrive in time",
        Code::TokenMalformed => "the token is not complete",
        Code::TokenAlgorithm => "the server does not take tokens of this algorithm",
        Code::TokenSignature => "the signature of the token is wrong",
        Code::TokenExpired => "the token has expired",
        Code::TokenNotYetValid => "the token is not valid yet",
        Code::TokenAudience => "the token is for another server",
        Code::RoomNotAllowed => "the token does not permit this room",
        Code::BadName => "the name is against the rules",
        Code::RoomFull => "the room is full",
        Code::Suite => "client and server have no encryption in common",
        Code::AlreadyJoined => "the user is in the room with another device",
        Code::JoinRate => "the user does this too often",
        Code::RoomLocked => "the room is locked",
        Code::RoomExists => "there is a room of this name",
        Code::NoSuchRoom => "there is no such room",
        Code::Incompatible => "the room is for another version of the application",
        Code::ServerFull => "the server is full",
        Code::ShuttingDown => "the server is shutting down",
        Code::Internal => "the server failed",
        Code::WrongPassword => "the password is wrong",
        Code::NotInvited => "the user is not invited",
        Code::TenantFull => "there are too many sessions",
        Code::TenantRooms => "there are too many rooms",
        Code::UserSessions => "the user has too many sessions",
        Code::TenantCalls => "there are too many calls",
        Code::Moved => "another server takes the join",
        Code::EventTooLarge => "an event was too large, or named too many peers",
        Code::SlowConsumer => "the client reads too slowly",
        Code::TimedOut => "nothing was received for too long",
        Code::EventRate => "the client sends too many events",
        Code::Replaced => "another session has replaced this one",
        Code::Kicked => "a moderator removed the user",
        Code::RoomEnded => "a moderator ended the room",
        Code::ActRate => "the moderators of the room act too fast",
        Code::Forbidden => "the role and the grants in the token do not allow it",
        Code::NoSuchEntity => "there is no such peer, object or call",
        Code::Conflict => "the field has another version, or the object another owner",
        Code::BadState => "a name, a value or a number is against the rules",
        Code::StateFull => "the state of the room is full",
        Code::RoomObjects => "the room has too many objects",
        Code::PeerObjects => "the user has too many objects",
        Code::EntityFields => "there are too many fields",
        Code::Busy => "the user is in a call, or wants none",
        Code::Unreachable => "the user is not connected",
        Code::NoAnswer => "nobody accepted the call in time",
        Code::Declined => "the user rejected the call",
        Code::Cancelled => "the caller cancelled the call",
        Code::Answered => "the call was accepted already",
    }
}

/// Returns what a person can do about a refusal, with a space in front; empty if nothing is known.
pub(crate) fn advice(code: Option<Code>) -> &'static str {
    let Some(code) = code else { return "" };
    match code {
        Code::Version => " Update the client or the server, whichever is older.",
        Code::TokenMalformed => " Use the complete token, as `nucleus token` printed it.",
        Code::TokenExpired => " Get a new token.",
        Code::TokenNotYetValid => " Check the clocks of both machines.",
        Code::TokenAlgorithm | Code::TokenSignature | Code::TokenAudience => {
            " Get a token for this server."
        }
        Code::RoomNotAllowed => {
            " Get a token for this room, or join the room that the token names."
        }
        Code::RoomFull => " Choose another room.",
        Code::RoomExists => " Choose another name, or join the room.",
        Code::NoSuchRoom => " Create a room, or use fewer conditions.",
        Code::Incompatible => " Update the older application.",
        Code::WrongPassword => " Ask the creator of the room.",
        Code::NotInvited => " Ask for an invitation.",
        Code::AlreadyJoined => " Leave the room on the other device first.",
        Code::ServerFull | Code::ShuttingDown => " Try again later or on another server.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::RenewError;
    use crate::social::SocialError;

    #[test]
    fn refusals_without_a_text_say_what_their_code_means() {
        for code in Code::ALL {
            let (code, number) = (Some(*code), *code as u16);
            assert_ne!(reason(code), "no reason given");
            let call = SocialError::Refused { code, number }.to_string();
            assert!(call.contains(reason(code)), "{call}");
            let token = RenewError::Refused { code, number }.to_string();
            assert!(token.contains(reason(code)), "{token}");
        }
        let busy = SocialError::Refused { code: Some(Code::Busy), number: Code::Busy as u16 };
        let text = "the server refused (busy): the user is in a call, or wants none.";
        assert_eq!(busy.to_string(), text);
        let later = SocialError::Refused { code: None, number: 999 }.to_string();
        assert_eq!(later, "the server refused (code 999): no reason given.");
    }
}
