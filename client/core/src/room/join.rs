//! The join of a room: its options, and the messages that they become.

use std::fmt;

use nucleus_protocol::limits;
use nucleus_protocol::link::{Planes, Suite};
use nucleus_protocol::session::{Join, encode};

use crate::rooms::RoomSelection;
use crate::session::{Capabilities, ConnectionFacts, ReturnTicket, check_opening};

/// What a client tells a server when it joins a room.
#[derive(Clone)]
pub struct RoomJoin {
    /// The join token, a JWT of at most 4 KiB.
    pub token: String,
    /// The room's name, 1 to 128 bytes. May be empty if `selection` looks for any matching room.
    pub room: String,
    /// Display name, at most 128 bytes. If empty, the name in the token is used.
    pub name: String,
    /// How the room is selected, and its options if this join creates it.
    pub selection: RoomSelection,
    /// Name and version of the application, for the server's operator.
    pub agent: String,
    /// What this client can do.
    pub capabilities: Capabilities,
    /// The suites that the client offers for its link, the best first.
    pub suites: [Suite; 2],
    /// The ticket of an earlier session that the first join resumes, for example after the process
    /// was started again.
    pub ticket: Option<ReturnTicket>,
}

impl fmt::Debug for RoomJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is as secret as a password and must not reach a log.
        f.debug_struct("RoomJoin")
            .field("room", &self.room)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl RoomJoin {
    /// Checks the limits that the server enforces too.
    ///
    /// # Errors
    /// The first limit that is not kept, as one line.
    pub fn check(&self) -> Result<(), &'static str> {
        check_opening(&self.token, &self.name, &self.agent)?;
        if self.room.is_empty() && !self.selection.matches()
            || self.room.len() > limits::MAX_ROOM_NAME
        {
            return Err("the room's name must have 1 to 128 bytes");
        }
        self.selection.validate()
    }

    /// Encodes `Join` with the newest token. `resume` is the session to resume.
    pub(super) fn encode(
        &self,
        token: Vec<u8>,
        resume: ReturnTicket,
        largest_body: u16,
        mode: u8,
    ) -> Vec<u8> {
        let [last_event, last_bulk] = resume.last_sequences;
        encode(&Join {
            token,
            ticket: resume.ticket,
            last_event,
            last_bulk,
            room: self.room.clone().into_bytes(),
            name: self.name.clone().into_bytes(),
            suites: self.suites.map(|suite| suite as u8).to_vec(),
            largest_body,
            mode,
            ..self.selection.clone().into_join()
        })
    }

    /// Returns the largest body that this client accepts on this connection, and the planes that
    /// the link uses.
    pub(super) fn planes(&self, facts: &ConnectionFacts) -> (u16, Planes) {
        let (largest_body, carries) = self.capabilities.largest_body(facts.datagram);
        let planes = match (self.capabilities.realtime_port, carries) {
            (true, true) => Planes::Both,
            (true, false) => Planes::PortOnly,
            (false, _) => Planes::SessionOnly,
        };
        (largest_body, planes)
    }
}
