//! Whole rooms in one process: real rooms on a real shard, real links, and a seeded network between
//! them. Reliable streams and QUIC datagrams are queues with a delay.
//!
//! [`World::step`] advances time by one step. A test that checks something between the parts of a
//! step calls the parts itself, in this order: [`World::set_now`], [`World::arrivals`] and
//! [`World::take`], [`World::flush`], [`World::settle`], [`World::deliver`], [`World::receive`].

use std::cell::Ref;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nucleus_core::fanout::{Fanout, FanoutConfig, FanoutInput, Outbox, Tick};
use nucleus_core::ids::{RoomId, RoomInstanceId, ServerInstanceId, SessionId};
use nucleus_core::limits::Limits;
use nucleus_core::moments::LossCause;
use nucleus_core::room::{
    Ban, Event, EventTarget, JoinConditions, JoinRequest, Listing, Resume, Room, RoomConfig,
    RoomInput, RoomOptions, SecondDevice,
};
use nucleus_netsim::{Conditions, SimPeer};
use nucleus_protocol::groups::Group;
use nucleus_protocol::link::Path;
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS};
use nucleus_protocol::session::{Code, Lane, Operation, StateRequest, Subscribe};
use nucleus_protocol::time::Time;

use crate::client::Client;
use crate::crowd::Crowd;
use crate::join::{ROLES, join_request};
use crate::server::Server;

/// The length of a step.
pub const STEP: Duration = Duration::from_millis(5);
/// The first room, the only one unless [`WorldConfig::rooms`] says otherwise.
pub const ROOM: RoomId = RoomId(1);
/// The room instance id and the clock epoch.
const EPOCH: u32 = 7;

/// The configuration of a world.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Rooms on the shard, numbered from 1.
    pub rooms: u64,
    /// The largest number of peers in each room.
    pub capacity: u16,
    /// The options of each room.
    pub options: RoomOptions,
    /// The server's limits.
    pub limits: Limits,
    /// The bans that each room begins with.
    pub bans: Vec<Ban>,
}

impl Default for WorldConfig {
    fn default() -> Self {
        let (options, limits, bans) = Default::default();
        Self { rooms: 1, capacity: 8, options, limits, bans }
    }
}

/// Rooms, their shard, their clients, and the network between them.
pub struct World {
    /// The random generator, also for the test's own choices.
    pub rng: fastrand::Rng,
    /// The rooms and their shard.
    pub server: Server<Fanout>,
    /// The clients, by index.
    pub clients: Crowd,
    /// The datagrams that the shard sends.
    pub outbox: Outbox,
    /// The conditions in all following joins.
    pub next_conditions: JoinConditions,
}

/// A datagram that has arrived at the server.
pub struct Arrival {
    /// The client that sent it.
    pub from: usize,
    /// The datagram's path; `None` for a datagram inside QUIC.
    pub path: Option<Path>,
    /// The datagram.
    pub bytes: Vec<u8>,
}

impl World {
    /// Creates a world with one room with the default options and limits.
    pub fn new(seed: u64, capacity: u16) -> Self {
        Self::with(seed, WorldConfig { capacity, ..WorldConfig::default() })
    }

    /// Creates a world with this configuration.
    pub fn with(seed: u64, config: WorldConfig) -> Self {
        let WorldConfig { rooms, capacity, options, limits, bans } = config;
        let tick = match seed.is_multiple_of(2) {
            true => Tick::Auto,
            false => Tick::Fixed(Duration::from_millis(10)),
        };
        let shard = Fanout::new(FanoutConfig { index: 3, tick, limits, clock_epoch: EPOCH });
        let now = Time::from_millis(1_000);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut server = Server::new(now, vec![shard]);
        for room in 1..=rooms {
            let room_config = RoomConfig {
                limits,
                capacity,
                second_device: SecondDevice::Allow,
                instance: RoomInstanceId(room.to_le_bytes()),
                server_instance: ServerInstanceId([1; 8]),
                clock_epoch: EPOCH,
                options: options.clone(),
                bans: bans.clone(),
            };
            server.open_room(RoomId(room), room_config);
        }
        let (outbox, next_conditions) = Default::default();
        let clients = Crowd::new(now, rng.u64(..));
        let mut world = Self { rng, server, clients, outbox, next_conditions };
        world.settle();
        world
    }

    /// Returns the current time.
    pub fn now(&self) -> Time {
        self.server.now
    }

    /// Sets the clock. Nothing else happens.
    pub fn set_now(&mut self, now: Time) {
        (self.server.now, self.clients.now) = (now, now);
    }

    /// Borrows the first room.
    pub fn room(&self) -> Ref<'_, Room> {
        self.server.room(ROOM)
    }

    /// Returns true if the first room has ended.
    pub fn is_over(&self) -> bool {
        self.server.is_over(ROOM)
    }

    /// Returns the newest listing of the first room, if there is one.
    pub fn listing(&self) -> Option<&Listing> {
        self.clients.listings.get(&ROOM)
    }

    /// Returns the shard.
    pub fn shard(&self) -> &Fanout {
        &self.server.shards[0]
    }

    /// Returns the shard.
    pub fn shard_mut(&mut self) -> &mut Fanout {
        &mut self.server.shards[0]
    }

    /// Adds a client that joins the first room, and returns its index. The client receives the
    /// outcome in the following steps.
    pub fn join(&mut self, up: Conditions, down: Conditions) -> usize {
        self.join_by(ROOM, self.clients.len(), up, down)
    }

    /// Adds a client that joins a room, and returns its index.
    pub fn join_room(&mut self, room: RoomId, network: Conditions) -> usize {
        self.join_by(room, self.clients.len(), network.clone(), network)
    }

    /// Adds a client that is another device of user number `user`, and returns its index.
    pub fn join_as(&mut self, network: Conditions, user: usize) -> usize {
        self.join_by(ROOM, user, network.clone(), network)
    }

    fn join_by(&mut self, room: RoomId, user: usize, up: Conditions, down: Conditions) -> usize {
        let ip = Ipv4Addr::from(0x0a00_0000 + self.clients.len() as u32);
        let address = SocketAddr::new(ip.into(), 40_000);
        let net = SimPeer::new(self.rng.u64(..), address, up, down);
        let index = self.clients.add(Client::new(room, user, net));
        self.enter(index, None);
        index
    }

    /// Stops the client's process. The server notices the loss of the session only if `noticed`.
    pub fn sleep(&mut self, index: usize, noticed: bool) {
        let client = &mut self.clients[index];
        if client.session.is_none() || client.joined.is_none() {
            return;
        }
        client.fall_asleep();
        if noticed {
            self.lose(index);
        }
    }

    /// Lets the server lose the client's session. The client does not notice.
    pub fn lose(&mut self, index: usize) {
        self.post_from(index, |session| RoomInput::SessionLost(session, LossCause::Silent));
    }

    /// Wakes up a client that sleeps. It gets a new address and resumes.
    pub fn wake(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if !std::mem::take(&mut client.asleep) || client.ended.is_some() {
            return;
        }
        client.net.change_address();
        self.resume(index);
    }

    /// Lets a client resume with its ticket, and returns its newest session.
    pub fn resume(&mut self, index: usize) -> Option<SessionId> {
        let client = &mut self.clients[index];
        client.resumes += 1;
        let (claim, last) = (client.claim.unwrap(), client.last);
        self.enter(index, Some(Resume { claim, last }));
        self.clients[index].session
    }

    fn enter(&mut self, index: usize, resume: Option<Resume>) {
        let join = Box::new(self.request(index, resume));
        let request = self.clients.begin_join(index);
        self.post(self.clients[index].room, RoomInput::Join { request, join });
    }

    fn request(&mut self, index: usize, resume: Option<Resume>) -> JoinRequest {
        let (mut secret, mut seed) = ([0; 32], [0; 32]);
        self.rng.fill(&mut secret);
        self.rng.fill(&mut seed);
        self.clients[index].secret = secret;
        let user = self.clients[index].user;
        let name = format!("name-{index}");
        let conditions = self.next_conditions.clone();
        let mut join = join_request(format!("user-{user}"), ROLES[user % ROLES.len()], &secret);
        join.link.seed = seed;
        let began = self.now();
        JoinRequest { name, resume, conditions, began, ..join }
    }

    /// Passes an input to a room and carries out the outputs.
    pub fn post(&mut self, room: RoomId, input: RoomInput) {
        self.server.post(room, input, &mut self.clients);
    }

    /// Passes an input of a client's session to its room. Does nothing if the client has no
    /// session.
    pub fn post_from(&mut self, index: usize, input: impl FnOnce(SessionId) -> RoomInput) {
        let client = &self.clients[index];
        if let Some(session) = client.session {
            self.post(client.room, input(session));
        }
    }

    /// Lets the client leave.
    pub fn leave(&mut self, index: usize) {
        self.post_from(index, |session| RoomInput::Leave(session, Code::Left));
    }

    /// Ends the first room.
    pub fn shut_down(&mut self, code: Code) {
        self.post(ROOM, RoomInput::Shutdown(code));
    }

    /// Invites a user to the first room.
    ///
    /// # Errors
    ///
    /// The code with which the room refuses the request.
    pub fn invite(&mut self, user: &str) -> Result<(), Code> {
        self.invitation(user, true)
    }

    /// Ends the user's invitation to the first room.
    ///
    /// # Errors
    ///
    /// The code with which the room refuses the request.
    pub fn uninvite(&mut self, user: &str) -> Result<(), Code> {
        self.invitation(user, false)
    }

    fn invitation(&mut self, user: &str, invited: bool) -> Result<(), Code> {
        let (request, user) = (self.clients.request(), user.to_owned());
        self.post(ROOM, RoomInput::Invite { request, user, invited });
        self.clients.invitation(request).expect("a reply")
    }

    /// Returns the members that are not asleep and have a link.
    pub fn awake(&self) -> Vec<usize> {
        let awake = |i: &usize| !self.clients[*i].asleep && self.clients[*i].link.is_some();
        self.members().into_iter().filter(awake).collect()
    }

    /// Returns the clients whose sessions their rooms have confirmed and not ended.
    pub fn members(&self) -> Vec<usize> {
        (0..self.clients.len()).filter(|i| self.clients[*i].is_member()).collect()
    }

    /// Returns the members of one room.
    pub fn members_of(&self, room: RoomId) -> Vec<usize> {
        self.members().into_iter().filter(|one| self.clients[*one].room == room).collect()
    }

    /// Lets a client send a reliable event on the events lane.
    pub fn event(&mut self, from: usize, target: &EventTarget, payload: Vec<u8>) {
        self.send_event(from, Lane::Events, target, payload);
    }

    /// Lets a client send a reliable event, and notes which clients must receive it.
    pub fn send_event(&mut self, from: usize, lane: Lane, target: &EventTarget, payload: Vec<u8>) {
        let room = self.clients[from].room;
        let host = self.server.room(room).host();
        let recipients =
            if self.clients[from].is_member() { self.members_of(room) } else { vec![] };
        for to in recipients {
            let client = &mut self.clients[to];
            let peer = client.peer.unwrap();
            let wanted = match target {
                EventTarget::All => true,
                EventTarget::Others | EventTarget::OthersAndLater => to != from,
                EventTarget::Listed(listed) => listed.contains(&peer),
                EventTarget::Host => peer == host,
                EventTarget::Group(group) => to != from && client.groups.contains(*group),
            };
            if wanted {
                client.expected[lane.index()].push(payload.clone());
            }
        }
        let event = Event { lane, target: target.clone(), channel: 0, piece: 0, payload };
        self.post_from(from, |from| RoomInput::Event { from, event });
    }

    /// Lets a client subscribe to these groups and no others.
    pub fn subscribe(&mut self, one: usize, groups: &[u8]) {
        let client = &mut self.clients[one];
        if client.link.is_none() {
            return;
        }
        client.requests += 1;
        client.groups = groups.iter().filter_map(|group| Group::new(*group)).collect();
        let asked = Subscribe { request: client.requests, groups: client.groups.0 };
        self.post_from(one, |from| RoomInput::Subscribe { from, request: asked });
    }

    /// Lets a client request changes of the shared state.
    pub fn request_state(&mut self, from: usize, operations: Vec<Operation>) {
        let client = &mut self.clients[from];
        if client.link.is_none() {
            return;
        }
        client.requests += 1;
        let request = StateRequest { request: client.requests, operations };
        self.post_from(from, |from| RoomInput::State { from, request });
    }

    /// Tells the shard that the server has received something on a stream of the client's session.
    pub fn report_active(&mut self, index: usize) {
        let (now, room) = (self.now(), self.clients[index].room);
        let Some(session) = self.clients[index].session else { return };
        self.shard_mut().handle(now, FanoutInput::Active { room, session });
        self.settle();
    }

    /// Lets a client send one pose to the others. Its payload names the sender and the sequence.
    pub fn send_pose(&mut self, from: usize) {
        self.send_message(from, 34);
    }

    /// Lets a client send one pose to a target.
    pub fn send_pose_to(&mut self, from: usize, target: u16) {
        self.send(from, MessageKind::Pose, target, 34);
    }

    /// Lets a client send one pose with a payload of `len` bytes to the others.
    pub fn send_message(&mut self, from: usize, len: usize) {
        self.send(from, MessageKind::Pose, TARGET_OTHERS, len);
    }

    /// Lets a client send one realtime message of any kind.
    pub fn send(&mut self, from: usize, kind: MessageKind, target: u16, len: usize) {
        let now = self.now();
        self.clients[from].send(now, kind, target, len);
    }

    /// Advances time by one step and handles everything that is due.
    pub fn step(&mut self) {
        if self.rng.u8(..100) == 0 {
            // Reports a random CPU load, so that an adaptive tick (`auto`) changes while there is
            // traffic.
            let (now, load) = (self.now(), self.rng.f32());
            self.shard_mut().handle(now, FanoutInput::Load(load));
        }
        self.advance(self.now() + STEP);
    }

    /// Advances time to `to` in one step.
    pub fn advance(&mut self, to: Time) {
        self.set_now(to);
        for arrival in self.arrivals() {
            self.take(arrival);
        }
        self.flush();
        self.settle();
        self.deliver();
        self.receive();
    }

    /// Advances time by `span`, step by step.
    pub fn run(&mut self, span: Duration) {
        let end = self.now() + span;
        while self.now() < end {
            self.step();
        }
    }

    /// Advances time to the next deadline, by at least a millisecond and not beyond `end`.
    pub fn step_to_deadline(&mut self, end: Time) {
        let least = self.now() + Duration::from_millis(1);
        self.advance(self.deadline().unwrap_or(end).max(least).min(end));
    }

    /// Returns the next deadline.
    pub fn deadline(&self) -> Option<Time> {
        let clients = self.clients.iter().filter_map(Client::deadline);
        clients.chain(self.server.deadline()).chain(self.shard().deadline()).min()
    }

    /// Removes and returns the datagrams that have arrived at the server by now.
    pub fn arrivals(&mut self) -> Vec<Arrival> {
        let (now, mut arrivals) = (self.now(), Vec::new());
        for (from, client) in self.clients.iter_mut().enumerate() {
            while let Some((remote, bytes)) = client.net.poll_server_side(now) {
                if !client.blocked {
                    let path = Some(Path { remote, local: None });
                    arrivals.push(Arrival { from, path, bytes });
                }
            }
            let inside = client.take_quic(now, true).into_iter();
            arrivals.extend(inside.map(|bytes| Arrival { from, path: None, bytes }));
        }
        arrivals
    }

    /// Passes a datagram to the shard.
    pub fn take(&mut self, arrival: Arrival) {
        let Arrival { from, path, mut bytes } = arrival;
        let (now, client) = (self.now(), &self.clients[from]);
        let (room, session) = (client.room, client.session);
        match (path, session) {
            (Some(path), _) => self.shard_mut().handle_datagram(now, path, 0, &mut bytes),
            (None, Some(session)) => {
                self.shard_mut().handle_session_datagram(now, room, session, &bytes);
            }
            (None, None) => {}
        }
    }

    /// Lets the shard write everything that is due into the outbox.
    pub fn flush(&mut self) {
        let now = self.now();
        if self.shard().deadline().is_some_and(|at| at <= now) {
            self.server.shards[0].flush(now, &mut self.outbox);
        }
    }

    /// Runs the rooms that are due and carries out their outputs.
    pub fn settle(&mut self) {
        self.server.settle(&mut self.clients);
    }

    /// Sends the datagrams in the outbox.
    pub fn deliver(&mut self) {
        let now = self.now();
        for t in &self.outbox.session_transmits {
            let bytes = self.outbox.bytes[t.start..t.end].to_vec();
            if let Some(client) = self.clients.of_peer(t.room, t.peer) {
                client.send_inside_quic(now, bytes);
            }
        }
        for (path, bytes) in self.outbox.datagrams() {
            assert!(bytes.len() <= 1_200, "a datagram of {} bytes", bytes.len());
            let client = &mut self.clients[client_at(path)];
            client.note_number(1, bytes);
            client.net.deliver(now, path.remote, bytes.to_vec());
        }
        self.outbox.clear();
    }

    /// Lets the clients handle everything that has arrived, and send their links' own output.
    pub fn receive(&mut self) {
        let now = self.now();
        self.clients.iter_mut().for_each(|client| client.receive(now));
    }
}

/// Returns the index of the client with this address. Each client has its own IP address, which
/// ends with its index.
pub fn client_at(path: Path) -> usize {
    let SocketAddr::V4(remote) = path.remote else { panic!("not IPv4") };
    (u32::from(*remote.ip()) - 0x0a00_0000) as usize
}
