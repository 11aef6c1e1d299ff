//! [`Session::join`]: joins a room. The client sends `Hello` and `Join` together, which saves a
//! round trip.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::link::{Planes, Suite};
use nucleus_protocol::session::{
    Code, Features, Hello, Join, Joined, NEW_PEER, OLDEST_VERSION, Refuse, Schema, SessionSettings,
    VERSION, Welcome, encode, join_mode, owned, stream,
};

use super::dial::{DialedConnection, ResolvedServer, SessionSockets, dial};
use super::error::lost;
use super::sender::SessionShared;
use super::stream::{MessageReader, ReadFailure};
use super::{Capabilities, JoinError, ProtocolError, SessionReceiver, SessionSender};
use crate::rooms::RoomSelection;

/// Longest time from the first packet to `Joined`. Allows for several lost packets on a bad
/// network, and ends before a user gives up.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time of one attempt to join. If a NAT changes the client's address before the QUIC
/// handshake is confirmed, the connection cannot continue; the next attempt starts from the new
/// address.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);

/// Pause before the next attempt if the server still counts the abandoned one.
pub(super) const ABANDONED_JOIN_PAUSE: Duration = Duration::from_millis(500);

/// Options of a session in a room.
#[derive(Clone)]
pub struct SessionOptions {
    /// The server.
    pub server: ResolvedServer,
    /// The join token, a JWT of at most 4 KiB.
    pub token: String,
    /// The room's name, 1 to 128 bytes. May be empty if `selection` looks for any matching room.
    pub room: String,
    /// Display name, at most 128 bytes. If empty, the name in the token is used.
    pub name: String,
    /// How the room is selected, and its options if this join creates it.
    pub selection: RoomSelection,
    /// Name and version of the application, for the server's operator.
    pub agent: String,
    /// What this client can do.
    pub capabilities: Capabilities,
    /// The lost session to resume, if any.
    pub resume: Option<ResumeFrom>,
}

impl SessionOptions {
    /// Changes the options so that the next join returns to the room that `joined` names.
    pub(crate) fn rejoin_room_of(&mut self, joined: &Joined) {
        self.room = String::from_utf8_lossy(&joined.room).into_owned();
        self.selection = self.selection.for_rejoin();
    }
}

/// The lost session from which a join resumes, with the ticket that permits it.
#[derive(Clone)]
pub struct ResumeFrom {
    /// The ticket from the newest `Joined` message. It is as secret as a password.
    pub ticket: Vec<u8>,
    /// The value of [`SessionReceiver::last_event`].
    pub last_event: u64,
    /// The value of [`SessionReceiver::last_bulk`].
    pub last_bulk: u64,
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is as secret as a password and must not reach a log.
        f.debug_struct("SessionOptions")
            .field("server", &self.server.name)
            .field("room", &self.room)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A session that has joined its room.
pub struct Session {
    pub(super) joined: Joined,
    pub(super) settings: SessionSettings,
    /// The features that client and server have in common.
    features: Features,
    pub(super) planes: Planes,
    /// Most bytes of frames in one datagram, as this client has told the server.
    pub(super) largest_body: usize,
    /// Largest sequence received in earlier sessions, by lane.
    last_sequences: [u64; 2],
    endpoint: quinn::Endpoint,
    pub(super) connection: quinn::Connection,
    control: quinn::SendStream,
    answers: MessageReader,
}

impl Session {
    /// Connects to the server, at the first of its addresses that answers, and joins the room.
    /// Repeats an attempt that timed out, here or at the server. Takes at most 10 s.
    ///
    /// # Errors
    /// [`JoinError`] says whether the options, the network, the certificate, the server's answer or
    /// a refusal was the reason.
    pub async fn join(
        sockets: &SessionSockets,
        config: quinn::ClientConfig,
        mut options: SessionOptions,
    ) -> Result<Session, JoinError> {
        check(&options)?;
        let server = options.server.first();
        let attempt_time = ATTEMPT_TIMEOUT + options.server.spread();
        let joining = async {
            let mut abandoned = false;
            loop {
                let attempt = Session::handshake(sockets, &config, options.clone());
                match tokio::time::timeout(attempt_time, attempt).await {
                    // The timeout around this loop limits the number of attempts.
                    Err(_) => abandoned = true,
                    // On a bad network a join can take longer than the five seconds that the server
                    // allows.
                    Ok(Err(JoinError::Refused { code: Some(Code::JoinTimeout), .. })) => {
                        tokio::time::sleep(ABANDONED_JOIN_PAUSE).await;
                    }
                    // Wait, because the server still counts the abandoned attempt as a participant.
                    Ok(Err(JoinError::Refused { code: Some(code), .. }))
                        if abandoned && matches!(code, Code::RoomFull | Code::AlreadyJoined) =>
                    {
                        tokio::time::sleep(ABANDONED_JOIN_PAUSE).await;
                    }
                    // Most likely the abandoned attempt created the room, so join that room.
                    Ok(Err(JoinError::Refused { code: Some(Code::RoomExists), .. }))
                        if abandoned && options.selection.mode == join_mode::CREATE =>
                    {
                        options.selection.mode = join_mode::JOIN_OR_CREATE;
                    }
                    Ok(result) => return result,
                }
            }
        };
        tokio::time::timeout(JOIN_TIMEOUT, joining)
            .await
            .unwrap_or(Err(JoinError::TimedOut { server }))
    }

    async fn handshake(
        sockets: &SessionSockets,
        config: &quinn::ClientConfig,
        options: SessionOptions,
    ) -> Result<Session, JoinError> {
        let resumed_from = options.resume.as_ref().map_or([0; 2], |r| [r.last_event, r.last_bulk]);
        let capabilities = options.capabilities;
        let dialed = dial(sockets, config, &options.server).await?;
        let server = dialed.connection.remote_address();
        let (mut planes, mut told) = (Planes::Both, 0);
        let opening = |connection: &quinn::Connection| {
            let (largest_body, carries) = capabilities.largest_body(connection.max_datagram_size());
            planes = match (capabilities.realtime_port, carries) {
                (true, true) => Planes::Both,
                (true, false) => Planes::PortOnly,
                (false, _) => Planes::SessionOnly,
            };
            told = usize::from(largest_body);
            opening(options, largest_body)
        };
        let OpenConnection { endpoint, connection, control, mut answers } =
            open(dialed, opening).await?;
        let (offered, joined) =
            joined(&mut answers).await.map_err(|failure| failure.into_join_error(server))?;
        let features = offered.common(capabilities.features);
        let settings = SessionSettings::from_list(&joined.settings);
        // A new peer receives no earlier events.
        let last_sequences = if joined.resumed == NEW_PEER { [0; 2] } else { resumed_from };
        Ok(Session {
            joined,
            settings,
            features,
            planes,
            largest_body: told,
            last_sequences,
            endpoint,
            connection,
            control,
            answers,
        })
    }

    /// Returns the server's answer: this client's peer id, the roster, and the grant of a realtime
    /// link.
    pub fn joined(&self) -> &Joined {
        &self.joined
    }

    /// Returns what holds for this session.
    pub fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    /// Returns the features that client and server have in common.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Returns the QUIC endpoint of the session.
    pub(crate) fn endpoint(&self) -> &quinn::Endpoint {
        &self.endpoint
    }

    /// Returns the QUIC connection of the session.
    pub fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// Splits the session into two halves, which two tasks can use.
    pub fn split(self) -> (SessionSender, SessionReceiver) {
        let Self { connection, control, settings, features, .. } = self;
        let max_event = usize::try_from(settings.max_event).unwrap_or(usize::MAX);
        let shared = Arc::new(SessionShared::new(connection, control, max_event, features));
        let version = self.joined.roster_version;
        let receiver =
            SessionReceiver::new(shared.clone(), self.answers, version, self.last_sequences);
        (SessionSender(shared), receiver)
    }
}

/// Checks the limits that the server enforces too.
fn check(options: &SessionOptions) -> Result<(), JoinError> {
    check_opening(&options.token, &options.name, &options.agent)?;
    if options.room.is_empty() && !options.selection.matches()
        || options.room.len() > limits::MAX_ROOM_NAME
    {
        return Err(JoinError::Options("the room's name must have 1 to 128 bytes"));
    }
    options.selection.validate().map_err(JoinError::Options)
}

/// Checks the limits of the options that sessions in a room and social sessions have in common.
pub(super) fn check_opening(token: &str, name: &str, agent: &str) -> Result<(), JoinError> {
    if token.is_empty() || token.len() > limits::MAX_TOKEN {
        Err(JoinError::Options("the join token must have 1 to 4,096 bytes"))
    } else if name.len() > limits::MAX_NAME {
        Err(JoinError::Options("the display name must have at most 128 bytes"))
    } else if agent.len() > limits::MAX_AGENT {
        Err(JoinError::Options("the agent must have at most 128 bytes"))
    } else {
        Ok(())
    }
}

/// Encodes the type byte and `Hello`, with which every control stream begins.
pub(super) fn hello(agent: String, capabilities: &Capabilities) -> Vec<u8> {
    let hello = Hello {
        oldest: OLDEST_VERSION,
        newest: VERSION,
        flags: capabilities.flags(),
        agent: agent.into_bytes(),
        features: capabilities.features.to_bytes(),
    };
    [&[stream::CONTROL][..], &hello.encode()].concat()
}

/// Encodes everything that the client sends before the server's first answer: type byte, `Hello`
/// and `Join`.
fn opening(options: SessionOptions, largest_body: u16) -> Vec<u8> {
    let hello = hello(options.agent, &options.capabilities);
    let nothing = || ResumeFrom { ticket: Vec::new(), last_event: 0, last_bulk: 0 };
    let resume = options.resume.unwrap_or_else(nothing);
    let join = Join {
        token: options.token.into_bytes(),
        ticket: resume.ticket,
        last_event: resume.last_event,
        last_bulk: resume.last_bulk,
        room: options.room.into_bytes(),
        name: options.name.into_bytes(),
        suites: offered_suites().map(|suite| suite as u8).to_vec(),
        largest_body,
        ..options.selection.into_join()
    };
    [hello, encode(&join)].concat()
}

fn offered_suites() -> [Suite; 2] {
    match best_suite() {
        Suite::Aes128Gcm => [Suite::Aes128Gcm, Suite::ChaCha20Poly1305],
        Suite::ChaCha20Poly1305 => [Suite::ChaCha20Poly1305, Suite::Aes128Gcm],
    }
}

/// Returns AES if the processor has instructions for it, and ChaCha20 otherwise. Without the
/// instructions, AES is slower than ChaCha20 and can leak its key through the cache.
pub(super) fn best_suite() -> Suite {
    if has_aes() { Suite::Aes128Gcm } else { Suite::ChaCha20Poly1305 }
}

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// A connection whose control stream is open.
pub(super) struct OpenConnection {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) connection: quinn::Connection,
    pub(super) control: quinn::SendStream,
    /// Reads the server's messages on the control stream.
    pub(super) answers: MessageReader,
}

/// Opens the control stream, and sends on it what `opening` returns for the connection.
pub(super) async fn open(
    dialed: DialedConnection,
    opening: impl FnOnce(&quinn::Connection) -> Vec<u8>,
) -> Result<OpenConnection, JoinError> {
    let DialedConnection { endpoint, connection } = dialed;
    let server = connection.remote_address();
    let (mut control, answers) = connection.open_bi().await.map_err(|error| lost(error, server))?;
    // A server that refuses may stop reading early. Its answer then says why.
    let _ = control.write_all(&opening(&connection)).await;
    Ok(OpenConnection { endpoint, connection, control, answers: MessageReader::new(answers) })
}

/// The reason why the server's answer could not be read.
pub(super) enum HandshakeFailure {
    Join(JoinError),
    /// The stream or the connection broke.
    Lost(quinn::ReadError),
}

impl HandshakeFailure {
    pub(super) fn into_join_error(self, server: SocketAddr) -> JoinError {
        match self {
            HandshakeFailure::Join(error) => error,
            HandshakeFailure::Lost(quinn::ReadError::ConnectionLost(e)) => lost(e, server),
            HandshakeFailure::Lost(_) => ProtocolError::Ended.into(),
        }
    }
}

impl<E: Into<JoinError>> From<E> for HandshakeFailure {
    fn from(error: E) -> Self {
        HandshakeFailure::Join(error.into())
    }
}

async fn joined(answers: &mut MessageReader) -> Result<(Features, Joined), HandshakeFailure> {
    let features = welcome(answers).await?;
    let body = expect(answers, Schema::Joined, limits::MAX_CONTROL_MESSAGE).await?;
    Ok((features, owned::<Joined>(&body).map_err(ProtocolError::from)?))
}

/// Reads the server's `Welcome` and checks the version that it chose. Returns the features that the
/// server offers.
pub(super) async fn welcome(answers: &mut MessageReader) -> Result<Features, HandshakeFailure> {
    let body = expect(answers, Schema::Welcome, limits::MAX_HANDSHAKE_MESSAGE).await?;
    let welcome = Welcome::parse(&body).map_err(ProtocolError::from)?;
    if !(OLDEST_VERSION..=VERSION).contains(&welcome.version) {
        return Err(ProtocolError::Version(welcome.version).into());
    }
    Ok(Features::parse_any(&welcome.features))
}

/// Reads the next message, which must have the schema `due`, and returns its body. Converts a
/// `Refuse` message into an error.
pub(super) async fn expect(
    answers: &mut MessageReader,
    due: Schema,
    limit: usize,
) -> Result<Bytes, HandshakeFailure> {
    let (schema, body) = match answers.next(limit).await {
        Ok(message) => message.ok_or(ProtocolError::Ended)?,
        Err(ReadFailure::Protocol(error)) => return Err(error.into()),
        Err(ReadFailure::Gone(error)) => return Err(HandshakeFailure::Lost(error)),
    };
    match schema {
        Schema::Refuse => Err(refused(&body).into()),
        schema if schema == due => Ok(body),
        other => Err(ProtocolError::Unexpected(other).into()),
    }
}

/// Returns the endpoints of a list that are text, at most [`limits::MAX_ENDPOINTS`].
pub(crate) fn endpoints(list: &[Vec<u8>]) -> Vec<String> {
    let texts = list.iter().filter_map(|endpoint| String::from_utf8(endpoint.clone()).ok());
    texts.filter(|text| text.len() <= limits::MAX_ENDPOINT).take(limits::MAX_ENDPOINTS).collect()
}

fn refused(body: &[u8]) -> JoinError {
    match Refuse::parse(body) {
        Ok(refuse) => JoinError::Refused {
            code: nucleus_protocol::session::Code::from_number(refuse.code.into()),
            number: refuse.code,
            text: String::from_utf8_lossy(&refuse.text).into_owned(),
            retry_after: (refuse.retry_after_ms > 0)
                .then(|| Duration::from_millis(refuse.retry_after_ms.into())),
            endpoints: endpoints(&refuse.endpoints),
        },
        Err(error) => ProtocolError::from(error).into(),
    }
}
