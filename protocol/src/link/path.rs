//! Where a server's datagrams go: proving that a peer receives at the address it sends from.
//!
//! One path is active. When the highest packet number so far comes from elsewhere, that becomes the
//! one candidate; both are challenged, and whichever answers from its own address wins.

use std::net::{IpAddr, SocketAddr};

use super::keys::Challenges;
use crate::limits::{
    AMPLIFICATION, CHALLENGE_INTERVAL, CHALLENGE_TIMEOUT, HEADER, MIN_DATAGRAM, TAG,
};
use crate::time::Time;

/// The two ends of what a datagram travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The other end's address.
    pub remote: SocketAddr,
    /// This end's address, when the socket told it.
    pub local: Option<IpAddr>,
}

/// Bytes of a datagram with one challenge or response: its frame is 10 bytes.
const CHALLENGE_DATAGRAM: usize = HEADER + 10 + TAG;
// Whatever the first datagram from an address was, it pays for a challenge.
const _: () = assert!(CHALLENGE_DATAGRAM as u64 <= AMPLIFICATION * MIN_DATAGRAM as u64);

/// A question that only a receiver at the path can answer.
struct Challenge {
    /// The same for every repetition: on a slow path the answer to the first one counts.
    data: [u8; 8],
    since: Time,
    /// To be sent in this round.
    due: bool,
}

struct PathState {
    path: Path,
    proven: bool,
    received: u64,
    sent: u64,
    challenge: Option<Challenge>,
}

impl PathState {
    fn new(path: Path, received: u64) -> Self {
        Self { path, proven: false, received, sent: 0, challenge: None }
    }

    /// Bytes that may still go there.
    fn budget(&self) -> usize {
        if self.proven {
            return usize::MAX;
        }
        let left = self.received.saturating_mul(AMPLIFICATION).saturating_sub(self.sent);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    fn challenge(&mut self, now: Time, challenges: &mut Challenges) {
        if self.challenge.is_none() {
            self.challenge = Some(Challenge { data: challenges.draw(), since: now, due: false });
        }
    }

    /// Whether a challenge is to be repeated and may be.
    fn wants_challenge(&self) -> bool {
        self.challenge.is_some() && self.budget() >= CHALLENGE_DATAGRAM
    }

    fn is_answer(&self, path: Path, data: &[u8; 8]) -> bool {
        self.path == path && self.challenge.as_ref().is_some_and(|c| c.data == *data)
    }

    fn gives_up_at(&self) -> Option<Time> {
        self.challenge.as_ref().map(|c| c.since + CHALLENGE_TIMEOUT)
    }

    fn prove(&mut self) {
        self.proven = true;
        self.challenge = None;
    }
}

/// The paths of a server's link.
pub(super) struct Paths {
    active: Option<PathState>,
    candidate: Option<PathState>,
    challenges: Challenges,
    /// No challenge before this.
    next_round: Time,
    changes: u64,
}

impl Paths {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let challenges = Challenges::new(seed);
        Self { active: None, candidate: None, challenges, next_round: Time::ZERO, changes: 0 }
    }

    /// Where data goes, and how many bytes may.
    pub(super) fn active(&self) -> Option<(Path, usize)> {
        self.active.as_ref().map(|state| (state.path, state.budget()))
    }

    /// Times that the active path moved.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// An authentic datagram of `bytes` bytes came from `path`; `highest`: its number is the
    /// largest so far. Others are late or overtaken and say nothing about where the peer is now.
    pub(super) fn received(&mut self, now: Time, path: Path, bytes: u64, highest: bool) {
        let Some(active) = &mut self.active else {
            let mut state = PathState::new(path, bytes);
            state.challenge(now, &mut self.challenges);
            self.active = Some(state);
            return;
        };
        if active.path == path {
            active.received += bytes;
            if !active.proven {
                active.challenge(now, &mut self.challenges);
            }
        } else if let Some(state) = self.candidate.as_mut().filter(|state| state.path == path) {
            state.received += bytes;
        } else if highest {
            active.challenge(now, &mut self.challenges);
            let mut state = PathState::new(path, bytes);
            state.challenge(now, &mut self.challenges);
            self.candidate = Some(state);
        }
    }

    /// A response came from `path`. It counts only for the path whose challenge it answers.
    pub(super) fn challenge_answered(&mut self, path: Path, data: &[u8; 8]) {
        if let Some(active) = self.active.as_mut().filter(|state| state.is_answer(path, data)) {
            active.prove();
            self.candidate = None;
        } else if let Some(mut state) = self.candidate.take_if(|state| state.is_answer(path, data))
        {
            state.prove();
            self.active = Some(state);
            self.changes += 1;
        }
    }

    /// `bytes` bytes went to `path`.
    pub(super) fn sent(&mut self, path: Path, bytes: u64) {
        if let Some(state) = self.states_mut().find(|state| state.path == path) {
            state.sent += bytes;
        }
    }

    /// The next challenge to send and where. The old path is asked first: it wins ties.
    pub(super) fn poll_challenge(&mut self, now: Time) -> Option<(Path, [u8; 8])> {
        if now >= self.next_round {
            self.begin_round(now);
        }
        self.states_mut().find_map(|state| {
            let challenge = state.challenge.as_mut().filter(|c| c.due)?;
            challenge.due = false;
            Some((state.path, challenge.data))
        })
    }

    /// Old and new are asked together, and the time to the next round grows with the number of
    /// challenges: at most five a second over any longer time.
    fn begin_round(&mut self, now: Time) {
        let mut count = 0;
        for state in self.states_mut().filter(|state| state.wants_challenge()) {
            if let Some(challenge) = &mut state.challenge {
                challenge.due = true;
                count += 1;
            }
        }
        if count > 0 {
            self.next_round = now + CHALLENGE_INTERVAL * count;
        }
    }

    /// Forgets a candidate and stops asking a path that has not challenge_answered in time.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        let over = |state: &PathState| state.gives_up_at().is_some_and(|at| at <= now);
        self.candidate.take_if(|state| over(state));
        if let Some(active) = self.active.as_mut().filter(|state| over(state)) {
            active.challenge = None;
        }
    }

    /// When something is due; without `may_send` only what needs no packet.
    pub(super) fn deadline(&self, may_send: bool) -> Option<Time> {
        let asks = may_send && self.states().any(PathState::wants_challenge);
        let wanted = asks.then_some(self.next_round);
        self.states().filter_map(PathState::gives_up_at).chain(wanted).min()
    }

    fn states(&self) -> impl Iterator<Item = &PathState> {
        self.active.iter().chain(&self.candidate)
    }

    fn states_mut(&mut self) -> impl Iterator<Item = &mut PathState> {
        self.active.iter_mut().chain(&mut self.candidate)
    }
}
