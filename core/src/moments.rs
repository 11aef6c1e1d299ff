//! What happened in a participant's session, for the history: short lists of moments.
//!
//! The room notes what it decides, and the fan-out notes by which routes the realtime messages come. At the
//! end of the visit the two lists become one, which goes into the history.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::PeerId;

/// Most moments of a list: a page of a person's session, and 4 KB of memory. A client that changes its route
/// or its mute all the time fills its list; of the others most have less than ten.
pub const MAX_MOMENTS: usize = 64;
/// Moments at the begin that a full list keeps: the join, and the route of the first messages. Of the
/// others it keeps the newest, because they say why the session ended.
pub const FIRST_MOMENTS: usize = 8;

/// Something that happened in a participant's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time since the begin of the list: in a [`Visit`](crate::plane_event::Visit) since the join.
    pub after: Duration,
    /// What happened.
    pub kind: MomentKind,
}

/// What happened in a participant's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentKind {
    /// The participant has joined. `took` is the time from the client's first packet until then.
    Joined {
        /// The time from the client's first packet until the room sent `Joined`.
        took: Duration,
    },
    /// The realtime messages come on UDP 5056 from now on, from this address of the client.
    Realtime(SocketAddr),
    /// The realtime messages come inside the session from now on, by QUIC datagrams.
    Fallback,
    /// The client has another address on UDP 5056.
    Moved(SocketAddr),
    /// Nothing came from the client for the time after which the roster shows it as away.
    Away,
    /// Something came from the client again.
    Back,
    /// The peer's voice is dropped from now on.
    Muted(MomentActor),
    /// The peer's voice is no longer dropped by this mute.
    Unmuted(MomentActor),
    /// The session was lost. The participant waits for its client.
    Lost(LossCause),
    /// The client has come back with its ticket.
    Resumed {
        /// The time from the first packet of the client's new connection until the room sent `Joined`.
        took: Duration,
    },
    /// The participant was removed, or the room ended for everybody.
    Removed(MomentActor),
}

/// Who has caused a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentActor {
    /// The participant.
    Itself,
    /// Another participant of the room, who moderates it.
    Peer(PeerId),
    /// An operator, by the API. The audit says who.
    Operator,
    /// The room, which mutes a newcomer because of an earlier act.
    Room,
}

/// Why a session was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// Nothing came from the client for [`SESSION_IDLE`](crate::limits::SESSION_IDLE).
    Silent,
    /// The client closed the connection without leaving the room: its program ended, or gave the
    /// connection up.
    Closed,
    /// The client read its messages more slowly than they came.
    Slow,
    /// The connection or one of its streams broke in another way.
    Broken,
}

/// Moments in the order of their times, at most [`MAX_MOMENTS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MomentLog {
    moments: Vec<Moment>,
    left_out: u32,
}

impl MomentLog {
    /// Makes a list that was stored. Leaves out what is over the limit.
    pub fn stored(moments: impl IntoIterator<Item = Moment>, left_out: u32) -> Self {
        let mut log = Self { moments: Vec::new(), left_out };
        moments.into_iter().for_each(|moment| log.push(moment));
        log
    }

    /// Appends a moment, which must not be before the newest one. A full list leaves out the oldest one
    /// behind the first [`FIRST_MOMENTS`].
    pub fn push(&mut self, moment: Moment) {
        if self.moments.len() >= MAX_MOMENTS {
            self.moments.remove(FIRST_MOMENTS);
            self.left_out = self.left_out.saturating_add(1);
        }
        self.moments.push(moment);
    }

    /// Adds the moments of another list, whose times count from `begin` before this list's begin.
    pub fn merge(&mut self, other: &Self, begin: Duration) {
        let moved = other
            .moments
            .iter()
            .map(|moment| Moment { after: moment.after.saturating_sub(begin), kind: moment.kind });
        let mut all: Vec<Moment> = self.moments.iter().copied().chain(moved).collect();
        // Stable: of the same time, the room's own come first.
        all.sort_by_key(|moment| moment.after);
        *self = Self::stored(all, self.left_out.saturating_add(other.left_out));
    }

    /// Replaces the newest moment if it is `old`.
    pub(crate) fn correct(&mut self, old: MomentKind, new: MomentKind) {
        if let Some(newest) = self.moments.last_mut().filter(|newest| newest.kind == old) {
            newest.kind = new;
        }
    }

    /// Returns the moments, the oldest first.
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// Returns the number of moments that were left out behind the first [`FIRST_MOMENTS`].
    pub fn left_out(&self) -> u32 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, kind: MomentKind) -> Moment {
        Moment { after: Duration::from_secs(seconds), kind }
    }

    #[test]
    fn a_full_list_keeps_its_begin_and_its_end() {
        let mut log = MomentLog::default();
        log.push(at(0, MomentKind::Joined { took: Duration::ZERO }));
        for second in 1..=100 {
            log.push(at(second, if second % 2 > 0 { MomentKind::Away } else { MomentKind::Back }));
        }
        let seconds: Vec<_> = log.moments().iter().map(|moment| moment.after.as_secs()).collect();
        let expected: Vec<_> = (0..8).chain(45..=100).collect();
        assert_eq!((seconds, log.left_out()), (expected, 37));
    }

    #[test]
    fn two_lists_become_one_in_the_order_of_time() {
        let joined = at(0, MomentKind::Joined { took: Duration::from_millis(90) });
        let mut log = MomentLog::stored([joined, at(5, MomentKind::Away)], 0);
        let address = "192.0.2.1:4000".parse().unwrap();
        let links = [at(100, MomentKind::Realtime(address)), at(104, MomentKind::Fallback)];
        log.merge(&MomentLog::stored(links, 2), Duration::from_secs(101));
        let expected = [joined, at(0, MomentKind::Realtime(address)), at(3, MomentKind::Fallback)];
        assert_eq!(log.moments()[..3], expected, "no time is before the join");
        assert_eq!((log.moments()[3], log.left_out()), (at(5, MomentKind::Away), 2));
        let many = MomentLog::stored((0..64).map(|second| at(second, MomentKind::Back)), 0);
        log.merge(&many, Duration::ZERO);
        assert_eq!((log.moments().len(), log.left_out()), (MAX_MOMENTS, 6));
        assert!(log.moments().is_sorted_by_key(|moment| moment.after));
    }
}
