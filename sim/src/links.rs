//! The shard as its rooms see it: links that are opened and closed.

use std::collections::{BTreeMap, VecDeque};

use nucleus_core::fanout::{Fanout, FanoutInput, FanoutOutput, LinkEvent};
use nucleus_core::ids::{PeerId, RoomId, SessionId};
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::time::Time;

/// Takes a room's commands, and says what happened to its links.
pub trait Links {
    /// Takes a command.
    fn handle(&mut self, now: Time, input: FanoutInput);
    /// The next output.
    fn poll(&mut self) -> Option<FanoutOutput>;
}

impl Links for Fanout {
    fn handle(&mut self, now: Time, input: FanoutInput) {
        self.handle(now, input);
    }

    fn poll(&mut self) -> Option<FanoutOutput> {
        self.poll()
    }
}

/// What a room has asked for a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkNote {
    /// Its voice is dropped.
    pub muted: bool,
    /// The groups that it hears.
    pub groups: GroupSet,
}

/// A shard without datagrams: it confirms every link at once, and notes what rooms ask for it.
#[derive(Debug, Default)]
pub struct InstantLinks {
    /// By peer, with the number of the session that each is for.
    links: BTreeMap<(RoomId, PeerId), (u32, LinkNote)>,
    outputs: VecDeque<FanoutOutput>,
    misdirected: u32,
}

impl InstantLinks {
    /// What was asked for the link of this session; `None`: it has no link.
    pub fn link(&self, room: RoomId, session: SessionId) -> Option<LinkNote> {
        let (of, note) = self.links.get(&(room, session.peer))?;
        (*of == session.session).then_some(*note)
    }

    /// Commands for links that are not there.
    pub fn misdirected(&self) -> u32 {
        self.misdirected
    }

    fn note(&mut self, room: RoomId, session: SessionId, note: impl FnOnce(&mut LinkNote)) {
        match self.links.get_mut(&(room, session.peer)) {
            Some((of, link)) if *of == session.session => note(link),
            _ => self.misdirected += 1,
        }
    }
}

impl Links for InstantLinks {
    fn handle(&mut self, _now: Time, input: FanoutInput) {
        match input {
            FanoutInput::OpenLink(open) => {
                let (room, session) = (open.room, open.session);
                // A new one is heard, and hears no group.
                let link = (session.session, LinkNote::default());
                self.links.insert((room, session.peer), link);
                let id = ConnectionId([1; 8]);
                let event = LinkEvent::Opened { connection_id: id, spare: id };
                self.outputs.push_back(FanoutOutput::Link { room, session, event });
            }
            FanoutInput::CloseLink { room, peer } => {
                self.links.remove(&(room, peer));
            }
            FanoutInput::Subscribe { room, session, groups } => {
                self.note(room, session, |link| link.groups = groups);
            }
            FanoutInput::Mute { room, session, muted } => {
                self.note(room, session, |link| link.muted = muted);
            }
            FanoutInput::Active { room, session } => self.note(room, session, |_| {}),
            FanoutInput::Load(_) => {}
        }
    }

    fn poll(&mut self) -> Option<FanoutOutput> {
        self.outputs.pop_front()
    }
}
