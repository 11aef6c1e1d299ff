//! Frames of interest management: who needs to hear whom. Their layout is fixed, and no rule uses
//! them yet: both ends skip them.

use super::control::{PRESENCE, VIEWPOINT};
use super::frame;
use crate::codec::{Reader, Truncated, put_i24};

/// Where a client looks from, if that is not where its pose is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewpoint {
    /// x, y and z in mm, each of 24 bits.
    pub position: [i32; 3],
    /// Reserved.
    pub flags: u8,
}

/// Where the peers of a room are, roughly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceMap {
    /// A unit of the positions is 2^scale mm.
    pub scale: u8,
    /// The peers, at most 255.
    pub peers: Vec<PeerPlace>,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerPlace {
    /// The peer's slot.
    pub slot: u16,
    /// x, y and z in units of the [`PresenceMap::scale`].
    pub position: [i16; 3],
    /// The direction in which the peer looks, in 256ths of a turn.
    pub yaw: u8,
}

impl Viewpoint {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        Ok(Self { position: [r.i24()?, r.i24()?, r.i24()?], flags: r.u8()? })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put_header(out, VIEWPOINT, 10);
        self.position.iter().for_each(|axis| put_i24(out, *axis));
        out.push(self.flags);
    }
}

impl PresenceMap {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields and its list.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let (scale, count) = (r.u8()?, r.u8()?);
        let mut peer = || {
            let (slot, axes) = (r.u16()?, [r.u16()?, r.u16()?, r.u16()?]);
            Ok(PeerPlace { slot, position: axes.map(|axis| axis as i16), yaw: r.u8()? })
        };
        Ok(Self { scale, peers: (0..count).map(|_| peer()).collect::<Result<_, _>>()? })
    }

    /// Appends the frame, with at most 255 peers.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let count = u8::try_from(self.peers.len()).unwrap_or(u8::MAX);
        frame::put_header(out, PRESENCE, 2 + 9 * usize::from(count));
        out.extend_from_slice(&[self.scale, count]);
        for peer in self.peers.iter().take(count.into()) {
            out.extend_from_slice(&peer.slot.to_le_bytes());
            peer.position.iter().for_each(|axis| out.extend_from_slice(&axis.to_le_bytes()));
            out.push(peer.yaw);
        }
    }
}
