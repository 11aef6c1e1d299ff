//! A whole room in one process: the real room, the real shard, real links, and a seeded network
//! between them. Reliable streams are queues with a delay.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nucleus_protocol::link::{Link, LinkConfig, Path, Role, Root, Suite};
use nucleus_protocol::netsim::{Conditions, SimPeer};
use nucleus_protocol::realtime::{ConnectionId, Header, Kind, Message, TARGET_OTHERS};
use nucleus_protocol::session::{self, Code, EventDown, Joined, LinkGrant, Peer, RosterUpdate};
use nucleus_protocol::time::Time;
use nucleus_server::room::{EventTarget, JoinRequest, Room, RoomConfig, RoomOutput};
use nucleus_server::shard::{OpenLink, PeerId, RoomId, Shard, ShardCommand, ShardConfig};

pub(crate) const STEP: Duration = Duration::from_millis(5);
const ROOM: RoomId = RoomId(1);
const EPOCH: u32 = 7;

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: fastrand::Rng,
    pub(crate) room: Room,
    pub(crate) shard: Shard,
    pub(crate) clients: Vec<Client>,
    client_of: HashMap<PeerId, usize>,
    pub(crate) room_closed: bool,
    /// What a plain model says each client must have got, in order.
    pub(crate) expected_events: Vec<Vec<Vec<u8>>>,
}

pub(crate) struct Client {
    pub(crate) net: SimPeer,
    pub(crate) peer: Option<PeerId>,
    pub(crate) link: Option<Link>,
    pub(crate) joined: Option<Joined>,
    pub(crate) roster: BTreeMap<u32, Peer>,
    pub(crate) ended: Option<Code>,
    pub(crate) events: Vec<Vec<u8>>,
    last_sequence: u64,
    streams: VecDeque<(Time, Delivery)>,
    /// (sender's peer number, sequence) of every realtime message.
    pub(crate) messages: HashSet<(u32, u16)>,
    pub(crate) sent: u16,
    /// Packet numbers seen on the air, by direction: none may come twice.
    numbers: [HashSet<u32>; 2],
    secret: [u8; 32],
}

enum Delivery {
    Control(Vec<u8>),
    Event(Vec<u8>),
    Joined(Box<Joined>),
    End(Code),
}

impl World {
    pub(crate) fn new(seed: u64, capacity: u16) -> Self {
        let shard = ShardConfig {
            index: 3,
            tick: Duration::from_millis(10),
            away_after: Duration::from_secs(10),
            egress_bits_per_s: 10_000_000,
            clock_epoch: EPOCH,
        };
        let room = RoomConfig {
            capacity,
            peer_ttl: Duration::from_secs(30),
            epoch: EPOCH,
            clock_epoch: EPOCH,
        };
        Self {
            now: Time::from_millis(1_000),
            rng: fastrand::Rng::with_seed(seed),
            room: Room::new(room),
            shard: Shard::new(shard),
            clients: Vec::new(),
            client_of: HashMap::new(),
            room_closed: false,
            expected_events: Vec::new(),
        }
    }

    /// A client asks to join; what comes of it shows in the steps that follow.
    pub(crate) fn join(&mut self, up: Conditions, down: Conditions) -> usize {
        let index = self.clients.len();
        let ip = Ipv4Addr::from(0x0a00_0000 + index as u32);
        let address = SocketAddr::new(ip.into(), 40_000);
        let mut secret = [0; 32];
        self.rng.fill(&mut secret);
        self.clients.push(Client::new(SimPeer::new(self.rng.u64(..), address, up, down), secret));
        self.expected_events.push(Vec::new());
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let request = JoinRequest {
            user: format!("user-{index}"),
            name: format!("name-{index}"),
            role: "member".into(),
            grant: LinkGrant {
                link_id: 1,
                connection_id: [0; 8],
                spare: [0; 8],
                secret,
                suite: 1,
                flags: 0,
                endpoints: Vec::new(),
            },
            suite: Suite::Aes128Gcm,
            root: Root::new(&secret, None),
            seed,
        };
        match self.room.handle_join(self.now, request) {
            Ok(peer) => {
                self.clients[index].peer = Some(peer);
                self.client_of.insert(peer, index);
            }
            Err(code) => self.clients[index].ended = Some(code),
        }
        self.carry_out();
        index
    }

    pub(crate) fn leave(&mut self, index: usize) {
        let Some(peer) = self.clients[index].peer else { return };
        self.room.handle_leave(self.now, peer, Code::Left);
        self.carry_out();
    }

    /// Clients that the room has confirmed and not ended, by the model's own bookkeeping.
    pub(crate) fn members(&self) -> Vec<usize> {
        (0..self.clients.len()).filter(|i| self.is_member(*i)).collect()
    }

    fn is_member(&self, index: usize) -> bool {
        let client = &self.clients[index];
        let ending = client.streams.iter().any(|(_, d)| matches!(d, Delivery::End(_)));
        let confirmed = client.joined.is_some()
            || client.streams.iter().any(|(_, d)| matches!(d, Delivery::Joined(_)));
        confirmed && !ending && client.ended.is_none()
    }

    pub(crate) fn event(&mut self, from: usize, target: &EventTarget, payload: Vec<u8>) {
        let Some(peer) = self.clients[from].peer else { return };
        for to in self.members() {
            let there = self.clients[to].peer.unwrap();
            let wanted = match target {
                EventTarget::All => true,
                EventTarget::Others => to != from,
                EventTarget::Listed(listed) => listed.contains(&there),
            };
            if wanted && self.is_member(from) {
                self.expected_events[to].push(payload.clone());
            }
        }
        self.room.handle_event(self.now, peer, target, 0, &payload);
        self.carry_out();
    }

    /// The client sends one message on the realtime plane; its payload says who and which.
    pub(crate) fn send_pose(&mut self, from: usize) {
        let client = &mut self.clients[from];
        let (Some(link), Some(peer)) = (client.link.as_mut(), client.peer) else { return };
        client.sent += 1;
        let mut payload = peer.0.to_le_bytes().to_vec();
        payload.extend_from_slice(&client.sent.to_le_bytes());
        payload.resize(34, 0xab);
        let message = Message {
            kind: Kind::Pose,
            flags: 1,
            peer: TARGET_OTHERS,
            channel: 0,
            key: 0,
            sequence: client.sent,
            time: self.now.as_wire_millis(),
            payload: &payload,
        };
        let mut out = Vec::new();
        let start = link.begin(self.now, &mut out);
        message.encode(&mut out);
        link.finish(self.now, &mut out, start).unwrap();
        client.put_on_air(self.now, out);
    }

    /// One step of time: everything that is due moves.
    pub(crate) fn step(&mut self) {
        self.now += STEP;
        for index in 0..self.clients.len() {
            while let Some((from, mut bytes)) = self.clients[index].net.poll_server_side(self.now) {
                let path = Path { remote: from, local: None };
                self.shard.handle_input(self.now, path, 0, &mut bytes);
            }
        }
        self.shard.handle_timeout(self.now);
        self.room.handle_timeout(self.now);
        self.carry_out();
        self.deliver_datagrams();
        for client in &mut self.clients {
            client.step(self.now);
        }
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.step();
        }
    }

    fn deliver_datagrams(&mut self) {
        let datagrams: Vec<(Path, Vec<u8>)> =
            self.shard.outbox.datagrams().map(|(path, bytes)| (path, bytes.to_vec())).collect();
        self.shard.outbox.clear();
        for (path, bytes) in datagrams {
            assert!(bytes.len() <= 1_200, "a datagram of {} bytes", bytes.len());
            let to = path.remote;
            // One IP address a client: its last octets are its index.
            let SocketAddr::V4(v4) = to else { panic!("not IPv4") };
            let index = (u32::from(*v4.ip()) - 0x0a00_0000) as usize;
            let client = &mut self.clients[index];
            client.note_number(1, &bytes);
            client.net.deliver(self.now, to, bytes);
        }
    }

    /// Carries out what room and shard want until neither wants anything.
    fn carry_out(&mut self) {
        loop {
            while let Some(event) = self.shard.poll_event() {
                self.room.handle_link(self.now, event.peer, event.what);
            }
            let Some(output) = self.room.poll_output() else { return };
            match output {
                RoomOutput::OpenLink { peer, slot, link_id, suite, root, seed } => {
                    let open = OpenLink { room: ROOM, peer, slot, link_id, suite, root, seed };
                    self.shard.handle_command(self.now, ShardCommand::OpenLink(Box::new(open)));
                }
                RoomOutput::CloseLink(peer) => {
                    let close = ShardCommand::CloseLink { room: ROOM, peer };
                    self.shard.handle_command(self.now, close);
                }
                RoomOutput::Joined(peer, joined) => self.post(peer, Delivery::Joined(joined)),
                RoomOutput::Control(peer, bytes) => {
                    self.post(peer, Delivery::Control(bytes.to_vec()));
                }
                RoomOutput::Event(peer, bytes) => self.post(peer, Delivery::Event(bytes.to_vec())),
                RoomOutput::Disconnect(peer, code) => self.post(peer, Delivery::End(code)),
                RoomOutput::Closed => self.room_closed = true,
            }
        }
    }

    /// Streams are reliable and ordered, and late.
    fn post(&mut self, peer: PeerId, delivery: Delivery) {
        let client = &mut self.clients[self.client_of[&peer]];
        let at = self.now + Duration::from_millis(self.rng.u64(5..80));
        let at = client.streams.back().map_or(at, |(last, _)| at.max(*last));
        client.streams.push_back((at, delivery));
    }
}

impl Client {
    fn new(net: SimPeer, secret: [u8; 32]) -> Self {
        Self {
            net,
            peer: None,
            link: None,
            joined: None,
            roster: BTreeMap::new(),
            ended: None,
            events: Vec::new(),
            last_sequence: 0,
            streams: VecDeque::new(),
            messages: HashSet::new(),
            sent: 0,
            numbers: Default::default(),
            secret,
        }
    }

    fn step(&mut self, now: Time) {
        while self.streams.front().is_some_and(|(at, _)| *at <= now) {
            let (_, delivery) = self.streams.pop_front().unwrap();
            self.take(now, delivery);
        }
        while let Some(mut bytes) = self.net.poll_client_side(now) {
            self.receive(now, &mut bytes);
        }
        let Some(link) = self.link.as_mut() else { return };
        link.handle_timeout(now);
        let mut out = Vec::new();
        while self.link.as_mut().is_some_and(|l| l.poll_output(now, &mut out).is_some()) {
            self.put_on_air(now, std::mem::take(&mut out));
        }
    }

    fn receive(&mut self, now: Time, bytes: &mut [u8]) {
        let Some(link) = self.link.as_mut() else { return };
        let path = server_path();
        let Ok(messages) = link.handle_input(now, path, 0, bytes) else { return };
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
            Delivery::Joined(joined) => {
                self.link = Some(Link::new(now, self.link_config(&joined)));
                self.roster = joined.roster.iter().map(|p| (p.peer, p.clone())).collect();
                self.joined = Some(*joined);
            }
            Delivery::Control(bytes) => {
                let body = &bytes[session::MESSAGE_HEADER..];
                self.update_roster(session::owned::<RosterUpdate>(body).unwrap());
            }
            Delivery::Event(bytes) => {
                let body = &bytes[session::MESSAGE_HEADER..];
                let event = session::owned::<EventDown>(body).unwrap();
                assert!(event.sequence > self.last_sequence, "events out of order");
                self.last_sequence = event.sequence;
                self.events.push(event.payload);
            }
            Delivery::End(code) => {
                self.ended = Some(code);
                self.link = None;
            }
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
            clock_epoch: 0,
            seed: self.secret,
        }
    }

    fn put_on_air(&mut self, now: Time, bytes: Vec<u8>) {
        self.note_number(0, &bytes);
        self.net.send(now, bytes);
    }

    /// A client has one link in its life here, so a number on it is a number under one key phase.
    fn note_number(&mut self, direction: usize, bytes: &[u8]) {
        let header = Header::parse(bytes).expect("not a datagram of ours");
        assert!(self.numbers[direction].insert(header.number), "a packet number came twice");
    }
}

fn server_path() -> Path {
    Path { remote: SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 5056), local: None }
}
