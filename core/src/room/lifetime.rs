//! Decides when a room ends: with its last participant, or later if the room's options say so.

use std::time::Duration;

use nucleus_protocol::time::Time;

use super::config::RoomOptions;
use crate::limits;

/// The lifetime of a room: whether it has ended, and when it ends because it is empty.
pub(crate) struct Lifetime {
    /// How long the room stays open after its last participant has left.
    empty_ttl: Duration,
    /// Whether the room stays open after its last participant has left.
    kept: bool,
    /// Whether a join created the room.
    created_by_join: bool,
    /// Whether anybody has joined yet.
    joined: bool,
    /// When the room ends if it is empty then.
    empty_until: Option<Time>,
    /// Whether the room has ended.
    over: bool,
    /// Whether the room has ended because the server stops.
    stopped: bool,
}

impl Lifetime {
    pub(crate) fn new(now: Time, options: &RoomOptions) -> Self {
        Self {
            empty_ttl: options.empty_ttl,
            kept: options.kept,
            created_by_join: options.first_within.is_none(),
            joined: false,
            empty_until: Some(now + options.first_within.unwrap_or(limits::FOUNDING_TIME)),
            over: false,
            stopped: false,
        }
    }

    /// Returns whether the room has ended. Nobody can join it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Returns when the room ends if it is empty then.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.empty_until
    }

    /// Notes that a newcomer has joined. Returns whether the room had outlived its last participant.
    pub(crate) fn newcomer_joined(&mut self) -> bool {
        let outlived = self.joined && self.empty_until.is_some();
        self.joined = true;
        self.empty_until = None;
        outlived
    }

    /// Notes that a join was refused. Ends the room if that join created it: nobody else knows the
    /// room.
    pub(crate) fn join_refused(&mut self) {
        if self.created_by_join && !self.joined {
            self.end();
        }
    }

    /// Notes that the room is empty. `reachable` is whether somebody may still join. Returns whether
    /// the room outlives its last participant for a time.
    pub(crate) fn emptied(&mut self, now: Time, reachable: bool) -> bool {
        if self.over || self.kept {
            return false;
        }
        if self.empty_ttl.is_zero() || !reachable {
            self.end();
            return false;
        }
        self.empty_until = Some(now + self.empty_ttl);
        true
    }

    /// Ends an empty room whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Time, is_empty: bool) {
        if is_empty && self.empty_until.is_some_and(|until| until <= now) {
            self.end();
        }
    }

    /// Ends the room for good.
    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    /// Ends the room because the server stops. Has no effect if the room has ended before.
    pub(crate) fn stop(&mut self) {
        self.stopped |= !self.over;
        self.over = true;
    }

    /// Returns whether the room has ended and its bans end with it. The next instance of the room
    /// begins with the bans if the server stops, or if nobody has ever joined this instance. The
    /// latter is for a banned user who returns first after a restart: the join makes an instance
    /// that ends with its refusal.
    pub(crate) fn ends_bans(&self) -> bool {
        self.over && self.joined && !self.stopped
    }
}
