//! The route of a link's datagrams, and how a client chooses the plane.
//!
//! A client begins on the session plane, where its datagrams travel inside QUIC, and moves to the
//! realtime port once the port has answered. The client falls back when the port has been silent
//! for too long. Each change of plane has a number, and the client announces the change until the
//! server confirms it. A client that has one plane alone stays on it.

use std::time::Duration;

use super::Path;
use crate::limits::{
    FALLBACK_HOLD_MAX, FALLBACK_HOLD_MIN, FALLBACK_RELAPSE, HEADER, KEEP_ALIVE, LINK_ID,
    RETURN_ANSWERS, RETURN_PROBE,
};
use crate::realtime::control::{Plane, PlaneChoice};
use crate::time::Time;

/// The route of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Over the realtime port, along this path.
    Realtime(Path),
    /// Inside the session's QUIC connection.
    Session,
}

impl Route {
    /// Returns the route's plane.
    pub fn plane(&self) -> Plane {
        match self {
            Route::Realtime(_) => Plane::Realtime,
            Route::Session => Plane::Session,
        }
    }

    /// Returns the part of a finished datagram that goes on the wire. A finished datagram has
    /// [`HEADER`] bytes in front of its body on both planes; inside QUIC only the last [`LINK_ID`]
    /// of them are sent, which hold the link's id.
    pub fn wire<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        match self {
            Route::Realtime(_) => datagram,
            Route::Session => datagram.get(HEADER - LINK_ID..).unwrap_or_default(),
        }
    }
}

/// Interval at which a client announces a change of plane until the server confirms the change.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(200);
/// Time from one answer to the next probe, while a client needs more answers before it returns to
/// the realtime port.
const QUICK_PROBE: Duration = Duration::from_millis(100);
/// Interval at which a new link probes the realtime port.
const FIRST_PROBE: Duration = Duration::from_millis(200);
/// Time after which the realtime port counts as blocked if it has not answered a new link.
const FIRST_PROBE_TIME: Duration = Duration::from_secs(2);

/// The planes that a client's link can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planes {
    /// Both: the link begins on the session plane, moves to the realtime port, and falls back.
    Both,
    /// The realtime port alone: the client's session carries no datagrams.
    PortOnly,
    /// The session alone: the client has no realtime port.
    SessionOnly,
}

/// Chooses the plane of a client's link.
pub(super) struct PlaneChooser {
    planes: Planes,
    choice: PlaneChoice,
    /// Whether the server has confirmed the choice.
    confirmed: bool,
    announce_at: Time,
    began: Time,
    last_fallback: Time,
    /// Shortest time to stay on the fallback after `last_fallback`.
    hold: Duration,
    last_return: Option<Time>,
    probe_at: Time,
    awaiting_answer: bool,
    answers: u32,
    fallbacks: u64,
}

impl PlaneChooser {
    pub(super) fn new(now: Time, planes: Planes) -> Self {
        let has_session = planes != Planes::PortOnly;
        let plane = if has_session { Plane::Session } else { Plane::Realtime };
        Self {
            planes,
            choice: PlaneChoice { change: 0, plane },
            confirmed: !has_session,
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

    /// Returns whether the session can carry the link's datagrams.
    pub(super) fn has_session(&self) -> bool {
        self.planes != Planes::PortOnly
    }

    /// Returns whether the client has a realtime port.
    pub(super) fn has_port(&self) -> bool {
        self.planes != Planes::SessionOnly
    }

    /// Returns the choice that a keep-alive announces; `None` if the session carries no datagrams.
    pub(super) fn announced_choice(&self) -> Option<PlaneChoice> {
        self.has_session().then_some(self.choice)
    }

    pub(super) fn plane(&self) -> Plane {
        self.choice.plane
    }

    /// Returns how often the client has fallen back.
    pub(super) fn fallbacks(&self) -> u64 {
        self.fallbacks
    }

    /// Returns whether the link is on the fallback because the realtime port does not answer. False
    /// while a new link still probes the port for the first time.
    pub(super) fn on_fallback(&self, now: Time) -> bool {
        self.plane() == Plane::Session && !self.is_undecided(now)
    }

    /// Returns whether a new link still probes the realtime port for the first time.
    pub(super) fn is_undecided(&self, now: Time) -> bool {
        self.planes == Planes::Both
            && self.choice.change == 0
            && now < self.began + FIRST_PROBE_TIME
    }

    /// Returns whether a probe of the realtime port has had no answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.awaiting_answer
    }

    /// Returns when to announce the choice next, on the chosen plane.
    pub(super) fn announce_at(&self) -> Option<Time> {
        (!self.confirmed).then_some(self.announce_at)
    }

    /// Returns when to probe the realtime port while the session carries the messages.
    pub(super) fn probe_at(&self) -> Option<Time> {
        (self.has_port() && self.plane() == Plane::Session).then_some(self.probe_at)
    }

    /// Notes that a keep-alive is sent on `plane`. With `traffic` the client probes the realtime
    /// port more often than once per keep-alive interval.
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

    /// Takes the server's answer to a keep-alive, received on `plane`.
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

    /// Changes to the session plane, because the realtime port has been silent for too long.
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
