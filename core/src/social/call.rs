//! One call: who is in it, who is called, and until when.

use nucleus_protocol::session::{CallUpdate, call_update};
use nucleus_protocol::time::Time;

use super::users::Users;
use crate::limits;

/// What a user does to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAct {
    /// Calls these users, each named once; the text says what it is about.
    Start(Vec<String>, String),
    /// Takes the call.
    Accept(u64),
    /// Does not.
    Reject(u64),
    /// Takes it back.
    Cancel(u64),
    /// Leaves it.
    HangUp(u64),
    /// Calls one more.
    Add(u64, String),
}

/// Random numbers for a call that may come of an act.
#[derive(Clone, Copy, Debug)]
pub struct CallSeed {
    /// Its number, not 0.
    pub call: u64,
    /// What makes the name of its room one that nobody guesses.
    pub room: u128,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallState {
    /// Nobody has taken it; its only member is who calls.
    Ringing,
    /// Taken; its room is being made.
    Opening,
    /// Its members meet in the room.
    Open,
}

/// A user's part in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Member,
    Rung {
        /// The member who calls.
        by: String,
        until: Time,
    },
}

/// A user of a call.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub(super) user: String,
    pub(super) part: Part,
    /// Since when no session of the user's is left.
    pub(super) lost: Option<Time>,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) room: String,
    pub(super) text: String,
    pub(super) state: CallState,
    /// In the order of coming.
    pub(super) parties: Vec<Party>,
}

impl Party {
    pub(super) fn is_member(&self) -> bool {
        self.part == Part::Member
    }

    /// When the user is out of the call, should nothing happen.
    pub(super) fn due(&self, state: CallState) -> Option<Time> {
        let lost = |grace| self.lost.map(|since| since + grace);
        match &self.part {
            Part::Rung { until, .. } => {
                Some(lost(limits::RING_GRACE).map_or(*until, |due| due.min(*until)))
            }
            Part::Member if state == CallState::Ringing => lost(limits::RING_GRACE),
            Part::Member => lost(limits::CALL_GRACE),
        }
    }
}

impl Call {
    pub(super) fn party(&self, user: &str) -> Option<&Party> {
        self.parties.iter().find(|party| party.user == user)
    }

    pub(super) fn party_mut(&mut self, user: &str) -> Option<&mut Party> {
        self.parties.iter_mut().find(|party| party.user == user)
    }

    pub(super) fn is_member(&self, user: &str) -> bool {
        self.party(user).is_some_and(Party::is_member)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.parties.iter().filter(|party| party.is_member()).map(|party| party.user.as_str())
    }

    /// Nobody is left to talk to.
    pub(super) fn is_over(&self) -> bool {
        let members = self.members().count();
        members == 0 || (members == 1 && self.parties.len() == 1)
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.parties.iter().filter_map(|party| party.due(self.state)).min()
    }

    /// Of those who are out of it by now the one who was first.
    pub(super) fn overdue(&self, now: Time) -> Option<&Party> {
        let due = self.due().filter(|due| *due <= now)?;
        self.parties.iter().find(|party| party.due(self.state) == Some(due))
    }

    pub(super) fn update(&self, kind: u8) -> CallUpdate {
        CallUpdate { call: self.id, kind, ..CallUpdate::default() }
    }

    /// What a device of this user's is to show; `None` while the room is being made.
    pub(super) fn state(&self, user: &str, present: &Users) -> Option<CallUpdate> {
        let party = self.party(user)?;
        let names = |users: &mut dyn Iterator<Item = &str>| users.map(bytes).collect();
        let text = bytes(&self.text);
        Some(match (&party.part, self.state) {
            (Part::Rung { by, .. }, _) => CallUpdate {
                user: bytes(by),
                name: bytes(present.user(by).map_or("", |user| &user.name)),
                members: names(&mut self.members()),
                text,
                ..self.update(call_update::INCOMING)
            },
            (Part::Member, CallState::Ringing) => {
                let rung = self.parties.iter().filter(|party| !party.is_member());
                let members = names(&mut rung.map(|party| party.user.as_str()));
                CallUpdate { members, text, ..self.update(call_update::CALLING) }
            }
            (Part::Member, CallState::Opening) => return None,
            (Part::Member, CallState::Open) => CallUpdate {
                room: bytes(&self.room),
                members: names(&mut self.members()),
                ..self.update(call_update::ACCEPTED)
            },
        })
    }
}

pub(super) fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}
