//! One call: its members, the users it rings at, and its deadlines.

use nucleus_protocol::session::{CallUpdate, call_update};
use nucleus_protocol::time::Time;

use super::users::Users;
use crate::control::CallSummary;
use crate::limits;
use crate::plane_event::CallTotals;

/// An action of a user on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAct {
    /// Calls these users, each named once, with a text for them.
    Start(Vec<String>, String),
    /// Accepts the call with this number.
    Accept(u64),
    /// Rejects the call with this number.
    Reject(u64),
    /// Withdraws the call with this number while it rings.
    Cancel(u64),
    /// Leaves the call with this number.
    HangUp(u64),
    /// Calls one more user into the call with this number.
    Add(u64, String),
}

/// Random numbers for the call that an action may start.
#[derive(Clone, Copy, Debug)]
pub struct CallSeed {
    /// The number of the call. Never 0.
    pub call: u64,
    /// The random part of the name of the call's room, which nobody can guess.
    pub room: u128,
}

/// The stage of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallState {
    /// Nobody has accepted the call yet. The caller is its only member.
    Ringing,
    /// Somebody has accepted the call. Its room is being created.
    Opening,
    /// The room exists, and the members may join it.
    Open,
}

/// The state of one user in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PartyState {
    Member,
    /// The user's devices ring.
    Ringing {
        /// The member who called the user.
        by: String,
        until: Time,
    },
}

/// A user in a call.
#[derive(Clone, Debug)]
pub(super) struct CallParty {
    pub(super) user: String,
    pub(super) state: PartyState,
    /// When the user lost the last session; `None` while there is one.
    pub(super) lost_at: Option<Time>,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) room: String,
    pub(super) text: String,
    pub(super) state: CallState,
    /// The users of the call, in the order in which they were added.
    pub(super) parties: Vec<CallParty>,
    /// What the report of the call's end needs.
    pub(super) history: CallHistory,
}

/// The past of a call, for the report of its end.
#[derive(Clone, Debug)]
pub(super) struct CallHistory {
    started: Time,
    /// When the first user accepted the call.
    accepted: Option<Time>,
    /// All who have ever been members, the caller first, and all who were called. At most
    /// [`limits::CALL_HISTORY_USERS`] each: members may call one user after another.
    members: Vec<String>,
    called: Vec<String>,
}

impl CallHistory {
    pub(super) fn new(now: Time, caller: &str) -> Self {
        let members = vec![caller.to_owned()];
        Self { started: now, accepted: None, members, called: Vec::new() }
    }

    /// Returns the user who called.
    pub(super) fn caller(&self) -> &str {
        self.members.first().map_or("", String::as_str)
    }

    /// Notes that a user is called.
    pub(super) fn note_called(&mut self, user: &str) {
        note(&mut self.called, user);
    }

    /// Notes that a user has accepted the call.
    pub(super) fn note_accepted(&mut self, now: Time, user: &str) {
        self.accepted.get_or_insert(now);
        note(&mut self.members, user);
    }

    /// Returns what there is to say of the call, which ends now.
    pub(super) fn end(self, now: Time) -> CallTotals {
        let Self { started, accepted, members, called } = self;
        let missed = called.into_iter().filter(|user| !members.contains(user)).collect();
        let talked = accepted.map(|at| now.since(at));
        CallTotals { lasted: now.since(started), talked, members, missed }
    }
}

fn note(users: &mut Vec<String>, user: &str) {
    if users.len() < limits::CALL_HISTORY_USERS && !users.iter().any(|known| known == user) {
        users.push(user.to_owned());
    }
}

impl CallParty {
    pub(super) fn is_member(&self) -> bool {
        self.state == PartyState::Member
    }

    /// Returns the time at which the user is removed from the call if nothing happens before.
    /// `call` is the stage of the call.
    pub(super) fn deadline(&self, call: CallState) -> Option<Time> {
        let after_loss = |grace| self.lost_at.map(|at| at + grace);
        match &self.state {
            PartyState::Ringing { until, .. } => {
                Some(after_loss(limits::RING_GRACE).map_or(*until, |at| at.min(*until)))
            }
            PartyState::Member if call == CallState::Ringing => after_loss(limits::RING_GRACE),
            PartyState::Member => after_loss(limits::CALL_GRACE),
        }
    }
}

impl Call {
    pub(super) fn party(&self, user: &str) -> Option<&CallParty> {
        self.parties.iter().find(|party| party.user == user)
    }

    pub(super) fn party_mut(&mut self, user: &str) -> Option<&mut CallParty> {
        self.parties.iter_mut().find(|party| party.user == user)
    }

    pub(super) fn is_member(&self, user: &str) -> bool {
        self.party(user).is_some_and(CallParty::is_member)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.parties.iter().filter(|party| party.is_member()).map(|party| party.user.as_str())
    }

    /// Returns true if nobody is left to talk to.
    pub(super) fn is_over(&self) -> bool {
        let members = self.members().count();
        members == 0 || (members == 1 && self.parties.len() == 1)
    }

    /// Returns the earliest deadline of its users.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.parties.iter().filter_map(|party| party.deadline(self.state)).min()
    }

    /// Returns the user with the earliest deadline, if this deadline has passed.
    pub(super) fn overdue(&self, now: Time) -> Option<&CallParty> {
        let deadline = self.deadline().filter(|at| *at <= now)?;
        self.parties.iter().find(|party| party.deadline(self.state) == Some(deadline))
    }

    /// Returns the call as the control plane shows it.
    pub(super) fn summary(&self, now: Time) -> CallSummary {
        let ringing = self.parties.iter().filter(|party| !party.is_member());
        CallSummary {
            call: self.id,
            caller: self.history.caller().to_owned(),
            started: self.history.started,
            age: now.since(self.history.started),
            talking: self.history.accepted.map(|at| now.since(at)),
            members: self.members().map(str::to_owned).collect(),
            ringing: ringing.map(|party| party.user.clone()).collect(),
        }
    }

    /// Returns an update of this kind without contents.
    pub(super) fn update(&self, kind: u8) -> CallUpdate {
        CallUpdate { call: self.id, kind, ..CallUpdate::default() }
    }

    /// Returns the whole state of the call for a device of this user; `None` while the room is
    /// being created.
    pub(super) fn state_for(&self, user: &str, users: &Users) -> Option<CallUpdate> {
        let party = self.party(user)?;
        let names = |parties: &mut dyn Iterator<Item = &str>| parties.map(bytes).collect();
        let text = bytes(&self.text);
        Some(match (&party.state, self.state) {
            (PartyState::Ringing { by, .. }, _) => CallUpdate {
                user: bytes(by),
                name: bytes(users.user(by).map_or("", |user| &user.name)),
                members: names(&mut self.members()),
                text,
                ..self.update(call_update::INCOMING)
            },
            (PartyState::Member, CallState::Ringing) => {
                let called = self.parties.iter().filter(|party| !party.is_member());
                let members = names(&mut called.map(|party| party.user.as_str()));
                CallUpdate { members, text, ..self.update(call_update::CALLING) }
            }
            (PartyState::Member, CallState::Opening) => return None,
            (PartyState::Member, CallState::Open) => CallUpdate {
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
