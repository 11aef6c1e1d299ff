//! The handshake and the join: from a connection's first packet to a joined session, in a room or
//! outside rooms.
//!
//! Makes nothing for a client before its token has been verified: no room, no roster entry, no
//! link.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use nucleus_control::SPANS;
use nucleus_core::fanout::LinkParameters;
use nucleus_core::ids::SessionId;
use nucleus_core::limits as core_limits;
use nucleus_core::lobby::RoomSelection;
use nucleus_core::room::{JoinConditions, JoinRequest, Resume, Role};
use nucleus_core::text;
use nucleus_protocol::limits;
use nucleus_protocol::link::{RootSecret, Suite};
use nucleus_protocol::session::{
    self, Code, EXPORTER_LABEL, Enter, Features, GRANT_EXPORTER, Hello, Join, LinkGrant,
    MAX_FEATURE_BYTES, OLDEST_VERSION, RealtimeEndpoint, Schema, VERSION, Welcome, stream,
};
use nucleus_protocol::time::Time;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, field};
use zeroize::Zeroizing;

use super::SessionContext;
use super::admission::{AdmittedUser, admit, check_licence, check_origin};
use super::carrier::{Connection, Incoming, NoSession, RecvStream, SendStream};
use super::joins::JoinOutcome;
use super::peer::PeerSession;
use super::refusal::{Refusal, refuse, turn_away};
use super::social::{self, SocialConnection};
use super::unjoined::UnjoinedPlace;
use super::wire::read_message;
use crate::random::random;
use crate::rooms::{
    JoinedRoom, LentBudgets, Outgoing, OutgoingQueues, Place, RoomHandle, SessionCount,
    SessionProbe, Ticket, outgoing,
};
use crate::unix_time::unix_now;

/// The server's name and version in `Welcome`.
const AGENT: &str = concat!("nucleus/", env!("CARGO_PKG_VERSION"));

/// Completes the handshake and the join of one connection, and starts the task of its session.
///
/// Holds `place` until the session has joined or is refused.
pub(super) async fn serve(incoming: Incoming, place: UnjoinedPlace, context: Arc<SessionContext>) {
    let (began, arrived) = (Instant::now(), Time::from_micros(context.clock.now()));
    let deadline = began + context.limits.unjoined_timeout;
    let handshake = incoming.handshake(&context.handshakes);
    let opening = async {
        Connection::open(
            handshake.await.ok_or(NoSession::Broken)?,
            &context.origins,
            &context.closing_pages,
        )
        .await
    };
    let connection = match timeout_at(deadline, opening).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(NoSession::Refused)) => {
            context.counters.pages_refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Ok(Err(_)) | Err(_) => {
            context.counters.failed_handshakes.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    let joining = async {
        tokio::select! {
            joined = join(&connection, &context, arrived) => joined,
            // A client that has not joined may send none. Otherwise they would wait in memory.
            never = connection.drop_datagrams() => never,
        }
    };
    let span =
        tracing::info_span!(target: SPANS, "join", otel.kind = "server", code = field::Empty);
    let joined = match timeout_at(deadline, joining.instrument(span.clone())).await {
        Ok(Ok(joined)) => joined,
        Ok(Err(refusal)) => {
            span.record("code", refusal.code.name());
            context.counters.joins.count(JoinOutcome::of_refusal(refusal.code));
            return turn_away(&connection, refusal, &context).await;
        }
        Err(_) => {
            span.record("code", Code::JoinTimeout.name());
            context.counters.joins.count(JoinOutcome::of_refusal(Code::JoinTimeout));
            connection.close(Code::JoinTimeout, Code::JoinTimeout.name());
            context.counters.count_end(Code::JoinTimeout);
            connection.drained().await;
            return drop(place);
        }
    };
    drop((place, span));
    context.counters.joins.note_duration(began.elapsed());
    // The session runs in a new task, because the memory of this task holds the state of a join.
    match joined {
        NewSession::Room(session) => drop(tokio::spawn(session.run(context))),
        NewSession::Social(session) => drop(tokio::spawn(session.run(context))),
    }
}

/// A session that has joined a room or entered outside rooms.
enum NewSession {
    Room(Box<PeerSession>),
    Social(Box<SocialConnection>),
}

/// Accepts the control stream and performs the join on it. `arrived`: when the connection's first packet
/// came.
async fn join(
    connection: &Connection,
    context: &Arc<SessionContext>,
    arrived: Time,
) -> Result<NewSession, Refusal> {
    let broken = |_| Refusal::new(Code::Malformed, "no control stream");
    let (mut send, mut receive) = connection.accept_bi().await.map_err(broken)?;
    let mut welcome = None;
    let control =
        ControlStream { send: &mut send, receive: &mut receive, welcome: &mut welcome, arrived };
    match join_on(connection, context, control).await {
        Ok(AdmittedJoin::Room { room, session, queues, features, budgets, path }) => {
            let full_window = context.full_windows.clone().try_acquire_owned().ok();
            let has_full = full_window.is_some();
            connection.set_receive_window(match has_full {
                true => core_limits::CONNECTION_WINDOW,
                false => core_limits::SMALL_WINDOW,
            });
            Ok(NewSession::Room(Box::new(PeerSession {
                connection: connection.clone(),
                send,
                receive,
                welcome,
                queues,
                room,
                session,
                features,
                budgets,
                full_window,
                path,
            })))
        }
        Ok(AdmittedJoin::Social(entered)) => Ok(NewSession::Social(Box::new(SocialConnection {
            connection: connection.clone(),
            send,
            receive,
            welcome,
            entered: *entered,
        }))),
        Err(refusal) => Err(Refusal { stream: Some(send), welcome, ..refusal }),
    }
}

/// The control stream during a join.
struct ControlStream<'a> {
    send: &'a mut SendStream,
    receive: &'a mut RecvStream,
    /// `Welcome`, until it is written.
    welcome: &'a mut Option<Bytes>,
    /// When the connection's first packet came.
    arrived: Time,
}

/// The result of a join: a session in a room, or a device outside rooms.
enum AdmittedJoin {
    Room {
        room: RoomHandle,
        session: SessionId,
        queues: OutgoingQueues,
        features: Features,
        budgets: Arc<LentBudgets>,
        path: Arc<Connection>,
    },
    Social(Box<social::AdmittedDevice>),
}

/// Reads `Hello` and the request, answers with `Welcome` where the client waits for it, and carries
/// the request out.
async fn join_on(
    connection: &Connection,
    context: &Arc<SessionContext>,
    control: ControlStream<'_>,
) -> Result<AdmittedJoin, Refusal> {
    let ControlStream { send, receive, welcome, arrived } = control;
    let (hello, features) = read_hello(receive).await?;
    *welcome = Some(encode_welcome(context, &hello));
    let mut reading = std::pin::pin!(read_request(receive));
    let request = tokio::select! {
        biased;
        request = &mut reading => request?,
        // The request has not arrived: the client may be waiting for `Welcome`.
        () = std::future::ready(()) => {
            if let Some(welcome) = welcome.take() {
                let broken = |_| Refusal::new(Code::Malformed, "the stream broke");
                send.write(welcome).await.map_err(broken)?;
            }
            reading.await?
        }
    };
    let has_port = hello.has_realtime_port();
    if let FirstRequest::Join(join) = &request {
        check_largest_body(connection, join, has_port)?;
    }
    if !context.servers.moved_to.is_empty() {
        return Err(refuse(Code::Moved));
    }
    if context.shutting_down.load(Ordering::Relaxed) {
        return Err(refuse(Code::ShuttingDown));
    }
    let join = match request {
        FirstRequest::Join(join) => join,
        FirstRequest::Enter(enter) => {
            return Ok(AdmittedJoin::Social(Box::new(
                social::enter(context, connection, &enter).await?,
            )));
        }
    };
    let suite = match join.suites.iter().find_map(|s| Suite::from_wire(*s)) {
        Some(suite) => suite,
        // Its frames travel in the session alone, so nothing is sealed.
        None if !has_port => Suite::Aes128Gcm,
        None => {
            let text = "the server supports none of the client's AEAD suites";
            return Err(Refusal::new(Code::Suite, text));
        }
    };
    let features = features.common(context.features);
    let mut joining = Joining {
        connection,
        context,
        exporter: hello.has_exporter(),
        has_port,
        max_body: usize::from(join.largest_body).min(limits::MAX_BODY),
        features,
        suite,
        link_id: 0,
        queues: None,
        agent: text::plain(&hello.agent, 1, limits::MAX_AGENT).ok().map(Arc::from),
        path: Arc::new(connection.clone()),
        arrived,
    };
    let ticket = context.tickets.open(&join.ticket);
    let ticket = ticket.filter(|ticket| ticket.room.name.as_bytes() == join.room);
    let resumed = match &ticket {
        Some(ticket) => joining.resume(&join, ticket).await,
        None => None,
    };
    let (outcome, (room, joined)) = match resumed {
        Some(joined) => (JoinOutcome::Resumed, joined),
        None => (JoinOutcome::Joined, joining.join_new(&join, ticket).await?),
    };
    let JoinedRoom { session, budgets } = joined;
    let queues = joining.queues.ok_or_else(|| Refusal::new(Code::Internal, "no queues"))?;
    context.counters.joins.count(outcome);
    let path = joining.path;
    Ok(AdmittedJoin::Room { room, session, queues, features, budgets, path })
}

/// Checks that the client's datagrams hold enough. 0 is for a client without a realtime port and
/// without datagrams, which has no realtime plane at all.
///
/// # Errors
///
/// The refusal for a client whose datagrams hold too little.
fn check_largest_body(connection: &Connection, join: &Join, has_port: bool) -> Result<(), Refusal> {
    let largest = usize::from(join.largest_body);
    if largest < limits::MIN_BODY && (has_port || largest != 0) {
        let text = format!("largest_body of Join must be at least {}", limits::MIN_BODY);
        return Err(Refusal::new(Code::Malformed, text));
    }
    // With a realtime port, the session's datagrams are only the fallback.
    let needs = limits::MIN_BODY + limits::LINK_ID;
    if !has_port && largest != 0 && connection.max_datagram_size().is_none_or(|most| most < needs) {
        let text = "max_datagram_frame_size must be at least largest_body + 13";
        return Err(Refusal::new(Code::Malformed, text));
    }
    Ok(())
}

/// A join in progress. Makes new queues and link keys for each try, so that no key is used twice.
struct Joining<'a> {
    connection: &'a Connection,
    context: &'a Arc<SessionContext>,
    /// Whether the client can export keys of the TLS connection.
    exporter: bool,
    /// Whether the client has a realtime port.
    has_port: bool,
    /// Most bytes of frames in a datagram to the client.
    max_body: usize,
    /// The features that client and server have in common.
    features: Features,
    suite: Suite,
    link_id: u32,
    /// The queues of the newest try, from which the session reads. `None` before the first try.
    queues: Option<OutgoingQueues>,
    /// Name and version of the client's software.
    agent: Option<Arc<str>>,
    /// What the room may ask for the figures of the connection. The session owns it.
    path: Arc<Connection>,
    /// When the connection's first packet came.
    arrived: Time,
}

impl Joining<'_> {
    /// Resumes the participant that the client's ticket names. `None`: its room instance or the
    /// participant has ended. Does not check the token, because a token that expires during a
    /// session must not end the session. Needs no new place: the participant still has its own, even
    /// on a full server.
    async fn resume(&mut self, join: &Join, ticket: &Ticket) -> Option<(RoomHandle, JoinedRoom)> {
        let context = self.context;
        let Ticket { room, content } = ticket;
        if context.directory.live_instance(room) != Some(content.claim.room_instance)
            || check_origin(context, self.connection, &room.owner.tenant).is_err()
        {
            return None;
        }
        let resume = Resume { claim: content.claim, last: [join.last_event, join.last_bulk] };
        let joining_user = JoiningUser { user: content.user.clone(), ..JoiningUser::default() };
        let (join, outgoing) = self.request(joining_user, Some(resume));
        context.directory.resume(room, join, outgoing).await.ok()
    }

    /// Joins as a new participant, in a room that the token admits to, or the ticket if the token
    /// has expired.
    async fn join_new(
        &mut self,
        join: &Join,
        ticket: Option<Ticket>,
    ) -> Result<(RoomHandle, JoinedRoom), Refusal> {
        let context = self.context;
        let is_full = || Refusal::new(Code::ServerFull, "the server is full");
        if context.joined.available_permits() == 0 {
            return Err(is_full());
        }
        // May wait for an issuer: a client holds no place before its token is verified.
        let admitted = admit(context, join, ticket).await?;
        let permit = context.joined.clone().try_acquire_owned().map_err(|_| is_full())?;
        let AdmittedUser { room: key, user, name, role, rooms, ticket_end, token_expired } =
            admitted;
        check_origin(context, self.connection, &key.owner.tenant)?;
        check_licence(context, &key.owner, &user)?;
        let longest_ttl = context.limits.empty_room_ttl;
        let selection = RoomSelection::new(join, &user, role.rights.moderate, &rooms, longest_ttl);
        let (selection, conditions) = selection.map_err(refuse)?;
        let tenants = context.directory.tenants();
        let counted = SessionCount::take(tenants, &key.owner.tenant, &user).map_err(refuse)?;
        let budgets = context.budgets.lend(&key.owner.tenant, &user);
        let place = Arc::new(Place { permit, counted, budgets });
        let joining_user = JoiningUser { user, name, role, ticket_end, token_expired, conditions };
        let joining = context
            .directory
            .join(&key, selection, random(), &place, || self.request(joining_user.clone(), None));
        joining.await.map_err(refuse)
    }

    /// Makes the join request of one try, with new queues and link keys.
    fn request(
        &mut self,
        joining_user: JoiningUser,
        resume: Option<Resume>,
    ) -> (Box<JoinRequest>, Outgoing) {
        let (outgoing, session_end) = outgoing();
        let path: Weak<Connection> = Arc::downgrade(&self.path);
        let outgoing = outgoing.with_probe(SessionProbe { agent: self.agent.clone(), path });
        self.queues = Some(session_end);
        self.link_id += 1;
        let (link, grant) = self.link();
        let JoiningUser { user, name, role, ticket_end, token_expired, conditions } = joining_user;
        let join = JoinRequest {
            user,
            name,
            role,
            ticket_end,
            resume,
            conditions,
            link,
            grant,
            features: self.features,
            token_expired,
            unix_now: unix_now(),
            began: self.arrived,
        };
        (Box::new(join), outgoing)
    }

    /// Makes a new link, and its grant if the client has a realtime port. The keys come from random
    /// bytes and, if the client supports this, from a key exported from the TLS connection. With
    /// the exported key, the grant alone does not reveal the link's keys.
    fn link(&self) -> (LinkParameters, Option<LinkGrant>) {
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(random());
        let exported = match self.exporter {
            true => self.connection.export_key(EXPORTER_LABEL, &self.link_id.to_le_bytes()),
            false => None,
        };
        let grant = self.has_port.then(|| LinkGrant {
            connection_id: [0; 8],
            spare: [0; 8],
            secret: *secret,
            suite: self.suite as u8,
            flags: if exported.is_some() { GRANT_EXPORTER } else { 0 },
            endpoints: vec![RealtimeEndpoint { ip: Vec::new(), port: self.context.realtime_port }],
        });
        let link = LinkParameters {
            link_id: self.link_id,
            suite: self.suite,
            root: RootSecret::new(&secret, exported.as_deref()),
            seed: random(),
            max_body: self.max_body,
        };
        (link, grant)
    }
}

/// The user that joins, and the conditions of the join.
#[derive(Clone, Default)]
struct JoiningUser {
    user: String,
    name: String,
    role: Role,
    ticket_end: u64,
    token_expired: bool,
    conditions: JoinConditions,
}

/// Reads the type of the control stream and `Hello`, and checks the version. Returns the features
/// that the client offers too.
async fn read_hello(receive: &mut RecvStream) -> Result<(Hello, Features), Refusal> {
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
    if hello.agent.len() > limits::MAX_AGENT {
        return Err(malformed("the agent in Hello has more than 128 bytes"));
    }
    if hello.oldest > VERSION || hello.newest < OLDEST_VERSION {
        let text = format!("this server speaks versions {OLDEST_VERSION} to {VERSION}");
        return Err(Refusal::new(Code::Version, text));
    }
    let features = Features::parse(&hello.features).ok_or_else(|| {
        malformed(&format!("the features in Hello have more than {MAX_FEATURE_BYTES} bytes"))
    })?;
    Ok((hello, features))
}

fn encode_welcome(context: &SessionContext, hello: &Hello) -> Bytes {
    let welcome = Welcome {
        version: hello.newest.min(VERSION),
        flags: 0,
        server_id: context.server_id.clone().into_bytes(),
        agent: AGENT.into(),
        features: context.features.to_bytes(),
    };
    welcome.encode().into()
}

/// The request that follows `Hello`.
enum FirstRequest {
    Join(Box<Join>),
    Enter(Enter),
}

async fn read_request(receive: &mut RecvStream) -> Result<FirstRequest, Refusal> {
    let (schema, body) = read_message(receive, limits::MAX_CLIENT_CONTROL_MESSAGE).await?;
    let request = match schema {
        Schema::Join => {
            session::owned::<Join>(&body).map(|join| FirstRequest::Join(Box::new(join)))
        }
        Schema::Enter => session::owned::<Enter>(&body).map(FirstRequest::Enter),
        _ => return Err(Refusal::new(Code::Malformed, "Join or Enter must follow Hello")),
    };
    request.map_err(|_| {
        Refusal::new(Code::Malformed, "the body of Join or Enter is not a valid archive")
    })
}
