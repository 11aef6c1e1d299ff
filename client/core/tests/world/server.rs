//! A server: its room, the edges of its connections, and its version in a rolling upgrade.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use nucleus_client_core::session::StreamTarget;
use nucleus_core::fanout::LinkEvent;
use nucleus_core::ids::SessionId;
use nucleus_core::limits::{LEAVE_TIME, Limits};
use nucleus_core::moments::LossCause;
use nucleus_core::room::{RenewedToken, RoomInput};
use nucleus_protocol::session::{Code, Features, Lane, Leave, Refuse, Renew, Schema, owned};
use nucleus_protocol::time::Time;

use crate::edge::{CONTROL, Edge, EdgePhase, event};
use crate::network::{ConnectionNumber, Network, ToClient, ToServer};
use crate::room_host::RoomHost;
use crate::tickets::{SealedTickets, role_of, unix, verify};

/// How a server's version differs from the clients'.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerVersion {
    /// The features that the server offers, of those that exist.
    pub(crate) features: Features,
    /// Whether the server is newer: it sends settings, streams, channels and fields that clients do
    /// not know.
    pub(crate) is_newer: bool,
}

/// A server and its connections.
pub(crate) struct SimulatedServer {
    pub(crate) limits: Limits,
    pub(crate) version: ServerVersion,
    pub(crate) is_up: bool,
    /// While the server is of another version of the protocol.
    pub(crate) foreign_until: Time,
    /// Refusals for the next joins.
    pub(crate) refusals: VecDeque<Refuse>,
    /// How long a ticket admits to another instance.
    pub(crate) ticket_ttl: Duration,
    pub(crate) tickets: SealedTickets,
    pub(crate) host: Option<RoomHost>,
    pub(crate) edges: BTreeMap<ConnectionNumber, Edge>,
    pub(crate) sessions: BTreeMap<SessionId, ConnectionNumber>,
    /// The connection whose join the room decides about.
    pub(crate) joining: Option<(ConnectionNumber, Features)>,
    /// The answer to that join.
    pub(crate) reply: Option<Result<SessionId, Code>>,
    pub(crate) instances: u64,
}

impl SimulatedServer {
    pub(crate) fn new(limits: Limits, version: ServerVersion, ticket_ttl: Duration) -> Self {
        Self {
            limits,
            version,
            is_up: true,
            foreign_until: Time::ZERO,
            refusals: VecDeque::new(),
            ticket_ttl,
            tickets: SealedTickets::default(),
            host: None,
            edges: BTreeMap::new(),
            sessions: BTreeMap::new(),
            joining: None,
            reply: None,
            instances: 0,
        }
    }

    /// Stops the server. The room and its state are gone. With a warning, the clients are told.
    pub(crate) fn stop(&mut self, network: &mut Network, warns: bool) {
        if warns && let Some(host) = &mut self.host {
            host.post(RoomInput::Shutdown(Code::ShuttingDown));
            self.settle(network);
        }
        for connection in std::mem::take(&mut self.edges).into_keys() {
            network.break_connection(connection, Duration::from_secs(5));
        }
        self.sessions.clear();
        (self.host, self.is_up) = (None, false);
    }

    /// Returns the session of a connection.
    pub(crate) fn session_of(&self, connection: ConnectionNumber) -> Option<SessionId> {
        self.edges.get(&connection)?.session()
    }

    /// Takes a new connection.
    pub(crate) fn accept(&mut self, network: &mut Network, connection: ConnectionNumber) {
        self.edges.insert(connection, Edge::new(network.now));
    }

    /// Returns when the server must run next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let room = self.host.as_ref().and_then(RoomHost::deadline);
        self.edges.values().filter_map(|edge| self.edge_deadline(edge)).chain(room).min()
    }

    fn edge_deadline(&self, edge: &Edge) -> Option<Time> {
        let joins =
            edge.session().is_none().then_some(edge.accepted + self.limits.unjoined_timeout);
        [joins, edge.leaves_at, edge.slow_at()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn run(&mut self, network: &mut Network) {
        let now = network.now;
        let is_due = |edge: &Edge| self.edge_deadline(edge).is_some_and(|at| at <= now);
        let due = self.edges.iter().filter(|(_, edge)| is_due(edge));
        for connection in due.map(|(connection, _)| *connection).collect::<Vec<_>>() {
            let edge = &self.edges[&connection];
            match edge.session() {
                None => self.close(network, connection, Code::JoinTimeout as u64),
                Some(session) if edge.leaves_at.is_some_and(|at| at <= now) => {
                    self.leave(network, connection, session);
                }
                Some(_) => self.end_session(network, connection, Code::SlowConsumer as u64),
            }
        }
        self.settle(network);
    }

    /// Handles what arrives.
    pub(crate) fn receive(
        &mut self,
        network: &mut Network,
        connection: ConnectionNumber,
        what: ToServer,
    ) {
        let Some(edge) = self.edges.get_mut(&connection) else { return };
        match what {
            ToServer::Bytes(target, bytes) => {
                edge.push(target, &bytes);
                match target {
                    StreamTarget::Control => self.read_control(network, connection),
                    StreamTarget::Lane(lane) => self.read_lane(connection, lane),
                }
            }
            ToServer::Finished(target) => {
                edge.finish(target);
                network.report_finished(connection, target);
                self.leave_if_all_read(network, connection);
            }
            ToServer::Read(stream, len) => edge.note_read(stream, len),
            ToServer::Closed(number) if number == Code::Leaving as u64 => {
                if let Some(session) = edge.session() {
                    self.post(RoomInput::Leave(session, Code::Left));
                }
                self.edges.remove(&connection);
            }
            ToServer::Closed(_) | ToServer::Silent => {
                self.lose(connection);
                self.edges.remove(&connection);
            }
        }
        self.settle(network);
    }

    /// Reports to the room that a session is lost.
    pub(crate) fn lose(&mut self, connection: ConnectionNumber) {
        if let Some(session) = self.session_of(connection) {
            self.post(RoomInput::SessionLost(session, LossCause::Silent));
        }
    }

    /// Ends a session with a number. Its participant stays for a time.
    pub(crate) fn end_session(
        &mut self,
        network: &mut Network,
        connection: ConnectionNumber,
        number: u64,
    ) {
        self.lose(connection);
        self.close(network, connection, number);
        self.settle(network);
    }

    pub(crate) fn post(&mut self, input: RoomInput) {
        // A room that has ended needs nothing.
        let _ended = self.host.as_mut().map(|host| host.post(input));
    }

    pub(crate) fn close(
        &mut self,
        network: &mut Network,
        connection: ConnectionNumber,
        number: u64,
    ) {
        if self.edges.remove(&connection).is_some() {
            if network.chance(5) {
                network.send_down(connection, CONTROL, ToClient::StreamEnds(CONTROL));
            }
            network.close_by_server(connection, number);
        }
    }

    fn read_control(&mut self, network: &mut Network, connection: ConnectionNumber) {
        while let Some(edge) = self.edges.get_mut(&connection)
            && let Some((schema, body)) = edge.next_message(StreamTarget::Control)
        {
            match (edge.phase, schema) {
                (EdgePhase::Hello, Schema::Hello) => self.greet(network, connection, &body),
                (EdgePhase::Join(features), Schema::Join) => {
                    assert!(!edge.has_rest(), "the client sends more before it has joined");
                    self.join(network, connection, features, owned(&body).unwrap());
                }
                (EdgePhase::Joined(session, features), _) => {
                    assert!(features.contains(Features::needed_for(schema)), "{schema:?}");
                    self.request(network, connection, session, schema, &body);
                }
                (phase, _) => panic!("{schema:?} in the phase {phase:?}"),
            }
        }
    }

    /// Handles a request of a client that has joined.
    fn request(
        &mut self,
        network: &mut Network,
        connection: ConnectionNumber,
        from: SessionId,
        schema: Schema,
        body: &[u8],
    ) {
        let input = match schema {
            Schema::Leave => {
                let Leave { code } = owned(body).unwrap();
                assert_eq!(code, Code::Left as u16);
                if let Some(edge) = self.edges.get_mut(&connection) {
                    edge.leaves_at = Some(network.now + LEAVE_TIME);
                }
                return self.leave_if_all_read(network, connection);
            }
            Schema::Ping => RoomInput::Ping(from),
            Schema::StateRequest => RoomInput::State { from, request: owned(body).unwrap() },
            Schema::Moderate => RoomInput::Moderate { from, request: owned(body).unwrap() },
            Schema::Subscribe => RoomInput::Subscribe { from, request: owned(body).unwrap() },
            Schema::Renew => {
                let Renew { token } = owned(body).unwrap();
                let (unix_now, ticket_ttl) = (unix(network.now), self.ticket_ttl.as_secs());
                let renewal = verify(&token, unix_now).map(|user| RenewedToken {
                    role: role_of(&user).into(),
                    user,
                    ticket_end: unix_now + ticket_ttl,
                    ticket_ttl_s: ticket_ttl as u32,
                });
                RoomInput::Renew { from, renewal }
            }
            other => panic!("the client sends {other:?}"),
        };
        self.post(input);
    }

    /// Hears of a client on its realtime link. Only a client that has received `Joined` has its keys.
    pub(crate) fn hear_link(&mut self, network: &mut Network, connection: ConnectionNumber) {
        if let Some(session) = self.session_of(connection) {
            self.post(RoomInput::Link(session, LinkEvent::Active));
            self.settle(network);
        }
    }

    fn leave_if_all_read(&mut self, network: &mut Network, connection: ConnectionNumber) {
        if let Some(edge) = self.edges.get(&connection)
            && edge.leaves_at.is_some()
            && !edge.has_open_lane()
            && let Some(session) = edge.session()
        {
            self.leave(network, connection, session);
        }
    }

    fn leave(&mut self, network: &mut Network, connection: ConnectionNumber, session: SessionId) {
        if let Some(edge) = self.edges.get_mut(&connection) {
            edge.leaves_at = None;
        }
        self.post(RoomInput::Leave(session, Code::Left));
        self.settle(network);
    }

    fn read_lane(&mut self, connection: ConnectionNumber, lane: Lane) {
        while let Some(edge) = self.edges.get_mut(&connection)
            && let Some((schema, body)) = edge.next_message(StreamTarget::Lane(lane))
        {
            assert_eq!(schema, Schema::EventUp);
            let from = edge.session().unwrap();
            self.post(RoomInput::Event { from, event: event(lane, &body) });
        }
    }
}
