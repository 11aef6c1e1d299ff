//! The slab of connection ids. A lookup is one array access instead of a hash map, and a peer
//! cannot choose the index of its entry.

use std::collections::VecDeque;

use nucleus_protocol::realtime::ConnectionId;

use crate::limits;

/// The connection ids of a shard's links.
pub(super) struct ConnectionIds {
    shard: u8,
    /// By slab index: the id in use, and the index of its link. `None` for a free index.
    entries: Vec<Option<(ConnectionId, u32)>>,
    free: VecDeque<u32>,
}

impl ConnectionIds {
    pub(super) fn new(shard: u8) -> Self {
        Self { shard, entries: Vec::new(), free: VecDeque::new() }
    }

    /// Returns a new id for `link`. An index is used again only after
    /// [`limits::RESTING_CONNECTION_IDS`] other indexes have been released.
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

    /// Frees an id.
    pub(super) fn release(&mut self, id: ConnectionId) {
        if let Some(entry) = self.entries.get_mut(id.index() as usize) {
            *entry = None;
            self.free.push_back(id.index());
        }
    }

    /// Returns the link that this id names.
    pub(super) fn link(&self, id: ConnectionId) -> Option<u32> {
        let (known, link) = (*self.entries.get(id.index() as usize)?)?;
        (known == id).then_some(link)
    }
}
