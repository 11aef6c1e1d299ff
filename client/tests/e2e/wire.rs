//! Sessions on which a test sends and receives the protocol's messages itself.

use nucleus_client::Code;
use nucleus_client::session::client_config;
use nucleus_protocol::session::{
    self, EventDown, EventUp, Hello, Join, Joined, Leave, Ping, Refuse, Schema, SessionSettings,
    TO_OTHERS, stream,
};

use super::support::TestServer;

/// What a test presents to return to an earlier session.
#[derive(Clone, Debug, Default)]
pub(crate) struct WireTicket {
    /// The ticket of `Joined`; empty for none.
    pub(crate) ticket: Vec<u8>,
    /// Largest sequence received, by lane.
    pub(crate) last_sequences: [u64; 2],
}

impl WireTicket {
    /// Returns the ticket of a session that has received no events.
    pub(crate) fn of(joined: &Joined) -> Self {
        Self { ticket: joined.ticket.clone(), last_sequences: [0; 2] }
    }
}

/// A raw session in the lobby. Dropping it loses the connection, and the server treats the session
/// as lost.
pub(crate) struct WireSession {
    pub(crate) connection: quinn::Connection,
    pub(crate) send: quinn::SendStream,
    pub(crate) receive: quinn::RecvStream,
    pub(crate) joined: Joined,
    /// The client's stream of events, once it is open.
    events: Option<quinn::SendStream>,
    /// The server's stream of events, once it is open.
    events_down: Option<quinn::RecvStream>,
}

impl WireSession {
    /// Joins the lobby.
    pub(crate) async fn join(server: &TestServer, token: &str, ticket: WireTicket) -> Self {
        Self::try_join(server, token, ticket).await.unwrap()
    }

    /// Joins the lobby. Returns the code of a refusal.
    pub(crate) async fn try_join(
        server: &TestServer,
        token: &str,
        ticket: WireTicket,
    ) -> Result<Self, Option<Code>> {
        Self::open(server, [hello(b"test"), join_from(token, ticket)].concat()).await
    }

    /// Opens a session with the bytes of `Hello` and `Join`. Returns the code of a refusal.
    pub(crate) async fn open(server: &TestServer, opening: Vec<u8>) -> Result<Self, Option<Code>> {
        let connection = raw(server).await;
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&opening).await.unwrap();
        assert_eq!(message(&mut receive).await.0, Schema::Welcome);
        let (schema, body) = message(&mut receive).await;
        if schema == Schema::Refuse {
            let code = Code::from_number(Refuse::parse(&body).unwrap().code.into());
            assert_eq!(close_of(&connection).await.0, code);
            return Err(code);
        }
        assert_eq!(schema, Schema::Joined);
        let joined = session::owned(&body).unwrap();
        Ok(Self { connection, send, receive, joined, events: None, events_down: None })
    }

    /// Returns what holds for the session.
    pub(crate) fn settings(&self) -> SessionSettings {
        SessionSettings::from_list(&self.joined.settings)
    }

    /// Sends an event to the other peers.
    pub(crate) async fn send_event(&mut self, payload: &[u8]) {
        self.send_up(&event_up(payload)).await;
    }

    /// Sends a message on the stream of events.
    pub(crate) async fn send_up(&mut self, message: &[u8]) {
        if self.events.is_none() {
            let mut events = self.connection.open_uni().await.unwrap();
            events.write_all(&[stream::EVENTS]).await.unwrap();
            self.events = Some(events);
        }
        self.events.as_mut().unwrap().write_all(message).await.unwrap();
    }

    /// Waits for the next event. Must not be called in a session that receives other streams.
    pub(crate) async fn next_event(&mut self) -> EventDown {
        if self.events_down.is_none() {
            let mut events = self.connection.accept_uni().await.unwrap();
            let mut kind = [0];
            events.read_exact(&mut kind).await.unwrap();
            assert_eq!(kind, [stream::EVENTS]);
            self.events_down = Some(events);
        }
        let (schema, body) = message(self.events_down.as_mut().unwrap()).await;
        assert_eq!(schema, Schema::EventDown);
        session::owned(&body).unwrap()
    }

    /// Shows the server that the client has its ticket.
    pub(crate) async fn ping(&mut self) {
        self.send.write_all(&Ping.encode()).await.unwrap();
    }

    /// Leaves the room, and waits until the server closes the session.
    pub(crate) async fn leave(mut self) {
        let leave = session::encode(&Leave { code: Code::Left as u16 });
        self.send.write_all(&leave).await.unwrap();
        self.connection.closed().await;
    }
}

/// Returns the message of an event to the other peers.
pub(crate) fn event_up(payload: &[u8]) -> Vec<u8> {
    let (target, payload) = (TO_OTHERS, payload.to_vec());
    session::encode(&EventUp { target, channel: 0, piece: 0, peers: vec![], payload })
}

/// Reads the next message of a stream.
pub(crate) async fn message(receive: &mut quinn::RecvStream) -> (Schema, Vec<u8>) {
    nucleus_webclient::read_message(receive).await.unwrap()
}

/// Opens a connection on which the test sends the protocol's bytes itself.
pub(crate) async fn raw(server: &TestServer) -> quinn::Connection {
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let trust = server.trust();
    endpoint.set_default_client_config(client_config(&trust).unwrap());
    endpoint.connect(server.on.session, "localhost").unwrap().await.unwrap()
}

pub(crate) fn hello(agent: &[u8]) -> Vec<u8> {
    let hello = Hello { oldest: 1, newest: 1, flags: 0, agent: agent.to_vec(), features: vec![7] };
    [&[stream::CONTROL][..], &hello.encode()].concat()
}

pub(crate) fn join_message(server: &TestServer) -> Vec<u8> {
    join_from(&server.token("early"), WireTicket::default())
}

/// Returns the `Join` of the lobby with a token and a ticket.
pub(crate) fn join_from(token: &str, ticket: WireTicket) -> Vec<u8> {
    let WireTicket { ticket, last_sequences: [last_event, last_bulk] } = ticket;
    session::encode(&Join {
        token: token.as_bytes().to_vec(),
        ticket,
        last_event,
        last_bulk,
        room: b"lobby".to_vec(),
        suites: vec![1],
        largest_body: 1_150,
        ..Join::default()
    })
}

/// Returns the code and the reason with which the server has closed a connection.
pub(crate) async fn close_of(connection: &quinn::Connection) -> (Option<Code>, String) {
    match connection.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => (
            Code::from_number(close.error_code.into_inner()),
            String::from_utf8(close.reason.to_vec()).unwrap(),
        ),
        other => panic!("the server did not close the connection: {other}"),
    }
}
