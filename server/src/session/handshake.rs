//! From the first packet to a place in a room. Nothing exists for a peer before its token has been
//! verified: no room, no roster entry, no link.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use nucleus_protocol::limits;
use nucleus_protocol::link::{Root, Suite};
use nucleus_protocol::session::{
    self, Code, EXPORTER_LABEL, Endpoint, Enter, GRANT_EXPORTER, Hello, Join, LinkGrant,
    OLDEST_VERSION, Refuse, Schema, VERSION, Welcome, stream,
};
use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use super::hall::{self, HallSession, verify};
use super::outgoing::{Outgoing, OutgoingQueues, outgoing};
use super::peer::PeerSession;
use super::wire::{ReadError, read_message};
use super::{SessionContext, SessionCounters};
use crate::directory::{RoomHandle, RoomKey};
use crate::room::{Asks, JoinRequest, Resume, Role, Seat};
use crate::tenants::SessionPlace;
use crate::token::{Admission, TokenError};
use crate::wish::{Mode, Wish as RoomWish, text};

/// What the server calls itself in `Welcome`.
const AGENT: &str = concat!("nucleus/", env!("CARGO_PKG_VERSION"));
/// A full server asks to be tried again after this long.
const RETRY_AFTER_MS: u32 = 2_000;
/// How long a refusal may take to reach the client before the connection is closed.
const REFUSAL_TIME: Duration = Duration::from_millis(500);

/// Takes one connection from its first packet into a room, where it goes on by itself.
pub(super) async fn serve(
    incoming: Incoming,
    place: OwnedSemaphorePermit,
    context: Arc<SessionContext>,
) {
    let deadline = Instant::now() + context.unjoined_timeout;
    let Ok(Some(connection)) = timeout_at(deadline, shake_hands(incoming, &context)).await else {
        context.counters.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let joined = match timeout_at(deadline, join(&connection, &context)).await {
        Ok(Ok(joined)) => joined,
        Ok(Err(refusal)) => return refuse(&connection, refusal, &context.counters).await,
        Err(_) => {
            drop(place);
            return close(&connection, Code::JoinTimeout, &context.counters);
        }
    };
    drop(place);
    // A task of its own: this one holds what a join alone needs.
    match joined {
        Joined::Room(session) => drop(tokio::spawn(session.run(context))),
        Joined::Hall(session) => drop(tokio::spawn(session.run(context))),
    }
}

async fn shake_hands(incoming: Incoming, context: &SessionContext) -> Option<Connection> {
    let answered = context.handshakes.run(|| incoming.accept()).await?;
    answered.ok()?.await.ok()
}

/// A session that is in.
enum Joined {
    Room(Box<PeerSession>),
    Hall(Box<HallSession>),
}

/// Why a client is not let in.
pub(super) struct Refusal {
    code: Code,
    text: String,
    stream: Option<SendStream>,
    /// Still to be written in front of it.
    welcome: Option<Bytes>,
}

impl Refusal {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), stream: None, welcome: None }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Refusal::new(Code::Malformed, error.to_string())
    }
}

async fn join(connection: &Connection, context: &Arc<SessionContext>) -> Result<Joined, Refusal> {
    let broken = |_| Refusal::new(Code::Malformed, "no control stream");
    let (mut send, mut receive) = connection.accept_bi().await.map_err(broken)?;
    let mut welcome = None;
    match join_on(connection, context, (&mut send, &mut welcome), &mut receive).await {
        Ok(Admitted::Room { room, seat, queues }) => Ok(Joined::Room(Box::new(PeerSession {
            connection: connection.clone(),
            control: (send, receive),
            welcome,
            queues,
            room,
            seat,
        }))),
        Ok(Admitted::Hall(entrance)) => Ok(Joined::Hall(Box::new(HallSession {
            connection: connection.clone(),
            control: (send, receive),
            welcome,
            entrance: *entrance,
        }))),
        Err(refusal) => Err(Refusal { stream: Some(send), welcome, ..refusal }),
    }
}

/// A place in a room, or in a hall.
enum Admitted {
    Room { room: RoomHandle, seat: Seat, queues: OutgoingQueues },
    Hall(Box<hall::Entrance>),
}

async fn join_on(
    connection: &Connection,
    context: &Arc<SessionContext>,
    (send, welcome): (&mut SendStream, &mut Option<Bytes>),
    receive: &mut RecvStream,
) -> Result<Admitted, Refusal> {
    let hello = read_hello(receive).await?;
    *welcome = Some(answer(context, &hello));
    let mut reading = std::pin::pin!(read_wish(receive));
    let wish = tokio::select! {
        biased;
        wish = &mut reading => wish?,
        // It waits for our answer, or its join is still on the way.
        () = std::future::ready(()) => {
            if let Some(welcome) = welcome.take() {
                let broken = |_| Refusal::new(Code::Malformed, "the stream broke");
                send.write_chunk(welcome).await.map_err(broken)?;
            }
            reading.await?
        }
    };
    let join = match wish {
        Wish::Join(join) => join,
        Wish::Enter(enter) => {
            return Ok(Admitted::Hall(Box::new(hall::enter(context, &enter).await?)));
        }
    };
    let suite = join.suites.iter().find_map(|s| Suite::from_wire(*s));
    let suite = suite.ok_or_else(|| Refusal::new(Code::Suite, "no AEAD suite in common"))?;
    let permit = context.joined.clone().try_acquire_owned();
    let full = |_| Refusal::new(Code::ServerFull, "the server is full");
    let mut entrance = Entrance {
        connection,
        context,
        exporter: hello.has_exporter(),
        suite,
        permit: Arc::new(permit.map_err(full)?),
        place: None,
        link_id: 0,
        queues: None,
    };
    let resumed = entrance.resume(&join).await;
    let (room, seat) = match resumed {
        Some(place) => place,
        None => entrance.enter(&join).await?,
    };
    let queues = entrance.queues.ok_or_else(|| Refusal::new(Code::Internal, "no queues"))?;
    context.counters.joins.fetch_add(1, Ordering::Relaxed);
    Ok(Admitted::Room { room, seat, queues })
}

/// What every try to get into a room needs anew: keys of a link that was never used, and queues.
struct Entrance<'a> {
    connection: &'a Connection,
    context: &'a Arc<SessionContext>,
    exporter: bool,
    suite: Suite,
    permit: Arc<OwnedSemaphorePermit>,
    /// Among the sessions of its tenant.
    place: Option<Arc<SessionPlace>>,
    link_id: u32,
    /// The session's end of the newest try's queues.
    queues: Option<OutgoingQueues>,
}

impl Entrance<'_> {
    /// The place that the client's ticket names, if it is still there. The token is not asked: its
    /// expiry in mid-session ends nothing.
    async fn resume(&mut self, join: &Join) -> Option<(RoomHandle, Seat)> {
        let ticket = self.context.tickets.open(&join.ticket)?;
        if ticket.run != self.context.run || ticket.room.as_bytes() != join.room {
            return None;
        }
        let key = RoomKey { tenant: ticket.tenant, app: ticket.app, name: ticket.room };
        let resume = Resume { claim: ticket.claim, last: [join.last_event, join.last_bulk] };
        let (name, role, asks) = Default::default();
        let tenants = self.context.directory.tenants();
        let place = SessionPlace::take_again(tenants, &key.tenant, &ticket.user);
        self.place = Some(Arc::new(place));
        let try_it = self.request((ticket.user, name, role), Some(resume), asks);
        let place = self.context.directory.resume(&key, try_it).await.ok();
        if place.is_none() {
            self.place = None;
        }
        let place = place?;
        self.context.counters.resumes.fetch_add(1, Ordering::Relaxed);
        Some(place)
    }

    /// A place of its own, which the token admits to.
    async fn enter(&mut self, join: &Join) -> Result<(RoomHandle, Seat), Refusal> {
        let context = self.context;
        let (key, admission) = admit(context, join)?;
        let name = display_name(&join.name, &admission)?;
        let refuse = |code| Refusal::new(code, text_of(code));
        let role = Role::new(admission.role.clone(), &admission.grants);
        let Admission { user, room: admitted, .. } = &admission;
        let longest_ttl = context.empty_room_ttl;
        let wish = RoomWish::new(join, user, role.rights.moderate, admitted, longest_ttl);
        let wish = wish.map_err(refuse)?;
        let tenants = context.directory.tenants();
        let place = SessionPlace::take(tenants, &key.tenant, user).map_err(refuse)?;
        self.place = Some(Arc::new(place));
        let joining = context.directory.join(key, &wish, random(), || {
            let who = (user.clone(), name.clone(), role.clone());
            self.request(who, None, wish.asks.clone())
        });
        joining.await.map_err(refuse)
    }

    fn request(
        &mut self,
        (user, name, role): (String, String, Role),
        resume: Option<Resume>,
        asks: Asks,
    ) -> (Box<JoinRequest>, Outgoing) {
        let places = (self.permit.clone(), self.place.clone());
        let (outgoing, session_end) = outgoing(self.context.clock, Arc::new(places));
        self.queues = Some(session_end);
        self.link_id += 1;
        let Keys { grant, root, seed } = self.keys();
        let suite = self.suite;
        let request = JoinRequest { user, name, role, resume, asks, grant, suite, root, seed };
        (Box::new(request), outgoing)
    }

    /// Keys of a new link: fresh randomness, and the exporter of this very connection where the
    /// client has one, so that who reads the grant elsewhere still has no key.
    fn keys(&self) -> Keys {
        let (secret, seed) = (Zeroizing::new(random()), random());
        let mut exported = Zeroizing::new([0; 32]);
        let label = self.link_id.to_le_bytes();
        let exporter = self.exporter
            && self
                .connection
                .export_keying_material(&mut *exported, EXPORTER_LABEL, &label)
                .is_ok();
        let root = Root::new(&secret, exporter.then_some(&exported));
        let grant = LinkGrant {
            link_id: self.link_id,
            connection_id: [0; 8],
            spare: [0; 8],
            secret: *secret,
            suite: self.suite as u8,
            flags: if exporter { GRANT_EXPORTER } else { 0 },
            endpoints: vec![Endpoint { ip: Vec::new(), port: self.context.realtime_port }],
        };
        Keys { grant, root, seed }
    }
}

struct Keys {
    grant: LinkGrant,
    root: Root,
    seed: [u8; 32],
}

async fn read_hello(receive: &mut RecvStream) -> Result<Hello, Refusal> {
    let mut kind = [0];
    let malformed = |text: &str| Refusal::new(Code::Malformed, text);
    receive.read_exact(&mut kind).await.map_err(|_| malformed("the stream broke"))?;
    if kind != [stream::CONTROL] {
        return Err(malformed("the first stream must be the control stream"));
    }
    let (schema, body) = read_message(receive, limits::MAX_HANDSHAKE_MESSAGE).await?;
    if schema != Schema::Hello {
        return Err(malformed("the first message must be Hello"));
    }
    let hello = Hello::parse(&body).map_err(|_| malformed("Hello is too short"))?;
    if hello.oldest > VERSION || hello.newest < OLDEST_VERSION {
        let text = format!("this server speaks versions {OLDEST_VERSION} to {VERSION}");
        return Err(Refusal::new(Code::Version, text));
    }
    Ok(hello)
}

fn answer(context: &SessionContext, hello: &Hello) -> Bytes {
    let welcome = Welcome {
        version: hello.newest.min(VERSION),
        flags: 0,
        server_id: context.server_id.clone().into_bytes(),
        agent: AGENT.into(),
    };
    welcome.encode().into()
}

/// Where a client wants to be.
enum Wish {
    Join(Box<Join>),
    Enter(Enter),
}

async fn read_wish(receive: &mut RecvStream) -> Result<Wish, Refusal> {
    let (schema, body) = read_message(receive, limits::MAX_CLIENT_CONTROL_MESSAGE).await?;
    let wish = match schema {
        Schema::Join => session::owned::<Join>(&body).map(|join| Wish::Join(Box::new(join))),
        Schema::Enter => session::owned::<Enter>(&body).map(Wish::Enter),
        _ => return Err(Refusal::new(Code::Malformed, "Join or Enter must follow Hello")),
    };
    wish.map_err(|_| Refusal::new(Code::Malformed, "not a valid archive"))
}

fn admit(context: &SessionContext, join: &Join) -> Result<(RoomKey, Admission), Refusal> {
    let admission = verify(context, &join.token)?;
    // Where any room will do, the server finds a name.
    let least = usize::from(!Mode::from_wire(join.mode).is_some_and(Mode::matches));
    let room = text(&join.room, least, limits::MAX_ROOM_NAME).ok_or_else(|| {
        Refusal::new(
            Code::BadName,
            "a room's name has 1 to 128 bytes of text without control characters",
        )
    })?;
    if !room.is_empty() && !admission.room.admits(&room) {
        return Err(Refusal::new(Code::RoomNotAllowed, "the token does not admit to this room"));
    }
    let key = RoomKey { tenant: admission.tenant.clone(), app: admission.app, name: room };
    Ok((key, admission))
}

pub(super) fn token_code(error: &TokenError) -> Code {
    match error {
        TokenError::WrongAlgorithm => Code::TokenAlgorithm,
        TokenError::BadSignature => Code::TokenSignature,
        TokenError::Expired => Code::TokenExpired,
        TokenError::NotYetValid => Code::TokenNotYetValid,
        TokenError::WrongAudience => Code::TokenAudience,
        _ => Code::TokenMalformed,
    }
}

pub(super) fn display_name(name: &[u8], admission: &Admission) -> Result<String, Refusal> {
    if name.is_empty() {
        return Ok(admission.name.clone());
    }
    text(name, 1, limits::MAX_NAME).ok_or_else(|| {
        Refusal::new(
            Code::BadName,
            "a name has at most 128 bytes of text without control characters",
        )
    })
}

/// Fresh random bytes. Where the system gives none nothing is safe, and the process must not go on.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random bytes; stopping");
        std::process::abort();
    }
    bytes
}

pub(super) fn text_of(code: Code) -> &'static str {
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

async fn refuse(connection: &Connection, refusal: Refusal, counters: &SessionCounters) {
    let Refusal { code, text, stream, welcome } = refusal;
    tracing::debug!(remote = %connection.remote_address(), %code, text, "refused");
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
        let _read = timeout(REFUSAL_TIME, async {
            let welcome = welcome.unwrap_or_default();
            let mut answers = [welcome, message.encode().into()];
            if stream.write_all_chunks(&mut answers).await.is_ok() && stream.finish().is_ok() {
                let _stopped = stream.stopped().await;
            }
        })
        .await;
    }
    connection.close((code as u32).into(), text.as_bytes());
    counters.ended(code);
}

fn close(connection: &Connection, code: Code, counters: &SessionCounters) {
    connection.close((code as u32).into(), code.name().as_bytes());
    counters.ended(code);
}
