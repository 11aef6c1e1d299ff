//! The changes of the shared state that a headset requests, and what is checked of its copy.

use nucleus_client::session::{ClientHandle, RoomClient};
use nucleus_client::state::{Batch, EntityId, ObjectId, ObjectMode};
use nucleus_client::{RequestNumber, StateError};
use nucleus_protocol::session::{Code, Operation};

use super::context::RunContext;
use crate::load::channel::Channel;
use crate::load::payload::Source;
use crate::load::schedule::{PlannedChange, StateSchedule};

/// Properties of a room. A headset sets them in turns.
const PROPERTIES: u32 = 4;
/// The name of the field that every object has.
const POSITION: &str = "place";

/// What a headset requests of its room's state.
#[derive(Debug)]
pub(crate) struct StateLoad {
    source: Source,
    schedule: StateSchedule,
    /// Requests sent so far, in all sessions.
    requests: u32,
    /// When the headset creates its tablet, an object of its own, µs; `None` after the request.
    tablet_due: Option<u64>,
    /// Requests without a result.
    pending: Vec<RequestNumber>,
    /// The version of the headset's copy when it was noted last.
    noted: u64,
}

impl StateLoad {
    pub(crate) fn new(context: &RunContext, headset: u32) -> Self {
        let plan = &context.plan;
        let source = plan.source(headset);
        let now = context.shared.clock.now();
        context.states.note(source, 0);
        StateLoad {
            source,
            schedule: StateSchedule::new(plan, source, now),
            requests: 0,
            tablet_due: plan.traffic.has(Channel::Object).then_some(now),
            pending: Vec::new(),
            noted: 0,
        }
    }

    /// Prepares for a new peer id, under which the headset has no tablet yet, and, unless
    /// `same_room`, for an empty state.
    pub(crate) fn restart(&mut self, context: &RunContext, same_room: bool) {
        let now = context.shared.clock.now();
        self.tablet_due = context.plan.traffic.has(Channel::Object).then_some(now);
        if !same_room {
            self.noted = 0;
            context.states.note(self.source, 0);
        }
    }

    /// Returns when the next request is due, µs.
    pub(crate) fn due(&self) -> u64 {
        self.tablet_due.unwrap_or_else(|| self.schedule.due())
    }

    /// Returns whether a request is due before the window ends.
    pub(crate) fn has_request_due(&self, context: &RunContext) -> bool {
        self.due() < context.shared.window().end
    }

    /// Requests the change that is due. The schedule advances.
    pub(crate) fn request(&mut self, client: &ClientHandle<RoomClient>) {
        let requested = client.change(|client, now| {
            let operations = self.next_request(client);
            client.change(now, operations)
        });
        // Without a session the request is lost.
        self.pending.extend(requested);
    }

    fn next_request(&mut self, client: &RoomClient) -> Vec<Operation> {
        let number = self.requests;
        self.requests += 1;
        let batch = if self.tablet_due.take().is_some() {
            let tablet = ObjectId::new(client.me(), number);
            Batch::new().create(tablet, ObjectMode::ASK).set(
                tablet,
                POSITION,
                self.position(number),
            )
        } else {
            match self.schedule.take() {
                Some(PlannedChange::Claim) => self.move_object(self.claim_object(client), number),
                Some(PlannedChange::Move) => self.move_object(Batch::new(), number),
                Some(PlannedChange::Property) | None => self.set_property(client, number),
            }
        };
        // These batches keep every limit. An empty request would be refused.
        batch.into_operations().unwrap_or_default()
    }

    /// Notes the version of the headset's copy, and the results of its requests.
    pub(crate) fn note(&mut self, context: &RunContext, client: &ClientHandle<RoomClient>) {
        let mut client = client.read();
        let version = client.replica().version();
        if std::mem::replace(&mut self.noted, version) != version {
            context.states.note(self.source, version);
        }
        self.pending.retain(|request| {
            let Some(result) = client.take_result(*request) else { return true };
            record_result(context, result);
            false
        });
    }

    /// Hands in the copy at the end of the run.
    pub(crate) fn hand_in(&self, context: &RunContext, client: &ClientHandle<RoomClient>) {
        hand_in(context, self.source, client);
    }

    /// Returns the object that this headset shares with others of its room.
    fn object(&self) -> ObjectId {
        ObjectId::scene(self.source.object())
    }

    /// Returns a batch that claims the shared object, or creates the object if it does not exist
    /// yet.
    fn claim_object(&self, client: &RoomClient) -> Batch {
        match client.replica().object(self.object()) {
            Some(_) => Batch::new().claim(self.object()),
            None => Batch::new().create(self.object(), ObjectMode::TAKE.with_room()),
        }
    }

    fn move_object(&self, batch: Batch, number: u32) -> Batch {
        batch.set(self.object(), POSITION, self.position(number))
    }

    fn position(&self, number: u32) -> Vec<u8> {
        let mut position = Vec::new();
        self.source.object_pose(number.into(), &mut position);
        position
    }

    /// Returns a batch that sets a property, unless another headset has set the property since this
    /// copy's version.
    fn set_property(&self, client: &RoomClient, number: u32) -> Batch {
        let key = format!("property {}", number % PROPERTIES);
        let version = client.replica().field(EntityId::Room, &key).map_or(0, |field| field.version);
        let mut value = Vec::new();
        self.source.property(number, &mut value);
        Batch::new().compare_and_set(EntityId::Room, &key, version, value)
    }
}

/// Hands in a client's copy of the state at the end of the run.
pub(super) fn hand_in(context: &RunContext, source: Source, client: &ClientHandle<RoomClient>) {
    let client = client.read();
    let replica = client.replica();
    context.states.hand_in(source, replica.digest(), replica.objects().len() as u64);
}

fn record_result(context: &RunContext, result: Result<u64, StateError>) {
    let (code, number) = match result {
        Ok(_) => return context.states.answered(false),
        Err(StateError::Refused { code, number, .. }) => (code, number),
        // The session was lost: nobody knows the answer.
        Err(_) => return,
    };
    context.states.answered(true);
    match code {
        // Another headset was faster.
        Some(Code::Conflict | Code::NoSuchEntity) => {}
        Some(code) => context.log.problem(format!("a change of the state was refused: {code}")),
        None => context.log.problem(format!("a change of the state got code {number}")),
    }
}
