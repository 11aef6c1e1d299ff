//! A scripted server in memory. It drives a [`RoomClient`] without sockets and with simulated time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::{RoomClient, RoomJoin, RoomOutput};
use nucleus_client_core::rooms::RoomSelection;
use nucleus_client_core::session::{
    Capabilities, ClientOptions, ClientOutput, ConnectionEnd, ConnectionFacts, DrivenClient,
    SessionInput, SessionOutput, StreamAction, StreamSource, StreamTarget,
};
use nucleus_protocol::link::Suite;
use nucleus_protocol::session::{
    Code, Features, GRANT_EXPORTER, Hello, Join, Joined, Lane, LinkGrant, MessageHeader, NEW_PEER,
    PRESENT, Peer, RealtimeEndpoint, Refuse, SESSION_HEADER_BYTES, Schema, SessionSetting, Welcome,
    encode, owned, stream,
};
use nucleus_protocol::time::Time;

/// The address of the server.
pub(crate) const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 5_055);
/// Largest step of time.
const STEP: Duration = Duration::from_millis(10);

/// A client, and the server's end of its connection.
pub(crate) struct Script {
    pub(crate) client: RoomClient,
    pub(crate) now: Time,
    /// Servers to which the client wants to connect, with the times.
    pub(crate) connects: VecDeque<(Time, String)>,
    /// Messages that the client has written, by stream.
    pub(crate) written: [VecDeque<(Schema, Vec<u8>)>; 3],
    /// Bytes of incomplete messages, by stream.
    rest: [Vec<u8>; 3],
    /// Whether the client's writes to lanes end at once. Otherwise they never do.
    pub(crate) takes_events: bool,
    /// How the client closed its connections.
    pub(crate) closes: Vec<(Code, String)>,
    /// Numbers of streams that the client has refused.
    pub(crate) refused: Vec<u64>,
    /// Outputs for the realtime plane and the caller.
    pub(crate) outputs: Vec<RoomOutput>,
    streams: u64,
}

fn index(target: StreamTarget) -> usize {
    match target {
        StreamTarget::Control => 0,
        StreamTarget::Lane(lane) => 1 + lane.index(),
    }
}

pub(crate) fn options() -> RoomJoin {
    RoomJoin {
        token: "t".to_owned(),
        room: "lobby".to_owned(),
        name: String::new(),
        selection: RoomSelection::default(),
        agent: "test".to_owned(),
        capabilities: Capabilities::default(),
        suites: [Suite::Aes128Gcm, Suite::ChaCha20Poly1305],
        ticket: None,
    }
}

impl Script {
    /// A client that wants to connect.
    pub(crate) fn new(patience: Duration) -> Self {
        Self::with(options(), ClientOptions::new(patience, 1))
    }

    pub(crate) fn with(options: RoomJoin, config: ClientOptions) -> Self {
        let now = Time::from_millis(1_000);
        let mut script = Self {
            client: RoomClient::new(now, "server:5055", options, config),
            now,
            connects: VecDeque::new(),
            written: Default::default(),
            rest: Default::default(),
            takes_events: true,
            closes: Vec::new(),
            refused: Vec::new(),
            outputs: Vec::new(),
            streams: 0,
        };
        script.pump();
        script
    }

    /// A client that has joined with this answer.
    pub(crate) fn joined(answer: &Joined) -> Self {
        let mut script = Self::new(Duration::from_secs(60));
        script.admit(answer);
        script
    }

    /// Carries out what the client wants.
    pub(crate) fn pump(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                ClientOutput::Own(output) => self.outputs.push(output),
                ClientOutput::Session(SessionOutput::Connect(server)) => {
                    self.connects.push_back((self.now, server));
                    self.rest = Default::default();
                    let first = SocketAddr::from(SERVER);
                    let resolved = SessionInput::Resolved { first, count: 1 };
                    self.client.handle(self.now, resolved);
                }
                ClientOutput::Session(SessionOutput::Stream(target, action)) => {
                    self.write(target, action);
                }
                ClientOutput::Session(SessionOutput::Refuse(number)) => self.refused.push(number),
                ClientOutput::Session(SessionOutput::Close { code, text }) => {
                    self.closes.push((code, text));
                }
            }
        }
    }

    fn write(&mut self, target: StreamTarget, action: StreamAction) {
        let input = match action {
            StreamAction::Finish => SessionInput::Finished(target),
            StreamAction::Write(bytes) => {
                let rest = &mut self.rest[index(target)];
                rest.extend_from_slice(&bytes);
                // The stream's type.
                if rest[0] == target_kind(target) && rest.len() == bytes.len() {
                    rest.remove(0);
                }
                while let Some(head) = rest.first_chunk() {
                    let header = MessageHeader::parse(*head, 1 << 20).unwrap();
                    let end = SESSION_HEADER_BYTES + header.len as usize;
                    let message = rest.drain(..end).skip(SESSION_HEADER_BYTES).collect();
                    self.written[index(target)].push_back((header.schema, message));
                }
                SessionInput::Written(target)
            }
        };
        if self.takes_events || target == StreamTarget::Control {
            self.client.handle(self.now, input);
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let due = self.client.deadline().unwrap_or(end);
            self.now = due.max(self.now).min(end).min(self.now + STEP);
            if due <= self.now {
                self.client.handle_timeout(self.now);
                assert_ne!(self.client.deadline(), Some(due), "a deadline that stays due");
            }
            self.pump();
        }
    }

    pub(crate) fn handle(&mut self, input: SessionInput<'_>) {
        self.client.handle(self.now, input);
        self.pump();
    }

    /// Accepts the connection that the client wants, and returns its `Join`.
    pub(crate) fn accept(&mut self) -> Join {
        self.connects.pop_front().expect("the client wants to connect");
        for stream in &mut self.written {
            stream.clear();
        }
        let server = SocketAddr::from(SERVER);
        self.handle(SessionInput::Connected(ConnectionFacts { server, datagram: Some(1_200) }));
        let (schema, hello) = self.control();
        assert!(schema == Schema::Hello && Hello::parse(&hello).unwrap().has_exporter());
        let (schema, join) = self.control();
        assert_eq!(schema, Schema::Join);
        owned(&join).unwrap()
    }

    /// Lets the client join with this answer.
    pub(crate) fn admit(&mut self, answer: &Joined) -> Join {
        let join = self.accept();
        let welcome = Welcome {
            version: 1,
            flags: 0,
            server_id: vec![],
            agent: vec![],
            features: Features::SUPPORTED.to_bytes(),
        };
        self.send(&[welcome.encode(), encode(answer)].concat());
        join
    }

    pub(crate) fn refuse(&mut self, code: Code, retry_after_ms: u32) {
        let (oldest, newest, code) = (1, 1, code as u16);
        let refuse =
            Refuse { code, text: vec![], retry_after_ms, oldest, newest, endpoints: vec![] };
        self.send(&refuse.encode());
    }

    /// Sends bytes on the control stream.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.push(StreamSource::Control, bytes);
    }

    /// Opens a stream of this type and returns it.
    pub(crate) fn open(&mut self, kind: u8) -> StreamSource {
        let number = self.streams;
        self.streams += 1;
        self.handle(SessionInput::StreamOpened(number));
        let source = StreamSource::Opened(number);
        self.push(source, &[kind]);
        source
    }

    /// Opens a state stream with this first message.
    pub(crate) fn open_state(&mut self, first: &[u8]) -> StreamSource {
        let state = self.open(stream::STATE);
        self.push(state, first);
        state
    }

    /// Sends bytes on a stream, as far as the client wants them. Returns whether it did.
    pub(crate) fn push(&mut self, source: StreamSource, bytes: &[u8]) -> bool {
        let is_wanted = self.client.session().wants(source);
        if is_wanted {
            self.handle(SessionInput::Bytes(source, bytes));
        }
        is_wanted
    }

    pub(crate) fn end_stream(&mut self, source: StreamSource) {
        self.handle(SessionInput::StreamEnded { source, is_broken: false });
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self, code: Code) {
        let text = "on purpose".to_owned();
        let end = ConnectionEnd::ByServer { number: code as u64, text };
        self.handle(SessionInput::Ending { is_final: !end.may_reconnect() });
        self.handle(SessionInput::Closed(end));
    }

    /// Takes the next message that the client wrote on the control stream.
    pub(crate) fn control(&mut self) -> (Schema, Vec<u8>) {
        self.written[0].pop_front().expect("a message on the control stream")
    }

    /// Takes the messages that the client wrote on a lane.
    pub(crate) fn lane(&mut self, lane: Lane) -> Vec<Vec<u8>> {
        self.written[1 + lane.index()].drain(..).map(|(_, body)| body).collect()
    }

    /// Takes the client's events.
    pub(crate) fn events(&mut self) -> Vec<RoomEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.client.take_event(self.now) {
            self.pump();
            events.push(event);
        }
        events
    }

    /// Asserts that the client has closed the session because of this fault, and takes its events.
    pub(crate) fn expect_fault(&mut self, why: &str) -> Vec<RoomEvent> {
        let mut events = self.events();
        let Some(RoomEvent::Closed { code: Some(Code::Malformed), text }) = events.pop() else {
            panic!("{events:?} without a fault");
        };
        assert!(text.contains(why), "{text}");
        assert!(self.closes.iter().any(|(code, _)| *code == Code::Malformed));
        events
    }
}

fn target_kind(target: StreamTarget) -> u8 {
    match target {
        StreamTarget::Control => stream::CONTROL,
        StreamTarget::Lane(lane) => lane.stream(),
    }
}

pub(crate) fn peer(peer: u32) -> Peer {
    let (user, name, role) = (format!("user-{peer}").into_bytes(), vec![], vec![]);
    Peer { peer, slot: peer as u16, presence: PRESENT, user, name, role }
}

/// The server's answer to a join.
pub(crate) fn answer(peers: &[u32]) -> Joined {
    Joined {
        resumed: NEW_PEER,
        events_taken: 0,
        room: b"lobby".to_vec(),
        bulk_taken: 0,
        peer: 1,
        slot: 0,
        room_instance: [1; 8],
        server_instance: [1; 8],
        roster_version: 4,
        roster: peers.iter().map(|number| peer(*number)).collect(),
        link_id: 7,
        grant: vec![LinkGrant {
            connection_id: [1; 8],
            spare: [2; 8],
            secret: [3; 32],
            suite: 2,
            flags: GRANT_EXPORTER,
            endpoints: vec![RealtimeEndpoint { ip: vec![], port: 5_056 }],
        }],
        server_time: 0,
        clock_epoch: 1,
        settings: vec![SessionSetting { key: 7, value: 1_000 }],
        ticket: b"ticket".to_vec(),
        entries: vec![],
    }
}
