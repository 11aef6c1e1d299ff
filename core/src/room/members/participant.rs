//! A participant as its room knows it.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::limits::MAX_BULK_MESSAGE;
use nucleus_protocol::session::{self, LinkGrant, PIECE_CONTINUES, PIECE_MORE, Peer};

use super::role::Role;
use crate::ids::{PeerId, SessionId};
use crate::room::events::Recipients;

/// A message of the bulk lane that is not whole yet.
struct Begun {
    /// Bytes of it that have come.
    bytes: usize,
    /// Whom its beginning was for.
    to: Recipients,
}

pub(crate) struct Participant {
    pub(crate) session: u32,
    pub(crate) slot: u16,
    pub(crate) user: String,
    name: String,
    pub(crate) role: Role,
    /// Until the shard has confirmed the session's link.
    pub(crate) pending: Option<LinkGrant>,
    /// The roster has the peer, from this version on.
    pub(crate) since_version: Option<u32>,
    /// Generation of the ticket redeemed last, 0 for none.
    redeemed: u32,
    /// Newest event that the peer has for certain, by lane.
    pub(crate) last: [u64; 2],
    /// It has shown that it knows of its place.
    pub(crate) arrived: bool,
    /// Events taken from the peer by lane, wrapping.
    pub(crate) taken: [u32; 2],
    /// The message of which pieces have come and more are to follow.
    begun: Option<Begun>,
    /// The groups that it hears.
    pub(crate) groups: GroupSet,
    pub(crate) away: bool,
    /// By a moderator.
    pub(crate) muted: bool,
    /// By itself.
    pub(crate) self_muted: bool,
    /// The session is gone; the peer follows at its time unless it comes back.
    pub(crate) lost: bool,
}

impl Participant {
    pub(crate) fn new(
        user: String,
        name: String,
        role: Role,
        grant: LinkGrant,
        slot: u16,
        last_event: u64,
    ) -> Self {
        Self {
            session: 1,
            slot,
            user,
            name,
            role,
            pending: Some(grant),
            since_version: None,
            redeemed: 0,
            last: [last_event; 2],
            arrived: false,
            taken: [0; 2],
            begun: None,
            groups: GroupSet::default(),
            away: false,
            muted: false,
            self_muted: false,
            lost: false,
        }
    }

    pub(crate) fn session_id(&self, peer: PeerId) -> SessionId {
        SessionId { peer, session: self.session }
    }

    /// The roster names it.
    pub(crate) fn is_announced(&self) -> bool {
        self.since_version.is_some()
    }

    /// Its session takes messages.
    pub(crate) fn is_in(&self) -> bool {
        self.pending.is_none() && !self.lost
    }

    /// Its ticket of this generation is good. Each session gives one.
    pub(crate) fn honours(&self, generation: u32) -> bool {
        self.is_announced() && (self.redeemed..=self.session).contains(&generation)
    }

    /// Takes the place for a new session.
    pub(crate) fn resume(&mut self, generation: u32, last: [u64; 2], grant: LinkGrant) {
        self.session += 1;
        self.redeemed = generation;
        self.last = [self.last[0].max(last[0]), self.last[1].max(last[1])];
        self.pending = Some(grant);
        self.lost = false;
    }

    /// Counts a piece of the peer's, and says whom it is for: the rest of a message goes where its beginning
    /// went, or a receiver would join pieces of two. `None`: its message is too large.
    pub(crate) fn takes_piece(
        &mut self,
        piece: u8,
        len: usize,
        to: Recipients,
    ) -> Option<Recipients> {
        let begun = self.begun.take().filter(|_| piece & PIECE_CONTINUES != 0);
        let Begun { bytes, to } = begun.unwrap_or(Begun { bytes: 0, to });
        let bytes = bytes + len;
        if piece & PIECE_MORE != 0 {
            self.begun = Some(Begun { bytes, to: to.clone() });
        }
        (bytes <= MAX_BULK_MESSAGE).then_some(to)
    }

    pub(crate) fn presence(&self) -> u8 {
        let bits = [
            (self.away, session::AWAY),
            (self.muted, session::MUTED),
            (self.self_muted, session::SELF_MUTED),
            (self.role.rights.moderate, session::MODERATOR),
        ];
        let set = bits.into_iter().filter(|(is, _)| *is);
        set.fold(session::PRESENT, |presence, (_, bit)| presence | bit)
    }

    /// Its voice is dropped.
    pub(crate) fn is_silent(&self) -> bool {
        self.muted || self.self_muted
    }

    pub(crate) fn wire(&self, peer: PeerId) -> Peer {
        Peer {
            peer: peer.0,
            slot: self.slot,
            presence: self.presence(),
            user: self.user.clone().into_bytes(),
            name: self.name.clone().into_bytes(),
            role: self.role.name.clone().into_bytes(),
        }
    }
}
