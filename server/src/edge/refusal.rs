//! Refuses a client: with a code, and with a text for the client's log.

use bytes::Bytes;
use nucleus_core::limits;
use nucleus_protocol::session::{Code, OLDEST_VERSION, Refuse, VERSION};
use tokio::time::timeout;

use super::SessionContext;
use super::carrier::{Connection, SendStream};
use super::wire::ReadError;

/// How long a client should wait before it tries again, for refusals that may pass.
const RETRY_AFTER_MS: u32 = 2_000;

/// A refusal: its reason, and the control stream on which the client is told.
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) text: String,
    /// The control stream, if the client has opened it.
    pub(super) stream: Option<SendStream>,
    /// `Welcome`, unless it has been written. It is written in front of the refusal.
    pub(super) welcome: Option<Bytes>,
}

impl Refusal {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), stream: None, welcome: None }
    }
}

/// Makes a refusal with the usual text for `code`.
pub(super) fn refuse(code: Code) -> Refusal {
    Refusal::new(code, text_of(code))
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Refusal::new(Code::Malformed, error.to_string())
    }
}

/// Tells a client that it is refused, and closes the connection.
pub(super) async fn turn_away(connection: &Connection, refusal: Refusal, context: &SessionContext) {
    let Refusal { code, text, stream, welcome } = refusal;
    tracing::debug!(remote = %connection.remote(), %code, text, "refused");
    if let Some(mut stream) = stream {
        let retry_after_ms = match code {
            Code::ServerFull
            | Code::RoomFull
            | Code::JoinRate
            | Code::Internal
            | Code::TenantFull
            | Code::TenantRooms
            | Code::UserSessions => RETRY_AFTER_MS,
            // The other device may have died without a word. It is away after this time.
            Code::AlreadyJoined => {
                u32::try_from(context.limits.away_after.as_millis()).unwrap_or(u32::MAX)
            }
            _ => 0,
        };
        let message = Refuse {
            code: code as u16,
            text: text.clone().into_bytes(),
            retry_after_ms,
            oldest: OLDEST_VERSION,
            newest: VERSION,
            endpoints: context.servers.to_try_after(code).to_vec(),
        };
        // Does not wait longer, because the session occupies a permit of the unjoined sessions. The
        // close below carries the code once more.
        let _in_time = timeout(limits::REFUSAL_TIME, async {
            let welcome = welcome.unwrap_or_default();
            if stream.write_both(welcome, message.encode().into()).await.is_ok() {
                stream.finish().await;
            }
        })
        .await;
    }
    connection.close(code, &text);
    context.counters.count_end(code);
    connection.drained().await;
}

fn text_of(code: Code) -> &'static str {
    match code {
        Code::RoomFull => "the room is full",
        Code::RoomLocked => "a moderator has locked the room",
        Code::Kicked => "a moderator has banned the user from the room for some time",
        Code::ServerFull => "the server has reached its limit of sessions or of rooms",
        Code::RoomExists => "a room of this name exists already",
        Code::NoSuchRoom => "there is no such room",
        Code::Incompatible => "the room is for another version of the application",
        Code::WrongPassword => "the password of the room is wrong",
        Code::NotInvited => "the room is by invitation and the user is not invited",
        Code::ShuttingDown => "the server is shutting down",
        Code::Moved => "this server takes no joins; another one does",
        Code::TenantFull => "the tenant has reached its limit of sessions",
        Code::TenantRooms => "the tenant has reached its limit of rooms",
        Code::UserSessions => "the user has reached the limit of sessions or of rooms",
        Code::Forbidden => "only a moderator may make a room that is kept or locked",
        Code::BadState => "a filter, field, option or mode of the join is invalid",
        Code::BadName => {
            "a name or version is too long, or has control characters, invisible ones, or nothing else"
        }
        Code::AlreadyJoined => "the user is already in this room with another device",
        Code::JoinRate => {
            "the user has joined and left this room, or guessed its password, too often"
        }
        _ => "the room could not be joined",
    }
}
