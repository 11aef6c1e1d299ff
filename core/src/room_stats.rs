//! The figures of a live room's links and sessions, as the control plane shows them. They are read when
//! somebody asks for them, from counters that are there anyway, and cost nothing for a message.

use std::time::Duration;

use nucleus_protocol::realtime::pose::Transform;

use crate::ids::PeerId;

/// What QUIC measures on the path of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LivePathStats {
    /// The smoothed round trip; `None`: not measured yet.
    pub rtt: Option<Duration>,
    /// The share of the server's packets that were lost, in parts per million; `None`: none was sent.
    pub loss_ppm: Option<u32>,
}

/// What a shard knows of a peer's link. Sums are over all links of the peer, as in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveLinkStats {
    /// The number in the room.
    pub peer: PeerId,
    /// Whether the realtime messages go through QUIC instead of UDP 5056; `None`: nothing has arrived yet.
    pub on_fallback: Option<bool>,
    /// By how much the datagrams to the client come later than the fastest one, in the mean over the
    /// client's newest report; `None`: the client has not reported it.
    pub jitter: Option<Duration>,
    /// The share of the client's datagrams on UDP 5056 that were lost, in parts per million; `None`: none
    /// has arrived.
    pub loss_in_ppm: Option<u32>,
    /// The share of the server's datagrams on UDP 5056 that were lost, in parts per million, as the client
    /// reports for its present link; `None`: it has not reported that any arrived.
    pub loss_out_ppm: Option<u32>,
    /// Realtime datagrams from the client.
    pub datagrams_in: u64,
    /// Realtime datagrams to the client.
    pub datagrams_out: u64,
    /// Bytes of the realtime datagrams from the client.
    pub bytes_in: u64,
    /// Bytes of the realtime datagrams to the client.
    pub bytes_out: u64,
    /// Messages that were not sent because the receiver's budget was used up.
    pub withheld: u64,
    /// Whether voice of the peer was relayed within the last [`crate::limits::SPEAKER_PAUSE`].
    pub speaking: bool,
}

/// Where the head of a peer is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadPose {
    /// The number in the room.
    pub peer: PeerId,
    /// The head, in the room's coordinates.
    pub head: Transform,
    /// The time since the pose came.
    pub age: Duration,
}

/// Returns the share of `lost` among `sent`, in parts per million; `None`: none was sent.
pub fn share_ppm(lost: u64, sent: u64) -> Option<u32> {
    let share = (u128::from(lost.min(sent)) * 1_000_000).checked_div(sent.into())?;
    u32::try_from(share).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_nothing_are_unknown() {
        assert_eq!([(0, 0), (5, 0)].map(|(lost, sent)| share_ppm(lost, sent)), [None, None]);
        let shares = [(0, 9), (1, 4), (7, 7), (9, 7), (u64::MAX, u64::MAX)];
        let expected = [0, 250_000, 1_000_000, 1_000_000, 1_000_000].map(Some);
        assert_eq!(shares.map(|(lost, sent)| share_ppm(lost, sent)), expected);
    }
}
