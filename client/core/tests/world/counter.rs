//! A field of the room's state that all devices count up, each time under the condition that nobody
//! else has changed the field. Its value shows whether a change was lost or made twice.

use std::collections::BTreeMap;

use nucleus_client_core::state::{Batch, EntityId, Replica};
use nucleus_protocol::ids::RoomInstanceId;

/// The field's key.
const KEY: &str = "count";

/// The requests to count, by instance of the room.
#[derive(Default)]
pub(crate) struct CountRequests {
    made: BTreeMap<[u8; 8], CountsMade>,
}

#[derive(Clone, Copy, Default)]
struct CountsMade {
    /// Requests that the server confirmed.
    confirmed: i64,
    /// Requests whose result was lost: the server may or may not have made the change.
    unknown: i64,
}

impl CountRequests {
    pub(crate) fn note_confirmed(&mut self, instance: RoomInstanceId) {
        self.made.entry(instance.0).or_default().confirmed += 1;
    }

    pub(crate) fn note_unknown(&mut self, instance: RoomInstanceId) {
        self.made.entry(instance.0).or_default().unknown += 1;
    }

    /// Checks the count in a replica of this instance.
    pub(crate) fn check(&self, instance: RoomInstanceId, replica: &Replica) {
        let CountsMade { confirmed, unknown } =
            self.made.get(&instance.0).copied().unwrap_or_default();
        let (count, _) = count_in(replica);
        let possible = confirmed..=confirmed + unknown;
        assert!(possible.contains(&count), "counted {count} times, not {possible:?}");
    }
}

/// Returns the count with its version.
fn count_in(replica: &Replica) -> (i64, u64) {
    let field = replica.field(EntityId::Room, KEY);
    field.map_or((0, 0), |field| (field.value.as_integer().unwrap(), field.version))
}

/// Returns a batch that counts up once, if nobody else does meanwhile.
pub(crate) fn count_up(replica: &Replica) -> Batch {
    let (count, version) = count_in(replica);
    Batch::new().compare_and_set(EntityId::Room, KEY, version, count + 1)
}
