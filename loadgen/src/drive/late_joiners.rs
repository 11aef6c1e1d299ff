//! Late joiners: clients that join the first room during a run, and stay. They send no messages,
//! but they receive the roster, the state and, over links of their own, the realtime messages.
//!
//! The clients' half of the handshakes runs on a thread of low priority.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nucleus_client::roster::{PeerId, Roster};
use nucleus_client::session::{ClientHandle, RoomClient, RoomSession, RoomSessionStep};
use nucleus_client::state::{Batch, ObjectId, ObjectMode};
use nucleus_client::{RoomEvent, StateError};
use quinn::Endpoint;
use tokio::runtime::Runtime;

use super::context::RunContext;
use super::endpoints::SharedEndpoints;
use super::late_joiner_links::{LateJoinerLinks, LinkFigures};
use super::state_load::hand_in;
use super::tasks::{join_all, low_priority_runtime};
use crate::check::recompute::SenderSlots;
use crate::check::times::Times;
use crate::load::payload::Source;
use crate::report;
use crate::report::channels::Latency;
use crate::shared::lock;

/// The number of the first late joiner. No headset and no client of a storm has so high a number.
const FIRST: u32 = 1 << 25;
/// Objects created by one request. Each takes two of the request's 64 operations.
const OBJECTS_PER_REQUEST: u32 = 32;
/// Bytes of an object's only field: enough for a name, a position and the address of a model.
const FIELD: usize = 100;
/// The number of the first object. No headset of the run uses so high a number.
const FIRST_OBJECT: u32 = 1 << 30;
/// The time for all late joiners to leave.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// The late joiners of one run.
pub(crate) struct LateJoiners {
    runtime: Runtime,
    context: Arc<RunContext>,
    links: LateJoinerLinks,
    /// The thread that drives the links.
    links_thread: JoinHandle<LinkFigures>,
    /// Late joiners started so far.
    started: u32,
    /// The number of these late joiners that joined to create objects.
    object_creators: u32,
    /// Objects that were created in the room.
    objects: u32,
    /// The time from when each join was due to the complete roster and state, µs.
    complete: Arc<Mutex<Times>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl LateJoiners {
    /// Starts the threads, with no late joiner yet.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub(crate) fn new(context: Arc<RunContext>) -> std::io::Result<Self> {
        let runtime = low_priority_runtime("late-joiners")?;
        let (links, links_thread) = LateJoinerLinks::start(&context)?;
        Ok(LateJoiners {
            runtime,
            links,
            links_thread,
            context,
            started: 0,
            object_creators: 0,
            objects: 0,
            complete: Arc::default(),
            tasks: Vec::new(),
        })
    }

    /// Starts a late joiner that creates this many objects in the room.
    pub(crate) fn add_objects(&mut self, objects: u32) {
        self.objects = objects;
        self.object_creators += 1;
        self.start(1, Duration::ZERO, true);
    }

    /// Starts `count` late joiners, evenly spread over `span`.
    pub(crate) fn add(&mut self, count: u32, span: Duration) {
        self.start(count, span, false);
    }

    fn start(&mut self, count: u32, span: Duration, creates_objects: bool) {
        let begin = self.context.shared.clock.now();
        let step = span.as_micros() as u64 / u64::from(count.max(1));
        let mut endpoints = SharedEndpoints::default();
        for number in self.started..self.started + count {
            let endpoint = endpoints.next(&self.context, FIRST + number);
            // A late joiner without a socket counts as missing.
            let Ok(endpoint) = self.runtime.block_on(endpoint) else { continue };
            let late_joiner = LateJoiner {
                context: self.context.clone(),
                number: FIRST + number,
                links: self.links.clone(),
                complete: self.complete.clone(),
                objects: self.objects,
                creates_objects,
            };
            let at = begin + u64::from(number - self.started) * step;
            self.tasks.push(self.runtime.spawn(late_joiner.live(endpoint, at)));
        }
        self.started += count;
    }

    /// Waits until everybody has left, and returns the figures. Also returns what the links counted.
    /// Call this after the run is finished.
    pub(crate) fn end(self) -> (report::LateJoinersReport, LinkFigures) {
        // A late joiner that has not left by then does not count as complete.
        self.runtime.block_on(join_all(self.tasks, LEAVE_TIME));
        self.runtime.shutdown_background();
        let everybody = (self.context.plan.members(0) + self.started) as usize;
        let rosters = self.context.rosters.figures(everybody);
        let complete = lock(&self.complete);
        // Of a thread that failed nothing is known, which counts as nothing received.
        let heard = self.links_thread.join().unwrap_or_default();
        let missing = u64::from(self.started).saturating_sub(heard.links);
        let report = report::LateJoinersReport {
            invited: (self.started - self.object_creators).into(),
            whole: complete.len(),
            whole_ms: Latency::new(&complete),
            messages_received: heard.arrivals.arrived,
            messages_corrupt: heard.corrupt,
            messages_misrouted: heard.misrouted,
            // A late joiner without a link received nothing.
            least_pose_share: if missing > 0 { Some(0.0) } else { heard.least_pose_share },
            rosters: rosters.handed_in,
            rosters_right: rosters.right,
        };
        (report, heard)
    }
}

/// One late joiner.
struct LateJoiner {
    context: Arc<RunContext>,
    number: u32,
    links: LateJoinerLinks,
    complete: Arc<Mutex<Times>>,
    /// Number of objects in the complete state.
    objects: u32,
    /// Whether this late joiner creates the objects.
    creates_objects: bool,
}

impl LateJoiner {
    async fn live(self, endpoint: Endpoint, at: u64) {
        self.context.sleep_until(at).await;
        let room = self.context.plan.room_name(0);
        let log = &self.context.log;
        let session = match self.context.join_room(&endpoint, self.number, room).await {
            Ok(session) => session,
            Err(error) => return log.join_failed(format!("a late joiner could not join: {error}")),
        };
        let senders = {
            let client = session.client().read();
            senders_of(client.roster(), self.context.plan.members(0))
        };
        if let Err(error) = self.links.add_session(&session, senders) {
            return log.problem(error);
        }
        if self.creates_objects {
            let (context, client) = (self.context.clone(), session.client().clone());
            tokio::spawn(create_objects(context, client, self.objects));
        }
        self.stay(at, session).await;
    }

    /// Receives until the run ends. `due` is when the join was due, µs.
    async fn stay(&self, due: u64, mut session: RoomSession) {
        let (mut leave, mut inspect) =
            (self.context.leave.subscribe(), self.context.roster_requests.subscribe());
        let source = Source { seed: self.context.plan.seed, room: 0, sender: self.number };
        let members = self.context.plan.members(0);
        let client = session.client().clone();
        // The creator of the objects is not measured.
        let (mut is_complete, mut noted) = (self.creates_objects, None);
        loop {
            let version = {
                let client = client.read();
                let replica = client.replica();
                if !is_complete
                    && replica.objects().len() >= self.objects as usize
                    && is_whole(client.roster(), client.me(), members)
                {
                    is_complete = true;
                    let took = self.context.shared.clock.now().saturating_sub(due);
                    lock(&self.complete).record(took);
                }
                replica.version()
            };
            if noted.replace(version) != Some(version) {
                self.context.states.note(source, version);
            }
            tokio::select! {
                biased;
                _ = leave.wait_for(|leave| *leave) => break,
                Ok(()) = inspect.changed() => self.context.rosters.hand_in(client.read().roster()),
                step = session.next() => match step {
                    RoomSessionStep::Event(RoomEvent::Closed { text, .. }) => {
                        return self.context.log.problem(format!("a late joiner was lost: {text}"));
                    }
                    RoomSessionStep::Closed => return,
                    _ => {}
                },
            }
        }
        hand_in(&self.context, source, &client);
        session.leave().await;
    }
}

async fn create_objects(context: Arc<RunContext>, client: ClientHandle<RoomClient>, objects: u32) {
    for first in (0..objects).step_by(OBJECTS_PER_REQUEST as usize) {
        let mut batch = Batch::new();
        for number in first..objects.min(first + OBJECTS_PER_REQUEST) {
            let object = ObjectId::scene(FIRST_OBJECT + number);
            batch = batch.create(object, ObjectMode::TAKE.with_room());
            batch = batch.set(object, "what", vec![number as u8; FIELD]);
        }
        // These batches keep every limit.
        let operations = batch.into_operations().unwrap_or_default();
        let requested = client.wait_for(|client, now| {
            let requested = client.change(now, operations.clone());
            (requested != Err(StateError::TooMany)).then_some(requested)
        });
        match requested.await {
            // The objects arrive with the state, so nobody waits for the result.
            Ok(request) => client.read().forget(request),
            Err(error) => return context.log.problem(format!("no objects: {error}")),
        }
    }
}

/// Returns whether a roster has the late joiner itself and every headset of the room, of which
/// there are `members`. How many other late joiners there are at this moment, nobody knows.
fn is_whole(roster: &Roster, me: PeerId, members: u32) -> bool {
    let headsets: HashSet<u32> = senders_of(roster, members).into_values().collect();
    roster.peer(me).is_some() && headsets.len() == members as usize
}

/// Returns the slots of the room's headsets, of which there are `members`. The users of a run are
/// named by their number.
fn senders_of(roster: &Roster, members: u32) -> SenderSlots {
    let number = |user: &str| user.strip_prefix('h')?.parse().ok().filter(|n| *n < members);
    let senders = roster.iter().filter_map(|peer| Some((peer.slot.0, number(&peer.user)?)));
    senders.collect()
}

#[cfg(test)]
mod tests {
    use nucleus_protocol::session::{PRESENT, Peer};

    use super::*;

    #[test]
    fn a_roster_is_whole_with_every_headset_and_the_late_joiner() {
        let peer = |id: u32, user: &str| Peer {
            peer: id,
            slot: id as u16,
            presence: PRESENT,
            user: user.into(),
            name: Vec::new(),
            role: Vec::new(),
        };
        let late = format!("h{FIRST}");
        let whole = |peers: &[(u32, &str)]| {
            let peers = peers.iter().map(|(id, user)| peer(*id, user));
            is_whole(&Roster::new(1, peers).unwrap(), PeerId(9), 2)
        };
        assert!(whole(&[(1, "h0"), (2, "h1"), (9, &late)]));
        assert!(whole(&[(1, "h0"), (2, "h1"), (8, "h33554433"), (9, &late)]), "others came late");
        assert!(!whole(&[(1, "h0"), (9, &late)]), "a headset is missing");
        assert!(!whole(&[(1, "h0"), (2, "h0"), (9, &late)]), "a headset occurs twice");
        assert!(!whole(&[(1, "h0"), (2, "h1")]), "the late joiner itself is missing");
    }
}
