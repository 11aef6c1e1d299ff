//! [`Links`]: the part of a shard that its rooms use. It opens and closes links.

use std::collections::{BTreeMap, VecDeque};

use nucleus_core::fanout::{Fanout, FanoutInput, FanoutOutput, LinkEvent};
use nucleus_core::ids::{PeerId, RoomId, SessionId};
use nucleus_core::plane_event::PeerLinks;
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::time::Time;

/// Carries out the commands of rooms and reports the events of their links.
pub trait Links {
    /// Carries out a command.
    fn handle(&mut self, now: Time, input: FanoutInput);
    /// Returns the next output.
    fn poll(&mut self) -> Option<FanoutOutput>;
    /// Returns what there is to say of a peer's links.
    fn peer_links(&self, _now: Time, _room: RoomId, _peer: PeerId) -> Option<PeerLinks> {
        None
    }
}

impl Links for Fanout {
    fn handle(&mut self, now: Time, input: FanoutInput) {
        self.handle(now, input);
    }

    fn poll(&mut self) -> Option<FanoutOutput> {
        self.poll()
    }

    fn peer_links(&self, now: Time, room: RoomId, peer: PeerId) -> Option<PeerLinks> {
        self.peer_links(now, room, peer)
    }
}

/// The settings of a link that its room has requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSettings {
    /// Whether voice is dropped.
    pub muted: bool,
    /// The groups that the link subscribes to.
    pub groups: GroupSet,
}

/// A shard without datagrams. It confirms every link at once and records the settings of each link.
#[derive(Debug, Default)]
pub struct InstantLinks {
    links: BTreeMap<(RoomId, PeerId), InstantLink>,
    outputs: VecDeque<FanoutOutput>,
    commands_without_link: u32,
}

#[derive(Debug)]
struct InstantLink {
    /// The number of the session that the link is for.
    session: u32,
    settings: LinkSettings,
}

impl InstantLinks {
    /// Returns the settings of the link of this session; `None` if it has no link.
    pub fn link(&self, room: RoomId, session: SessionId) -> Option<LinkSettings> {
        let link = self.links.get(&(room, session.peer))?;
        (link.session == session.session).then_some(link.settings)
    }

    /// Returns the number of commands for links that do not exist.
    pub fn commands_without_link(&self) -> u32 {
        self.commands_without_link
    }

    fn set(&mut self, room: RoomId, session: SessionId, set: impl FnOnce(&mut LinkSettings)) {
        match self.links.get_mut(&(room, session.peer)) {
            Some(link) if link.session == session.session => set(&mut link.settings),
            _ => self.commands_without_link += 1,
        }
    }
}

impl Links for InstantLinks {
    fn handle(&mut self, _now: Time, input: FanoutInput) {
        match input {
            FanoutInput::OpenLink(open) => {
                let (room, session) = (open.room, open.session);
                // A new link is not muted and subscribes to no group.
                let settings = LinkSettings::default();
                let link = InstantLink { session: session.session, settings };
                self.links.insert((room, session.peer), link);
                let id = ConnectionId([1; 8]);
                let event = LinkEvent::Opened { connection_id: id, spare: id };
                self.outputs.push_back(FanoutOutput::Link { room, session, event });
            }
            FanoutInput::CloseLink { room, peer } => {
                self.links.remove(&(room, peer));
            }
            FanoutInput::Subscribe { room, session, groups } => {
                self.set(room, session, |link| link.groups = groups);
            }
            FanoutInput::Mute { room, session, muted } => {
                self.set(room, session, |link| link.muted = muted);
            }
            FanoutInput::Active { room, session } => self.set(room, session, |_| {}),
            FanoutInput::StoodStill { .. } | FanoutInput::Load(_) => {}
        }
    }

    fn poll(&mut self) -> Option<FanoutOutput> {
        self.outputs.pop_front()
    }
}
