//! A session outside rooms: it enters its tenant's hall instead of joining a room, and has the control
//! stream alone.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{
    CallReply, CallUpdate, Code, Enter, Entered, Leave, RoomList, Schema, UserList, encode, owned,
};
use quinn::ConnectionError;
use tokio::time::timeout;

use super::join::{HandshakeFailure, expect, hello, open, problem_of, welcome};
use super::receiver::closed;
use super::sender::{LEAVE_TIMEOUT, SessionShared};
use super::stream::{MessageReader, ReadFailure};
use super::{JoinError, ProtocolError, SendError};

/// From the first packet to `Entered`, as for a join.
const ENTER_TIMEOUT: Duration = Duration::from_secs(10);

/// Which server to enter, and as whom.
#[derive(Clone)]
pub struct SocialSessionOptions {
    /// The server's session plane.
    pub server: SocketAddr,
    /// The name in the server's certificate; of no account with a pin.
    pub server_name: String,
    /// The join token, a JWT of at most 4 KiB.
    pub token: String,
    /// Display name, 0 to 128 bytes; empty takes the token's.
    pub name: String,
    /// One of [`nucleus_protocol::session::status`], but not offline.
    pub status: u8,
    /// Name and version of this software, for the operator.
    pub agent: String,
}

impl fmt::Debug for SocialSessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token is as good as a password: it reaches no log.
        f.debug_struct("SocialSessionOptions")
            .field("server", &self.server)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A session that has entered.
pub struct SocialSession {
    entered: Entered,
    shared: Arc<SessionShared>,
    answers: MessageReader,
}

/// What happens in a session outside rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocialMessage {
    /// Who is there, or what changed.
    UserList(UserList),
    /// The lobby's rooms, or what changed.
    Rooms(RoomList),
    /// What became of a request.
    CallReply(CallReply),
    /// Something happened to a call.
    CallUpdate(CallUpdate),
    /// The session is over.
    Closed {
        /// Why, when the server or this client said so; `None` when the connection was lost.
        code: Option<Code>,
        /// The same for a person.
        text: String,
    },
}

impl SocialSession {
    /// Connects and enters; at most 10 s.
    pub async fn enter(
        endpoint: &quinn::Endpoint,
        config: quinn::ClientConfig,
        options: SocialSessionOptions,
    ) -> Result<SocialSession, JoinError> {
        check(&options)?;
        let server = options.server;
        let entering = Self::handshake(endpoint, config, options);
        timeout(ENTER_TIMEOUT, entering).await.unwrap_or(Err(JoinError::TimedOut { server }))
    }

    async fn handshake(
        endpoint: &quinn::Endpoint,
        config: quinn::ClientConfig,
        options: SocialSessionOptions,
    ) -> Result<SocialSession, JoinError> {
        let server = options.server;
        let (name, opening) = (options.server_name.clone(), opening(options));
        let connecting = endpoint.connect_with(config, server, &name)?;
        let (connection, control, mut answers) = open(connecting, server, &opening).await?;
        let entered = entered(&mut answers).await.map_err(|failure| failure.of(server))?;
        let shared = Arc::new(SessionShared::new(connection, control, 0));
        Ok(SocialSession { entered, shared, answers })
    }

    /// The server's answer.
    pub fn entered(&self) -> &Entered {
        &self.entered
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (SocialSender, SocialReceiver) {
        let receiver = SocialReceiver { shared: self.shared.clone(), answers: Some(self.answers) };
        (SocialSender(self.shared), receiver)
    }
}

/// The sending half; clones send on the same stream, in the order of their calls.
#[derive(Clone)]
pub struct SocialSender(Arc<SessionShared>);

impl SocialSender {
    /// Sends a whole message, as [`encode`] makes it.
    pub async fn send(&self, message: Vec<u8>) -> Result<(), SendError> {
        self.0.send(message).await
    }

    /// Sends what `message` gives when it is its turn, nothing where that is empty. Once it has been
    /// called the message goes out, also when the future is dropped.
    pub async fn send_with(&self, message: impl FnOnce() -> Vec<u8>) -> Result<(), SendError> {
        self.0.send_with(message).await
    }

    /// Leaves: whoever watches is told at once, and the connection closes; at most 1 s.
    pub async fn leave(&self) {
        let left = async {
            // Fails only when the connection is gone, which is where this leads.
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

/// The receiving half.
pub struct SocialReceiver {
    shared: Arc<SessionShared>,
    answers: Option<MessageReader>,
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
            // Why, the connection's own end says.
            Err(ReadFailure::Gone(_)) => {
                self.answers = None;
                end(self.shared.connection.closed().await)
            }
        }
    }

    async fn read(&mut self) -> Result<SocialMessage, ReadFailure> {
        let Some(answers) = &mut self.answers else {
            return Ok(end(self.shared.connection.closed().await));
        };
        let Some((schema, body)) = answers.next(limits::MAX_CONTROL_MESSAGE).await? else {
            self.answers = None;
            return Ok(end(self.shared.connection.closed().await));
        };
        Ok(match schema {
            Schema::UserList => SocialMessage::UserList(owned(&body)?),
            Schema::RoomList => SocialMessage::Rooms(owned(&body)?),
            Schema::CallReply => SocialMessage::CallReply(owned(&body)?),
            Schema::CallUpdate => SocialMessage::CallUpdate(owned(&body)?),
            other => return Err(ProtocolError::Unexpected(other).into()),
        })
    }
}

fn end(error: ConnectionError) -> SocialMessage {
    let (code, text) = closed(error);
    SocialMessage::Closed { code, text }
}

/// What the server would refuse anyway is not sent at all.
fn check(options: &SocialSessionOptions) -> Result<(), JoinError> {
    let problem = problem_of(&options.token, &options.name, &options.agent);
    problem.map_or(Ok(()), |problem| Err(JoinError::Options(problem)))
}

/// Everything the client says before it hears anything: type byte, `Hello`, `Enter`.
fn opening(options: SocialSessionOptions) -> Vec<u8> {
    let hello = hello(options.agent);
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
