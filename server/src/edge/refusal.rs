//! How a client is refused: with a code, and a text for whoever reads a log.

use bytes::Bytes;
use nucleus_core::limits;
use nucleus_protocol::session::{Code, OLDEST_VERSION, Refuse, VERSION};
use tokio::time::timeout;

use super::SessionCounters;
use super::quic::{Connection, SendStream};
use super::wire::ReadError;

/// A full server asks to be tried again after this long.
const RETRY_AFTER_MS: u32 = 2_000;

/// Why a client is not let in.
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) text: String,
    pub(super) stream: Option<SendStream>,
    /// Still to be written in front of it.
    pub(super) welcome: Option<Bytes>,
}

impl Refusal {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), stream: None, welcome: None }
    }
}

/// A refusal with a code, and the text for it.
pub(super) fn refuse(code: Code) -> Refusal {
    Refusal::new(code, text_of(code))
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Refusal::new(Code::Malformed, error.to_string())
    }
}

/// Tells a client that it is refused, and closes the connection.
pub(super) async fn turn_away(
    connection: &Connection,
    refusal: Refusal,
    counters: &SessionCounters,
) {
    let Refusal { code, text, stream, welcome } = refusal;
    tracing::debug!(remote = %connection.remote(), %code, text, "refused");
    if let Some(mut stream) = stream {
        let may_retry = matches!(
            code,
            Code::ServerFull
                | Code::RoomFull
                | Code::JoinRate
                | Code::Internal
                | Code::TenantFull
                | Code::TenantRooms
                | Code::UserSessions
        );
        let message = Refuse {
            code: code as u16,
            text: text.clone().into_bytes(),
            retry_after_ms: if may_retry { RETRY_AFTER_MS } else { 0 },
            oldest: OLDEST_VERSION,
            newest: VERSION,
            endpoints: Vec::new(),
        };
        // Whether the client takes it or not: the close behind it says the code again, and the
        // place of an unjoined session is not for keeping.
        let _read = timeout(limits::REFUSAL_TIME, async {
            let welcome = welcome.unwrap_or_default();
            if stream.write_both(welcome, message.encode().into()).await.is_ok() {
                stream.finish().await;
            }
        })
        .await;
    }
    connection.close(code, &text);
    counters.ended(code);
}

fn text_of(code: Code) -> &'static str {
    match code {
        Code::RoomFull => "the room is full",
        Code::RoomLocked => "a moderator has locked the room",
        Code::Kicked => "a moderator has put the user out of the room for a time",
        Code::ServerFull => "the server takes no more sessions or rooms",
        Code::RoomExists => "there is a room of this name already",
        Code::NoSuchRoom => "there is no such room",
        Code::Incompatible => "the room is for another version of the application",
        Code::WrongPassword => "the room has another password",
        Code::NotInvited => "the room is by invitation, and the user is not invited",
        Code::TenantFull => "the tenant has all the sessions that it may have",
        Code::TenantRooms => "the tenant has all the rooms that it may have",
        Code::UserSessions => {
            "the user has all the sessions, or has made all the rooms, that one may have"
        }
        Code::Forbidden => "to keep or lock a room needs the right to moderate",
        Code::BadState => "a filter, field, option or mode of the join breaks the rules",
        Code::BadName => "a name or version has too many bytes, or control characters",
        Code::AlreadyJoined => "the user is in this room with another device",
        Code::JoinRate => {
            "the user has joined and left this room, or guessed its password, too often"
        }
        _ => "the room could not be joined",
    }
}
