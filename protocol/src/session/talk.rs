//! What steers who hears what. Bound like every archived message: **a released struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

use crate::groups::GROUP_BYTES;

/// A client says which groups it wants to hear, in place of what it said before; answered by a
/// [`super::StateReply`] of the same number.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The client's number for it, of the same count as its requests for changes of the state.
    pub request: u32,
    /// A bit set, see [`crate::groups::GroupSet`].
    pub groups: [u8; GROUP_BYTES],
}
