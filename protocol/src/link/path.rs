//! The path on which a server sends. The server validates that a client receives at the address
//! that it sends from.
//!
//! One path is active. If a datagram with the highest packet number so far arrives from another
//! address, that path becomes the only candidate. The server challenges both paths, and the first
//! path whose answer arrives from its own address becomes the active one.

use std::net::{IpAddr, SocketAddr};

use super::keys::Challenges;
use crate::limits::{
    AMPLIFICATION, CHALLENGE_INTERVAL, CHALLENGE_TIMEOUT, HEADER, MIN_DATAGRAM, TAG,
};
use crate::time::Time;

/// The two addresses of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The other end's address.
    pub remote: SocketAddr,
    /// This end's address, if the socket reports it.
    pub local: Option<IpAddr>,
}

/// Length in bytes of a datagram with one challenge or response, whose frame has 10 bytes.
const CHALLENGE_DATAGRAM: usize = HEADER + 10 + TAG;
// Any first datagram from an address permits a challenge in return.
const _: () = assert!(CHALLENGE_DATAGRAM as u64 <= AMPLIFICATION * MIN_DATAGRAM as u64);

/// A path challenge, which only a receiver at the path's address can answer.
struct Challenge {
    /// The bytes of the challenge. Every repetition has the same bytes, so that on a slow path an
    /// answer to the first repetition counts.
    data: [u8; 8],
    since: Time,
    /// Whether the challenge is still to be sent in this round.
    due: bool,
}

/// A path of the client, with its validation and the bytes that count for its budget.
struct PathState {
    path: Path,
    /// Whether the client has proven that it receives on this path.
    proven: bool,
    received: u64,
    sent: u64,
    challenge: Option<Challenge>,
}

impl PathState {
    fn new(path: Path, received: u64) -> Self {
        Self { path, proven: false, received, sent: 0, challenge: None }
    }

    /// Returns the bytes that may still be sent on this path.
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

    /// Returns whether a challenge is open and the budget permits to send it.
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

/// The client's paths, as a server's link knows them.
pub(super) struct Paths {
    active: Option<PathState>,
    candidate: Option<PathState>,
    challenges: Challenges,
    /// When the next challenges may be sent.
    next_round: Time,
    changes: u64,
}

impl Paths {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let challenges = Challenges::new(seed);
        Self { active: None, candidate: None, challenges, next_round: Time::ZERO, changes: 0 }
    }

    /// Returns the active path, and the bytes that may still be sent on it.
    pub(super) fn active(&self) -> Option<(Path, usize)> {
        self.active.as_ref().map(|state| (state.path, state.budget()))
    }

    /// Returns how often the active path has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Records an authentic datagram of `bytes` bytes from `path`. `highest` is whether its packet
    /// number is the largest so far; an older datagram does not show where the client is now.
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

    /// Takes a response that arrived from `path`. The response counts only if it answers the
    /// challenge that was sent on the same path.
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

    /// Records that `bytes` bytes were sent on `path`.
    pub(super) fn sent(&mut self, path: Path, bytes: u64) {
        if let Some(state) = self.states_mut().find(|state| state.path == path) {
            state.sent += bytes;
        }
    }

    /// Returns the next challenge to send and its path. The active path comes first, so that it
    /// wins if both answer equally fast.
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

    /// Makes every open challenge due. The time to the next round grows with the number of
    /// challenges, so that a link sends at most five a second in the long run.
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

    /// Forgets a candidate path that has not answered in time. Stops challenging an active path
    /// that has not answered in time.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        let timed_out = |state: &PathState| state.gives_up_at().is_some_and(|at| at <= now);
        self.candidate.take_if(|state| timed_out(state));
        if let Some(active) = self.active.as_mut().filter(|state| timed_out(state)) {
            active.challenge = None;
        }
    }

    /// Returns when a timeout or a challenge is due. Without `may_send` only timeouts count.
    pub(super) fn deadline(&self, may_send: bool) -> Option<Time> {
        let challenges = may_send && self.states().any(PathState::wants_challenge);
        let round = challenges.then_some(self.next_round);
        self.states().filter_map(PathState::gives_up_at).chain(round).min()
    }

    fn states(&self) -> impl Iterator<Item = &PathState> {
        self.active.iter().chain(&self.candidate)
    }

    fn states_mut(&mut self) -> impl Iterator<Item = &mut PathState> {
        self.active.iter_mut().chain(&mut self.candidate)
    }
}
