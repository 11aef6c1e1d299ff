//! How the server carries out the outputs of its room, and writes its streams.

use bytes::Bytes;
use nucleus_core::ids::SessionId;
use nucleus_core::moments::LossCause;
use nucleus_core::room::{RoomInput, RoomOutput};
use nucleus_protocol::session::{
    Code, EventDown, Joined, RESERVED_CHANNELS, Renewed, SESSION_HEADER_BYTES, SessionSetting,
    encode, owned,
};

use crate::edge::{CONTROL, EdgePhase, STATE, UNKNOWN, lane_stream};
use crate::network::{ConnectionNumber, Network, ToClient};
use crate::server::SimulatedServer;

/// The room's name.
pub(crate) const ROOM_NAME: &str = "workshop";
/// The names of the server, all with the same address.
pub(crate) const SERVER_NAMES: [&str; 2] = ["a.test:5055", "b.test:5055"];

impl SimulatedServer {
    /// Runs the room and carries out its outputs, until nothing is left to do.
    pub(crate) fn settle(&mut self, network: &mut Network) {
        while let Some(host) = &mut self.host {
            let outputs = host.settle(network.now);
            if outputs.is_empty() {
                break;
            }
            outputs.into_iter().for_each(|output| self.carry_out(network, output));
        }
        for connection in self.edges.keys().copied().collect::<Vec<_>>() {
            self.write(network, connection);
        }
    }

    fn carry_out(&mut self, network: &mut Network, output: RoomOutput) {
        match output {
            RoomOutput::JoinReply { result, .. } => self.take_reply(network, result),
            RoomOutput::Joined(session, joined, ticket) => {
                let ticket = self.tickets.seal(*ticket);
                let message = self.complete(network, session, Joined { ticket, ..*joined });
                self.push(network, session, CONTROL, message);
            }
            RoomOutput::Renewed(session, renewed, ticket) => {
                let ticket = self.tickets.seal(*ticket);
                let message = encode(&Renewed { ticket, ..renewed });
                self.push(network, session, CONTROL, message.into());
            }
            RoomOutput::Control(session, message) | RoomOutput::EventAck(session, message) => {
                self.push(network, session, CONTROL, message);
            }
            RoomOutput::Event(session, lane, message) => {
                self.push(network, session, lane_stream(lane), message.clone());
                if self.version.is_newer && network.chance(5) {
                    let later = on_reserved_channel(&message);
                    self.push(network, session, lane_stream(lane), later);
                }
            }
            RoomOutput::State(session, message) => self.push(network, session, STATE, message),
            RoomOutput::Disconnect(session, code) => self.disconnect(network, session, code),
            // The links are the room's host's, and nothing else concerns clients.
            _ => {}
        }
    }

    /// Takes the room's reply to the join that it decides about.
    fn take_reply(&mut self, network: &mut Network, result: Result<SessionId, Code>) {
        if let (Ok(session), Some((connection, features))) = (result, self.joining) {
            let replaced = self.sessions.keys().find(|other| other.peer == session.peer).copied();
            if let Some(replaced) = replaced {
                self.disconnect(network, replaced, Code::Replaced);
            }
            self.sessions.insert(session, connection);
            if let Some(edge) = self.edges.get_mut(&connection) {
                edge.phase = EdgePhase::Joined(session, features);
            }
        }
        self.reply = Some(result);
    }

    /// Completes `Joined`, and encodes it.
    fn complete(&mut self, network: &mut Network, session: SessionId, mut joined: Joined) -> Bytes {
        joined.room = ROOM_NAME.into();
        if network.chance(30) {
            joined.entries = SERVER_NAMES.map(|name| name.as_bytes().to_vec()).to_vec();
        }
        if self.version.is_newer {
            joined.settings.push(SessionSetting { key: 60_000, value: u64::MAX });
            if let Some(connection) = self.sessions.get(&session) {
                let unknown = ToClient::Bytes(UNKNOWN, vec![99, 1, 2, 3]);
                network.send_down(*connection, UNKNOWN, unknown);
            }
        }
        encode(&joined).into()
    }

    /// Queues a message for a session. A session that cannot keep up is lost.
    fn push(&mut self, network: &mut Network, session: SessionId, stream: u8, message: Bytes) {
        let Some(connection) = self.sessions.get(&session) else { return };
        let Some(edge) = self.edges.get_mut(connection) else { return };
        if !edge.queue(network.now, stream, message) {
            self.disconnect(network, session, Code::SlowConsumer);
            self.post(RoomInput::SessionLost(session, LossCause::Slow));
        }
    }

    fn disconnect(&mut self, network: &mut Network, session: SessionId, code: Code) {
        if let Some(connection) = self.sessions.remove(&session) {
            self.write(network, connection);
            self.close(network, connection, code as u64);
        }
    }

    /// Writes what the windows of the client's streams allow.
    pub(crate) fn write(&mut self, network: &mut Network, connection: ConnectionNumber) {
        let Some(edge) = self.edges.get_mut(&connection) else { return };
        while let Some((stream, bytes)) = edge.next_write() {
            network.send_down(connection, stream, ToClient::Bytes(stream, bytes));
        }
    }
}

/// Returns a copy of an event on a channel that this version does not know. Its sequence is the
/// event's, so send it after the event: the client counts it as received.
fn on_reserved_channel(message: &Bytes) -> Bytes {
    let event: EventDown = owned(&message[SESSION_HEADER_BYTES..]).unwrap();
    encode(&EventDown { channel: RESERVED_CHANNELS + 9, ..event }).into()
}
