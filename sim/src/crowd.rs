//! [`Crowd`]: all clients of a world. The server's messages reach the clients through streams with
//! a delay. Some outputs of rooms are only recorded.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use nucleus_core::ids::{PeerId, RequestId, RoomId, SessionId};
use nucleus_core::room::{Ban, Listing, Moderated, TicketClaim};
use nucleus_protocol::session::{Code, Joined, Lane};
use nucleus_protocol::time::Time;

use crate::client::{Client, Delivery};
use crate::server::{Clients, SessionAddress};

/// The clients of a world, each with an index.
pub struct Crowd {
    clients: Vec<Client>,
    rng: fastrand::Rng,
    pub(crate) now: Time,
    newest_request: u64,
    /// The client of each join without a reply.
    joining: HashMap<RequestId, usize>,
    client_of: HashMap<(RoomId, PeerId), usize>,
    invitations: HashMap<RequestId, Result<(), Code>>,
    /// The newest listing of each room.
    pub listings: HashMap<RoomId, Listing>,
    /// The acts of moderators.
    pub moderated: Vec<Moderated>,
    /// The bans of each room, as they are kept for the next instance of the room.
    pub bans: HashMap<RoomId, Vec<Ban>>,
}

impl Crowd {
    /// Creates an empty crowd. Delays are drawn from `seed`.
    pub fn new(now: Time, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let (clients, joining, client_of, invitations) = Default::default();
        let (newest_request, listings, moderated, bans) = Default::default();
        Self {
            clients,
            rng,
            now,
            newest_request,
            joining,
            client_of,
            invitations,
            listings,
            moderated,
            bans,
        }
    }

    /// Adds a client and returns its index.
    pub fn add(&mut self, client: Client) -> usize {
        self.clients.push(client);
        self.clients.len() - 1
    }

    /// Returns a new id for a request to a room.
    pub(crate) fn request(&mut self) -> RequestId {
        self.newest_request += 1;
        RequestId(self.newest_request)
    }

    /// Returns a new id for a client's request to join.
    pub(crate) fn begin_join(&mut self, index: usize) -> RequestId {
        let request = self.request();
        self.joining.insert(request, index);
        request
    }

    /// Removes and returns the reply to an invitation.
    pub(crate) fn invitation(&mut self, request: RequestId) -> Option<Result<(), Code>> {
        self.invitations.remove(&request)
    }

    /// Returns the client that has this peer id.
    pub(crate) fn of_peer(&mut self, room: RoomId, peer: PeerId) -> Option<&mut Client> {
        let index = self.client_of.get(&(room, peer))?;
        self.clients.get_mut(*index)
    }

    /// Returns the client with this session; `None` if the session has been replaced.
    fn by_session(&mut self, to: SessionAddress) -> Option<&mut Client> {
        let client = self.of_peer(to.room, to.session.peer)?;
        (client.session == Some(to.session)).then_some(client)
    }

    /// Sends a message on a stream. Streams are reliable and ordered, with a delay.
    fn send(&mut self, to: SessionAddress, delivery: Delivery) {
        let at = self.now + Duration::from_millis(self.rng.u64(5..80));
        let ends = matches!(delivery, Delivery::End(_));
        let Some(client) = self.by_session(to).filter(|client| !client.asleep || ends) else {
            return;
        };
        let at = client.streams.back().map_or(at, |(last, _)| at.max(*last));
        client.streams.push_back((at, delivery));
    }

    /// Sends a message on the bulk stream, which is reliable and ordered too, but has a longer
    /// delay.
    fn send_bulk(&mut self, to: SessionAddress, bytes: Vec<u8>) {
        let at = self.now + Duration::from_millis(self.rng.u64(100..300));
        let Some(client) = self.by_session(to).filter(|client| !client.asleep) else { return };
        let at = client.bulk_stream.back().map_or(at, |(last, _)| at.max(*last));
        client.bulk_stream.push_back((at, bytes));
    }
}

impl Clients for Crowd {
    fn join_reply(&mut self, room: RoomId, request: RequestId, result: Result<SessionId, Code>) {
        let Some(index) = self.joining.remove(&request) else { return };
        let client = &mut self.clients[index];
        match result {
            Ok(session) => {
                let known = client.peer.is_none_or(|peer| peer == session.peer);
                assert!(known, "a resume got another peer");
                (client.session, client.peer) = (Some(session), Some(session.peer));
                self.client_of.insert((room, session.peer), index);
            }
            Err(code) => client.ended = Some(code),
        }
    }

    fn joined(&mut self, to: SessionAddress, joined: Box<Joined>, claim: TicketClaim) {
        self.send(to, Delivery::Joined(joined, claim));
    }

    fn control(&mut self, to: SessionAddress, message: Bytes) {
        self.send(to, Delivery::Control(message.to_vec()));
    }

    fn event_ack(&mut self, to: SessionAddress, message: Bytes) {
        self.send(to, Delivery::Control(message.to_vec()));
    }

    fn event(&mut self, to: SessionAddress, lane: Lane, message: Bytes) {
        match lane {
            Lane::Events => self.send(to, Delivery::Event(message.to_vec())),
            Lane::Bulk => self.send_bulk(to, message.to_vec()),
        }
    }

    fn state(&mut self, to: SessionAddress, message: Bytes) {
        self.send(to, Delivery::State(message.to_vec()));
    }

    fn disconnect(&mut self, to: SessionAddress, code: Code) {
        self.send(to, Delivery::End(code));
    }

    fn invitation_reply(&mut self, request: RequestId, result: Result<(), Code>) {
        self.invitations.insert(request, result);
    }

    fn listing(&mut self, room: RoomId, listing: Listing) {
        self.listings.insert(room, listing);
    }

    fn banned(&mut self, room: RoomId, ban: Ban) {
        self.bans.entry(room).or_default().push(ban);
    }

    fn unbanned(&mut self, room: RoomId, user: &str) {
        self.bans.entry(room).or_default().retain(|ban| ban.user != user);
    }

    fn bans_ended(&mut self, room: RoomId) {
        self.bans.remove(&room);
    }

    fn moderated(&mut self, _room: RoomId, act: Moderated) {
        self.moderated.push(act);
    }
}

impl Deref for Crowd {
    type Target = [Client];

    fn deref(&self) -> &[Client] {
        &self.clients
    }
}

impl DerefMut for Crowd {
    fn deref_mut(&mut self) -> &mut [Client] {
        &mut self.clients
    }
}
