//! A headset's copy of its room's shared state, and the changes that the headset requests.

use nucleus_client::roster::PeerId;
use nucleus_client::session::SessionEvent;
use nucleus_client::state::{Batch, EntityId, ObjectId, ObjectMode, Replica, StateFault};
use nucleus_protocol::session::{Code, StateReply, StateRequest};

use super::context::RunContext;
use crate::check::states::StateLedger;
use crate::load::channel::Channel;
use crate::load::payload::Source;
use crate::load::schedule::{PlannedChange, StateSchedule};

/// Properties of a room. A headset sets them in turns.
const PROPERTIES: u32 = 4;
/// The name of the field that every object has.
const POSITION: &str = "place";

/// A headset's copy of its room's state.
#[derive(Debug)]
pub(crate) struct StateCopy {
    source: Source,
    replica: Replica,
    schedule: StateSchedule,
    /// Requests sent so far, in all sessions.
    requests: u32,
    /// When the headset creates its tablet, an object of its own, µs; `None` after the request.
    tablet_due: Option<u64>,
}

impl StateCopy {
    pub(crate) fn new(context: &RunContext, headset: u32) -> Self {
        let plan = &context.plan;
        let source = plan.source(headset);
        let (members, now) = (plan.members(source.room), context.shared.clock.now());
        context.states.note(source, 0);
        StateCopy {
            source,
            replica: Replica::new(),
            schedule: StateSchedule::new(source, &plan.traffic, members, plan.schedule_epoch, now),
            requests: 0,
            tablet_due: plan.traffic.has(Channel::Object).then_some(now),
        }
    }

    /// Prepares the copy for a new peer id, under which the headset has no tablet yet. If the room
    /// instance has changed, also clears the copy.
    pub(crate) fn restart(&mut self, context: &RunContext, same_room: bool) {
        let now = context.shared.clock.now();
        self.tablet_due = context.plan.traffic.has(Channel::Object).then_some(now);
        if !same_room {
            self.replica.clear();
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

    /// Returns the next request, where `me` is the headset's own peer id. The schedule advances.
    pub(crate) fn next_request(&mut self, me: PeerId) -> StateRequest {
        let number = self.requests;
        self.requests += 1;
        let batch = if self.tablet_due.take().is_some() {
            let tablet = ObjectId::new(me, number);
            Batch::new().create(tablet, ObjectMode::ASK).set(
                tablet,
                POSITION,
                self.position(number),
            )
        } else {
            match self.schedule.take() {
                Some(PlannedChange::Claim) => self.move_object(self.claim_object(), number),
                Some(PlannedChange::Move) => self.move_object(Batch::new(), number),
                Some(PlannedChange::Property) | None => self.set_property(number),
            }
        };
        // These batches keep every limit. An empty request would be refused.
        let operations = batch.into_operations().unwrap_or_default();
        StateRequest { request: number, operations }
    }

    /// Applies an event of the session to the copy.
    ///
    /// # Errors
    ///
    /// If a snapshot or an update does not fit the copy.
    pub(crate) fn apply(
        &mut self,
        context: &RunContext,
        event: SessionEvent,
    ) -> Result<(), StateFault> {
        match event {
            SessionEvent::StateSnapshot(snapshot) => {
                self.replica.apply_snapshot(snapshot)?;
            }
            SessionEvent::StateUpdate(update) => {
                self.replica.apply_update(update)?;
            }
            SessionEvent::StateReply(reply) => {
                record_reply(context, &reply);
                return Ok(());
            }
            _ => return Ok(()),
        }
        context.states.note(self.source, self.replica.version());
        Ok(())
    }

    /// Hands in the copy at the end of the run.
    pub(crate) fn hand_in(&self, ledger: &StateLedger) {
        ledger.hand_in(self.source, self.replica.digest(), self.replica.objects().len() as u64);
    }

    /// Returns the object that this headset shares with others of its room.
    fn object(&self) -> ObjectId {
        ObjectId::scene(self.source.object())
    }

    /// Returns a batch that claims the shared object, or creates the object if it does not exist
    /// yet.
    fn claim_object(&self) -> Batch {
        match self.replica.object(self.object()) {
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
    fn set_property(&self, number: u32) -> Batch {
        let key = format!("property {}", number % PROPERTIES);
        let version = self.replica.field(EntityId::Room, &key).map_or(0, |field| field.version);
        let mut value = Vec::new();
        self.source.property(number, &mut value);
        Batch::new().compare_and_set(EntityId::Room, &key, version, value)
    }
}

fn record_reply(context: &RunContext, reply: &StateReply) {
    let code = Code::from_number(reply.code.into());
    context.states.answered(code != Some(Code::Left));
    match code {
        // The change was made, or another headset was faster.
        Some(Code::Left | Code::Conflict | Code::NoSuchEntity) => {}
        Some(code) => context.log.problem(format!("a change of the state was refused: {code}")),
        None => context.log.problem(format!("a change of the state got code {}", reply.code)),
    }
}
