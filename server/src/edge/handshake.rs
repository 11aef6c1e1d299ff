//! From the first packet to a place in a room. Nothing exists for a peer before its token has been
//! verified: no room, no roster entry, no link.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use nucleus_core::ids::SessionId;
use nucleus_core::lobby::RoomSelection;
use nucleus_core::room::{JoinConditions, JoinRequest, Resume, Role};
use nucleus_protocol::limits;
use nucleus_protocol::link::{RootSecret, Suite};
use nucleus_protocol::session::{
    self, Code, EXPORTER_LABEL, Enter, GRANT_EXPORTER, Hello, Join, LinkGrant, OLDEST_VERSION,
    RealtimeEndpoint, Schema, VERSION, Welcome, stream,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::SessionContext;
use super::admission::{admit, display_name};
use super::peer::PeerSession;
use super::quic::{Connection, Incoming, RecvStream, SendStream};
use super::refusal::{Refusal, refuse, turn_away};
use super::social::{self, SocialSession};
use super::wire::read_message;
use crate::random::random;
use crate::rooms::{Outgoing, OutgoingQueues, RoomHandle, SessionCount, outgoing};
use crate::token::VerifiedToken;

/// What the server calls itself in `Welcome`.
const AGENT: &str = concat!("nucleus/", env!("CARGO_PKG_VERSION"));

/// Takes one connection from its first packet into a room, where it goes on by itself.
pub(super) async fn serve(
    incoming: Incoming,
    place: OwnedSemaphorePermit,
    context: Arc<SessionContext>,
) {
    let deadline = Instant::now() + context.limits.unjoined_timeout;
    let handshake = incoming.handshake(&context.handshakes);
    let Ok(Some(connection)) = timeout_at(deadline, handshake).await else {
        context.counters.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let joined = match timeout_at(deadline, join(&connection, &context)).await {
        Ok(Ok(joined)) => joined,
        Ok(Err(refusal)) => return turn_away(&connection, refusal, &context.counters).await,
        Err(_) => {
            drop(place);
            connection.close(Code::JoinTimeout, Code::JoinTimeout.name());
            return context.counters.ended(Code::JoinTimeout);
        }
    };
    drop(place);
    // A task of its own: this one holds what a join alone needs.
    match joined {
        NewSession::Room(session) => drop(tokio::spawn(session.run(context))),
        NewSession::Social(session) => drop(tokio::spawn(session.run(context))),
    }
}

/// A session that is in.
enum NewSession {
    Room(Box<PeerSession>),
    Social(Box<SocialSession>),
}

async fn join(
    connection: &Connection,
    context: &Arc<SessionContext>,
) -> Result<NewSession, Refusal> {
    let broken = |_| Refusal::new(Code::Malformed, "no control stream");
    let (mut send, mut receive) = connection.accept_bi().await.map_err(broken)?;
    let mut welcome = None;
    match join_on(connection, context, (&mut send, &mut welcome), &mut receive).await {
        Ok(AdmittedJoin::Room { room, session, queues }) => {
            Ok(NewSession::Room(Box::new(PeerSession {
                connection: connection.clone(),
                control: (send, receive),
                welcome,
                queues,
                room,
                session,
            })))
        }
        Ok(AdmittedJoin::Social(entered)) => Ok(NewSession::Social(Box::new(SocialSession {
            connection: connection.clone(),
            control: (send, receive),
            welcome,
            entered: *entered,
        }))),
        Err(refusal) => Err(Refusal { stream: Some(send), welcome, ..refusal }),
    }
}

/// A place in a room, or outside rooms.
enum AdmittedJoin {
    Room { room: RoomHandle, session: SessionId, queues: OutgoingQueues },
    Social(Box<social::AdmittedDevice>),
}

async fn join_on(
    connection: &Connection,
    context: &Arc<SessionContext>,
    (send, welcome): (&mut SendStream, &mut Option<Bytes>),
    receive: &mut RecvStream,
) -> Result<AdmittedJoin, Refusal> {
    let hello = read_hello(receive).await?;
    *welcome = Some(answer(context, &hello));
    let mut reading = std::pin::pin!(read_request(receive));
    let request = tokio::select! {
        biased;
        request = &mut reading => request?,
        // It waits for our answer, or its join is still on the way.
        () = std::future::ready(()) => {
            if let Some(welcome) = welcome.take() {
                let broken = |_| Refusal::new(Code::Malformed, "the stream broke");
                send.write(welcome).await.map_err(broken)?;
            }
            reading.await?
        }
    };
    let join = match request {
        Request::Join(join) => join,
        Request::Enter(enter) => {
            return Ok(AdmittedJoin::Social(Box::new(social::enter(context, &enter).await?)));
        }
    };
    let suite = join.suites.iter().find_map(|s| Suite::from_wire(*s));
    let suite = suite.ok_or_else(|| Refusal::new(Code::Suite, "no AEAD suite in common"))?;
    let permit = context.joined.clone().try_acquire_owned();
    let full = |_| Refusal::new(Code::ServerFull, "the server is full");
    let mut joining = Joining {
        connection,
        context,
        exporter: hello.has_exporter(),
        suite,
        permit: Arc::new(permit.map_err(full)?),
        counted: None,
        link_id: 0,
        queues: None,
    };
    let resumed = joining.resume(&join).await;
    let (room, session) = match resumed {
        Some(joined) => joined,
        None => joining.enter(&join).await?,
    };
    let queues = joining.queues.ok_or_else(|| Refusal::new(Code::Internal, "no queues"))?;
    context.counters.joins.fetch_add(1, Ordering::Relaxed);
    Ok(AdmittedJoin::Room { room, session, queues })
}

/// What every try to get into a room needs anew: keys of a link that was never used, and queues.
struct Joining<'a> {
    connection: &'a Connection,
    context: &'a Arc<SessionContext>,
    exporter: bool,
    suite: Suite,
    permit: Arc<OwnedSemaphorePermit>,
    /// Among the sessions of its tenant.
    counted: Option<Arc<SessionCount>>,
    link_id: u32,
    /// The session's end of the newest try's queues.
    queues: Option<OutgoingQueues>,
}

impl Joining<'_> {
    /// The place that the client's ticket names, if it is still there. The token is not asked: its
    /// expiry in mid-session ends nothing.
    async fn resume(&mut self, join: &Join) -> Option<(RoomHandle, SessionId)> {
        let ticket = self.context.tickets.open(&join.ticket)?;
        let context = self.context;
        let known = ticket.server_instance == context.server_instance;
        if !known || ticket.room.name.as_bytes() != join.room {
            return None;
        }
        let resume = Resume { claim: ticket.claim, last: [join.last_event, join.last_bulk] };
        let tenant = &ticket.room.owner.tenant;
        let counted = SessionCount::take_resumed(context.directory.tenants(), tenant, &ticket.user);
        self.counted = Some(Arc::new(counted));
        let newcomer = Newcomer { user: ticket.user, ..Newcomer::default() };
        let (join, outgoing) = self.request(newcomer, Some(resume));
        let joined = context.directory.resume(&ticket.room, join, outgoing).await.ok();
        if joined.is_none() {
            self.counted = None;
        }
        let joined = joined?;
        context.counters.resumes.fetch_add(1, Ordering::Relaxed);
        Some(joined)
    }

    /// A place of its own, which the token admits to.
    async fn enter(&mut self, join: &Join) -> Result<(RoomHandle, SessionId), Refusal> {
        let context = self.context;
        let (key, token) = admit(context, join)?;
        let name = display_name(&join.name, &token)?;
        let role = Role::new(token.role.clone(), &token.grants);
        let VerifiedToken { user, room: admitted, .. } = &token;
        let longest_ttl = context.limits.empty_room_ttl;
        let selection = RoomSelection::new(join, user, role.rights.moderate, admitted, longest_ttl);
        let (selection, conditions) = selection.map_err(refuse)?;
        let tenants = context.directory.tenants();
        let counted = SessionCount::take(tenants, &key.owner.tenant, user).map_err(refuse)?;
        self.counted = Some(Arc::new(counted));
        let newcomer = Newcomer { user: user.clone(), name, role, conditions };
        let joining = context
            .directory
            .join(&key, selection, random(), || self.request(newcomer.clone(), None));
        joining.await.map_err(refuse)
    }

    fn request(
        &mut self,
        newcomer: Newcomer,
        resume: Option<Resume>,
    ) -> (Box<JoinRequest>, Outgoing) {
        let places = (self.permit.clone(), self.counted.clone());
        let (outgoing, session_end) = outgoing(self.context.clock, Arc::new(places));
        self.queues = Some(session_end);
        self.link_id += 1;
        let Keys { grant, root, seed } = self.keys();
        let suite = self.suite;
        let Newcomer { user, name, role, conditions } = newcomer;
        let join = JoinRequest { user, name, role, resume, conditions, grant, suite, root, seed };
        (Box::new(join), outgoing)
    }

    /// Keys of a new link: fresh randomness, and the exporter of this very connection where the
    /// client has one, so that who reads the grant elsewhere still has no key.
    fn keys(&self) -> Keys {
        let (secret, seed) = (Zeroizing::new(random()), random());
        let link_id = self.link_id.to_le_bytes();
        let exported = match self.exporter {
            true => self.connection.export_key(EXPORTER_LABEL, &link_id),
            false => None,
        };
        let root = RootSecret::new(&secret, exported.as_deref());
        let grant = LinkGrant {
            link_id: self.link_id,
            connection_id: [0; 8],
            spare: [0; 8],
            secret: *secret,
            suite: self.suite as u8,
            flags: if exported.is_some() { GRANT_EXPORTER } else { 0 },
            endpoints: vec![RealtimeEndpoint { ip: Vec::new(), port: self.context.realtime_port }],
        };
        Keys { grant, root, seed }
    }
}

/// Who joins, and what the room wants to know.
#[derive(Clone, Default)]
struct Newcomer {
    user: String,
    name: String,
    role: Role,
    conditions: JoinConditions,
}

struct Keys {
    grant: LinkGrant,
    root: RootSecret,
    seed: [u8; 32],
}

async fn read_hello(receive: &mut RecvStream) -> Result<Hello, Refusal> {
    let mut kind = [0];
    let malformed = |text: &str| Refusal::new(Code::Malformed, text);
    receive.read(&mut kind).await.map_err(|_| malformed("the stream broke"))?;
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
enum Request {
    Join(Box<Join>),
    Enter(Enter),
}

async fn read_request(receive: &mut RecvStream) -> Result<Request, Refusal> {
    let (schema, body) = read_message(receive, limits::MAX_CLIENT_CONTROL_MESSAGE).await?;
    let request = match schema {
        Schema::Join => session::owned::<Join>(&body).map(|join| Request::Join(Box::new(join))),
        Schema::Enter => session::owned::<Enter>(&body).map(Request::Enter),
        _ => return Err(Refusal::new(Code::Malformed, "Join or Enter must follow Hello")),
    };
    request.map_err(|_| Refusal::new(Code::Malformed, "not a valid archive"))
}
