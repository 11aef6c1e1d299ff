//! What an application hears of the state.

use super::{EntityId, ObjectId, ObjectMode, Value};
use crate::roster::PeerId;

/// The state has changed. `by` is the peer that asked for it, this client too; `None`: the server's
/// own doing, or what a snapshot brought. The peers it names may be ahead of the roster by a tenth of a
/// second, or behind it.
#[derive(Clone, Debug, PartialEq)]
pub enum StateChange {
    /// A field was set or removed.
    Field {
        /// Whose.
        entity: EntityId,
        /// Which.
        key: String,
        /// What it is now; `None`: it is gone.
        value: Option<Value>,
        /// See above.
        by: Option<PeerId>,
    },
    /// An object is new; its fields follow.
    Created {
        /// Which.
        object: ObjectId,
        /// Whose it is; `None`: nobody's.
        owner: Option<PeerId>,
        /// How it is owned.
        mode: ObjectMode,
        /// See above.
        by: Option<PeerId>,
    },
    /// An object, or what the room knew of a peer, is gone with its fields.
    Deleted {
        /// Which.
        entity: EntityId,
        /// See above.
        by: Option<PeerId>,
    },
    /// An object has another owner.
    Owner {
        /// Which.
        object: ObjectId,
        /// Whose it is now; `None`: nobody's.
        owner: Option<PeerId>,
        /// See above.
        by: Option<PeerId>,
    },
    /// A peer asks for an object, whose owner may give it ([`super::Batch::give`]). Nothing is
    /// remembered of it: a client that was away does not hear of it later.
    Claimed {
        /// Which.
        object: ObjectId,
        /// Who asks.
        by: PeerId,
    },
    /// The room has another host, because one was chosen or because peers came, went or fell silent.
    Host {
        /// Who it is now.
        host: Option<PeerId>,
    },
}

impl StateChange {
    /// Bytes that it takes beside its own size.
    pub(crate) fn len(&self) -> usize {
        match self {
            StateChange::Field { key, value, .. } => {
                key.len() + value.as_ref().map_or(0, Value::len)
            }
            _ => 0,
        }
    }
}
