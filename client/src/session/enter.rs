//! The social session: a session outside rooms. It sends `Enter` instead of `Join` and uses the
//! control stream only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{
    CallReply, CallUpdate, Code, Enter, Entered, Features, Leave, Ping, RoomList, Schema, UserList,
    encode, owned,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::dial::{ResolvedServer, SessionSockets, dial};
use super::join::{
    ABANDONED_JOIN_PAUSE, HandshakeFailure, OpenConnection, check_opening, expect, hello, open,
    welcome,
};
use super::receiver::{CLOSE_TIMEOUT, closed, give_up};
use super::sender::{LEAVE_TIMEOUT, SessionShared};
use super::stream::{MessageReader, ReadFailure};
use super::{Capabilities, JoinError, ProtocolError, SendError};

/// Longest time from the first packet to `Entered`; the same as for a join.
const ENTER_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of a social session.
#[derive(Clone)]
pub struct SocialSessionOptions {
    /// The server.
    pub server: ResolvedServer,
    /// The join token, a JWT of at most 4 KiB.
    pub token: String,
    /// Display name, at most 128 bytes. If empty, the name in the token is used.
    pub name: String,
    /// Initial status: one of [`nucleus_protocol::session::status`] except offline.
    pub status: u8,
    /// Name and version of the application, for the server's operator.
    pub agent: String,
}

impl fmt::Debug for SocialSessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is as secret as a password and must not reach a log.
        f.debug_struct("SocialSessionOptions")
            .field("server", &self.server.name)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A social session after `Entered`.
pub struct SocialSession {
    entered: Entered,
    endpoint: quinn::Endpoint,
    shared: Arc<SessionShared>,
    answers: MessageReader,
}

/// A message that a social session receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocialMessage {
    /// The watched users, or changes of them.
    UserList(UserList),
    /// The watched rooms of the lobby, or changes of them.
    Rooms(RoomList),
    /// The reply to a request.
    CallReply(CallReply),
    /// A change of a call.
    CallUpdate(CallUpdate),
    /// The session is closed. This is the last message.
    Closed {
        /// The reason that the server or this client gave; `None` if the connection was lost
        /// without one.
        code: Option<Code>,
        /// The reason as text for a person.
        text: String,
    },
}

impl SocialSession {
    /// Connects to the server, at the first of its addresses that answers, and opens a social
    /// session. Repeats an attempt that timed out at the server. Takes at most 10 s.
    ///
    /// # Errors
    /// The same as for [`Session::join`](super::Session::join).
    pub async fn enter(
        sockets: &SessionSockets,
        config: quinn::ClientConfig,
        options: SocialSessionOptions,
    ) -> Result<SocialSession, JoinError> {
        check_opening(&options.token, &options.name, &options.agent)?;
        let server = options.server.first();
        let entering = async {
            loop {
                match Self::handshake(sockets, &config, options.clone()).await {
                    Err(JoinError::Refused { code: Some(Code::JoinTimeout), .. }) => {
                        sleep(ABANDONED_JOIN_PAUSE).await;
                    }
                    outcome => return outcome,
                }
            }
        };
        timeout(ENTER_TIMEOUT, entering).await.unwrap_or(Err(JoinError::TimedOut { server }))
    }

    async fn handshake(
        sockets: &SessionSockets,
        config: &quinn::ClientConfig,
        options: SocialSessionOptions,
    ) -> Result<SocialSession, JoinError> {
        let dialed = dial(sockets, config, &options.server).await?;
        let server = dialed.connection.remote_address();
        let OpenConnection { endpoint, connection, control, mut answers } =
            open(dialed, |_| opening(options)).await?;
        let entered =
            entered(&mut answers).await.map_err(|failure| failure.into_join_error(server))?;
        let shared = Arc::new(SessionShared::new(connection, control, 0, Features::NONE));
        Ok(SocialSession { entered, endpoint, shared, answers })
    }

    /// Returns the QUIC endpoint of the session.
    pub(crate) fn endpoint(&self) -> &quinn::Endpoint {
        &self.endpoint
    }

    /// Returns the server's `Entered` message.
    pub fn entered(&self) -> &Entered {
        &self.entered
    }

    /// Splits the session into two halves, which two tasks can use.
    pub fn split(self) -> (SocialSender, SocialReceiver) {
        let (shared, answers) = (self.shared.clone(), Some(self.answers));
        let receiver = SocialReceiver { shared, answers, lost_at: None };
        (SocialSender(self.shared), receiver)
    }
}

/// The sending half of a social session. Clones send on the same stream, in the order of their
/// calls.
#[derive(Clone)]
pub struct SocialSender(Arc<SessionShared>);

impl SocialSender {
    /// Sends a complete message that [`encode`] has made.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the session is closed.
    pub async fn send(&self, message: Vec<u8>) -> Result<(), SendError> {
        self.0.send(message).await
    }

    /// Sends the message that the closure `message` returns, or nothing if the message is empty.
    /// The closure is called when all earlier messages are written. After that call, the message is
    /// sent even if the future is dropped.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the session is closed.
    pub async fn send_with(&self, message: impl FnOnce() -> Vec<u8>) -> Result<(), SendError> {
        self.0.send_with(message).await
    }

    /// Keeps the session alive. Only a client without QUIC's own keep-alives needs this, every 15 s.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the session is closed.
    pub async fn ping(&self) -> Result<(), SendError> {
        self.0.send(Ping.encode()).await
    }

    /// Leaves: watchers see this at once, and the connection closes. Takes at most 1 s.
    pub async fn leave(&self) {
        let left = async {
            // Fails only if the connection is closed, which is the purpose of this call.
            let _ = self.0.send(encode(&Leave { code: Code::Left as u16 })).await;
            self.0.connection.closed().await;
        };
        if timeout(LEAVE_TIMEOUT, left).await.is_err() {
            self.close();
        }
    }

    /// Closes the connection at once, without waiting for an answer.
    pub fn close(&self) {
        self.0.close(Code::Leaving, "");
    }
}

/// The receiving half of a social session.
pub struct SocialReceiver {
    shared: Arc<SessionShared>,
    answers: Option<MessageReader>,
    /// When the session counts as lost, because the server has ended its stream and does not close
    /// the connection.
    lost_at: Option<Instant>,
}

impl SocialReceiver {
    /// Waits for the next message. Cancel-safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> SocialMessage {
        match self.read().await {
            Ok(message) => message,
            Err(ReadFailure::Protocol(error)) => {
                let text = error.to_string();
                self.shared.close(Code::Malformed, &text);
                SocialMessage::Closed { code: Some(Code::Malformed), text }
            }
            // The connection's close reason says why.
            Err(ReadFailure::Gone(_)) => self.end().await,
        }
    }

    async fn read(&mut self) -> Result<SocialMessage, ReadFailure> {
        let Some(answers) = &mut self.answers else {
            return Ok(self.end().await);
        };
        let Some((schema, body)) = answers.next(limits::MAX_CONTROL_MESSAGE).await? else {
            return Ok(self.end().await);
        };
        Ok(match schema {
            Schema::UserList => SocialMessage::UserList(owned(&body)?),
            Schema::RoomList => SocialMessage::Rooms(owned(&body)?),
            Schema::CallReply => SocialMessage::CallReply(owned(&body)?),
            Schema::CallUpdate => SocialMessage::CallUpdate(owned(&body)?),
            other => return Err(ProtocolError::Unexpected(other).into()),
        })
    }

    /// Waits for the close of the connection after the end of the stream. Cancel-safe.
    async fn end(&mut self) -> SocialMessage {
        self.answers = None;
        let lost_at = *self.lost_at.get_or_insert_with(|| Instant::now() + CLOSE_TIMEOUT);
        tokio::select! {
            error = self.shared.connection.closed() => {
                let (code, text) = closed(error);
                SocialMessage::Closed { code, text }
            }
            () = sleep_until(lost_at) => {
                SocialMessage::Closed { code: None, text: give_up(&self.shared) }
            }
        }
    }
}

/// Encodes everything that the client sends before the server's first answer: type byte, `Hello`
/// and `Enter`.
fn opening(options: SocialSessionOptions) -> Vec<u8> {
    let hello = hello(options.agent, &Capabilities::default());
    let enter = Enter {
        token: options.token.into_bytes(),
        name: options.name.into_bytes(),
        status: options.status,
    };
    [hello, encode(&enter)].concat()
}

async fn entered(answers: &mut MessageReader) -> Result<Entered, HandshakeFailure> {
    welcome(answers).await?;
    let body = expect(answers, Schema::Entered, limits::MAX_CONTROL_MESSAGE).await?;
    Ok(owned::<Entered>(&body).map_err(ProtocolError::from)?)
}
