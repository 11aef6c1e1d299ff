//! A client of a simulated room, with its network, its link, and everything that the client has
//! received.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nucleus_core::ids::{PeerId, RoomId, SessionId};
use nucleus_core::room::TicketClaim;
use nucleus_netsim::SimPeer;
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::limits;
use nucleus_protocol::link::{Link, LinkConfig, LinkSide, Path, Planes, RootSecret, Route, Suite};
use nucleus_protocol::realtime::report::ClientReport;
use nucleus_protocol::realtime::{ConnectionId, Header, Message, MessageKind};
use nucleus_protocol::session::{
    self, Audit, Code, EventAck, EventDown, Joined, Lane, MessageHeader, Peer, RosterUpdate,
    Schema, StateReply, StateSnapshot, StateUpdate, Throttled,
};
use nucleus_protocol::time::Time;

pub use crate::replica::Replica;

/// Delay of a QUIC datagram in one direction.
pub const QUIC_DELAY: Duration = Duration::from_millis(30);

/// A client. The test decides what the client does. The client checks and records everything that
/// it receives.
pub struct Client {
    /// The room of the client.
    pub room: RoomId,
    /// The number of the client's user.
    pub user: usize,
    /// The client's network to the realtime port.
    pub net: SimPeer,
    /// While true, nothing passes between the client and the realtime port.
    pub blocked: bool,
    /// The client's session; known from the reply to the join.
    pub session: Option<SessionId>,
    /// The client's peer id.
    pub peer: Option<PeerId>,
    /// The claim of the ticket in the newest `Joined`.
    pub claim: Option<TicketClaim>,
    /// Whether the client's process is stopped: it sends nothing, and everything sent to it is
    /// lost.
    pub asleep: bool,
    /// How often the client has resumed its session.
    pub resumes: u32,
    /// The client's end of the link.
    pub link: Option<Link>,
    /// The newest `Joined` message that the client received.
    pub joined: Option<Joined>,
    /// How often the client received `Joined`.
    pub joins: u32,
    /// The peers in the room, by number.
    pub roster: BTreeMap<u32, Peer>,
    /// The code with which the client's session was ended or its join was refused.
    pub ended: Option<Code>,
    /// Payloads of the events that the client received.
    pub events: Vec<Vec<u8>>,
    /// Payloads of the messages and pieces received on the bulk lane.
    pub bulk: Vec<Vec<u8>>,
    /// Payloads that the client must receive according to the model, in order, by lane.
    pub expected: [Vec<Vec<u8>>; 2],
    /// The groups that the client subscribes to.
    pub groups: GroupSet,
    /// Sequence number of the newest event received, by lane.
    pub last: [u64; 2],
    /// The client's replica of the room's shared state; empty if the server has opened no state
    /// stream.
    pub replica: Replica,
    state_stream: bool,
    /// The audits of moderators' acts that the client received.
    pub audits: Vec<Audit>,
    /// The acknowledgements of its events that it received since the newest `Joined`.
    pub event_acks: Vec<EventAck>,
    /// When it was told that it is throttled, and the reason.
    pub throttled: Vec<(Time, u8)>,
    /// Number of requests that the client has made in this session.
    pub requests: u32,
    /// The replies to these requests.
    pub replies: Vec<StateReply>,
    /// Messages that have not arrived yet on all streams except the bulk stream, each with its time
    /// of arrival.
    pub(crate) streams: VecDeque<(Time, Delivery)>,
    /// Messages that have not arrived yet on the bulk stream, which is slower, each with its time
    /// of arrival.
    pub(crate) bulk_stream: VecDeque<(Time, Vec<u8>)>,
    /// QUIC datagrams that have not arrived yet, in both directions.
    pub quic: Vec<QuicDatagram>,
    /// Peer number of the sender, and sequence, of every realtime message received.
    pub messages: HashSet<(u32, u16)>,
    /// Number of realtime messages that the client has sent.
    pub sent: u16,
    /// Key phase and packet number of every datagram on the network, by direction. No pair may
    /// occur twice.
    numbers: [HashSet<(u8, u32)>; 2],
    /// The datagrams that have arrived at the client's end of the network.
    pub datagrams: Vec<ClientDatagram>,
    pub(crate) secret: [u8; 32],
}

/// A message on a stream.
pub(crate) enum Delivery {
    Control(Vec<u8>),
    Event(Vec<u8>),
    State(Vec<u8>),
    Joined(Box<Joined>, TicketClaim),
    End(Code),
}

/// A datagram inside QUIC that has not arrived yet.
pub struct QuicDatagram {
    /// When the datagram arrives.
    pub arrives: Time,
    /// Whether the datagram goes from the client to the server.
    pub upwards: bool,
    /// The link's id and the body.
    pub bytes: Vec<u8>,
}

/// A datagram that has arrived at a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientDatagram {
    /// The header of a datagram from the realtime port; `None` for a datagram inside QUIC.
    pub header: Option<Header>,
    /// Length in bytes.
    pub len: usize,
    /// Number of messages in the datagram; `None` if the client did not accept it, because the port
    /// was blocked or because the datagram's link no longer exists.
    pub messages: Option<usize>,
}

impl Client {
    /// Creates a client that has not sent its join yet.
    pub fn new(room: RoomId, user: usize, net: SimPeer) -> Self {
        Self {
            room,
            user,
            net,
            blocked: false,
            session: None,
            peer: None,
            claim: None,
            asleep: false,
            resumes: 0,
            link: None,
            joined: None,
            joins: 0,
            roster: BTreeMap::new(),
            ended: None,
            events: Vec::new(),
            bulk: Vec::new(),
            expected: Default::default(),
            groups: GroupSet::default(),
            last: [0; 2],
            replica: Replica::default(),
            state_stream: false,
            audits: Vec::new(),
            event_acks: Vec::new(),
            throttled: Vec::new(),
            requests: 0,
            replies: Vec::new(),
            streams: VecDeque::new(),
            bulk_stream: VecDeque::new(),
            quic: Vec::new(),
            messages: HashSet::new(),
            sent: 0,
            numbers: Default::default(),
            datagrams: Vec::new(),
            secret: [0; 32],
        }
    }

    /// Returns true if the room has confirmed the client's session and not ended it, even if the
    /// client has not received that yet.
    pub fn is_member(&self) -> bool {
        let ending = self.streams.iter().any(|(_, d)| matches!(d, Delivery::End(_)));
        let confirmed = self.joined.is_some()
            || self.streams.iter().any(|(_, d)| matches!(d, Delivery::Joined(..)));
        confirmed && !ending && self.ended.is_none()
    }

    /// Returns the time at which [`Self::receive`] must be called next.
    pub fn deadline(&self) -> Option<Time> {
        let streams = self.streams.front().map(|(at, _)| *at);
        let bulk = self.bulk_stream.front().map(|(at, _)| *at);
        let quic = self.quic.iter().map(|datagram| datagram.arrives).min();
        let link = self.link.as_ref().and_then(Link::deadline);
        [streams, bulk, quic, link, self.net.deadline()].into_iter().flatten().min()
    }

    /// Handles everything that has arrived by `now`, and sends the link's own output.
    pub fn receive(&mut self, now: Time) {
        while let Some((_, delivery)) = self.streams.pop_front_if(|(at, _)| *at <= now) {
            self.take(now, delivery);
        }
        while let Some((_, bytes)) = self.bulk_stream.pop_front_if(|(at, _)| *at <= now) {
            let payload = self.take_event(Lane::Bulk, &bytes);
            self.bulk.push(payload);
        }
        while let Some(mut bytes) = self.net.poll_client_side(now) {
            self.take_datagram(now, Some(server_path()), &mut bytes);
        }
        for mut bytes in self.take_quic(now, false) {
            self.take_datagram(now, None, &mut bytes);
        }
        let Some(link) = self.link.as_mut() else { return };
        link.handle_timeout(now);
        let mut out = Vec::new();
        while let Some(route) = self.link.as_mut().and_then(|l| l.poll_output(now, &mut out)) {
            self.put_on_network(now, route, &out);
            out.clear();
        }
    }

    /// Stops the process. Everything on its way to the client is lost, except the end of its
    /// session.
    pub(crate) fn fall_asleep(&mut self) {
        self.asleep = true;
        self.link = None;
        self.streams.retain(|(_, d)| matches!(d, Delivery::End(_)));
        self.bulk_stream.clear();
        self.lose_quic();
    }

    /// Drops the QUIC datagrams that have not arrived yet.
    pub fn lose_quic(&mut self) {
        for QuicDatagram { upwards, bytes, .. } in self.quic.drain(..) {
            if !upwards {
                let lost = ClientDatagram { header: None, len: bytes.len(), messages: None };
                self.datagrams.push(lost);
            }
        }
    }

    /// Sends one realtime message. Its payload names the sender, the sequence and the room.
    pub fn send(&mut self, now: Time, kind: MessageKind, target: u16, len: usize) {
        let (Some(link), Some(peer)) = (self.link.as_mut(), self.peer) else { return };
        self.sent += 1;
        let mut payload = peer.0.to_le_bytes().to_vec();
        payload.extend_from_slice(&self.sent.to_le_bytes());
        payload.extend_from_slice(&self.room.0.to_le_bytes());
        payload.resize(len, 0xab);
        let message = Message {
            kind,
            flags: 1,
            peer: target,
            channel: 0,
            key: 0,
            sequence: self.sent,
            time: Some(now.as_wire_millis()),
            payload: &payload,
        };
        let mut out = Vec::new();
        let start = link.begin(now, &mut out);
        message.encode(&mut out);
        let route = link.route().unwrap().0;
        link.finish(now, &mut out, start).unwrap();
        self.put_on_network(now, route, &out);
    }

    /// Sends a report that the test has made up.
    pub fn send_report(&mut self, now: Time, report: ClientReport) {
        let Some(link) = self.link.as_mut() else { return };
        let mut out = Vec::new();
        let start = link.begin(now, &mut out);
        report.encode(&mut out);
        let route = link.route().unwrap().0;
        link.finish(now, &mut out, start).unwrap();
        self.put_on_network(now, route, &out);
    }

    /// Leaves out so many packet numbers.
    pub fn leave_out_numbers(&mut self, now: Time, count: u32) {
        let Some(link) = self.link.as_mut() else { return };
        for _ in 0..count {
            let mut out = Vec::new();
            let start = link.begin(now, &mut out);
            link.finish(now, &mut out, start).unwrap();
        }
    }

    /// Removes and returns the QUIC datagrams of one direction that have arrived by `now`.
    pub(crate) fn take_quic(&mut self, now: Time, upwards: bool) -> Vec<Vec<u8>> {
        let arrived = self
            .quic
            .extract_if(.., |datagram| datagram.arrives <= now && datagram.upwards == upwards);
        arrived.map(|datagram| datagram.bytes).collect()
    }

    /// Sends a datagram from the server to the client inside QUIC.
    pub(crate) fn send_inside_quic(&mut self, now: Time, bytes: Vec<u8>) {
        self.quic.push(QuicDatagram { arrives: now + QUIC_DELAY, upwards: false, bytes });
    }

    fn take_datagram(&mut self, now: Time, path: Option<Path>, bytes: &mut [u8]) {
        let (header, len) = (path.and_then(|_| Header::parse(bytes)), bytes.len());
        let messages = self.read(now, path, bytes);
        self.datagrams.push(ClientDatagram { header, len, messages });
    }

    /// Opens a datagram and returns the number of its messages; `None` if it is not accepted.
    fn read(&mut self, now: Time, path: Option<Path>, bytes: &mut [u8]) -> Option<usize> {
        if self.blocked && path.is_some() {
            return None;
        }
        let link = self.link.as_mut()?;
        let messages = match path {
            Some(path) => link.handle_input(now, path, 0, bytes),
            None => link.handle_session_input(now, bytes),
        };
        let mut count = 0;
        for message in messages.ok()? {
            count += 1;
            let payload = message.payload;
            let sender = u32::from_le_bytes(payload[..4].try_into().unwrap());
            assert_ne!(Some(PeerId(sender)), self.peer, "a message was returned to its sender");
            let sequence = u16::from_le_bytes(payload[4..6].try_into().unwrap());
            assert_eq!(sequence, message.sequence);
            let room = u64::from_le_bytes(payload[6..14].try_into().unwrap());
            assert_eq!(room, self.room.0, "a message of another room");
            if let Some(peer) = self.roster.get(&sender) {
                assert_eq!(peer.slot, message.peer, "sent under somebody else's slot");
            }
            assert!(self.messages.insert((sender, sequence)), "a message came twice");
        }
        Some(count)
    }

    fn take(&mut self, now: Time, delivery: Delivery) {
        match delivery {
            Delivery::Joined(joined, claim) => {
                let before = self.joined.as_ref().map(|j| (j.peer, j.slot));
                assert!(before.is_none_or(|before| before == (joined.peer, joined.slot)));
                self.claim = Some(claim);
                // The new link has new keys.
                self.numbers = Default::default();
                self.link = Some(Link::new(now, self.link_config(&joined)));
                self.roster = joined.roster.iter().map(|p| (p.peer, p.clone())).collect();
                self.joined = Some(*joined);
                self.joins += 1;
                (self.replica, self.state_stream) = (Replica::default(), false);
                (self.requests, self.replies, self.event_acks) = (0, Vec::new(), Vec::new());
            }
            Delivery::Control(bytes) => {
                let (schema, body) = parts(&bytes);
                match schema {
                    Schema::StateReply => self.take_reply(session::owned(body).unwrap()),
                    Schema::Audit => self.audits.push(session::owned(body).unwrap()),
                    Schema::EventAck => self.event_acks.push(session::owned(body).unwrap()),
                    Schema::Throttled => {
                        let what = session::owned::<Throttled>(body).unwrap().what;
                        self.throttled.push((now, what));
                    }
                    _ => self.update_roster(session::owned::<RosterUpdate>(body).unwrap()),
                }
            }
            Delivery::State(bytes) => self.take_state(&bytes),
            Delivery::Event(bytes) => {
                let payload = self.take_event(Lane::Events, &bytes);
                self.events.push(payload);
            }
            Delivery::End(code) => {
                self.ended = Some(code);
                self.link = None;
            }
        }
    }

    fn take_event(&mut self, lane: Lane, bytes: &[u8]) -> Vec<u8> {
        let event = session::owned::<EventDown>(&bytes[session::SESSION_HEADER_BYTES..]).unwrap();
        let last = &mut self.last[lane.index()];
        assert!(event.sequence > *last, "events of the lane out of order");
        *last = event.sequence;
        event.payload
    }

    fn take_reply(&mut self, reply: StateReply) {
        assert_eq!(reply.request as usize, self.replies.len() + 1, "a reply is missing");
        self.replies.push(reply);
    }

    /// Handles a message of the state stream: first a snapshot, then the update to each next
    /// version.
    fn take_state(&mut self, bytes: &[u8]) {
        let (schema, body) = parts(bytes);
        if std::mem::replace(&mut self.state_stream, true) {
            assert_eq!(schema, Schema::StateUpdate);
            self.replica.apply(session::owned::<StateUpdate>(body).unwrap());
        } else {
            assert_eq!(schema, Schema::StateSnapshot);
            self.replica = Replica::new(session::owned::<StateSnapshot>(body).unwrap());
        }
    }

    fn update_roster(&mut self, update: RosterUpdate) {
        let before = self.joined.as_mut().expect("a roster update before Joined");
        assert_eq!(update.version, before.roster_version + 1, "a roster version was skipped");
        before.roster_version = update.version;
        update_roster(&mut self.roster, update);
    }

    fn link_config(&self, joined: &Joined) -> LinkConfig {
        LinkConfig {
            side: LinkSide::Client,
            link_id: joined.link_id,
            suite: Suite::Aes128Gcm,
            root: RootSecret::new(&self.secret, None),
            connection_id: ConnectionId(joined.grant[0].connection_id),
            spare: ConnectionId(joined.grant[0].spare),
            path: Some(server_path()),
            planes: Planes::Both,
            max_body: limits::MAX_BODY,
            report_interval: limits::REPORT_INTERVAL_MAX,
            clock_epoch: 0,
            seed: self.secret,
        }
    }

    fn put_on_network(&mut self, now: Time, route: Route, datagram: &[u8]) {
        let bytes = route.wire(datagram).to_vec();
        if route == Route::Session {
            let arrives = now + QUIC_DELAY;
            return self.quic.push(QuicDatagram { arrives, upwards: true, bytes });
        }
        self.note_number(0, &bytes);
        self.net.send(now, bytes);
    }

    /// Records the packet number of a datagram of the client's link. `direction` is 0 for upwards,
    /// 1 for downwards.
    pub(crate) fn note_number(&mut self, direction: usize, bytes: &[u8]) {
        let Header { phase, number, .. } =
            Header::parse(bytes).expect("the datagram has no valid header");
        let new = self.numbers[direction].insert((phase, number));
        assert!(new, "packet number {number} was used twice in phase {phase}");
    }

    /// Returns the number of key phases in which datagrams of this link were sent: upwards, then
    /// downwards.
    pub fn phases(&self) -> [usize; 2] {
        let phases = |numbers: &HashSet<(u8, u32)>| {
            numbers.iter().map(|(phase, _)| *phase).collect::<HashSet<_>>().len()
        };
        [phases(&self.numbers[0]), phases(&self.numbers[1])]
    }
}

/// Applies an update to a roster.
pub fn update_roster(roster: &mut BTreeMap<u32, Peer>, update: RosterUpdate) {
    roster.extend(update.joined.into_iter().map(|peer| (peer.peer, peer)));
    for left in update.left {
        roster.remove(&left.peer);
    }
    for changed in update.changed {
        if let Some(peer) = roster.get_mut(&changed.peer) {
            peer.presence = changed.presence;
        }
    }
}

/// Splits a message into its schema and its body.
pub fn parts(message: &[u8]) -> (Schema, &[u8]) {
    let (header, body) = message.split_first_chunk().unwrap();
    let header = MessageHeader::parse(*header, body.len()).unwrap();
    assert_eq!(header.len as usize, body.len());
    (header.schema, body)
}

fn server_path() -> Path {
    Path { remote: SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 5056), local: None }
}
