//! How the server admits a client: the handshake, tokens, tickets, and the question to the room.

use nucleus_core::ids::{RequestId, RoomInstanceId, ServerInstanceId, SessionId};
use nucleus_core::room::{
    JoinRequest, Resume, RoomConfig, RoomInput, RoomOptions, SecondDevice, TicketContent,
};
use nucleus_protocol::session::{
    Code, Features, Hello, Join, RealtimeEndpoint, Refuse, SESSION_HEADER_BYTES, Welcome,
};
use nucleus_protocol::time::Time;
use nucleus_sim::join::join_request;

use crate::edge::{CONTROL, EdgePhase};
use crate::network::{ConnectionNumber, Network};
use crate::room_host::RoomHost;
use crate::server::SimulatedServer;
use crate::tickets::{admits, role_of, unix, verify};

/// Bytes behind the fields of handshake messages that this version knows.
const LATER_FIELDS: [u8; 3] = [1, 2, 3];

impl SimulatedServer {
    pub(crate) fn greet(
        &mut self,
        network: &mut Network,
        connection: ConnectionNumber,
        body: &[u8],
    ) {
        let hello = Hello::parse(body).unwrap();
        if network.now < self.foreign_until {
            return self.refuse(network, connection, refusal(Code::Version as u16, 0));
        }
        let mut features = self.version.features.to_bytes();
        if self.version.is_newer {
            features.resize(40, 0xf0);
        }
        let (server_id, agent) = (b"simulated".to_vec(), Vec::new());
        let welcome = Welcome { version: 1, flags: 0, server_id, agent, features };
        let mut message = welcome.encode();
        if self.version.is_newer {
            append(&mut message, &LATER_FIELDS);
        }
        let features = Features::parse(&hello.features).unwrap().common(self.version.features);
        if let Some(edge) = self.edges.get_mut(&connection) {
            edge.phase = EdgePhase::Join(features);
            edge.has_port = hello.has_realtime_port();
            edge.queue(network.now, CONTROL, message.into());
        }
    }

    fn refuse(&mut self, network: &mut Network, connection: ConnectionNumber, refuse: Refuse) {
        let mut message = refuse.encode();
        if self.version.is_newer {
            append(&mut message, &LATER_FIELDS);
        }
        if let Some(edge) = self.edges.get_mut(&connection) {
            edge.queue(network.now, CONTROL, message.into());
        }
        self.write(network, connection);
        self.close(network, connection, refuse.code.into());
    }

    /// Decides about a join, as the server's handshake does.
    pub(crate) fn join(
        &mut self,
        network: &mut Network,
        connection: ConnectionNumber,
        features: Features,
        join: Join,
    ) {
        if let Some(refuse) = self.refusals.pop_front() {
            return self.refuse(network, connection, refuse);
        }
        let now = network.now;
        self.host.take_if(|host| host.is_over());
        let ticket = self.tickets.open(&join.ticket).cloned();
        let live = self.host.as_ref().map(|host| host.instance);
        let is_living = |content: &&TicketContent| Some(content.claim.room_instance) == live;
        let mut result = Err(Code::TimedOut);
        if let Some(content) = ticket.as_ref().filter(is_living) {
            let resume = Resume { claim: content.claim, last: [join.last_event, join.last_bulk] };
            let request = JoinRequest {
                resume: Some(resume),
                ..self.new_request(network, connection, &content.user, features)
            };
            result = self.ask_room(network, connection, request, features);
        }
        if result.is_err() {
            let admitted = match verify(&join.token, unix(now)) {
                Ok(user) => Ok((user, unix(now) + self.ticket_ttl.as_secs(), false)),
                Err(Code::TokenExpired) => ticket
                    .filter(|content| admits(content, unix(now)) && !is_living(&content))
                    .map(|content| (content.user, content.end, true))
                    .ok_or(Code::TokenExpired),
                Err(code) => Err(code),
            };
            result = admitted.and_then(|(user, ticket_end, token_expired)| {
                let request = JoinRequest {
                    ticket_end,
                    token_expired,
                    ..self.new_request(network, connection, &user, features)
                };
                self.open_room(now);
                self.ask_room(network, connection, request, features)
            });
        }
        if let Err(code) = result {
            let retry_after_ms = if code == Code::RoomFull { 2_000 } else { 0 };
            self.refuse(network, connection, refusal(code as u16, retry_after_ms));
        }
    }

    /// Makes the request of a new participant. Its link has a grant if the client has a port.
    fn new_request(
        &self,
        network: &mut Network,
        connection: ConnectionNumber,
        user: &str,
        features: Features,
    ) -> JoinRequest {
        let secret = [network.rng.u8(..); 32];
        let unix_now = unix(network.now);
        let request = join_request(user.to_owned(), role_of(user), &secret);
        let has_port = self.edges.get(&connection).is_some_and(|edge| edge.has_port);
        let mut grant = request.grant.filter(|_| has_port);
        if let Some(grant) = &mut grant {
            grant.endpoints = vec![RealtimeEndpoint { ip: Vec::new(), port: 5_056 }];
        }
        JoinRequest { features, unix_now, grant, ..request }
    }

    fn open_room(&mut self, now: Time) {
        if self.host.is_some() {
            return;
        }
        self.instances += 1;
        let config = RoomConfig {
            limits: self.limits,
            capacity: 12,
            second_device: SecondDevice::Allow,
            instance: RoomInstanceId(self.instances.to_le_bytes()),
            server_instance: ServerInstanceId([1; 8]),
            clock_epoch: 1,
            options: RoomOptions::default(),
            bans: Vec::new(),
        };
        self.host = Some(RoomHost::new(now, config));
    }

    /// Asks the room to admit a client.
    fn ask_room(
        &mut self,
        network: &mut Network,
        connection: ConnectionNumber,
        request: JoinRequest,
        features: Features,
    ) -> Result<SessionId, Code> {
        self.joining = Some((connection, features));
        self.post(RoomInput::Join { request: RequestId(connection), join: Box::new(request) });
        self.settle(network);
        self.joining = None;
        self.reply.take().unwrap_or(Err(Code::ShuttingDown))
    }
}

/// Returns a refusal.
pub(crate) fn refusal(code: u16, retry_after_ms: u32) -> Refuse {
    let (text, endpoints) = (b"no".to_vec(), Vec::new());
    Refuse { code, text, retry_after_ms, oldest: 1, newest: 1, endpoints }
}

/// Appends bytes to the body of a message.
fn append(message: &mut Vec<u8>, bytes: &[u8]) {
    message.extend_from_slice(bytes);
    let len = (message.len() - SESSION_HEADER_BYTES) as u32;
    message[..4].copy_from_slice(&len.to_le_bytes());
}
