//! A whole room in one process: the real room, the real shard, real links, and a seeded network
//! between them. Reliable streams and QUIC datagrams are queues with a delay.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nucleus_netsim::{Conditions, SimPeer};
use nucleus_protocol::groups::{Group, GroupSet};
use nucleus_protocol::link::{Path, Root, Suite};
use nucleus_protocol::realtime::{Kind, Message, TARGET_OTHERS};
use nucleus_protocol::session::{Code, Lane, LinkGrant, Operation, StateRequest, Subscribe};
use nucleus_protocol::time::Time;
use nucleus_server::config::{SecondDevice, Tick};
use nucleus_server::room::{
    Asks, Event, EventTarget, JoinRequest, Listing, Quota, Resume, Room, RoomConfig, RoomOutput,
    RoomRate, Seat, Terms,
};
use nucleus_server::shard::strays::Neighbours;
use nucleus_server::shard::{OpenLink, PeerId, RoomId, Shard, ShardCommand, ShardConfig};

use super::client::{Client, Delivery};

pub(crate) const STEP: Duration = Duration::from_millis(5);
/// One way of a QUIC datagram.
pub(super) const QUIC_DELAY: Duration = Duration::from_millis(30);
pub(crate) const ROOM: RoomId = RoomId(1);
const EPOCH: u32 = 7;
const ROLES: [&str; 4] = ["member", "host", "observer", "presenter"];

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: fastrand::Rng,
    pub(crate) room: Room,
    pub(crate) shard: Shard,
    pub(crate) clients: Vec<Client>,
    client_of: HashMap<PeerId, usize>,
    pub(crate) room_closed: bool,
    /// What the clients bring for the door from now on.
    pub(crate) next_asks: Asks,
    /// What the room last showed of itself.
    pub(crate) listing: Option<Listing>,
    /// What a plain model says each client must have got, in order.
    pub(crate) expected_events: Vec<Vec<Vec<u8>>>,
    /// The same of the bulk lane.
    pub(crate) expected_bulk: Vec<Vec<Vec<u8>>>,
    /// Whose device each client is.
    users: Vec<usize>,
    /// The groups that each client has asked for.
    pub(crate) hears: Vec<GroupSet>,
}

impl World {
    pub(crate) fn new(seed: u64, capacity: u16) -> Self {
        Self::with(seed, capacity, Terms::default(), 128)
    }

    pub(crate) fn with_terms(seed: u64, capacity: u16, terms: Terms) -> Self {
        Self::with(seed, capacity, terms, 128)
    }

    pub(crate) fn with_speakers(seed: u64, capacity: u16, speakers: u16) -> Self {
        Self::with(seed, capacity, Terms::default(), speakers)
    }

    fn with(seed: u64, capacity: u16, terms: Terms, speakers: u16) -> Self {
        let shard = ShardConfig {
            index: 3,
            tick: if seed.is_multiple_of(2) {
                Tick::Auto
            } else {
                Tick::Fixed(Duration::from_millis(10))
            },
            away_after: Duration::from_secs(10),
            egress_bits_per_s: 10_000_000,
            messages_per_s: 1_000,
            speakers,
            clock_epoch: EPOCH,
        };
        let room = RoomConfig {
            capacity,
            peer_ttl: Duration::from_secs(30),
            second_device: SecondDevice::Allow,
            epoch: EPOCH,
            clock_epoch: EPOCH,
            quota: Quota::default(),
            rate: RoomRate::default(),
            terms,
        };
        let now = Time::from_millis(1_000);
        Self {
            now,
            rng: fastrand::Rng::with_seed(seed),
            room: Room::new(now, room),
            shard: Shard::new(shard, Neighbours::new(1).unwrap().0),
            clients: Vec::new(),
            client_of: HashMap::new(),
            room_closed: false,
            next_asks: Asks::default(),
            listing: None,
            expected_events: Vec::new(),
            expected_bulk: Vec::new(),
            hears: Vec::new(),
            users: Vec::new(),
        }
    }

    /// A client asks to join; what comes of it shows in the steps that follow.
    pub(crate) fn join(&mut self, up: Conditions, down: Conditions) -> usize {
        self.join_by(self.clients.len(), up, down)
    }

    /// Another device of the user that client `user` has first been.
    pub(crate) fn join_as(&mut self, network: Conditions, user: usize) -> usize {
        self.join_by(user, network.clone(), network)
    }

    fn join_by(&mut self, user: usize, up: Conditions, down: Conditions) -> usize {
        let index = self.clients.len();
        self.users.push(user);
        let ip = Ipv4Addr::from(0x0a00_0000 + index as u32);
        let address = SocketAddr::new(ip.into(), 40_000);
        self.clients.push(Client::new(SimPeer::new(self.rng.u64(..), address, up, down)));
        self.expected_events.push(Vec::new());
        self.expected_bulk.push(Vec::new());
        self.hears.push(GroupSet::default());
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
        client.bulk_stream.clear();
        if told {
            self.room.handle_session_lost(self.now, seat);
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
        let (claim, last) = (client.claim.unwrap(), client.last);
        self.enter(index, Some(Resume { claim, last }));
    }

    /// It comes back with its ticket, and nothing of what the room wants is carried out.
    pub(crate) fn resume_unanswered(&mut self, index: usize) -> Seat {
        let client = &self.clients[index];
        let (claim, last) = (client.claim.unwrap(), client.last);
        let request = self.request(index, Some(Resume { claim, last }));
        self.room.handle_join(self.now, request).unwrap()
    }

    fn request(&mut self, index: usize, resume: Option<Resume>) -> JoinRequest {
        let mut secret = [0; 32];
        self.rng.fill(&mut secret);
        self.clients[index].secret = secret;
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let user = self.users[index];
        JoinRequest {
            user: format!("user-{user}"),
            name: format!("name-{index}"),
            role: ROLES[user % ROLES.len()].into(),
            resume,
            asks: self.next_asks.clone(),
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
        }
    }

    fn enter(&mut self, index: usize, resume: Option<Resume>) {
        let request = self.request(index, resume);
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
        self.say(from, Lane::Events, target, payload);
    }

    /// On either lane.
    pub(crate) fn say(&mut self, from: usize, lane: Lane, target: &EventTarget, payload: Vec<u8>) {
        let Some(seat) = self.clients[from].seat else { return };
        for to in self.members() {
            let there = self.clients[to].peer.unwrap();
            let wanted = match target {
                EventTarget::All => true,
                EventTarget::Others | EventTarget::Later => to != from,
                EventTarget::Listed(listed) => listed.contains(&there),
                EventTarget::Host => there == self.room.host(),
                EventTarget::Group(group) => to != from && self.hears[to].contains(*group),
            };
            if wanted && self.is_member(from) {
                match lane {
                    Lane::Events => self.expected_events[to].push(payload.clone()),
                    Lane::Bulk => self.expected_bulk[to].push(payload.clone()),
                }
            }
        }
        let event = Event { lane, target: target.clone(), channel: 0, piece: 0, payload };
        self.room.handle_event(self.now, seat, event);
        self.carry_out();
    }

    /// The client chooses the groups that it hears.
    pub(crate) fn subscribe(&mut self, one: usize, groups: &[u8]) {
        let client = &mut self.clients[one];
        let Some(seat) = client.seat.filter(|_| client.link.is_some()) else { return };
        client.asked += 1;
        self.hears[one] = groups.iter().filter_map(|group| Group::new(*group)).collect();
        let asked = Subscribe { request: client.asked, groups: self.hears[one].0 };
        self.room.handle_subscribe(seat, &asked);
        self.carry_out();
    }

    /// The client asks for changes of the shared state.
    pub(crate) fn ask(&mut self, from: usize, operations: Vec<Operation>) {
        let client = &mut self.clients[from];
        let Some(seat) = client.seat.filter(|_| client.link.is_some()) else { return };
        client.asked += 1;
        let request = StateRequest { request: client.asked, operations };
        self.room.handle_state_request(self.now, seat, request);
        self.carry_out();
    }

    /// The client sends one message on the realtime plane; its payload says who and which.
    pub(crate) fn send_pose(&mut self, from: usize) {
        self.send_message(from, 34);
    }

    /// The same to a target of its own.
    pub(crate) fn send_pose_to(&mut self, from: usize, target: u16) {
        self.send(from, Kind::Pose, target, 34);
    }

    /// The same with a payload of `len` bytes.
    pub(crate) fn send_message(&mut self, from: usize, len: usize) {
        self.send(from, Kind::Pose, TARGET_OTHERS, len);
    }

    pub(crate) fn send(&mut self, from: usize, kind: Kind, target: u16, len: usize) {
        let client = &mut self.clients[from];
        let (Some(link), Some(peer)) = (client.link.as_mut(), client.peer) else { return };
        client.sent += 1;
        let mut payload = peer.0.to_le_bytes().to_vec();
        payload.extend_from_slice(&client.sent.to_le_bytes());
        payload.resize(len, 0xab);
        let message = Message {
            kind,
            flags: 1,
            peer: target,
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
        if self.rng.u8(..100) == 0 {
            // A tick of `auto` moves under the traffic.
            let load = self.rng.f32();
            self.shard.report_load(load);
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
                self.room.handle_link(self.now, event.seat, event.what);
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
                RoomOutput::Subscribe(seat, groups) => {
                    let subscribe = ShardCommand::Subscribe { room: ROOM, seat, groups };
                    self.shard.handle_command(self.now, subscribe);
                }
                RoomOutput::Mute(seat, muted) => {
                    let mute = ShardCommand::Mute { room: ROOM, seat, muted };
                    self.shard.handle_command(self.now, mute);
                }
                RoomOutput::Joined(seat, joined, claim) => {
                    self.post(seat, Delivery::Joined(joined, claim));
                }
                RoomOutput::Control(seat, bytes) => {
                    self.post(seat, Delivery::Control(bytes.to_vec()));
                }
                RoomOutput::Event(seat, Lane::Events, bytes) => {
                    self.post(seat, Delivery::Event(bytes.to_vec()));
                }
                RoomOutput::Event(seat, Lane::Bulk, bytes) => self.post_bulk(seat, bytes.to_vec()),
                RoomOutput::State(seat, bytes) => self.post(seat, Delivery::State(bytes.to_vec())),
                RoomOutput::Disconnect(seat, code) => self.post(seat, Delivery::End(code)),
                RoomOutput::Shown(listing) => self.listing = Some(*listing),
                RoomOutput::Closed => self.room_closed = true,
            }
        }
    }

    /// The bulk lane is as reliable, and later.
    fn post_bulk(&mut self, seat: Seat, bytes: Vec<u8>) {
        let index = self.client_of.get(&seat.peer).copied();
        let Some(client) = index.map(|index| &mut self.clients[index]) else { return };
        if client.seat != Some(seat) || client.asleep {
            return;
        }
        let at = self.now + Duration::from_millis(self.rng.u64(100..300));
        let at = client.bulk_stream.back().map_or(at, |(last, _)| at.max(*last));
        client.bulk_stream.push_back((at, bytes));
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
