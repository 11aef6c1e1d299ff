//! Late joiners: they join the first room of a run that is under way, and stay. They send nothing, but
//! they receive everything: roster, state and, over links of their own, the realtime plane.
//!
//! Their half of the handshakes runs on threads of low priority, as that of the storms does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use nucleus_client::roster::{PeerId, Roster};
use nucleus_client::session::{SessionEvent, SessionReceiver, SessionSender};
use nucleus_client::state::{Batch, ObjectId, ObjectMode, Replica};
use nucleus_protocol::session::StateRequest;
use quinn::Endpoint;
use tokio::runtime::{Builder, Runtime};

use super::context::{RunContext, open};
use super::late_joiner_links::LateJoinerLinks;
use crate::check::tally;
use crate::load::payload::Source;
use crate::report;
use crate::shared::lock;

/// As of those who come in storms.
const NICE: i32 = 10;
/// Late joiners that share a QUIC endpoint where no network is simulated.
const PER_ENDPOINT: u32 = 50;
/// In front of their numbers: nobody of the run itself has one so high, nor anybody of a storm.
const FIRST: u32 = 1 << 25;
/// Objects of one request: each takes two of its 64 operations.
const OBJECTS_PER_REQUEST: u32 = 32;
/// Bytes of an object's one field: a name, a place and a model's address.
const FIELD: usize = 100;
/// Numbers of the scene's objects that nobody of the run itself uses, from here on.
const FIRST_OBJECT: u32 = 1 << 30;
/// Until all have left.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// The late joiners of one run.
pub(crate) struct LateJoiners {
    runtime: Runtime,
    context: Arc<RunContext>,
    links: LateJoinerLinks,
    /// Those who have been called so far, and of them those who only bring objects.
    called: u32,
    furnishers: u32,
    /// Objects that were put into the room.
    objects: u32,
    arrivals: Arc<Mutex<Arrivals>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct Arrivals {
    /// µs from the first packet to the whole roster and state.
    whole: Histogram<u64>,
}

impl LateJoiners {
    /// None yet.
    pub(crate) fn new(context: Arc<RunContext>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("late-joiners")
            .on_thread_start(|| {
                // At ordinary priority they only cost the generator more.
                let _ = nucleus_net::set_thread_nice(NICE);
            })
            .enable_all()
            .build()?;
        Ok(LateJoiners {
            runtime,
            links: LateJoinerLinks::start(context.shared.clone())?,
            context,
            called: 0,
            furnishers: 0,
            objects: 0,
            arrivals: Arc::new(Mutex::new(Arrivals { whole: tally::histogram() })),
            tasks: Vec::new(),
        })
    }

    /// One comes and puts so many objects into the room.
    pub(crate) fn furnish(&mut self, objects: u32) {
        self.objects = objects;
        self.furnishers += 1;
        self.come(1, Duration::ZERO, true);
    }

    /// So many come, evenly spread over `span`.
    pub(crate) fn invite(&mut self, count: u32, span: Duration) {
        self.come(count, span, false);
    }

    fn come(&mut self, count: u32, span: Duration, furnish: bool) {
        let begin = self.context.shared.clock.now();
        let step = span.as_micros() as u64 / u64::from(count.max(1));
        let mut endpoint = None;
        for number in self.called..self.called + count {
            let own = self.context.plan.network.is_some();
            if own || endpoint.is_none() || number.is_multiple_of(PER_ENDPOINT) {
                let opened = self.runtime.block_on(open(&self.context, FIRST + number));
                endpoint = opened.ok();
            }
            // Without a socket it does not come, and counts among the missing.
            let Some(endpoint) = endpoint.clone() else { continue };
            let late_joiner = LateJoiner {
                context: self.context.clone(),
                number: FIRST + number,
                links: self.links.clone(),
                arrivals: self.arrivals.clone(),
                objects: self.objects,
                furnish,
            };
            let at = begin + u64::from(number - self.called) * step;
            self.tasks.push(self.runtime.spawn(late_joiner.live(endpoint, at)));
        }
        self.called += count;
    }

    /// Everybody has left, or leaves; `members` were in the room before the first late joiner.
    pub(crate) fn end(self, members: u32) -> report::LateJoinersReport {
        let tasks = self.tasks;
        self.runtime.block_on(async {
            let deadline = tokio::time::Instant::now() + LEAVE_TIME;
            for task in tasks {
                // One that hangs is cut off, and was no whole one.
                let _ = tokio::time::timeout_at(deadline, task).await;
            }
        });
        self.runtime.shutdown_background();
        let everybody = (members + self.called) as usize;
        let rosters = self.context.rosters.figures(everybody);
        let arrivals = lock(&self.arrivals);
        report::LateJoinersReport {
            invited: (self.called - self.furnishers).into(),
            whole: arrivals.whole.len(),
            whole_ms: report::Latency::new(&arrivals.whole),
            heard: self.links.messages_received(),
            rosters: rosters.handed_in,
            rosters_right: rosters.right,
        }
    }
}

/// One of them.
struct LateJoiner {
    context: Arc<RunContext>,
    number: u32,
    links: LateJoinerLinks,
    arrivals: Arc<Mutex<Arrivals>>,
    /// Objects that it is to find.
    objects: u32,
    /// It brings them.
    furnish: bool,
}

impl LateJoiner {
    async fn live(self, endpoint: Endpoint, at: u64) {
        self.context.sleep_until(at).await;
        let before = self.context.shared.clock.now();
        let room = self.context.plan.room_name(0);
        let session = match self.context.join_room(&endpoint, self.number, room).await {
            Ok(session) => session,
            Err(error) => {
                return self.context.log.problem(format!("a late joiner did not get in: {error}"));
            }
        };
        if let Err(error) = self.links.add_session(&session) {
            return self.context.log.problem(error);
        }
        let me = session.joined().peer;
        let joined = session.joined();
        let roster = Roster::new(joined.roster_version, joined.roster.iter().cloned());
        let (sender, receiver) = session.split();
        if self.furnish {
            self.bring_objects(&sender).await;
        }
        self.stay(before, (me, roster), &sender, receiver).await;
    }

    async fn stay(
        &self,
        before: u64,
        (me, mut roster): (u32, Roster),
        sender: &SessionSender,
        mut receiver: SessionReceiver,
    ) {
        let (mut leave, mut inspect) =
            (self.context.leave.subscribe(), self.context.inspections.subscribe());
        let mut replica = Replica::new();
        let source = Source { seed: self.context.plan.seed, room: 0, sender: self.number };
        // Who brings the objects has them anyway.
        let mut whole = self.furnish;
        loop {
            if !whole && replica.objects().len() >= self.objects as usize {
                whole = roster.peer(PeerId(me)).is_some();
                let took = self.context.shared.clock.now() - before;
                lock(&self.arrivals).whole.saturating_record(took);
            }
            let event = tokio::select! {
                biased;
                _ = leave.wait_for(|leave| *leave) => break,
                Ok(()) = inspect.changed() => {
                    self.context.rosters.hand_in(&roster);
                    continue;
                }
                event = receiver.next() => event,
            };
            let followed = match event {
                SessionEvent::Roster(update) => {
                    // The receiver has checked the version already.
                    let _ = roster.apply(update);
                    Ok(())
                }
                SessionEvent::StateSnapshot(snapshot) => replica.apply_snapshot(snapshot).map(drop),
                SessionEvent::StateUpdate(update) => replica.apply_update(update).map(drop),
                SessionEvent::Closed { text, .. } => {
                    return self.context.log.problem(format!("a late joiner was lost: {text}"));
                }
                _ => Ok(()),
            };
            if let Err(fault) = followed {
                return self.context.log.problem(format!("a late joiner's state: {fault}"));
            }
            self.context.states.note(source, replica.version());
        }
        self.context.states.hand_in(source, replica.digest(), replica.objects().len() as u64);
        sender.leave().await;
    }

    async fn bring_objects(&self, sender: &SessionSender) {
        for first in (0..self.objects).step_by(OBJECTS_PER_REQUEST as usize) {
            let mut batch = Batch::new();
            for number in first..self.objects.min(first + OBJECTS_PER_REQUEST) {
                let object = ObjectId::scene(FIRST_OBJECT + number);
                batch = batch.create(object, ObjectMode::TAKE.with_room());
                batch = batch.set(object, "what", vec![number as u8; FIELD]);
            }
            // What is put together here keeps every limit.
            let operations = batch.into_operations().unwrap_or_default();
            let request = StateRequest { request: first, operations };
            if sender.request_state(&request).await.is_err() {
                return;
            }
        }
    }
}
