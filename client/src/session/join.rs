//! The handshake: `Hello` and `Join` go out together, which saves a round trip.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::link::{LinkConfig, LinkSide, Path, RootSecret, Suite};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{
    Code, EXPORTER_LABEL, GRANT_EXPORTER, Hello, Join, Joined, NEW_PEER, OLDEST_VERSION,
    RealtimeEndpoint, Refuse, Schema, VERSION, Welcome, encode, join_mode, owned, stream,
};
use zeroize::Zeroizing;

use super::sender::SessionShared;
use super::stream::{MessageReader, ReadFailure};
use super::{JoinError, LinkError, ProtocolError, SessionReceiver, SessionSender};
use crate::rooms::RoomSelection;

/// From the first packet to `Joined`: several losses on a bad network, and still before a person
/// gives up.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// One attempt of a join. QUIC does not follow a client whose address changes before the handshake is
/// confirmed, as a NAT may make it; another attempt then begins from the address that it has now.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);

/// Between two attempts where the one before may stand in the way of the next.
const OWN_GHOST_PAUSE: Duration = Duration::from_millis(500);

/// Whom to join, and as whom.
#[derive(Clone)]
pub struct SessionOptions {
    /// The server's session plane.
    pub server: SocketAddr,
    /// The name in the server's certificate; of no account with a pin.
    pub server_name: String,
    /// The join token, a JWT of at most 4 KiB.
    pub token: String,
    /// The room, 1 to 128 bytes; may be empty where any room that fits will do.
    pub room: String,
    /// Display name, 0 to 128 bytes; empty takes the token's.
    pub name: String,
    /// How the room is found, and what it is made with if this join makes it.
    pub selection: RoomSelection,
    /// Name and version of this software, for the operator.
    pub agent: String,
    /// The place that this peer had before its session was lost.
    pub resume: Option<ResumeFrom>,
}

impl SessionOptions {
    /// To come back to the room that `joined` names.
    pub(crate) fn rejoin_room_of(&mut self, joined: &Joined) {
        self.room = String::from_utf8_lossy(&joined.room).into_owned();
        self.selection = self.selection.for_rejoin();
    }
}

/// Where an earlier session of the same peer ended.
#[derive(Clone)]
pub struct ResumeFrom {
    /// From the newest `Joined`: as good as a password.
    pub ticket: Vec<u8>,
    /// [`SessionReceiver::last_event`].
    pub last_event: u64,
    /// [`SessionReceiver::last_bulk`].
    pub last_bulk: u64,
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token is as good as a password: it reaches no log.
        f.debug_struct("SessionOptions")
            .field("server", &self.server)
            .field("room", &self.room)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A session that has joined its room.
pub struct Session {
    joined: Joined,
    /// Events up to here were had before, by lane.
    last: [u64; 2],
    connection: quinn::Connection,
    control: quinn::SendStream,
    answers: MessageReader,
}

/// The server closed the connection because the join did not come in time: with our code, or, where
/// the handshake itself was late, with the only one that QUIC allows then (RFC 9000, section 10.2.3).
fn ran_out_of_time(error: &quinn::ConnectionError) -> bool {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            close.error_code == (Code::JoinTimeout as u32).into()
        }
        quinn::ConnectionError::ConnectionClosed(close) => {
            close.error_code == quinn::TransportErrorCode::APPLICATION_ERROR
        }
        _ => false,
    }
}

impl Session {
    /// Connects and joins, again where an attempt or the server's time for it ran out; at most 10 s.
    pub async fn join(
        endpoint: &quinn::Endpoint,
        config: quinn::ClientConfig,
        mut options: SessionOptions,
    ) -> Result<Session, JoinError> {
        check(&options)?;
        let server = options.server;
        let joining = async {
            let mut abandoned = false;
            loop {
                let attempt = Session::handshake(endpoint, config.clone(), options.clone());
                match tokio::time::timeout(ATTEMPT_TIMEOUT, attempt).await {
                    // On a bad network the five seconds that a server gives a join can pass without
                    // anybody's fault; the time-out around this loop bounds the attempts.
                    Err(_) => abandoned = true,
                    Ok(Err(JoinError::Connection(error))) if ran_out_of_time(&error) => {}
                    // Our own place of the attempt before, which the server has not given up yet.
                    Ok(Err(JoinError::Refused { code: Some(code), .. }))
                        if abandoned && matches!(code, Code::RoomFull | Code::AlreadyJoined) =>
                    {
                        tokio::time::sleep(OWN_GHOST_PAUSE).await;
                    }
                    // The room that an attempt before has made, most likely: its place is ours to join.
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
        endpoint: &quinn::Endpoint,
        config: quinn::ClientConfig,
        options: SessionOptions,
    ) -> Result<Session, JoinError> {
        let server = options.server;
        let asked = options.resume.as_ref().map_or([0; 2], |r| [r.last_event, r.last_bulk]);
        let (name, opening) = (options.server_name.clone(), opening(options));
        let connecting = endpoint.connect_with(config, server, &name)?;
        let (connection, control, mut answers) = open(connecting, server, &opening).await?;
        let joined = joined(&mut answers).await.map_err(|failure| failure.of(server))?;
        // A new peer is told only what happens from now on.
        let last = if joined.resumed == NEW_PEER { [0; 2] } else { asked };
        Ok(Session { joined, last, connection, control, answers })
    }

    /// The server's answer: who we are, who is there, the link's grant.
    pub fn joined(&self) -> &Joined {
        &self.joined
    }

    /// The QUIC connection underneath.
    pub fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// How to open the realtime link that the server granted. For one link only: two with the same
    /// grant would repeat packet numbers under one key.
    pub fn link_config(&self) -> Result<LinkConfig, LinkError> {
        let grant = &self.joined.grant;
        let endpoint = grant.endpoints.first().ok_or(LinkError::Endpoint)?;
        let remote = realtime_address(endpoint, self.connection.remote_address())?;
        let exported = self.exported()?;
        let mut seed = [0; 32];
        rand::fill(&mut seed).map_err(|_| LinkError::Keys)?;
        Ok(LinkConfig {
            side: LinkSide::Client,
            link_id: grant.link_id,
            suite: Suite::from_wire(grant.suite).ok_or(LinkError::Suite(grant.suite))?,
            root: RootSecret::new(&grant.secret, exported.as_deref()),
            connection_id: ConnectionId(grant.connection_id),
            spare: ConnectionId(grant.spare),
            path: Some(Path { remote, local: None }),
            fallback: self.carries_datagrams(),
            clock_epoch: 0,
            seed,
        })
    }

    /// Whether the realtime plane's datagrams fit into QUIC's, where its own port is blocked.
    fn carries_datagrams(&self) -> bool {
        let largest = limits::LINK_ID + limits::MAX_BODY;
        self.connection.max_datagram_size().is_some_and(|size| size >= largest)
    }

    /// Keying material that only the two ends of this TLS session have, when the grant asks for it.
    fn exported(&self) -> Result<Option<Zeroizing<[u8; 32]>>, LinkError> {
        let grant = &self.joined.grant;
        if grant.flags & GRANT_EXPORTER == 0 {
            return Ok(None);
        }
        let mut out = Zeroizing::new([0; 32]);
        self.connection
            .export_keying_material(
                out.as_mut_slice(),
                EXPORTER_LABEL,
                &grant.link_id.to_le_bytes(),
            )
            .map_err(|_| LinkError::Keys)?;
        Ok(Some(out))
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (SessionSender, SessionReceiver) {
        let shared = SessionShared::new(self.connection, self.control, self.joined.max_event);
        let shared = Arc::new(shared);
        let version = self.joined.roster_version;
        let receiver = SessionReceiver::new(shared.clone(), self.answers, version, self.last);
        (SessionSender(shared), receiver)
    }
}

/// What the server would refuse anyway is not sent at all.
fn check(options: &SessionOptions) -> Result<(), JoinError> {
    let problem = if let Some(problem) = problem_of(&options.token, &options.name, &options.agent) {
        problem
    } else if options.room.is_empty() && !options.selection.matches()
        || options.room.len() > limits::MAX_ROOM_NAME
    {
        "the room's name must have 1 to 128 bytes"
    } else if let Some(problem) = options.selection.problem() {
        problem
    } else {
        return Ok(());
    };
    Err(JoinError::Options(problem))
}

/// What is wrong with that which every session begins with.
pub(super) fn problem_of(token: &str, name: &str, agent: &str) -> Option<&'static str> {
    if token.is_empty() || token.len() > limits::MAX_TOKEN {
        Some("the join token must have 1 to 4,096 bytes")
    } else if name.len() > limits::MAX_NAME {
        Some("the display name must have at most 128 bytes")
    } else if agent.len() > limits::MAX_NAME {
        Some("the agent must have at most 128 bytes")
    } else {
        None
    }
}

/// Type byte and `Hello`, with which every control stream begins.
pub(super) fn hello(agent: String) -> Vec<u8> {
    let hello = Hello {
        oldest: OLDEST_VERSION,
        newest: VERSION,
        flags: Hello::flags(true),
        agent: agent.into_bytes(),
    };
    [&[stream::CONTROL][..], &hello.encode()].concat()
}

/// Everything the client says before it hears anything: type byte, `Hello`, `Join`.
fn opening(options: SessionOptions) -> Vec<u8> {
    let hello = hello(options.agent);
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
        ..options.selection.join()
    };
    [hello, encode(&join)].concat()
}

fn offered_suites() -> [Suite; 2] {
    match best_suite() {
        Suite::Aes128Gcm => [Suite::Aes128Gcm, Suite::ChaCha20Poly1305],
        Suite::ChaCha20Poly1305 => [Suite::ChaCha20Poly1305, Suite::Aes128Gcm],
    }
}

/// AES where the processor has instructions for it; without them it is slower than ChaCha20, and leaks
/// its key through the cache.
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

/// Connects, opens the control stream and says all that comes before the server's answer.
pub(super) async fn open(
    connecting: quinn::Connecting,
    server: SocketAddr,
    opening: &[u8],
) -> Result<(quinn::Connection, quinn::SendStream, MessageReader), JoinError> {
    let lost = |error| JoinError::lost(error, server);
    let connection = connecting.await.map_err(lost)?;
    let (mut control, answers) = connection.open_bi().await.map_err(lost)?;
    // A server that refuses may stop reading before it has everything: its answer tells why.
    let _ = control.write_all(opening).await;
    Ok((connection, control, MessageReader::new(answers)))
}

pub(super) enum HandshakeFailure {
    Join(JoinError),
    Lost(quinn::ReadError),
}

impl HandshakeFailure {
    pub(super) fn of(self, server: SocketAddr) -> JoinError {
        match self {
            HandshakeFailure::Join(error) => error,
            HandshakeFailure::Lost(quinn::ReadError::ConnectionLost(e)) => {
                JoinError::lost(e, server)
            }
            HandshakeFailure::Lost(_) => ProtocolError::Ended.into(),
        }
    }
}

impl<E: Into<JoinError>> From<E> for HandshakeFailure {
    fn from(error: E) -> Self {
        HandshakeFailure::Join(error.into())
    }
}

async fn joined(answers: &mut MessageReader) -> Result<Joined, HandshakeFailure> {
    welcome(answers).await?;
    let body = expect(answers, Schema::Joined, limits::MAX_CONTROL_MESSAGE).await?;
    Ok(owned::<Joined>(&body).map_err(ProtocolError::from)?)
}

/// The server agrees to a version of ours.
pub(super) async fn welcome(answers: &mut MessageReader) -> Result<(), HandshakeFailure> {
    let body = expect(answers, Schema::Welcome, limits::MAX_HANDSHAKE_MESSAGE).await?;
    let welcome = Welcome::parse(&body).map_err(ProtocolError::from)?;
    if !(OLDEST_VERSION..=VERSION).contains(&welcome.version) {
        return Err(ProtocolError::Version(welcome.version).into());
    }
    Ok(())
}

/// The body of the message that is due, unless the server refuses.
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

fn refused(body: &[u8]) -> JoinError {
    match Refuse::parse(body) {
        Ok(refuse) => JoinError::Refused {
            code: nucleus_protocol::session::Code::from_number(refuse.code.into()),
            number: refuse.code,
            text: String::from_utf8_lossy(&refuse.text).into_owned(),
            retry_after: (refuse.retry_after_ms > 0)
                .then(|| Duration::from_millis(refuse.retry_after_ms.into())),
        },
        Err(error) => ProtocolError::from(error).into(),
    }
}

/// An empty address is the session's own, with the zone that a link-local one needs.
fn realtime_address(
    endpoint: &RealtimeEndpoint,
    session: SocketAddr,
) -> Result<SocketAddr, LinkError> {
    let mut address = session;
    if !endpoint.ip.is_empty() {
        let v4 = <[u8; 4]>::try_from(&endpoint.ip[..]).map(IpAddr::from);
        let v6 = <[u8; 16]>::try_from(&endpoint.ip[..]).map(IpAddr::from);
        address = SocketAddr::new(v4.or(v6).map_err(|_| LinkError::Endpoint)?, 0);
    }
    // One address, one spelling: ::ffff:192.0.2.1 is 192.0.2.1.
    address.set_ip(address.ip().to_canonical());
    address.set_port(endpoint.port);
    if endpoint.port == 0 { Err(LinkError::Endpoint) } else { Ok(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realtime_addresses() {
        let session: SocketAddr = "[fe80::1%3]:5055".parse().unwrap();
        let address = |ip: &[u8], port| {
            realtime_address(&RealtimeEndpoint { ip: ip.to_vec(), port }, session)
        };
        assert_eq!(address(&[], 5056), Ok("[fe80::1%3]:5056".parse().unwrap()));
        assert_eq!(address(&[192, 0, 2, 1], 7), Ok("192.0.2.1:7".parse().unwrap()));
        let mapped = "192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped();
        assert_eq!(address(&mapped.octets(), 7), Ok("192.0.2.1:7".parse().unwrap()));
        assert_eq!(address(&[1, 2, 3], 7), Err(LinkError::Endpoint));
        assert_eq!(address(&[], 0), Err(LinkError::Endpoint));
    }
}
