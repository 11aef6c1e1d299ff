//! What the lobby shows of a room. Changes are collected for a moment and sent as one output.

use nucleus_protocol::limits::MAX_LISTED_VALUE;
use nucleus_protocol::session::Value;
use nucleus_protocol::time::Time;

use super::config::RoomOptions;
use crate::limits;

/// What the lobby shows of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The number of participants, including those whose session is lost.
    pub peers: u16,
    /// The number of seats reserved for expected users.
    pub reserved: u16,
    /// The largest number of participants.
    pub capacity: u16,
    /// Whether a moderator has locked the room.
    pub locked: bool,
    /// Whether the room has a password.
    pub password: bool,
    /// Whether the lobby neither lists nor matches the room: a hidden room, or one by invitation.
    pub hidden: bool,
    /// The room's fields under its listed keys, in the order of the keys. Leaves out fields that do
    /// not exist and values that are too long.
    pub fields: Vec<(Vec<u8>, Value)>,
}

impl Listing {
    /// Returns the listing of a room that is about to be created.
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

/// Returns whether the value of a field is short enough for a listing.
pub(crate) fn is_short((_, value): &(Vec<u8>, Value)) -> bool {
    value.bytes.len() <= MAX_LISTED_VALUE
}

/// Sends the listing to the lobby when it has changed, at most once per [`limits::ROSTER_BATCH`].
pub(crate) struct ListingFeed {
    /// Whether a moderator or the room's options have hidden the room.
    hidden: bool,
    /// The listing sent last.
    last_sent: Listing,
    /// The number of seats that the lobby counts as taken: from `last_sent`, or from a
    /// [`RoomOutput::Seats`](super::RoomOutput::Seats) sent since.
    seats_sent: usize,
    /// When the collected changes are sent.
    due: Option<Time>,
}

impl ListingFeed {
    pub(crate) fn new(hidden: bool) -> Self {
        Self { hidden, last_sent: Listing::default(), seats_sent: 0, due: None }
    }

    pub(crate) fn is_hidden(&self) -> bool {
        self.hidden
    }

    pub(crate) fn set_hidden(&mut self, hidden: bool) {
        self.hidden = hidden;
    }

    /// Notes that the listing may have changed.
    pub(crate) fn changed(&mut self, now: Time) {
        self.due.get_or_insert(now + limits::ROSTER_BATCH);
    }

    /// Notes that this number of seats has been sent to the lobby.
    pub(crate) fn seats_sent(&mut self, seats: usize) {
        self.seats_sent = seats;
    }

    /// Returns when the collected changes are sent.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// Returns whether collected changes are due. Due changes count as sent from then on.
    pub(crate) fn take_due(&mut self, now: Time) -> bool {
        self.due.take_if(|at| *at <= now).is_some()
    }

    /// Returns the output for the lobby; `None` if nothing has changed.
    pub(crate) fn update(&mut self, listing: Listing, seats: usize) -> Option<Listing> {
        // If somebody has joined and left since the last update, the listing is as before. But the
        // lobby still counts the seat that was reported with the join.
        if listing == self.last_sent && seats == self.seats_sent {
            return None;
        }
        self.seats_sent = seats;
        self.last_sent = listing.clone();
        Some(listing)
    }
}
