//! A room with its links, as the server's task runs it.

use nucleus_core::fanout::{FanoutInput, FanoutOutput, OpenLink};
use nucleus_core::ids::{RoomId, RoomInstanceId, SessionId};
use nucleus_core::room::{Room, RoomConfig, RoomInput, RoomOutput};
use nucleus_protocol::time::Time;
use nucleus_sim::links::LinkSettings;
use nucleus_sim::{InstantLinks, Links, SimTask};

/// The room's id on its shard.
const ROOM: RoomId = RoomId(1);
/// Most runs of the room at one point in time.
const MAX_RUNS: usize = 10_000;

/// A room and its shard. `nucleus_sim::Server` hosts no room here, because it drops the outputs of
/// fresh tokens and what a ticket says of its user.
pub(crate) struct RoomHost {
    task: SimTask<Room>,
    links: InstantLinks,
    pub(crate) instance: RoomInstanceId,
}

impl RoomHost {
    pub(crate) fn new(now: Time, config: RoomConfig) -> Self {
        let instance = config.instance;
        Self {
            task: SimTask::new(Room::new(now, config)),
            links: InstantLinks::default(),
            instance,
        }
    }

    pub(crate) fn room(&self) -> std::cell::Ref<'_, Room> {
        self.task.machine()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.task.is_over()
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.task.deadline()
    }

    /// Returns the settings of a session's link.
    pub(crate) fn link(&self, session: SessionId) -> Option<LinkSettings> {
        self.links.link(ROOM, session)
    }

    /// Passes an input to the room. Returns false if the room has ended.
    pub(crate) fn post(&mut self, input: RoomInput) -> bool {
        self.task.post(input).is_ok()
    }

    /// Runs the room until it has nothing to do. Returns its outputs but those for its shard.
    pub(crate) fn settle(&mut self, now: Time) -> Vec<RoomOutput> {
        let mut outputs = Vec::new();
        for _ in 0..MAX_RUNS {
            while let Some(output) = self.links.poll() {
                if let FanoutOutput::Link { session, event, .. } = output {
                    self.post(RoomInput::Link(session, event));
                }
            }
            if self.deadline().is_none_or(|at| now < at) {
                return outputs;
            }
            let Self { task, links, .. } = self;
            task.run(now, &mut |_, output| {
                outputs.extend(carry_out(now, links, output));
                None
            });
        }
        panic!("the room has a deadline that stays due");
    }
}

/// Carries out an output for the shard. Returns any other output.
fn carry_out(now: Time, links: &mut InstantLinks, output: RoomOutput) -> Option<RoomOutput> {
    let room = ROOM;
    let input = match output {
        RoomOutput::OpenLink { session, slot, link } => {
            FanoutInput::OpenLink(Box::new(OpenLink { room, session, slot, link: *link }))
        }
        RoomOutput::CloseLink(peer) => FanoutInput::CloseLink { room, peer },
        RoomOutput::Subscribe(session, groups) => FanoutInput::Subscribe { room, session, groups },
        RoomOutput::Mute(session, muted) => FanoutInput::Mute { room, session, muted },
        other => return Some(other),
    };
    links.handle(now, input);
    None
}
