//! What the server refused in a room, and which right it needs, in words for a person.

use std::fmt;

use nucleus_protocol::session::{Code, Operation, act, operation, scope, value};

use crate::refusal;
use crate::roster::PeerId;

/// The part of a request that the server refused. Its text says what the client wanted to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedAction {
    /// An act of moderation, by its number on the wire.
    Act(u8),
    /// A subscription to groups.
    Subscribe,
    /// An operation on the state.
    Operation(RefusedOperation),
}

/// An operation on the state that the server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedOperation {
    words: &'static str,
    right: &'static str,
    /// Index in the batch, from 0.
    index: usize,
    /// Number of operations of the batch.
    count: usize,
}

/// The rights of the protocol's section "Shared state", and what gives them.
const MODERATE: &str =
    "the right to moderate: the role \"host\" or \"expert\", or the grant \"moderate\"";
const ROOM: &str = "the right to the room's fields: the role \"presenter\", \"host\" or \
                    \"expert\", or the grant \"state.room\"";
const OBJECTS: &str =
    "the right to objects: a role other than \"observer\", or the grant \"state.objects\"";
const OWN: &str = "a role other than \"observer\"";

/// A request as it is remembered until its reply.
pub(super) enum RequestedAction {
    Act(u8),
    Subscribe,
    /// What each operation does, and the right that it needs.
    Change(Vec<(&'static str, &'static str)>),
}

impl RequestedAction {
    /// Returns what a request for changes by the peer `me` does.
    pub(super) fn change(operations: &[Operation], me: PeerId) -> Self {
        Self::Change(operations.iter().map(|each| (words(each), right(each, me))).collect())
    }

    /// Returns the part that was refused. `index` is the index of the operation that the server
    /// named, which may be any number.
    pub(super) fn refused(&self, index: usize) -> RefusedAction {
        match self {
            Self::Act(act) => RefusedAction::Act(*act),
            Self::Subscribe => RefusedAction::Subscribe,
            Self::Change(operations) => {
                let (words, right) =
                    operations.get(index).copied().unwrap_or(("change the state", OWN));
                let count = operations.len();
                RefusedAction::Operation(RefusedOperation { words, right, index, count })
            }
        }
    }
}

impl RefusedAction {
    fn right(&self) -> &'static str {
        match self {
            Self::Act(_) => MODERATE,
            Self::Subscribe => OWN,
            Self::Operation(operation) => operation.right,
        }
    }

    /// Returns why the server refused the action.
    pub(super) fn explain(&self, code: Option<Code>, number: u16) -> String {
        match code {
            Some(Code::Forbidden) => {
                format!("to {self}, this client needs {} in its token", self.right())
            }
            Some(_) => format!("cannot {self}: {}", refusal::reason(code)),
            None => format!("cannot {self}: {}", refusal::code_name(code, number)),
        }
    }
}

impl fmt::Display for RefusedAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(act) => f.write_str(act_words(*act)),
            Self::Subscribe => f.write_str("subscribe to groups"),
            Self::Operation(RefusedOperation { words, index, count, .. }) => {
                f.write_str(words)?;
                // A person counts from 1.
                if *count > 1 && index < count {
                    write!(f, " (operation {} of {count})", index + 1)?;
                }
                Ok(())
            }
        }
    }
}

fn act_words(act: u8) -> &'static str {
    match act {
        act::KICK => "kick a peer",
        act::LOCK => "lock the room",
        act::UNLOCK => "unlock the room",
        act::HIDE => "hide the room",
        act::SHOW => "show the room",
        act::MUTE => "mute a peer",
        act::UNMUTE => "unmute a peer",
        act::MUTE_ALL => "mute all peers",
        act::UNMUTE_ALL => "unmute all peers",
        act::MUTE_SELF => "mute itself",
        act::UNMUTE_SELF => "unmute itself",
        act::CLEAR => "clear the room",
        act::HAND_OVER => "hand over the moderation",
        act::END => "end the room",
        _ => "moderate",
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
        let needs = "this client needs the right to moderate: the role \"host\" or \"expert\", or \
                     the grant \"moderate\" in its token";
        let kick = || RequestedAction::Act(act::KICK);
        assert_eq!(forbidden(kick()), format!("to kick a peer, {needs}"));
        let gone = "cannot kick a peer: there is no such peer, object or call";
        assert_eq!(refused(kick(), Code::NoSuchEntity as u16, 0), gone);
        assert_eq!(refused(kick(), 999, 0), "cannot kick a peer: code 999");
        let subscribe =
            "to subscribe to groups, this client needs a role other than \"observer\" in its token";
        assert_eq!(forbidden(RequestedAction::Subscribe), subscribe);
        for number in 1..=act::HAND_OVER {
            assert_ne!(act_words(number), "moderate", "{number}");
        }
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
            "cannot remove a field of the room (operation 2 of 3): the field has another version, \
             or the object another owner"
        );
        let right = forbidden(change(Batch::new().set(EntityId::Room, "topic", "x")));
        assert!(
            right.starts_with("to set a field of the room, this client needs the right to the")
        );
        // A hostile server names an operation that there is not.
        assert!(refused(batch(), conflict, 9).starts_with("cannot change the state: the field"));
    }

    #[test]
    fn each_operation_needs_its_right() {
        let cup = ObjectId::new(ME, 1);
        let right = |batch: Batch| match change(batch).refused(0) {
            RefusedAction::Operation(operation) => operation.right,
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
