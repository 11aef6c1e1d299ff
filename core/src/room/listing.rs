//! What the lobby shows of a room, told when it has changed: collected for a moment, as the roster is.

use nucleus_protocol::limits::MAX_LISTED_VALUE;
use nucleus_protocol::session::Value;
use nucleus_protocol::time::Time;

use super::admission::RoomOptions;
use super::{Room, RoomOutput};
use crate::limits;

/// What the lobby shows of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Places taken, those of lost sessions among them.
    pub peers: u16,
    /// Seats reserved for users who are expected.
    pub reserved: u16,
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
    pub fn first(options: &RoomOptions, capacity: u16) -> Self {
        let field = |key: &Vec<u8>| options.fields.iter().rfind(|(first, _)| first == key).cloned();
        Self {
            peers: 0,
            reserved: options.invited.as_ref().map_or(0, Vec::len) as u16,
            capacity,
            locked: options.locked,
            password: options.password.is_some(),
            hidden: options.hidden || options.invited.is_some(),
            fields: options.listed.iter().filter_map(field).filter(is_short).collect(),
        }
    }
}

fn is_short((_, value): &(Vec<u8>, Value)) -> bool {
    value.bytes.len() <= MAX_LISTED_VALUE
}

/// What was told, and when more is.
pub(super) struct ListingFeed {
    /// A moderator has hidden the room, or shown it.
    pub(super) hidden: bool,
    last: Listing,
    /// Seats that the lobby counts as given, by `last` or by [`RoomOutput::Seats`] since.
    pub(super) told_seats: usize,
    due: Option<Time>,
}

impl ListingFeed {
    pub(super) fn new(hidden: bool) -> Self {
        Self { hidden, last: Listing::default(), told_seats: 0, due: None }
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }
}

impl Room {
    /// What it shows now.
    pub fn listing(&self) -> Listing {
        let options = &self.config.options;
        let field = |key: &Vec<u8>| Some((key.clone(), self.state.room_field(key)?.clone()));
        Listing {
            peers: self.participants.len() as u16,
            reserved: self.admission.reserved() as u16,
            capacity: self.config.capacity,
            locked: self.admission.bans.locked,
            password: self.admission.has_password(),
            hidden: self.listing.hidden || options.invited.is_some(),
            fields: options.listed.iter().filter_map(field).filter(is_short).collect(),
        }
    }

    /// Seats that it has given, reserved ones among them.
    pub fn taken(&self) -> usize {
        self.participants.len() + self.admission.reserved()
    }

    /// Something of it may have changed.
    pub(super) fn list(&mut self, now: Time) {
        self.listing.due.get_or_insert(now + limits::ROSTER_BATCH);
    }

    /// Tells of it when it is due.
    pub(super) fn list_due(&mut self, now: Time) {
        if self.listing.due.is_none_or(|at| now < at) {
            return;
        }
        self.listing.due = None;
        let listing = self.listing();
        // Whoever came and left since may have changed the seats alone, and changed them back.
        if listing != self.listing.last || self.taken() != self.listing.told_seats {
            self.listing.told_seats = self.taken();
            self.listing.last = listing.clone();
            self.outputs.push_back(RoomOutput::Listing(Box::new(listing)));
        }
    }
}
