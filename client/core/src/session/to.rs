//! The recipients of an event.

use nucleus_protocol::groups::Group;
use nucleus_protocol::limits;
use nucleus_protocol::session::{
    EventUp, RESERVED_CHANNELS, TO_ALL, TO_GROUP, TO_HOST, TO_LATER, TO_LISTED, TO_OTHERS, encode,
};

use super::SendError;
use crate::roster::PeerId;

/// The recipients of an event or of a realtime message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum To {
    /// All peers of the room, including the sender. Not for realtime messages.
    All,
    /// All peers except the sender.
    Others,
    /// One peer.
    Peer(PeerId),
    /// The named peers, at most 1,024. Peers that are not in the room are ignored. Not for realtime
    /// messages.
    Peers(Vec<PeerId>),
    /// The host at the moment when the server takes the event. Without a host, the event is
    /// dropped.
    Host,
    /// All peers that are subscribed to the group (`Room::subscribe`) when the server
    /// takes the event, except the sender. The sender need not be subscribed.
    Group(Group),
    /// All peers except the sender, and peers that join later. The server keeps the newest 256 of
    /// these events, at most 64 KiB, for peers that join later. If the sender's role may not create
    /// objects, the event is not kept. Not allowed on the bulk lane and for realtime
    /// messages.
    OthersAndLater,
}

impl To {
    /// Checks the number of recipients, the channel, and that a payload of `len` bytes is within
    /// `limit`.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::TooManyPeers`] or [`SendError::ReservedChannel`].
    pub fn check(&self, channel: u8, len: usize, limit: usize) -> Result<(), SendError> {
        if channel >= RESERVED_CHANNELS {
            return Err(SendError::ReservedChannel(channel));
        }
        self.check_size(len, limit)
    }

    /// Checks the number of recipients, and that a payload of `len` bytes is within `limit`.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] or [`SendError::TooManyPeers`].
    pub(crate) fn check_size(&self, len: usize, limit: usize) -> Result<(), SendError> {
        if len > limit {
            return Err(SendError::TooLarge { len, limit });
        }
        match self {
            To::Peers(peers) if peers.len() > limits::MAX_EVENT_TARGETS => {
                let limit = limits::MAX_EVENT_TARGETS;
                Err(SendError::TooManyPeers { count: peers.len(), limit })
            }
            _ => Ok(()),
        }
    }
}

/// Encodes an event, or a piece of a message of the bulk lane; `piece` is [`EventUp::piece`]. The
/// payload has at most `limit` bytes.
///
/// # Errors
/// [`SendError::TooLarge`] or [`SendError::TooManyPeers`].
pub fn encode_event(
    to: To,
    channel: u8,
    piece: u8,
    payload: &[u8],
    limit: usize,
) -> Result<Vec<u8>, SendError> {
    to.check_size(payload.len(), limit)?;
    let (target, peers) = match to {
        To::All => (TO_ALL, Vec::new()),
        To::Others => (TO_OTHERS, Vec::new()),
        To::Peer(peer) => (TO_LISTED, vec![peer.0]),
        To::Peers(peers) => (TO_LISTED, peers.into_iter().map(|peer| peer.0).collect()),
        To::Host => (TO_HOST, Vec::new()),
        To::Group(group) => (TO_GROUP, vec![group.number().into()]),
        To::OthersAndLater => (TO_LATER, Vec::new()),
    };
    Ok(encode(&EventUp { target, channel, piece, peers, payload: payload.to_vec() }))
}
