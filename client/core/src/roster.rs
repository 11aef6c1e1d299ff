//! The peers of a room. Applies the server's updates and returns the changes; does no I/O.

use std::collections::{HashMap, HashSet};

pub use nucleus_protocol::ids::PeerId;
use nucleus_protocol::session::{self, AWAY, Code, MODERATOR, MUTED, RosterUpdate, SELF_MUTED};

use crate::limits;
use crate::sized::{HeldBytes, SizedMap};

/// A peer's number on the realtime plane. The server may give it to another peer 60 s after the
/// peer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// Whether a peer is reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The peer is reachable.
    Present,
    /// The server received nothing from the peer for 10 s: the headset is off or out of reach, and
    /// may become present again.
    Away,
}

impl Presence {
    fn from_wire(presence: u8) -> Self {
        if presence & AWAY != 0 { Presence::Away } else { Presence::Present }
    }
}

/// A peer of the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer's id.
    pub id: PeerId,
    /// The peer's number on the realtime plane.
    pub slot: Slot,
    /// Whether the peer is reachable.
    pub presence: Presence,
    /// Whether a moderator has muted the peer. The server then drops the peer's voice.
    pub muted: bool,
    /// Whether the peer has muted itself.
    pub self_muted: bool,
    /// Whether the peer may moderate.
    pub moderator: bool,
    /// User id from the peer's token, at most 128 bytes.
    pub user: String,
    /// Display name, at most 128 bytes.
    pub name: String,
    /// Role from the peer's token, at most 128 bytes.
    pub role: String,
}

impl PeerInfo {
    /// Sets the presence and the flags from their bits on the wire.
    fn set_presence(&mut self, presence: u8) {
        self.presence = Presence::from_wire(presence);
        self.muted = presence & MUTED != 0;
        self.self_muted = presence & SELF_MUTED != 0;
        self.moderator = presence & MODERATOR != 0;
    }
}

impl HeldBytes for PeerInfo {
    fn held_bytes(&self) -> usize {
        self.user.len() + self.name.len() + self.role.len()
    }
}

impl From<session::Peer> for PeerInfo {
    fn from(peer: session::Peer) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            id: PeerId(peer.peer),
            slot: Slot(peer.slot),
            presence: Presence::from_wire(peer.presence),
            muted: peer.presence & MUTED != 0,
            self_muted: peer.presence & SELF_MUTED != 0,
            moderator: peer.presence & MODERATOR != 0,
            user: text(peer.user),
            name: text(peer.name),
            role: text(peer.role),
        }
    }
}

/// A change of the roster. The variants are in the order in which one update reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterChange {
    /// A peer left.
    Left {
        /// The peer as it was last known.
        peer: PeerInfo,
        /// The reason; `None` if this version does not know the code.
        code: Option<Code>,
    },
    /// A peer joined.
    Joined(PeerInfo),
    /// A peer's presence changed.
    Presence {
        /// The peer.
        peer: PeerId,
        /// The peer's new presence.
        presence: Presence,
    },
    /// A peer's mute, self-mute or right to moderate changed. Holds the new values.
    Changed(PeerInfo),
}

/// The reason why a roster, or an update of one, is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RosterFault {
    /// The update's version does not follow the roster's version. At least one update in between is
    /// missing.
    #[error("received roster version {found}, expected {expected}")]
    Version {
        /// The roster's version plus one.
        expected: u32,
        /// The version of the received update.
        found: u32,
    },
    /// The roster would have far more peers, or far longer names, than a room can have.
    #[error("the roster has too many peers or too long names")]
    TooLarge,
}

/// All peers of a room, including this client.
///
/// Holds at most 64,000 peers, whose user ids, names and roles have 24.6 MB together and 6 KiB each.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    version: u32,
    peers: SizedMap<PeerId, PeerInfo>,
    slots: HashMap<Slot, PeerId>,
}

impl Roster {
    /// Creates the roster that a `Joined` message contains.
    ///
    /// # Errors
    /// [`RosterFault::TooLarge`].
    pub fn new(
        version: u32,
        peers: impl IntoIterator<Item = session::Peer>,
    ) -> Result<Self, RosterFault> {
        let mut roster = Self { version, ..Self::default() };
        let peers: Vec<PeerInfo> = peers.into_iter().map(PeerInfo::from).collect();
        roster.check_room(&peers)?;
        peers.into_iter().for_each(|peer| roster.insert(peer));
        Ok(roster)
    }

    /// Applies the next update and returns the changes.
    ///
    /// A peer that joined and left within the same update is not reported, nor is an unknown peer
    /// that left. Of several changes of one peer in an update, the last counts.
    ///
    /// # Errors
    /// [`RosterFault`]. The roster is then unchanged.
    pub fn apply(&mut self, update: RosterUpdate) -> Result<Vec<RosterChange>, RosterFault> {
        let expected = self.version.wrapping_add(1);
        if update.version != expected {
            return Err(RosterFault::Version { expected, found: update.version });
        }
        let joined: Vec<PeerInfo> = update.joined.into_iter().map(PeerInfo::from).collect();
        self.check_room(&joined)?;
        self.version = update.version;
        let gone: HashSet<u32> = update.left.iter().map(|left| left.peer).collect();
        let mut changes = Vec::new();
        for left in update.left {
            if let Some(peer) = self.remove(PeerId(left.peer)) {
                changes
                    .push(RosterChange::Left { peer, code: Code::from_number(left.code.into()) });
            }
        }
        for peer in joined.into_iter().filter(|peer| !gone.contains(&peer.id.0)) {
            // The roster in `Joined` may already contain peers that a later update announces: this
            // client itself, and peers that joined at the same moment. The later entry counts.
            match self.peer(peer.id) {
                Some(before) => changes.extend(changes_between(before, &peer)),
                None => changes.push(RosterChange::Joined(peer.clone())),
            }
            self.insert(peer);
        }
        let mut newest: HashMap<u32, u8> =
            update.changed.iter().map(|change| (change.peer, change.presence)).collect();
        for change in update.changed {
            let Some(presence) = newest.remove(&change.peer) else { continue };
            let Some(before) = self.peer(PeerId(change.peer)) else { continue };
            let mut peer = before.clone();
            peer.set_presence(presence);
            changes.extend(changes_between(before, &peer));
            self.peers.insert(peer.id, peer);
        }
        Ok(changes)
    }

    /// Checks that the roster stays within its limits with these peers in addition.
    fn check_room(&self, more: &[PeerInfo]) -> Result<(), RosterFault> {
        let has_long = more.iter().any(|peer| peer.held_bytes() > limits::MAX_PEER_TEXT);
        if has_long || !self.peers.has_room(limits::ROSTER, more) {
            return Err(RosterFault::TooLarge);
        }
        Ok(())
    }

    /// Replaces this roster by the one of another `Joined` message and returns the changes.
    /// `same_room` says that both belong to the same room instance; in another instance, a peer id
    /// means another peer.
    pub fn replace(&mut self, same_room: bool, newer: Roster) -> Vec<RosterChange> {
        let stays = |peer: &PeerInfo| same_room && newer.peer(peer.id).is_some();
        let left = self.iter().filter(|peer| !stays(peer));
        let mut changes: Vec<RosterChange> =
            left.map(|peer| RosterChange::Left { peer: peer.clone(), code: None }).collect();
        for peer in newer.iter() {
            match self.peer(peer.id).filter(|_| same_room) {
                None => changes.push(RosterChange::Joined(peer.clone())),
                Some(before) => changes.extend(changes_between(before, peer)),
            }
        }
        *self = newer;
        changes
    }

    /// Returns the peer with this id.
    pub fn peer(&self, id: PeerId) -> Option<&PeerInfo> {
        self.peers.entries().get(&id)
    }

    /// Returns the peer with this slot.
    pub fn by_slot(&self, slot: Slot) -> Option<&PeerInfo> {
        self.peer(*self.slots.get(&slot)?)
    }

    /// Iterates over all peers in the order in which they joined.
    pub fn iter(&self) -> impl Iterator<Item = &PeerInfo> {
        self.peers.entries().values()
    }

    /// Returns the version of the roster. Each update increases it by one; the first value is the
    /// server's choice.
    pub fn version(&self) -> u32 {
        self.version
    }

    fn insert(&mut self, peer: PeerInfo) {
        self.remove(peer.id);
        self.slots.insert(peer.slot, peer.id);
        self.peers.insert(peer.id, peer);
    }

    fn remove(&mut self, id: PeerId) -> Option<PeerInfo> {
        let peer = self.peers.remove(&id)?;
        // The slot may already belong to another peer.
        if self.slots.get(&peer.slot) == Some(&id) {
            self.slots.remove(&peer.slot);
        }
        Some(peer)
    }
}

/// Returns the changes between two versions of the same peer.
fn changes_between(before: &PeerInfo, peer: &PeerInfo) -> impl Iterator<Item = RosterChange> {
    let PeerInfo { id, presence, .. } = *peer;
    let presence_changed = before.presence != presence;
    let flags = |peer: &PeerInfo| (peer.muted, peer.self_muted, peer.moderator);
    let changed = flags(before) != flags(peer);
    let presence = presence_changed.then_some(RosterChange::Presence { peer: id, presence });
    presence.into_iter().chain(changed.then(|| RosterChange::Changed(peer.clone())))
}

#[cfg(test)]
mod tests {
    use nucleus_protocol::session::{PRESENT, Peer, PeerLeft, PeerPresence};

    use super::*;

    fn peer(id: u32, slot: u16) -> Peer {
        let name = format!("peer {id}").into_bytes();
        Peer { peer: id, slot, presence: PRESENT, user: vec![], name, role: vec![] }
    }

    #[test]
    fn updates_apply_in_order() {
        let mut roster = Roster::new(7, [peer(1, 10), peer(2, 11)]).unwrap();
        let changes = roster
            .apply(RosterUpdate {
                version: 8,
                joined: vec![peer(3, 12)],
                left: vec![PeerLeft { peer: 2, code: Code::TimedOut as u16 }],
                changed: vec![PeerPresence { peer: 1, presence: AWAY }],
            })
            .unwrap();
        let left = PeerInfo::from(peer(2, 11));
        let away = RosterChange::Presence { peer: PeerId(1), presence: Presence::Away };
        let code = Some(Code::TimedOut);
        let joined = RosterChange::Joined(peer(3, 12).into());
        assert_eq!(changes, [RosterChange::Left { peer: left, code }, joined, away]);
        assert_eq!(roster.iter().map(|p| p.id.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(roster.by_slot(Slot(12)).map(|p| p.id), Some(PeerId(3)));
        assert_eq!(roster.by_slot(Slot(11)), None);
        assert_eq!(roster.version(), 8);
    }

    #[test]
    fn who_is_known_is_not_announced_again() {
        let mut roster = Roster::new(0, [peer(1, 10)]).unwrap();
        let joined = vec![peer(1, 10), peer(2, 11)];
        let changes = roster.apply(RosterUpdate { version: 1, joined, ..Default::default() });
        assert_eq!(changes, Ok(vec![RosterChange::Joined(peer(2, 11).into())]));
        let muted = Peer { presence: MUTED, ..peer(1, 10) };
        let update = RosterUpdate { version: 2, joined: vec![muted.clone()], ..Default::default() };
        let muted = PeerInfo::from(muted);
        assert_eq!(roster.apply(update), Ok(vec![RosterChange::Changed(muted.clone())]));
        assert_eq!(roster.peer(PeerId(1)), Some(&muted));
    }

    #[test]
    fn a_gap_changes_nothing() {
        let mut roster = Roster::new(7, [peer(1, 10)]).unwrap();
        for found in [6, 7, 9] {
            let update =
                RosterUpdate { version: found, joined: vec![peer(2, 2)], ..Default::default() };
            assert_eq!(roster.apply(update), Err(RosterFault::Version { expected: 8, found }));
        }
        assert_eq!(roster.iter().count(), 1);
    }

    #[test]
    fn a_resume_tells_what_changed_meanwhile() {
        let mut roster = Roster::new(7, [peer(1, 10), peer(2, 11), peer(3, 12)]).unwrap();
        let away = Peer { presence: AWAY, ..peer(1, 10) };
        let newer = || Roster::new(9, [away.clone(), peer(3, 12), peer(4, 13)]).unwrap();
        let changes = roster.replace(true, newer());
        let presence = RosterChange::Presence { peer: PeerId(1), presence: Presence::Away };
        let left = RosterChange::Left { peer: peer(2, 11).into(), code: None };
        assert_eq!(changes, [left, presence, RosterChange::Joined(peer(4, 13).into())]);
        assert_eq!((roster.version(), roster.iter().count()), (9, 3));
        // In another instance, all peers are other peers.
        assert_eq!(roster.replace(false, newer()).len(), 6);
    }

    #[test]
    fn versions_wrap() {
        let mut roster = Roster::new(u32::MAX, []).unwrap();
        assert_eq!(roster.apply(RosterUpdate::default()), Ok(vec![]));
    }

    #[test]
    fn came_and_went_is_not_mentioned() {
        let mut roster = Roster::new(0, []).unwrap();
        let left = vec![PeerLeft { peer: 5, code: 0 }];
        let update = RosterUpdate { version: 1, joined: vec![peer(5, 5)], left, changed: vec![] };
        assert_eq!(roster.apply(update), Ok(vec![]));
        assert_eq!(roster.iter().count(), 0);
    }

    #[test]
    fn a_slot_goes_to_its_new_owner() {
        let mut roster = Roster::new(0, [peer(1, 4)]).unwrap();
        let left = vec![PeerLeft { peer: 1, code: 0 }];
        let joined = vec![peer(2, 4)];
        roster.apply(RosterUpdate { version: 1, joined, left, changed: vec![] }).unwrap();
        assert_eq!(roster.by_slot(Slot(4)).map(|p| p.id), Some(PeerId(2)));
    }

    #[test]
    fn who_is_muted_is_told_by_the_presence() {
        let mut roster = Roster::new(0, [peer(1, 4)]).unwrap();
        let mut change = |version, presence| {
            let changed = vec![PeerPresence { peer: 1, presence }];
            roster.apply(RosterUpdate { version, changed, ..RosterUpdate::default() }).unwrap()
        };
        let muted = PeerInfo { muted: true, ..PeerInfo::from(peer(1, 4)) };
        assert_eq!(change(1, MUTED), [RosterChange::Changed(muted.clone())]);
        let away = PeerInfo { presence: Presence::Away, self_muted: true, ..muted };
        let presence = RosterChange::Presence { peer: PeerId(1), presence: Presence::Away };
        let both = [presence.clone(), RosterChange::Changed(away)];
        assert_eq!(change(2, AWAY | MUTED | SELF_MUTED), both);
        assert_eq!(change(3, AWAY | MUTED | SELF_MUTED), []);
        assert_eq!(change(4, AWAY | MODERATOR).len(), 1);
    }
}
