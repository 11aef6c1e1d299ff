//! The participants that an event is for.

use std::sync::Arc;

use nucleus_protocol::limits::MAX_EVENT_TARGETS;

use crate::ids::PeerId;

/// The recipients of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipients {
    /// Everybody, including the sender.
    All,
    /// Everybody but the sender.
    Others,
    /// These peers, sorted and without duplicates.
    Listed(Arc<[PeerId]>),
}

impl Recipients {
    /// Returns the peers of a list as recipients. `None`: the list is longer than
    /// [`MAX_EVENT_TARGETS`].
    pub(crate) fn listed(mut listed: Vec<PeerId>) -> Option<Self> {
        if listed.len() > MAX_EVENT_TARGETS {
            return None;
        }
        listed.sort_unstable();
        // A list that names one peer a thousand times takes no more memory than one that names it
        // once.
        listed.dedup();
        Some(Recipients::Listed(listed.into()))
    }

    /// Returns whether an event from `from` is for `peer`.
    pub(crate) fn include(&self, from: PeerId, peer: PeerId) -> bool {
        match self {
            Recipients::All => true,
            Recipients::Others => peer != from,
            Recipients::Listed(listed) => listed.binary_search(&peer).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_targets_are_refused() {
        let listed = |n: u32| Recipients::listed((0..n).map(PeerId).collect());
        assert!(listed(1_024).is_some() && listed(1_025).is_none());
        let repeated = Recipients::listed(vec![PeerId(1); 1_024]);
        assert_eq!(repeated, Recipients::listed(vec![PeerId(1)]));
    }
}
