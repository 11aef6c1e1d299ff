//! What a room shows of itself in the lobby, told when it has changed: collected for a moment, as the
//! roster is.

use nucleus_protocol::limits::MAX_LISTED_VALUE;
use nucleus_protocol::session::Value;
use nucleus_protocol::time::Time;

use super::{Room, RoomConfig, RoomOutput};
use crate::limits;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Places taken, those of lost sessions among them.
    pub peers: u16,
    /// Seats held for users who are expected.
    pub held: u16,
    /// Peers it takes.
    pub capacity: u16,
    /// A moderator has locked it.
    pub locked: bool,
    /// It has a password.
    pub password: bool,
    /// It is neither listed nor matched: hidden, or by invitation.
    pub hidden: bool,
    /// The room's fields under its listed keys, in the order of the keys, where they are there and
    /// short enough.
    pub fields: Vec<(Vec<u8>, Value)>,
}

impl Listing {
    /// Of a room that is about to be made.
    pub fn first(config: &RoomConfig) -> Self {
        let terms = &config.terms;
        let field = |key: &Vec<u8>| terms.fields.iter().rfind(|(first, _)| first == key).cloned();
        Self {
            peers: 0,
            held: terms.guests.as_ref().map_or(0, Vec::len) as u16,
            capacity: config.capacity,
            locked: terms.locked,
            password: terms.password.is_some(),
            hidden: terms.hidden || terms.guests.is_some(),
            fields: terms.listed.iter().filter_map(field).filter(is_short).collect(),
        }
    }
}

fn is_short((_, value): &(Vec<u8>, Value)) -> bool {
    value.bytes.len() <= MAX_LISTED_VALUE
}

/// What was told, and when more is.
#[derive(Default)]
pub(super) struct Shown {
    last: Listing,
    due: Option<Time>,
}

impl Shown {
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }
}

impl Room {
    /// What it shows now.
    pub fn listing(&self) -> Listing {
        let terms = &self.config.terms;
        let field = |key: &Vec<u8>| Some((key.clone(), self.state.room_field(key)?.clone()));
        Listing {
            peers: self.peers.len() as u16,
            held: self.holds.len() as u16,
            capacity: self.config.capacity,
            locked: self.door.is_locked(),
            password: self.gate.has_password(),
            hidden: self.hidden || terms.guests.is_some(),
            fields: terms.listed.iter().filter_map(field).filter(is_short).collect(),
        }
    }

    /// Seats that it has given, held ones among them.
    pub fn taken(&self) -> usize {
        self.peers.len() + self.holds.len()
    }

    /// Something of it may have changed.
    pub(super) fn show(&mut self, now: Time) {
        self.shown.due.get_or_insert(now + limits::ROSTER_BATCH);
    }

    /// Tells of it when it is due.
    pub(super) fn show_due(&mut self, now: Time) {
        if self.shown.due.is_none_or(|at| now < at) {
            return;
        }
        self.shown.due = None;
        let listing = self.listing();
        if listing != self.shown.last {
            self.shown.last = listing.clone();
            self.outputs.push_back(RoomOutput::Shown(Box::new(listing)));
        }
    }
}
