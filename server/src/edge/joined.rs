//! What the readers of a session's streams share.

use nucleus_core::ids::SessionId;

use super::SessionContext;
use super::carrier::Connection;
use crate::rooms::{LentBudgets, RoomHandle};

/// A session that has joined a room, as the readers of its streams see it.
#[derive(Clone, Copy)]
pub(super) struct JoinedSession<'a> {
    pub(super) id: SessionId,
    pub(super) connection: &'a Connection,
    pub(super) room: &'a RoomHandle,
    pub(super) budgets: &'a LentBudgets,
    pub(super) context: &'a SessionContext,
}
