//! A headset's copy of its room's shared state, and what the headset asks to change.

use nucleus_client::roster::PeerId;
use nucleus_client::session::SessionEvent;
use nucleus_client::state::{Batch, EntityId, ObjectId, ObjectMode, Replica, StateFault};
use nucleus_protocol::session::{Code, StateReply, StateRequest};

use super::crew::Crew;
use crate::check::states::StateLedger;
use crate::load::channel::Channel;
use crate::load::payload::Source;
use crate::load::schedule::{Ask, StateSchedule};

/// Properties of a room, which its headsets set in turns.
const PROPERTIES: u32 = 4;
/// A field of every object.
const PLACE: &str = "place";

/// A headset's copy of its room's state.
#[derive(Debug)]
pub(crate) struct StateCopy {
    source: Source,
    replica: Replica,
    schedule: StateSchedule,
    /// Requests so far, in all sessions.
    asked: u32,
    /// When it makes its tablet, an object of its own, µs; over once it has asked for it.
    equips: Option<u64>,
}

impl StateCopy {
    pub(crate) fn new(crew: &Crew, headset: u32) -> Self {
        let plan = &crew.plan;
        let source = plan.source(headset);
        let (members, now) = (plan.members(source.room), crew.shared.clock.now());
        crew.states.note(source, 0);
        StateCopy {
            source,
            replica: Replica::new(),
            schedule: StateSchedule::new(source, &plan.traffic, members, plan.epoch, now),
            asked: 0,
            equips: plan.traffic.has(Channel::Object).then_some(now),
        }
    }

    /// This client is somebody else now, who has no tablet yet; where not in the `same_room`, the
    /// state is another one, too.
    pub(crate) fn begin_anew(&mut self, crew: &Crew, same_room: bool) {
        let now = crew.shared.clock.now();
        self.equips = crew.plan.traffic.has(Channel::Object).then_some(now);
        if !same_room {
            self.replica.clear();
            crew.states.note(self.source, 0);
        }
    }

    /// When the next request is due, µs.
    pub(crate) fn due(&self) -> u64 {
        self.equips.unwrap_or_else(|| self.schedule.due())
    }

    /// Whether there is one before the window ends.
    pub(crate) fn asks(&self, crew: &Crew) -> bool {
        self.due() < crew.shared.window().end
    }

    /// That request, of this client as `me`; the schedule moves on.
    pub(crate) fn ask(&mut self, me: PeerId) -> StateRequest {
        let number = self.asked;
        self.asked += 1;
        let batch = if self.equips.take().is_some() {
            let tablet = ObjectId::new(me, number);
            Batch::new().create(tablet, ObjectMode::ASK).set(tablet, PLACE, self.place(number))
        } else {
            match self.schedule.take() {
                Some(Ask::Grab) => self.place_object(self.grab(), number),
                Some(Ask::Place) => self.place_object(Batch::new(), number),
                Some(Ask::Property) | None => self.set_property(number),
            }
        };
        // What is put together here keeps every limit; an empty request would be refused.
        let operations = batch.into_operations().unwrap_or_default();
        StateRequest { request: number, operations }
    }

    /// Takes in what the session says of the state.
    pub(crate) fn hear(&mut self, crew: &Crew, event: SessionEvent) -> Result<(), StateFault> {
        match event {
            SessionEvent::StateSnapshot(snapshot) => {
                self.replica.apply_snapshot(snapshot)?;
            }
            SessionEvent::StateUpdate(update) => {
                self.replica.apply_update(update)?;
            }
            SessionEvent::StateReply(reply) => {
                answered(crew, &reply);
                return Ok(());
            }
            _ => return Ok(()),
        }
        crew.states.note(self.source, self.replica.version());
        Ok(())
    }

    /// The end: nothing more is heard.
    pub(crate) fn hand_in(&self, ledger: &StateLedger) {
        ledger.hand_in(self.source, self.replica.digest(), self.replica.objects().len() as u64);
    }

    /// The object of the scene that its sharers hold in turns.
    fn object(&self) -> ObjectId {
        ObjectId::scene(self.source.object())
    }

    /// Whoever is the first makes it.
    fn grab(&self) -> Batch {
        match self.replica.object(self.object()) {
            Some(_) => Batch::new().claim(self.object()),
            None => Batch::new().create(self.object(), ObjectMode::TAKE.with_room()),
        }
    }

    fn place_object(&self, batch: Batch, number: u32) -> Batch {
        batch.set(self.object(), PLACE, self.place(number))
    }

    fn place(&self, number: u32) -> Vec<u8> {
        let mut place = Vec::new();
        self.source.object_pose(number.into(), &mut place);
        place
    }

    /// Only if nobody else has set it meanwhile.
    fn set_property(&self, number: u32) -> Batch {
        let key = format!("property {}", number % PROPERTIES);
        let version = self.replica.field(EntityId::Room, &key).map_or(0, |field| field.version);
        let mut value = Vec::new();
        self.source.property(number, &mut value);
        Batch::new().compare_and_set(EntityId::Room, &key, version, value)
    }
}

fn answered(crew: &Crew, reply: &StateReply) {
    let code = Code::from_number(reply.code.into());
    crew.states.answered(code != Some(Code::Left));
    match code {
        // Done, or somebody else was faster.
        Some(Code::Left | Code::Conflict | Code::NoSuchEntity) => {}
        Some(code) => crew.log.trouble(format!("a change of the state was refused: {code}")),
        None => crew.log.trouble(format!("a change of the state got code {}", reply.code)),
    }
}
