//! The slab behind the connection ids: one array access instead of a hash map, and no way for a
//! peer to choose where it lands.

use std::collections::VecDeque;

use nucleus_protocol::realtime::ConnectionId;

use crate::limits;

pub(super) struct ConnectionIds {
    shard: u8,
    entries: Vec<Option<(ConnectionId, u32)>>,
    free: VecDeque<u32>,
}

impl ConnectionIds {
    pub(super) fn new(shard: u8) -> Self {
        Self { shard, entries: Vec::new(), free: VecDeque::new() }
    }

    /// A new id for `link`.
    pub(super) fn allocate(&mut self, link: u32, random: u32) -> ConnectionId {
        let rested = if self.free.len() > limits::RESTING_CONNECTION_IDS {
            self.free.pop_front()
        } else {
            None
        };
        let index = rested.unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() as u32 - 1
        });
        let id = ConnectionId::new(self.shard, index, random);
        self.entries[index as usize] = Some((id, link));
        id
    }

    pub(super) fn release(&mut self, id: ConnectionId) {
        if let Some(entry) = self.entries.get_mut(id.index() as usize) {
            *entry = None;
            self.free.push_back(id.index());
        }
    }

    /// The link that goes by this id.
    pub(super) fn link(&self, id: ConnectionId) -> Option<u32> {
        let (known, link) = (*self.entries.get(id.index() as usize)?)?;
        (known == id).then_some(link)
    }
}
