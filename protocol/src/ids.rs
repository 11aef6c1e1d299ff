//! Ids that client and server share.

use std::fmt;

/// The number of a participant in one room instance, the same over all of its sessions. Numbers
/// start at 1 and are not reused within the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

impl PeerId {
    /// Returns the id of a peer number from the wire, or `None` for 0, which stands for nobody.
    pub fn from_wire(number: u32) -> Option<PeerId> {
        (number != 0).then_some(PeerId(number))
    }
}

/// One life of a room, from its creation to its end: random bytes. A room that is created again
/// under the same name, or after the server was restarted, is another instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomInstanceId(pub [u8; 8]);

/// One run of a server process: random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerInstanceId(pub [u8; 8]);

/// Writes `#` and the number, as in `#7`.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
