//! A client of the simulated room: its network, its link, and what it has been told.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use nucleus_netsim::SimPeer;
use nucleus_protocol::link::{Link, LinkConfig, Path, Role, Root, Route, Suite};
use nucleus_protocol::realtime::{ConnectionId, Header};
use nucleus_protocol::session::{
    self, Audit, Code, EventDown, Joined, Lane, MessageHeader, Peer, RosterUpdate, Schema,
    StateReply, StateSnapshot, StateUpdate, Throttled,
};
use nucleus_protocol::time::Time;
use nucleus_server::room::{Claim, Seat};
use nucleus_server::shard::PeerId;

use super::replica::Replica;
use super::world::QUIC_DELAY;

pub(crate) struct Client {
    pub(crate) net: SimPeer,
    /// Nothing gets through to the realtime port.
    pub(crate) blocked: bool,
    pub(crate) seat: Option<Seat>,
    pub(crate) peer: Option<PeerId>,
    /// From the newest `Joined`, as the ticket would carry it.
    pub(crate) claim: Option<Claim>,
    /// Its process is stopped: what is sent to it is lost, and it says nothing.
    pub(crate) asleep: bool,
    pub(crate) resumes: u32,
    pub(crate) link: Option<Link>,
    pub(crate) joined: Option<Joined>,
    pub(crate) roster: BTreeMap<u32, Peer>,
    pub(crate) ended: Option<Code>,
    pub(crate) events: Vec<Vec<u8>>,
    /// Whole messages and pieces of the bulk lane.
    pub(crate) bulk: Vec<Vec<u8>>,
    pub(super) last: [u64; 2],
    /// Of the room's shared state; empty without a state stream.
    pub(crate) replica: Replica,
    state_stream: bool,
    /// What moderators have done, as it was told.
    pub(crate) audits: Vec<Audit>,
    /// When it was told that it is throttled, and in what.
    pub(crate) throttled: Vec<(Time, u8)>,
    /// Requests for changes of it in this session, and their replies.
    pub(crate) asked: u32,
    pub(crate) replies: Vec<StateReply>,
    pub(super) streams: VecDeque<(Time, Delivery)>,
    /// The bulk stream, later than the others.
    pub(super) bulk_stream: VecDeque<(Time, Vec<u8>)>,
    /// QUIC datagrams on their way: (arrival, upwards, link's id and body).
    pub(crate) quic: VecDeque<(Time, bool, Vec<u8>)>,
    /// (sender's peer number, sequence) of every realtime message.
    pub(crate) messages: HashSet<(u32, u16)>,
    pub(crate) sent: u16,
    /// Packet numbers seen on the air, by direction: none may come twice.
    numbers: [HashSet<u32>; 2],
    pub(super) secret: [u8; 32],
}

pub(super) enum Delivery {
    Control(Vec<u8>),
    Event(Vec<u8>),
    State(Vec<u8>),
    Joined(Box<Joined>, Claim),
    End(Code),
}

impl Client {
    pub(super) fn new(net: SimPeer) -> Self {
        Self {
            net,
            blocked: false,
            seat: None,
            peer: None,
            claim: None,
            asleep: false,
            resumes: 0,
            link: None,
            joined: None,
            roster: BTreeMap::new(),
            ended: None,
            events: Vec::new(),
            bulk: Vec::new(),
            last: [0; 2],
            replica: Replica::default(),
            state_stream: false,
            audits: Vec::new(),
            throttled: Vec::new(),
            asked: 0,
            replies: Vec::new(),
            streams: VecDeque::new(),
            bulk_stream: VecDeque::new(),
            quic: VecDeque::new(),
            messages: HashSet::new(),
            sent: 0,
            numbers: Default::default(),
            secret: [0; 32],
        }
    }

    pub(super) fn step(&mut self, now: Time) {
        while self.streams.front().is_some_and(|(at, _)| *at <= now) {
            let (_, delivery) = self.streams.pop_front().unwrap();
            self.take(now, delivery);
        }
        while let Some((_, bytes)) = self.bulk_stream.pop_front_if(|(at, _)| *at <= now) {
            let payload = self.take_event(Lane::Bulk, &bytes);
            self.bulk.push(payload);
        }
        while let Some(mut bytes) = self.net.poll_client_side(now) {
            if !self.blocked {
                self.receive(now, Some(server_path()), &mut bytes);
            }
        }
        for mut bytes in self.take_quic(now, false) {
            self.receive(now, None, &mut bytes);
        }
        let Some(link) = self.link.as_mut() else { return };
        link.handle_timeout(now);
        let mut out = Vec::new();
        while let Some(route) = self.link.as_mut().and_then(|l| l.poll_output(now, &mut out)) {
            self.put_on_air(now, route, &out);
            out.clear();
        }
    }

    /// QUIC datagrams that have arrived by `now`.
    pub(super) fn take_quic(&mut self, now: Time, up: bool) -> Vec<Vec<u8>> {
        let (arrived, rest) =
            self.quic.drain(..).partition(|(at, way, _)| *at <= now && *way == up);
        self.quic = rest;
        let arrived: VecDeque<_> = arrived;
        arrived.into_iter().map(|(.., bytes)| bytes).collect()
    }

    fn receive(&mut self, now: Time, path: Option<Path>, bytes: &mut [u8]) {
        let Some(link) = self.link.as_mut() else { return };
        let messages = match path {
            Some(path) => link.handle_input(now, path, 0, bytes),
            None => link.handle_session_input(now, bytes),
        };
        let Ok(messages) = messages else { return };
        for message in messages {
            let sender = u32::from_le_bytes(message.payload[..4].try_into().unwrap());
            assert_ne!(Some(PeerId(sender)), self.peer, "a message came back to its sender");
            let sequence = u16::from_le_bytes(message.payload[4..6].try_into().unwrap());
            assert_eq!(sequence, message.sequence);
            if let Some(peer) = self.roster.get(&sender) {
                assert_eq!(peer.slot, message.peer, "sent under somebody else's slot");
            }
            assert!(self.messages.insert((sender, sequence)), "a message came twice");
        }
    }

    fn take(&mut self, now: Time, delivery: Delivery) {
        match delivery {
            Delivery::Joined(joined, claim) => {
                let before = self.joined.as_ref().map(|j| (j.peer, j.slot));
                assert!(before.is_none_or(|before| before == (joined.peer, joined.slot)));
                self.claim = Some(claim);
                // Another link has other keys.
                self.numbers = Default::default();
                self.link = Some(Link::new(now, self.link_config(&joined)));
                self.roster = joined.roster.iter().map(|p| (p.peer, p.clone())).collect();
                self.joined = Some(*joined);
                (self.replica, self.state_stream) = (Replica::default(), false);
                (self.asked, self.replies) = (0, Vec::new());
            }
            Delivery::Control(bytes) => {
                let (schema, body) = parts(&bytes);
                match schema {
                    Schema::StateReply => self.take_reply(session::owned(body).unwrap()),
                    Schema::Audit => self.audits.push(session::owned(body).unwrap()),
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
        let event = session::owned::<EventDown>(&bytes[session::MESSAGE_HEADER..]).unwrap();
        let last = &mut self.last[lane.index()];
        assert!(event.sequence > *last, "events of the lane out of order");
        *last = event.sequence;
        event.payload
    }

    fn take_reply(&mut self, reply: StateReply) {
        assert_eq!(reply.request as usize, self.replies.len() + 1, "a reply is missing");
        self.replies.push(reply);
    }

    /// A snapshot first, and then every version.
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
        for peer in update.joined {
            self.roster.insert(peer.peer, peer);
        }
        for left in update.left {
            self.roster.remove(&left.peer);
        }
        for changed in update.changed {
            if let Some(peer) = self.roster.get_mut(&changed.peer) {
                peer.presence = changed.presence;
            }
        }
    }

    fn link_config(&self, joined: &Joined) -> LinkConfig {
        LinkConfig {
            role: Role::Client,
            link_id: joined.grant.link_id,
            suite: Suite::Aes128Gcm,
            root: Root::new(&self.secret, None),
            connection_id: ConnectionId(joined.grant.connection_id),
            spare: ConnectionId(joined.grant.spare),
            path: Some(server_path()),
            fallback: true,
            clock_epoch: 0,
            seed: self.secret,
        }
    }

    pub(super) fn put_on_air(&mut self, now: Time, route: Route, datagram: &[u8]) {
        let bytes = route.wire(datagram).to_vec();
        if route == Route::Session {
            return self.quic.push_back((now + QUIC_DELAY, true, bytes));
        }
        self.note_number(0, &bytes);
        self.net.send(now, bytes);
    }

    /// No key phase of a link ends here, so a number on it is a number under one key.
    pub(super) fn note_number(&mut self, direction: usize, bytes: &[u8]) {
        let header = Header::parse(bytes).expect("not a datagram of ours");
        assert!(self.numbers[direction].insert(header.number), "a packet number came twice");
    }
}

fn parts(message: &[u8]) -> (Schema, &[u8]) {
    let (header, body) = message.split_first_chunk().unwrap();
    let header = MessageHeader::parse(*header, body.len()).unwrap();
    assert_eq!(header.len as usize, body.len());
    (header.schema, body)
}

fn server_path() -> Path {
    Path { remote: SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 5056), local: None }
}
