//! An event as its sender posts it.

use nucleus_protocol::groups::Group;
use nucleus_protocol::session::Lane;

use crate::ids::PeerId;

/// An event, or a piece of a message on the bulk lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The lane on which it arrived.
    pub lane: Lane,
    /// The recipients.
    pub target: EventTarget,
    /// The application's channel.
    pub channel: u8,
    /// The bits of [`nucleus_protocol::session::EventUp::piece`].
    pub piece: u8,
    /// Bytes that the room does not interpret.
    pub payload: Vec<u8>,
}

/// The recipients of an event, as its sender names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTarget {
    /// Everybody, including the sender.
    All,
    /// Everybody but the sender.
    Others,
    /// These peers, as far as they are in the room.
    Listed(Vec<PeerId>),
    /// The present host, even if it is the sender.
    Host,
    /// The present members of a group, except the sender.
    Group(Group),
    /// Everybody but the sender, and everybody who joins later.
    OthersAndLater,
}
