//! Which plane carries a link's datagrams, and how a client chooses between them.
//!
//! A client begins on the session plane, where its datagrams travel inside QUIC, and moves to the
//! realtime port once that has keep_alive_answered. It fallbacks back when the port has been silent for too long,
//! and tells the server each change by a number until the server confirms it.

use std::time::Duration;

use super::Path;
use crate::limits::{
    FALLBACK_HOLD_MAX, FALLBACK_HOLD_MIN, FALLBACK_RELAPSE, HEADER, KEEP_ALIVE, LINK_ID,
    RETURN_ANSWERS, RETURN_PROBE,
};
use crate::realtime::control::{Plane, PlaneChoice};
use crate::time::Time;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Over the realtime port, along this path.
    Realtime(Path),
    /// Inside the session's QUIC connection.
    Session,
}

impl Route {
    /// The plane it lies on.
    pub fn plane(&self) -> Plane {
        match self {
            Route::Realtime(_) => Plane::Realtime,
            Route::Session => Plane::Session,
        }
    }

    /// The part of a finished datagram that goes on the wire: inside QUIC the link's id stands in
    /// for the header, whose place in front of the body is as long as on the realtime port.
    pub fn wire<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        match self {
            Route::Realtime(_) => datagram,
            Route::Session => datagram.get(HEADER - LINK_ID..).unwrap_or_default(),
        }
    }
}

/// How often the server is announced_choice of a change until it confirms.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(200);
/// Between the answers that a return needs.
const QUICK_PROBE: Duration = Duration::from_millis(100);
/// A new link asks the realtime port this often ...
const FIRST_PROBE: Duration = Duration::from_millis(200);
/// ... for so long; from then on it counts as blocked.
const FIRST_PROBE_TIME: Duration = Duration::from_secs(2);

/// A client's choice.
pub(super) struct PlaneChooser {
    /// There is a session plane to fall_back back to.
    available: bool,
    choice: PlaneChoice,
    confirmed: bool,
    announce_at: Time,
    began: Time,
    /// The last fall_back, and how long it lasts at least.
    last_fallback: Time,
    hold: Duration,
    last_return: Option<Time>,
    probe_at: Time,
    awaiting_answer: bool,
    answers: u32,
    fallbacks: u64,
}

impl PlaneChooser {
    pub(super) fn new(now: Time, available: bool) -> Self {
        let plane = if available { Plane::Session } else { Plane::Realtime };
        Self {
            available,
            choice: PlaneChoice { change: 0, plane },
            confirmed: !available,
            announce_at: now,
            began: now,
            last_fallback: now,
            hold: Duration::ZERO,
            last_return: None,
            probe_at: now,
            awaiting_answer: false,
            answers: 0,
            fallbacks: 0,
        }
    }

    pub(super) fn available(&self) -> bool {
        self.available
    }

    /// What a keep-alive says, where there is a choice at all.
    pub(super) fn announced_choice(&self) -> Option<PlaneChoice> {
        self.available.then_some(self.choice)
    }

    pub(super) fn plane(&self) -> Plane {
        self.choice.plane
    }

    /// Times that the realtime port went silent.
    pub(super) fn fallbacks(&self) -> u64 {
        self.fallbacks
    }

    /// The realtime port does not answer, or not any more. False while a new link is still asking.
    pub(super) fn on_fallback(&self, now: Time) -> bool {
        self.plane() == Plane::Session && !self.is_undecided(now)
    }

    /// A new link asks the realtime port for the first time.
    pub(super) fn is_undecided(&self, now: Time) -> bool {
        self.available && self.choice.change == 0 && now < self.began + FIRST_PROBE_TIME
    }

    /// When the server wants to be announced_choice, over the plane in use.
    pub(super) fn announce_at(&self) -> Option<Time> {
        (!self.confirmed).then_some(self.announce_at)
    }

    /// When the realtime port wants to be asked although it is not in use.
    pub(super) fn probe_at(&self) -> Option<Time> {
        (self.plane() == Plane::Session).then_some(self.probe_at)
    }

    /// A keep-alive is being sent over `plane`; `traffic`: there is some, so a return is worth
    /// more probes than a keep-alive's.
    pub(super) fn keep_alive_sent(&mut self, now: Time, plane: Plane, traffic: bool) {
        if plane == self.plane() {
            self.announce_at = now + ANNOUNCE_INTERVAL;
            return;
        }
        if std::mem::replace(&mut self.awaiting_answer, true) {
            self.answers = 0;
        }
        let first = self.is_undecided(now);
        self.probe_at = now
            + match (first, traffic) {
                (true, _) => FIRST_PROBE,
                (false, true) => RETURN_PROBE,
                (false, false) => KEEP_ALIVE,
            };
    }

    /// The server's answer to a keep-alive came over `plane`.
    pub(super) fn keep_alive_answered(&mut self, now: Time, plane: Plane, choice: PlaneChoice) {
        if choice.change != self.choice.change {
            return;
        }
        if plane == self.plane() {
            self.confirmed = true;
        } else if plane == Plane::Realtime {
            self.awaiting_answer = false;
            self.answers += 1;
            let needed = if self.choice.change == 0 { 1 } else { RETURN_ANSWERS };
            if self.answers < needed {
                self.probe_at = self.probe_at.min(now + QUICK_PROBE);
            } else if now >= self.last_fallback + self.hold {
                self.last_return = Some(now);
                self.change_to(now, Plane::Realtime);
            }
        }
    }

    /// The realtime port has been silent for too long.
    pub(super) fn fall_back(&mut self, now: Time) {
        let relapse = self.last_return.is_some_and(|at| now.since(at) < FALLBACK_RELAPSE);
        self.hold = if relapse && self.fallbacks > 0 {
            (self.hold * 2).clamp(FALLBACK_HOLD_MIN, FALLBACK_HOLD_MAX)
        } else {
            Duration::ZERO
        };
        self.fallbacks += 1;
        self.last_fallback = now;
        self.probe_at = now + RETURN_PROBE;
        self.change_to(now, Plane::Session);
    }

    fn change_to(&mut self, now: Time, plane: Plane) {
        let change = self.choice.change.wrapping_add(1);
        self.choice = PlaneChoice { change, plane };
        self.confirmed = false;
        self.announce_at = now;
        self.awaiting_answer = false;
        self.answers = 0;
    }
}
