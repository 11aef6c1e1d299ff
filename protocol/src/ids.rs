//! Ids that client and server share.

use std::fmt;

/// A participant of one room instance, over all of its sessions. Counted from 1, and never used again
/// in that instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

impl PeerId {
    /// Reads a peer number from the wire, where 0 stands for nobody.
    pub fn from_wire(number: u32) -> Option<PeerId> {
        (number != 0).then_some(PeerId(number))
    }
}

/// Writes `#` and the number, as in `#7`.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
