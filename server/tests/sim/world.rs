//! A whole room in one process: the real room, the real shard, real links, and a seeded network
//! between them. Reliable streams and QUIC datagrams are queues with a delay.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nucleus_protocol::link::{Link, LinkConfig, Path, Role, Root, Route, Suite};
use nucleus_protocol::netsim::{Conditions, SimPeer};
use nucleus_protocol::realtime::{ConnectionId, Header, Kind, Message, TARGET_OTHERS};
use nucleus_protocol::session::{self, Code, EventDown, Joined, LinkGrant, Peer, RosterUpdate};
use nucleus_protocol::time::Time;
use nucleus_server::config::SecondDevice;
use nucleus_server::room::{
    Claim, EventTarget, JoinRequest, Resume, Room, RoomConfig, RoomOutput, Seat,
};
use nucleus_server::shard::{OpenLink, PeerId, RoomId, Shard, ShardCommand, ShardConfig};

pub(crate) const STEP: Duration = Duration::from_millis(5);
/// One way of a QUIC datagram.
const QUIC_DELAY: Duration = Duration::from_millis(30);
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
    last_sequence: u64,
    streams: VecDeque<(Time, Delivery)>,
    /// QUIC datagrams on their way: (arrival, upwards, link's id and body).
    quic: VecDeque<(Time, bool, Vec<u8>)>,
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
    Joined(Box<Joined>, Claim),
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
            second_device: SecondDevice::Allow,
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
        self.clients.push(Client::new(SimPeer::new(self.rng.u64(..), address, up, down)));
        self.expected_events.push(Vec::new());
        self.enter(index, None);
        index
    }

    /// The client's process stops; `told`: the session's end is noticed.
    pub(crate) fn sleep(&mut self, index: usize, told: bool) {
        let client = &mut self.clients[index];
        let Some(seat) = client.seat.filter(|_| client.joined.is_some()) else { return };
        client.asleep = true;
        client.link = None;
        client.streams.retain(|(_, d)| matches!(d, Delivery::End(_)));
        client.quic.clear();
        if told {
            self.room.handle_session_lost(self.now, seat, Duration::ZERO);
            self.carry_out();
        }
    }

    /// It wakes up and brings its ticket.
    pub(crate) fn wake(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if !std::mem::take(&mut client.asleep) || client.ended.is_some() {
            return;
        }
        client.net.change_address();
        client.resumes += 1;
        let (claim, last_event) = (client.claim.unwrap(), client.last_sequence);
        self.enter(index, Some(Resume { claim, last_event }));
    }

    fn enter(&mut self, index: usize, resume: Option<Resume>) {
        let mut secret = [0; 32];
        self.rng.fill(&mut secret);
        self.clients[index].secret = secret;
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let request = JoinRequest {
            user: format!("user-{index}"),
            name: format!("name-{index}"),
            role: "member".into(),
            resume,
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
            Ok(seat) => {
                let client = &mut self.clients[index];
                assert!(
                    resume.is_none() || client.peer == Some(seat.peer),
                    "somebody else came back"
                );
                (client.seat, client.peer) = (Some(seat), Some(seat.peer));
                self.client_of.insert(seat.peer, index);
            }
            Err(code) => self.clients[index].ended = Some(code),
        }
        self.carry_out();
    }

    pub(crate) fn leave(&mut self, index: usize) {
        let Some(seat) = self.clients[index].seat else { return };
        self.room.handle_leave(self.now, seat, Code::Left);
        self.carry_out();
    }

    /// Members that are not asleep, nor still coming back.
    pub(crate) fn awake(&self) -> Vec<usize> {
        let awake = |i: &usize| !self.clients[*i].asleep && self.clients[*i].link.is_some();
        self.members().into_iter().filter(awake).collect()
    }

    /// Clients that the room has confirmed and not ended, by the model's own bookkeeping.
    pub(crate) fn members(&self) -> Vec<usize> {
        (0..self.clients.len()).filter(|i| self.is_member(*i)).collect()
    }

    fn is_member(&self, index: usize) -> bool {
        let client = &self.clients[index];
        let ending = client.streams.iter().any(|(_, d)| matches!(d, Delivery::End(_)));
        let confirmed = client.joined.is_some()
            || client.streams.iter().any(|(_, d)| matches!(d, Delivery::Joined(..)));
        confirmed && !ending && client.ended.is_none()
    }

    pub(crate) fn event(&mut self, from: usize, target: &EventTarget, payload: Vec<u8>) {
        let Some(seat) = self.clients[from].seat else { return };
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
        self.room.handle_event(self.now, seat, target.clone(), 0, payload);
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
        let route = link.route().unwrap().0;
        link.finish(self.now, &mut out, start).unwrap();
        client.put_on_air(self.now, route, &out);
    }

    /// One step of time: everything that is due moves.
    pub(crate) fn step(&mut self) {
        self.now += STEP;
        for index in 0..self.clients.len() {
            while let Some((from, mut bytes)) = self.clients[index].net.poll_server_side(self.now) {
                let path = Path { remote: from, local: None };
                if !self.clients[index].blocked {
                    self.shard.handle_input(self.now, path, 0, &mut bytes);
                }
            }
            let client = &mut self.clients[index];
            for (bytes, seat) in
                client.take_quic(self.now, true).into_iter().zip(client.seat.into_iter().cycle())
            {
                self.shard.handle_session_input(self.now, ROOM, seat, &bytes);
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
        for t in &self.shard.outbox.session_transmits {
            let bytes = self.shard.outbox.bytes[t.start..t.end].to_vec();
            let client = &mut self.clients[self.client_of[&t.peer]];
            client.quic.push_back((self.now + QUIC_DELAY, false, bytes));
        }
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
                RoomOutput::OpenLink { seat, slot, link_id, suite, root, seed } => {
                    let open = OpenLink { room: ROOM, seat, slot, link_id, suite, root, seed };
                    self.shard.handle_command(self.now, ShardCommand::OpenLink(Box::new(open)));
                }
                RoomOutput::CloseLink(peer) => {
                    let close = ShardCommand::CloseLink { room: ROOM, peer };
                    self.shard.handle_command(self.now, close);
                }
                RoomOutput::Joined(seat, joined, claim) => {
                    self.post(seat, Delivery::Joined(joined, claim));
                }
                RoomOutput::Control(seat, bytes) => {
                    self.post(seat, Delivery::Control(bytes.to_vec()));
                }
                RoomOutput::Event(seat, bytes) => self.post(seat, Delivery::Event(bytes.to_vec())),
                RoomOutput::Disconnect(seat, code) => self.post(seat, Delivery::End(code)),
                RoomOutput::Closed => self.room_closed = true,
            }
        }
    }

    /// Streams are reliable and ordered, and late.
    fn post(&mut self, seat: Seat, delivery: Delivery) {
        // During a join the client does not know its seat yet.
        let index = self.client_of.get(&seat.peer).copied();
        let Some(client) = index.map(|index| &mut self.clients[index]) else { return };
        let ends = matches!(delivery, Delivery::End(_));
        if client.seat != Some(seat) || client.asleep && !ends {
            return;
        }
        let at = self.now + Duration::from_millis(self.rng.u64(5..80));
        let at = client.streams.back().map_or(at, |(last, _)| at.max(*last));
        client.streams.push_back((at, delivery));
    }
}

impl Client {
    fn new(net: SimPeer) -> Self {
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
            last_sequence: 0,
            streams: VecDeque::new(),
            quic: VecDeque::new(),
            messages: HashSet::new(),
            sent: 0,
            numbers: Default::default(),
            secret: [0; 32],
        }
    }

    fn step(&mut self, now: Time) {
        while self.streams.front().is_some_and(|(at, _)| *at <= now) {
            let (_, delivery) = self.streams.pop_front().unwrap();
            self.take(now, delivery);
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
    fn take_quic(&mut self, now: Time, up: bool) -> Vec<Vec<u8>> {
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
            fallback: true,
            clock_epoch: 0,
            seed: self.secret,
        }
    }

    fn put_on_air(&mut self, now: Time, route: Route, datagram: &[u8]) {
        let bytes = route.wire(datagram).to_vec();
        if route == Route::Session {
            return self.quic.push_back((now + QUIC_DELAY, true, bytes));
        }
        self.note_number(0, &bytes);
        self.net.send(now, bytes);
    }

    /// No key phase of a link ends here, so a number on it is a number under one key.
    fn note_number(&mut self, direction: usize, bytes: &[u8]) {
        let header = Header::parse(bytes).expect("not a datagram of ours");
        assert!(self.numbers[direction].insert(header.number), "a packet number came twice");
    }
}

fn server_path() -> Path {
    Path { remote: SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 5056), local: None }
}
