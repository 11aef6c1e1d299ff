//! One participant of a room.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::limits::MAX_BULK_MESSAGE;
use nucleus_protocol::session::{
    self, Features, Lane, LinkGrant, PIECE_CONTINUES, PIECE_MORE, Peer,
};
use nucleus_protocol::time::Time;

use super::recipients::Recipients;
use super::role::Role;
use super::taken_events::{AckDue, TakenEvents};
use crate::control::PeerSummary;
use crate::ids::{PeerId, SessionId};
use crate::moments::{LossCause, MomentKind};
use crate::plane_event::RoomVisitor;
use crate::room::history::VisitStart;

/// A message of the bulk lane of which not all pieces have arrived.
struct PartialMessage {
    /// Bytes of the pieces that have arrived.
    bytes: usize,
    /// The recipients of the first piece.
    to: Recipients,
}

/// A session whose link the shard has not opened yet.
pub(crate) struct PendingLink {
    pub(crate) link_id: u32,
    /// The link's grant. `None`: the client has no realtime port.
    pub(crate) grant: Option<LinkGrant>,
    /// Most bytes of frames in a datagram of the link.
    pub(crate) max_body: usize,
    /// The features that client and server have in common.
    pub(crate) features: Features,
    /// Whether the client is to be asked for a fresh token.
    pub(crate) token_expired: bool,
    /// The time of the join, in seconds since 1970.
    pub(crate) unix_now: u64,
    /// When the first packet of the client's connection came.
    pub(crate) began: Time,
}

/// A participant of a room, over all its sessions.
pub(crate) struct Participant {
    /// The number of the newest session, from 1.
    pub(super) session: u32,
    pub(super) slot: u16,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The role as it was at the join. A handover changes `role`, but not what a ticket admits to.
    pub(crate) role_at_join: Role,
    /// When the participant's tickets stop admitting it to another room instance, in seconds since
    /// 1970.
    pub(crate) ticket_end: u64,
    /// The newest session's link, until the shard has opened the link.
    pub(super) pending: Option<PendingLink>,
    /// The features that the newest session's client and the server have in common.
    features: Features,
    /// The first roster version that contains the peer. `None`: the roster does not contain it yet.
    pub(crate) since_version: Option<u32>,
    /// The generation of the ticket redeemed last, 0 for none.
    redeemed: u32,
    /// The newest event that the client is known to have, by lane.
    pub(super) last_received: [u64; 2],
    /// Whether the client has shown that it received `Joined`.
    pub(crate) confirmed: bool,
    pub(super) taken: TakenEvents,
    partial_message: Option<PartialMessage>,
    /// The groups whose messages the peer receives.
    pub(crate) groups: GroupSet,
    pub(crate) away: bool,
    /// Whether a moderator has muted the peer.
    pub(super) muted: bool,
    /// Whether the peer has muted itself.
    pub(super) self_muted: bool,
    /// Whether the newest session is lost. The participant is removed later, unless it resumes.
    pub(crate) lost: bool,
    /// What the report of the participant's end needs; `None` before the join is complete.
    pub(crate) visit: Option<VisitStart>,
}

/// A newcomer that has been admitted to a room.
pub(crate) struct NewParticipant {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// When the newcomer's tickets stop admitting it to another room instance, in seconds since
    /// 1970.
    pub(crate) ticket_end: u64,
    /// The link, whose grant is complete but for its connection ids.
    pub(crate) pending: PendingLink,
    pub(crate) slot: u16,
    /// The number of the newest event in the room.
    pub(crate) newest_event: u64,
}

impl Participant {
    pub(super) fn new(newcomer: NewParticipant) -> Self {
        let NewParticipant { user, name, role, ticket_end, pending, slot, newest_event } = newcomer;
        Self {
            session: 1,
            slot,
            user,
            name,
            role_at_join: role.clone(),
            role,
            ticket_end,
            features: pending.features,
            pending: Some(pending),
            since_version: None,
            redeemed: 0,
            last_received: [newest_event; 2],
            confirmed: false,
            taken: TakenEvents::default(),
            partial_message: None,
            groups: GroupSet::default(),
            away: false,
            muted: false,
            self_muted: false,
            lost: false,
            visit: None,
        }
    }

    /// Returns the id of the newest session.
    pub(crate) fn session_id(&self, peer: PeerId) -> SessionId {
        SessionId { peer, session: self.session }
    }

    /// Returns the features that the newest session's client and the server have in common.
    pub(crate) fn features(&self) -> Features {
        self.features
    }

    /// Returns whether the roster contains the participant.
    pub(crate) fn is_announced(&self) -> bool {
        self.since_version.is_some()
    }

    /// Returns whether the newest session takes messages.
    pub(crate) fn is_connected(&self) -> bool {
        self.pending.is_none() && !self.lost
    }

    /// Returns whether the ticket of this generation may be redeemed. Each session issues one
    /// ticket.
    pub(super) fn accepts_ticket(&self, generation: u32) -> bool {
        self.is_announced() && (self.redeemed..=self.session).contains(&generation)
    }

    /// Starts a new session, for which the client redeems the ticket of this generation.
    pub(super) fn resume(
        &mut self,
        generation: u32,
        last_received: [u64; 2],
        pending: PendingLink,
    ) {
        self.session += 1;
        self.redeemed = generation;
        let [events, bulk] = self.last_received;
        self.last_received = [events.max(last_received[0]), bulk.max(last_received[1])];
        self.features = pending.features;
        self.pending = Some(pending);
        self.lost = false;
    }

    /// Counts an event taken from the peer, with a payload of `bytes`. Returns when to acknowledge
    /// it.
    pub(crate) fn count_event(&mut self, now: Time, lane: Lane, bytes: usize) -> AckDue {
        self.confirmed = true;
        self.taken.count(now, lane, bytes)
    }

    /// Counts a piece from the peer, and returns its recipients. `None`: the message is too large.
    ///
    /// All pieces of a message go to the recipients of its first piece. Otherwise a receiver might
    /// join pieces of two messages.
    pub(crate) fn take_piece(
        &mut self,
        piece: u8,
        len: usize,
        to: Recipients,
    ) -> Option<Recipients> {
        let partial = self.partial_message.take().filter(|_| piece & PIECE_CONTINUES != 0);
        let PartialMessage { bytes, to } = partial.unwrap_or(PartialMessage { bytes: 0, to });
        let bytes = bytes + len;
        if piece & PIECE_MORE != 0 {
            self.partial_message = Some(PartialMessage { bytes, to: to.clone() });
        }
        (bytes <= MAX_BULK_MESSAGE).then_some(to)
    }

    /// Returns the bits of the presence in the roster.
    pub(super) fn presence(&self) -> u8 {
        let bits = [
            (self.away, session::AWAY),
            (self.muted, session::MUTED),
            (self.self_muted, session::SELF_MUTED),
            (self.role.rights.moderate, session::MODERATOR),
        ];
        let set = bits.into_iter().filter(|(is, _)| *is);
        set.fold(session::PRESENT, |presence, (_, bit)| presence | bit)
    }

    /// Returns whether the peer is present, and not away.
    pub(crate) fn is_present(&self) -> bool {
        self.is_announced() && !self.away
    }

    /// Returns whether the peer's voice is dropped.
    pub(super) fn is_muted(&self) -> bool {
        self.muted || self.self_muted
    }

    /// Returns whether a moderator has muted the peer.
    pub(crate) fn is_muted_by_moderator(&self) -> bool {
        self.muted
    }

    /// Notes for the history what has happened at `now`. Before the join is complete, nothing is noted.
    pub(crate) fn note(&mut self, now: Time, kind: MomentKind) {
        if let Some(visit) = &mut self.visit {
            visit.note(now, kind);
        }
    }

    /// Notes for the history that the newest session is lost, or why it was lost.
    pub(crate) fn note_loss(&mut self, now: Time, cause: LossCause) {
        if let Some(visit) = &mut self.visit {
            visit.lose(now, cause);
        }
    }

    /// Returns the participant as the control plane shows it.
    pub(crate) fn summary(&self, now: Time, peer: PeerId) -> PeerSummary {
        PeerSummary {
            peer,
            user: self.user.clone(),
            name: self.name.clone(),
            role: self.role.name.clone(),
            moderator: self.role.rights.moderate,
            away: self.away,
            muted: self.muted,
            self_muted: self.self_muted,
            lost: self.lost,
            sessions: self.session,
            age: self.visit.as_ref().map(|visit| visit.lasted(now)).unwrap_or_default(),
        }
    }

    /// Returns the participant as the history names it.
    pub(crate) fn visitor(&self, peer: PeerId) -> RoomVisitor {
        let (user, name) = (self.user.clone(), self.name.clone());
        RoomVisitor { peer, user, name, role: self.role.name.clone() }
    }

    /// Returns the participant as the roster describes it.
    pub(super) fn roster_entry(&self, peer: PeerId) -> Peer {
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
