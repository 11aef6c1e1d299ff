//! What the server refused in a room, and which right it needs, in words for a person.

use std::fmt;

use nucleus_protocol::session::{Code, Operation, act, operation, scope, value};

use crate::moderation::ModerationAct;
use crate::refusal;
use crate::roster::PeerId;

/// The part of a request that the server refused. Its text says what the client wanted to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedAction {
    /// An act of moderation.
    Act(ModerationAct),
    /// To mute itself.
    MuteSelf,
    /// To unmute itself.
    UnmuteSelf,
    /// A subscription to groups.
    Subscribe,
    /// An operation on the state.
    Operation(RefusedOperation),
}

/// An operation on the state that the server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedOperation {
    requested: RequestedOperation,
    /// Index in the batch, from 0.
    index: usize,
    /// Number of operations of the batch.
    count: usize,
}

/// An operation as it is remembered until the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestedOperation {
    words: &'static str,
    /// The right that it needs.
    right: &'static str,
    creates: bool,
}

/// The rights of the protocol's section "Shared state", and what gives them.
const MODERATE: &str = "the right to moderate: the role \"host\" or \"expert\" or the grant \
                        \"moderate\" in its token, or a hand-over";
const ROOM: &str = "the right to the room's fields: the role \"presenter\", \"host\" or \"expert\" \
                    or the grant \"state.room\" in its token";
const OBJECTS: &str = "the right to objects: a role other than \"observer\" or the grant \
                       \"state.objects\" in its token";
const OWN: &str = "a role other than \"observer\" in its token";

/// A request as it is remembered until its reply.
pub(super) enum RequestedAction {
    Act(u8),
    Subscribe,
    Change(Vec<RequestedOperation>),
}

impl RequestedAction {
    /// Returns what a request for changes by the peer `me` does.
    pub(super) fn change(operations: &[Operation], me: PeerId) -> Self {
        let requested = |each: &Operation| RequestedOperation {
            words: words(each),
            right: right(each, me),
            creates: each.kind == operation::CREATE,
        };
        Self::Change(operations.iter().map(requested).collect())
    }

    /// Returns the part that was refused. `index` is the index of the operation that the server
    /// named, which may be any number.
    pub(super) fn refused(&self, index: usize) -> RefusedAction {
        match self {
            Self::Act(act::MUTE_SELF) => RefusedAction::MuteSelf,
            Self::Act(act::UNMUTE_SELF) => RefusedAction::UnmuteSelf,
            Self::Act(act) => RefusedAction::Act((*act).into()),
            Self::Subscribe => RefusedAction::Subscribe,
            Self::Change(operations) => {
                let unknown =
                    RequestedOperation { words: "change the state", right: OWN, creates: false };
                let requested = operations.get(index).copied().unwrap_or(unknown);
                let count = operations.len();
                RefusedAction::Operation(RefusedOperation { requested, index, count })
            }
        }
    }
}

impl RefusedAction {
    fn right(&self) -> &'static str {
        match self {
            Self::Act(_) => MODERATE,
            Self::MuteSelf | Self::UnmuteSelf | Self::Subscribe => OWN,
            Self::Operation(operation) => operation.requested.right,
        }
    }

    /// Returns why the server refused the action.
    pub(super) fn explain(&self, code: Option<Code>, number: u16) -> String {
        let text = match (code, self) {
            (Some(Code::Forbidden), _) => {
                format!("to {self}, this client needs {}", self.right())
            }
            (Some(Code::NoSuchEntity), Self::Operation(operation))
                if operation.requested.creates =>
            {
                format!("cannot {self}: there is already an object with this id")
            }
            _ => format!("cannot {self}: {}", refusal::reason(code)),
        };
        format!("the server refused ({}): {text}.", refusal::code_name(code, number))
    }
}

impl fmt::Display for RefusedAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(act) => f.write_str(act_words(*act)),
            Self::MuteSelf => f.write_str("mute itself"),
            Self::UnmuteSelf => f.write_str("unmute itself"),
            Self::Subscribe => f.write_str("subscribe to groups"),
            Self::Operation(RefusedOperation { requested, index, count }) => {
                f.write_str(requested.words)?;
                // A person counts from 1.
                if *count > 1 && index < count {
                    write!(f, " (operation {} of {count})", index + 1)?;
                }
                Ok(())
            }
        }
    }
}

fn act_words(act: ModerationAct) -> &'static str {
    match act {
        ModerationAct::Kick => "kick a peer",
        ModerationAct::Lock => "lock the room",
        ModerationAct::Unlock => "unlock the room",
        ModerationAct::Hide => "hide the room",
        ModerationAct::Show => "show the room",
        ModerationAct::Mute => "mute a peer",
        ModerationAct::Unmute => "unmute a peer",
        ModerationAct::MuteAll => "mute all peers",
        ModerationAct::UnmuteAll => "unmute all peers",
        ModerationAct::Clear => "clear the room",
        ModerationAct::HandOver => "hand over the moderation",
        ModerationAct::End => "end the room",
        ModerationAct::Other(_) => "moderate",
    }
}

fn words(operation: &Operation) -> &'static str {
    let removes = operation.value.kind == value::NONE;
    match (operation.kind, operation.scope) {
        (operation::SET, scope::ROOM) if removes => "remove a field of the room",
        (operation::SET, scope::PEER) if removes => "remove a field of a peer",
        (operation::SET, _) if removes => "remove a field of an object",
        (operation::SET, scope::ROOM) => "set a field of the room",
        (operation::SET, scope::PEER) => "set a field of a peer",
        (operation::SET, _) => "set a field of an object",
        (operation::CREATE, _) => "create an object",
        (operation::DELETE, _) => "delete an object",
        (operation::CLAIM, _) => "claim an object",
        (operation::GIVE, _) => "give an object away",
        (operation::HOST, _) => "choose the host",
        _ => "change the state",
    }
}

fn right(operation: &Operation, me: PeerId) -> &'static str {
    match operation.scope {
        _ if operation.kind == operation::HOST => MODERATE,
        scope::ROOM => ROOM,
        scope::PEER if operation.id == u64::from(me.0) => OWN,
        scope::PEER => MODERATE,
        _ => OBJECTS,
    }
}

#[cfg(test)]
mod tests {
    use nucleus_protocol::session::StateReply;

    use super::super::StateError;
    use super::super::requests::RoomRequests;
    use super::*;
    use crate::state::{Batch, EntityId, ObjectId, ObjectMode};

    const ME: PeerId = PeerId(1);

    /// Returns the text of a refusal of this request.
    fn refused(action: RequestedAction, code: u16, failed: u16) -> String {
        let mut requests = RoomRequests::new();
        let request = requests.start(action);
        requests.on_reply(StateReply { request, code, failed, version: 0 }, 0);
        let error = requests.take(request).unwrap().unwrap_err();
        assert!(
            matches!(error, StateError::Refused { operation, .. } if operation == usize::from(failed))
        );
        error.to_string()
    }

    fn change(batch: Batch) -> RequestedAction {
        RequestedAction::change(&batch.into_operations().unwrap(), ME)
    }

    fn forbidden(action: RequestedAction) -> String {
        refused(action, Code::Forbidden as u16, 0)
    }

    #[test]
    fn a_refused_act_names_itself_and_the_right_that_it_needs() {
        let needs = "this client needs the right to moderate: the role \"host\" or \"expert\" or the \
                     grant \"moderate\" in its token, or a hand-over";
        let kick = || RequestedAction::Act(act::KICK);
        let expected = format!("the server refused (forbidden): to kick a peer, {needs}.");
        assert_eq!(forbidden(kick()), expected);
        let gone = "the server refused (no_such_entity): cannot kick a peer: there is no such peer, \
                    object or call.";
        assert_eq!(refused(kick(), Code::NoSuchEntity as u16, 0), gone);
        let later = "the server refused (code 999): cannot kick a peer: no reason given.";
        assert_eq!(refused(kick(), 999, 0), later);
        let subscribe = "the server refused (forbidden): to subscribe to groups, this client needs a \
                         role other than \"observer\" in its token.";
        assert_eq!(forbidden(RequestedAction::Subscribe), subscribe);
        for number in 1..=act::HAND_OVER {
            let action = RequestedAction::Act(number).refused(0).to_string();
            assert_ne!(action, "moderate", "{number}");
        }
    }

    #[test]
    fn an_object_that_exists_is_no_missing_one() {
        let cup = ObjectId::new(ME, 1);
        let batch = || change(Batch::new().create(cup, ObjectMode::TAKE).set(cup, "color", "red"));
        let code = Code::NoSuchEntity as u16;
        let exists = "the server refused (no_such_entity): cannot create an object (operation 1 of \
                      2): there is already an object with this id.";
        assert_eq!(refused(batch(), code, 0), exists);
        let gone = "the server refused (no_such_entity): cannot set a field of an object (operation 2 \
                    of 2): there is no such peer, object or call.";
        assert_eq!(refused(batch(), code, 1), gone);
    }

    #[test]
    fn a_refused_change_names_its_operation_counted_from_1() {
        let cup = ObjectId::new(ME, 1);
        let batch = || {
            let batch = Batch::new().create(cup, ObjectMode::TAKE).remove(EntityId::Room, "topic");
            change(batch.set(cup, "color", "red"))
        };
        let conflict = Code::Conflict as u16;
        assert_eq!(
            refused(batch(), conflict, 1),
            "the server refused (conflict): cannot remove a field of the room (operation 2 of 3): \
             the field has another version, or the object another owner."
        );
        let right = forbidden(change(Batch::new().set(EntityId::Room, "topic", "x")));
        let begins = "the server refused (forbidden): to set a field of the room, this client needs \
                      the right to the";
        assert!(right.starts_with(begins), "{right}");
        // A hostile server names an operation that there is not.
        let begins = "the server refused (conflict): cannot change the state: the field";
        assert!(refused(batch(), conflict, 9).starts_with(begins));
    }

    #[test]
    fn each_operation_needs_its_right() {
        let cup = ObjectId::new(ME, 1);
        let right = |batch: Batch| match change(batch).refused(0) {
            RefusedAction::Operation(operation) => operation.requested.right,
            _ => unreachable!(),
        };
        let set = |entity: EntityId| right(Batch::new().set(entity, "k", 1));
        assert_eq!(set(EntityId::Peer(ME)), OWN);
        assert_eq!(set(EntityId::Peer(PeerId(2))), MODERATE);
        assert_eq!([set(EntityId::Room), set(cup.into())], [ROOM, OBJECTS]);
        assert_eq!(right(Batch::new().host(ME)), MODERATE);
        assert_eq!(right(Batch::new().give(cup, ME)), OBJECTS);
    }
}
